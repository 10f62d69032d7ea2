"""`prune`: what may go from the store."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput
from ..settings.settings_file import user_config
from .output import ERROR_FIELDS, describe, error_fields, size
from .reading import named_in

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from ..errors import LoraResolverError
    from ..identifiers import Identifier
    from .upkeep.pruning import Pruned

__all__ = ["add_arguments", "run"]

_HELP = f"""
Removes, in the folder `air` of the downloads and nowhere else:
  what interrupted downloads left, when no program holds their lock (they could be resumed from it)
  records, notes and pictures of files that are gone
  empty folders, and lock files that nobody holds
  with --keep: downloaded files that none of the named arrays, workflows and pictures names, switched off or not. A
  file that is not on record, or has changed since it was downloaded, stays.

With --store, in the shared store (AIR_LORA_STORE) and nowhere else: uploads that were broken off more than a day ago,
and names whose file is gone. Its sound files stay: other machines may need them.

--json prints one object:
  dry_run         whether --dry-run was given
  freed           bytes
  removed         one object for each file or folder:
    path          where it lay; with --store, its name there
    what          partial, record, unneeded, folder or lock
    size          in bytes
  in_use          files that some program is downloading; nothing of them was touched
  left            files that nobody needs, but that have changed since they were downloaded
  errors          what could not be read or removed:
{ERROR_FIELDS}"""

_WORDS = {
    "partial": "left by an interrupted download",
    "record": "about a file that is gone",
    "unneeded": "needed by nothing that was named",
    "folder": "empty",
    "lock": "held by nobody",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `prune`."""
    describe(parser, _HELP)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    parser.add_argument("--store", action="store_true", help="tidy the shared store instead")
    parser.add_argument(
        "--keep",
        metavar="FILE|TEXT|-",
        nargs="+",
        action="extend",
        help="what needs the downloads; those that nothing here names go too",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print what went. Returns the exit status: 2 where what is to be kept cannot be told, and then nothing goes."""
    from .upkeep.pruning import Pruned, prune

    if arguments.store:
        return _prune_store(arguments)
    keep: list[Identifier] | None = None
    errors: list[LoraResolverError] = []
    if arguments.keep is not None:
        keep, errors = _named(arguments.keep)
    config = user_config()
    pruned = Pruned(errors=errors) if errors else prune(config, keep=keep, dry_run=arguments.dry_run)
    if arguments.json:
        print(json.dumps({"dry_run": arguments.dry_run, **_report(pruned)}, indent=2))
    else:
        _print(pruned, dry_run=arguments.dry_run)
    return 2 if errors else 1 if pruned.errors else 0


def _prune_store(arguments: argparse.Namespace) -> int:
    from ..errors import LoraResolverError
    from ..sources.shared_store.upkeep import prune_store

    if arguments.keep is not None:
        raise InvalidInput(
            "--keep removes nothing from a shared store",
            code="invalidValue",
            parameter="--keep",
            remedy="Other machines may need its files. To start afresh, empty it with its own tools.",
        )
    removed: list[tuple[str, int]] = []
    errors: list[LoraResolverError] = []
    try:
        removed = prune_store(user_config(), dry_run=arguments.dry_run)
    except LoraResolverError as error:
        errors.append(error)
    freed = sum(count for _, count in removed)
    if arguments.json:
        items = [
            {"path": name, "what": "partial" if name.startswith("uploads/") else "record", "size": count}
            for name, count in removed
        ]
        report = {"freed": freed, "removed": items, "in_use": [], "left": []}
        report["errors"] = [error_fields(error) for error in errors]
        print(json.dumps({"dry_run": arguments.dry_run, **report}, indent=2))
    else:
        for name, count in removed:
            print(f"{name}  ({size(count)})")
        print(*errors, sep="\n", end="\n" if errors else "", file=sys.stderr)
        verb = "would go" if arguments.dry_run else "went"
        print(f"{len(removed)} files {verb}: {size(freed)}" if removed else "There is nothing to remove.")
    return 1 if errors else 0


def _named(sources: Sequence[str]) -> tuple[list[Identifier], list[LoraResolverError]]:
    """What the sources name. Where one cannot be read whole, nobody knows what it needs."""
    keep: list[Identifier] = []
    errors: list[LoraResolverError] = []
    for source in sources:
        found = named_in(source)
        keep += [lora.identifier for lora in found.loras]
        # A file of another kind, in one of ComfyUI's own loaders, is not in the store.
        errors += [error for error in found.errors if error.code != "unsupportedFormat"]
    if not keep and not errors:
        errors.append(
            InvalidInput(
                "nothing that was named uses a LoRA, so all downloads would go",
                code="nothingNamed",
                parameter="--keep",
                remedy="Name what needs them. To start afresh, delete the folder `air` by hand.",
            )
        )
    return keep, errors


def _report(pruned: Pruned) -> dict[str, Any]:
    return {
        "freed": pruned.freed,
        "removed": [
            {"path": str(each.path), "what": each.what, "size": each.size} for each in pruned.removed
        ],
        "in_use": [str(path) for path in pruned.in_use],
        "left": [str(path) for path in pruned.left],
        "errors": [error_fields(error) for error in pruned.errors],
    }


def _print(pruned: Pruned, *, dry_run: bool) -> None:
    for each in pruned.removed:
        print(f"{each.path}  ({_WORDS[each.what]}{f', {size(each.size)}' if each.size else ''})")
    for path in pruned.in_use:
        print(f"{path}  (is being downloaded; nothing of it was touched)")
    for path in pruned.left:
        print(f"{path}  (stays: it is not what was downloaded)")
    for error in pruned.errors:
        print(error, file=sys.stderr)
    counted = Counter("folder" if each.what == "folder" else "file" for each in pruned.removed)
    things = " and ".join(f"{count} {thing}{'s' if count > 1 else ''}" for thing, count in counted.items())
    verb = "would go" if dry_run else "went"
    print(f"{things} {verb}: {size(pruned.freed)}" if things else "There is nothing to remove.")
