"""`list`: the LoRAs in the configured folders."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput
from ..model_file.architecture.families import FAMILY_NAMES
from ..settings.settings_file import user_config
from ..text import nearest, quoted
from .output import describe, plain, size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from ..config import ResolverConfig
    from ..on_disk.library import LibraryFile
    from ..sources.shared_store import Entry

__all__ = ["add_arguments", "run"]

_HELP = """
--json prints a list with one object for each file:
  name            relative to its folder, as ComfyUI's loaders list it
  path            full path
  size            in bytes
  sha256          null if it hasn't been computed yet
  identifiers     identifiers from sources and other tools
  title           name and version at its source
  base_model      base model at its source; a hint only
  families        the model families that match its header, such as sdxl or flux1
  verdict         known, ambiguous, unknown, not_a_diffusion_lora, or unsound for a damaged file
  kind            lora, loha, lokr, ...
  rank            a number, or null
  trigger_words   the author's trigger words

With --store, each object has name, size, sha256, identifiers, title, base_model and trigger_words.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `list`."""
    describe(parser, _HELP)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--family",
        metavar="FAMILY",
        action="append",
        default=[],
        help="show only LoRAs for this model family, such as sdxl or flux1; can be repeated",
    )
    parser.add_argument("--store", action="store_true", help="list the shared store (AIR_LORA_STORE) instead")
    parser.add_argument(
        "words",
        metavar="WORD",
        nargs="*",
        help="show only LoRAs with all of these words in the name, title, identifiers, or trigger words",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the files. Returns the exit status."""
    families = {_family(text) for text in arguments.family}
    words = [word.casefold() for word in arguments.words]
    config = user_config()
    if arguments.store:
        return _list_store(config, words, families, as_json=arguments.json)
    is_there = config.download_dir.is_dir()
    if not is_there:
        print(
            f"The folder {config.download_dir} doesn't exist. Set AIR_LORA_DIR to your loras folder.",
            file=sys.stderr,
        )
    files = [file for file in (_library(config) if is_there else ()) if _fits(file, families, words)]
    if arguments.json:
        print(json.dumps([_report(file) for file in files], indent=2))
        return 0
    for file in files:
        _print(file)
    count = "1 file" if len(files) == 1 else f"{len(files)} files"
    print(f"{count}, {size(sum(file.size for file in files))}, in {config.download_dir}")
    return 0


def _list_store(config: ResolverConfig, words: Sequence[str], families: set[str], *, as_json: bool) -> int:
    from ..errors import LoraResolverError
    from ..model_file.architecture.base_models import declared_families
    from ..sources.shared_store.upkeep import store_entries

    try:
        entries = store_entries(config)
    except LoraResolverError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, InvalidInput) else 1
    shown = [
        entry
        for entry in entries
        if all(word in json.dumps(_store_report(entry), ensure_ascii=False).casefold() for word in words)
        and (not families or families.intersection(declared_families(entry.record.base_model)))
    ]
    if as_json:
        print(json.dumps([_store_report(entry) for entry in shown], indent=2))
        return 0
    for entry in shown:
        print(f"{plain(entry.file_name)}  ({size(entry.size)})")
        print(f"    {plain(', '.join((entry.title, *entry.identifiers)))}")
    count = "1 file" if len(shown) == 1 else f"{len(shown)} files"
    print(f"{count}, {size(sum(entry.size for entry in shown))}, in the shared store")
    return 0


def _store_report(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.file_name,
        "size": entry.size,
        "sha256": entry.sha256,
        "identifiers": list(entry.identifiers),
        "title": entry.title,
        "base_model": entry.record.base_model,
        "trigger_words": list(entry.record.trigger_words),
    }


def _library(config: ResolverConfig) -> list[LibraryFile]:
    from ..resolver import Resolver  # needs an HTTP client, which invalid usage doesn't need

    resolver = Resolver(config)
    if not sys.stderr.isatty():
        return resolver.library()
    from tqdm import tqdm

    with tqdm(unit="file", leave=False) as bar:

        def show(name: str, done: int, total: int) -> None:
            bar.total = total
            bar.set_postfix_str(name[:40], refresh=False)
            bar.update(done - bar.n)

        return resolver.library(on_file=show)


def _family(text: str) -> str:
    """The ID of a family that is given by ID or by name."""
    by_name = {name.casefold(): key for key, name in FAMILY_NAMES.items()}
    wanted = text.casefold()
    if wanted in FAMILY_NAMES:
        return wanted
    if wanted in by_name:
        return by_name[wanted]
    meant = nearest(wanted, [*FAMILY_NAMES, *by_name])
    raise InvalidInput(
        f"Unknown model family {quoted(text)}",
        code="invalidValue",
        parameter="--family",
        remedy=f"Did you mean {meant}?" if meant else f"Supported families: {', '.join(FAMILY_NAMES)}.",
    )


def _fits(file: LibraryFile, families: set[str], words: Sequence[str]) -> bool:
    if families and families.isdisjoint(file.families):
        return False
    text = "\n".join((file.name, file.title, *file.identifiers, *file.trigger_words)).casefold()
    return all(word in text for word in words)


def _report(file: LibraryFile) -> dict[str, Any]:
    return {
        "name": file.name,
        "path": str(file.path),
        "size": file.size,
        "sha256": file.sha256,
        "identifiers": list(file.identifiers),
        "title": file.title,
        "base_model": file.base_model,
        "families": list(file.families),
        "verdict": file.verdict,
        "kind": file.kind,
        "rank": file.rank,
        "trigger_words": list(file.trigger_words),
    }


def _print(file: LibraryFile) -> None:
    made_for = " or ".join(FAMILY_NAMES.get(family, family) for family in file.families)
    if file.verdict == "unsound":
        made_for = "damaged"
    print(f"{plain(file.name)}  ({size(file.size)}, {made_for or 'unknown architecture'})")
    for fact in (
        file.title,
        ", ".join(file.identifiers),
        f"trigger words: {', '.join(file.trigger_words)}" if file.trigger_words else "",
    ):
        if fact:
            print(f"    {plain(fact)}")
