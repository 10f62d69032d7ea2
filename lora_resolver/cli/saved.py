"""`saved`: prints the LoRAs that pictures, videos, and workflows were made with."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from ..array.lora_array import LoraEntry, format_lora_array
from ..errors import InvalidInput
from .output import ERROR_FIELDS, describe, error_fields
from .reading import named_in

if TYPE_CHECKING:
    import argparse


__all__ = ["add_arguments", "run"]

_HELP = f"""
--json prints a list with one object for each file:
  file            the file name, as given
  entries         the LoRAs that it was made with, as entries of a lora array, with two more fields:
    sha256        of the LoRA file that was used; empty if the picture doesn't contain it
    autov2        the first ten digits of sha256, as CivitAI shows them
  errors          what couldn't be read:
{ERROR_FIELDS}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `saved`."""
    describe(parser, _HELP)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="an image, video, audio file, or workflow saved by ComfyUI; - for standard input",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints an array for each file. Returns the exit status: 1 if something couldn't be read."""
    reports = [_read(file) for file in arguments.files]
    if arguments.json:
        shown = [{key: report[key] for key in ("file", "entries", "errors")} for report in reports]
        print(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        for report in reports:
            _print(report, several=len(reports) > 1)
    return 1 if any(report["errors"] for report in reports) else 0


def _read(file: str) -> dict[str, Any]:
    named = named_in(file)
    entries: list[LoraEntry] = []
    facts: list[dict[str, Any]] = []
    errors = list(named.errors)
    for each in named.loras:
        try:
            entry = each.entry()
        except InvalidInput as error:  # another loader's weight, outside the range of an array
            errors.append(error.at(each.place))
            continue
        entries.append(entry)
        facts.append({**entry.facts(), "sha256": each.sha256, "autov2": each.sha256[:10]})
    return {
        "file": file,
        "entries": facts,
        "errors": [error_fields(error) for error in errors],
        "array": format_lora_array(entries),
    }


def _print(report: dict[str, Any], *, several: bool) -> None:
    for error in report["errors"]:
        print(error["text"], file=sys.stderr)
    if several:
        print(f"{report['file']}:")
    if report["entries"] or not report["errors"]:
        print(report["array"])
