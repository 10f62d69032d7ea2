"""`verify`: reads files on this disk again and compares them with their records."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidIdentifier, LoraResolverError
from ..identifiers import parse_identifier
from ..settings.settings_file import user_config
from .output import ERROR_FIELDS, describe, error_fields, size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from ..config import ResolverConfig
    from ..records import Progress
    from .upkeep.checking import Checked, FileToCheck

__all__ = ["add_arguments", "run"]

_HELP = f"""
Without arguments, checks every downloaded file.

--json prints one object:
  files           one object for each file:
    path          full path
    identifiers   the identifiers of the file
    state         ok          its SHA-256 matches the record
                  unrecorded  it's valid, but there is no recorded SHA-256
                  changed     its SHA-256 doesn't match the record
                  unsound     it isn't a valid safetensors file
                  missing     it's on record, but no longer exists
                  unreadable  a disk error, or missing permissions
    size          in bytes
    sha256        the current SHA-256; null if the file couldn't be read
    recorded      the recorded SHA-256; null if there is none
    error         null, or what is wrong:
{ERROR_FIELDS}\
  errors          arguments that don't match a file on this disk: as above

With --store, each object has identifiers, state (ok, changed or missing), size and recorded.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `verify`."""
    describe(parser, _HELP)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--store", action="store_true", help="check every file in the shared store (AIR_LORA_STORE) instead"
    )
    parser.add_argument(
        "names", metavar="FILE|IDENTIFIER", nargs="*", help="check only these, instead of all downloads"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints what each file is. Returns the exit status: 1 if a file isn't as recorded, 2 for invalid input."""
    from .upkeep.checking import check, files_to_check  # need `filelock`, which invalid usage doesn't need

    config = user_config()
    if arguments.store:
        return _verify_store(config, as_json=arguments.json)
    found = (
        [_named(config, name) for name in arguments.names] if arguments.names else [files_to_check(config)]
    )
    files = [file for each in found if isinstance(each, list) for file in each]
    errors = [each for each in found if isinstance(each, LoraResolverError)]
    checked: list[Checked] = []
    with _Bar(files) as bar:
        for file in files:
            outcome = check(file, on_progress=bar)
            bar.end(file)
            checked.append(outcome)
            if not arguments.json:
                bar.print_above(_line(outcome), wrong=outcome.error is not None)
    if arguments.json:
        document = {
            "files": [_report(each) for each in checked],
            "errors": [error_fields(error) for error in errors],
        }
        print(json.dumps(document, indent=2))
    else:
        print(*errors, sep="\n", end="\n" if errors else "", file=sys.stderr)
        _print_sum(checked)
    if any(isinstance(error, InvalidIdentifier) for error in errors):
        return 2
    return 1 if errors or any(each.error for each in checked) else 0


def _verify_store(config: ResolverConfig, *, as_json: bool) -> int:
    from ..sources.shared_store.upkeep import check_store

    reports: list[dict[str, Any]] = []
    errors: list[LoraResolverError] = []
    try:
        for checked in check_store(config):
            entry = checked.entry
            reports.append(
                {
                    "identifiers": list(entry.identifiers),
                    "state": checked.state,
                    "size": entry.size,
                    "recorded": entry.sha256,
                }
            )
            if not as_json:
                name = entry.identifiers[0] if entry.identifiers else entry.sha256
                print(f"{checked.state:10}  {name}", file=sys.stdout if checked.state == "ok" else sys.stderr)
    except LoraResolverError as error:
        errors.append(error)
    wrong = sum(report["state"] != "ok" for report in reports)
    if as_json:
        print(json.dumps({"files": reports, "errors": [error_fields(error) for error in errors]}, indent=2))
    else:
        print(*errors, sep="\n", end="\n" if errors else "", file=sys.stderr)
        files = "1 file" if len(reports) == 1 else f"{len(reports)} files"
        print(f"{files} in the shared store: " + (f"{wrong} failed" if wrong else "no problems found"))
    return 1 if errors or wrong else 0


def _named(config: ResolverConfig, name: str) -> list[FileToCheck] | LoraResolverError:
    """The file with that name or identifier."""
    from .upkeep.checking import files_to_check

    path = Path(name)
    try:
        return files_to_check(config, [path if path.is_file() else parse_identifier(name)])
    except LoraResolverError as error:
        return error


def _report(checked: Checked) -> dict[str, Any]:
    return {
        "path": str(checked.file.path),
        "identifiers": list(checked.file.identifiers),
        "state": checked.state,
        "size": checked.file.size,
        "sha256": checked.sha256,
        "recorded": checked.file.sha256,
        "error": error_fields(checked.error),
    }


def _line(checked: Checked) -> str:
    if checked.error is not None:
        return f"{checked.state:10}  {checked.error}"
    more = f"  sha256 {checked.sha256}" if checked.state == "unrecorded" else ""
    return f"{checked.state:10}  {checked.file.path}{more}"


def _print_sum(checked: Sequence[Checked]) -> None:
    wrong = sum(each.error is not None for each in checked)
    files = "1 file" if len(checked) == 1 else f"{len(checked)} files"
    read = size(sum(each.file.size for each in checked))
    print(f"{files}, {read}: " + (f"{wrong} failed" if wrong else "no problems found"))


class _Bar:
    """The progress of reading, over all files."""

    def __init__(self, files: Sequence[FileToCheck]) -> None:
        self._bar: Any = None
        self._before = 0
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=sum(file.size for file in files), unit="B", unit_scale=True)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, progress: Progress) -> None:
        if self._bar is not None:
            self._bar.n = self._before + progress.done
            self._bar.set_postfix_str(progress.file_name[:40])

    def end(self, file: FileToCheck) -> None:
        """Counts a file as done."""
        self._before += file.size

    def print_above(self, line: str, *, wrong: bool) -> None:
        """Prints a line without breaking the bar."""
        stream = sys.stderr if wrong else sys.stdout
        if self._bar is None:
            print(line, file=stream)
        else:
            self._bar.write(line, file=stream)
