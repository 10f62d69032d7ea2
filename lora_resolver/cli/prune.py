"""`prune`: removes what interrupted downloads and deleted files left behind."""

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
Removes the following from the folder `air` in the download folder, and nothing else:
  partial files of interrupted downloads that no program is using (these downloads can't be resumed afterwards)
  records, notes, and pictures of files that no longer exist
  empty folders, and lock files that aren't in use
  with --keep: downloaded files that the given arrays, workflows, and pictures don't use. Disabled LoRAs count as used.
  Files that aren't on record, or have changed since the download, stay.

With --store, removes from the shared store (AIR_LORA_STORE) only uploads that were interrupted more than a day ago, and
names whose file no longer exists. Valid files stay, because other machines might need them.

--json prints one object:
  dry_run         whether --dry-run was given
  freed           bytes
  removed         one object for each file or folder:
    path          full path; with --store, the name in the store
    what          partial, record, unneeded, folder, or lock
    size          in bytes
  in_use          files that a program is downloading; they were skipped
  left            files that aren't needed, but have changed since the download; they were kept
  errors          what couldn't be read or removed:
{ERROR_FIELDS}"""

_WORDS = {
    "partial": "interrupted download",
    "record": "its file no longer exists",
    "unneeded": "not needed",
    "folder": "empty",
    "lock": "unused lock",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `prune`."""
    describe(parser, _HELP)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be removed")
    parser.add_argument("--store", action="store_true", help="clean up the shared store instead")
    parser.add_argument(
        "--keep",
        metavar="FILE|TEXT|-",
        nargs="+",
        action="extend",
        help="arrays, workflows, and images whose LoRAs to keep; all other downloads are removed",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints what was removed. Returns the exit status: 2 if --keep can't be read. Then nothing is removed."""
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
            "--keep can't be used with --store",
            code="invalidValue",
            parameter="--keep",
            remedy="Other machines might need the files in the shared store. To empty it, use its own tools.",
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
        verb = "Would remove" if arguments.dry_run else "Removed"
        files = "1 file" if len(removed) == 1 else f"{len(removed)} files"
        print(f"{verb} {files}: {size(freed)}" if removed else "Nothing to remove.")
    return 1 if errors else 0


def _named(sources: Sequence[str]) -> tuple[list[Identifier], list[LoraResolverError]]:
    """The LoRAs in the sources, and errors. If a source can't be read completely, its needs are unknown."""
    keep: list[Identifier] = []
    errors: list[LoraResolverError] = []
    for source in sources:
        found = named_in(source)
        keep += [lora.identifier for lora in found.loras]
        # A file of another kind, in one of ComfyUI's own loaders, is never among the downloads.
        errors += [error for error in found.errors if error.code != "unsupportedFormat"]
    if not keep and not errors:
        errors.append(
            InvalidInput(
                "No LoRAs found in the given files, so all downloads would be removed",
                code="nothingNamed",
                parameter="--keep",
                remedy="Specify what uses the downloads. To remove them all, delete the folder `air` by hand.",
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
        print(f"{path}  (skipped: it is being downloaded)")
    for path in pruned.left:
        print(f"{path}  (kept: it has changed since the download)")
    for error in pruned.errors:
        print(error, file=sys.stderr)
    counted = Counter("folder" if each.what == "folder" else "file" for each in pruned.removed)
    things = " and ".join(f"{count} {thing}{'s' if count > 1 else ''}" for thing, count in counted.items())
    verb = "Would remove" if dry_run else "Removed"
    print(f"{verb} {things}: {size(pruned.freed)}" if things else "Nothing to remove.")
