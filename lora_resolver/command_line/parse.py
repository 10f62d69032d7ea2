"""`parse`: the entries of a `lora` array in canonical form, or everything that is wrong with it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..errors import InvalidInput, InvalidLoraArray, LoraResolverError
from ..lenient_json import MAX_CHARACTERS
from ..lora_array import LoraEntry, format_lora_array, parse_lora_array
from ..wording import quoted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["add_arguments", "run"]

_FILE_ENDINGS = (".json", ".jsonc", ".json5", ".txt")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `parse`."""
    parser.add_argument("--json", action="store_true", help="print one JSON document with entries and errors")
    parser.add_argument(
        "source",
        metavar="TEXT|FILE|-",
        help="the array itself, a file that holds it, or - for standard input",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the array. Returns the exit status: 2 where it is not one, and then no entry is printed."""
    entries: tuple[LoraEntry, ...] = ()
    errors: Sequence[LoraResolverError] = ()
    try:
        entries = parse_lora_array(_text_of(arguments.source))
    except InvalidLoraArray as error:
        errors = error.errors
    except InvalidInput as error:
        errors = [error]
    if arguments.json:
        document = {
            "entries": [_as_dict(entry) for entry in entries],
            "errors": [error.as_dict() for error in errors],
        }
        print(json.dumps(document, indent=2))
    elif errors:
        print(*errors, sep="\n", file=sys.stderr)
    else:
        print(format_lora_array(entries))
    return 2 if errors else 0


def _as_dict(entry: LoraEntry) -> dict[str, object]:
    return {
        "model": str(entry.identifier),
        "weight": entry.weight,
        "clip_weight": entry.clip_weight,
        "enabled": entry.enabled,
        "transformer": entry.transformer,
    }


def _text_of(source: str) -> str:
    """`source` itself, or what the file of that name or standard input holds."""
    if source == "-":
        return _decoded(sys.stdin.buffer)
    if not source.strip() or source.lstrip().startswith(("[", "{", '"', "/*", "//")):
        return source
    path = Path(source)
    try:
        is_there = path.exists()
    except (OSError, ValueError):  # too long for a file's name, or a NUL in it
        is_there = False
    if not is_there:
        if source.endswith(_FILE_ENDINGS):
            raise _unreadable(f"there is no file {quoted(source)}", "Check its name and folder.")
        return source
    try:
        with path.open("rb") as stream:
            return _decoded(stream)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise _unreadable(
            f"{quoted(source)} cannot be read: {reason}", "Name a file that you may read."
        ) from None


def _decoded(stream: BinaryIO) -> str:
    data = stream.read(MAX_CHARACTERS + 1)
    if len(data) > MAX_CHARACTERS:
        raise _unreadable(f"there are more than {MAX_CHARACTERS:,} bytes", "A lora array is far smaller.")
    # PowerShell's `>` writes UTF-16 and begins it with a byte order mark.
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise _unreadable(f"byte {error.start} is not {encoding.upper()} text", "Save it as UTF-8.") from None


def _unreadable(message: str, remedy: str) -> InvalidInput:
    return InvalidInput(message, code="unreadableInput", parameter="lora", remedy=remedy)
