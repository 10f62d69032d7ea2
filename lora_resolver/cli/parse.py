"""`parse`: prints the entries of a `lora` array in canonical form, or all of its errors."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from ..array.lora_array import LoraEntry, format_lora_array, parse_lora_array
from ..errors import InvalidInput, InvalidLoraArray
from ..workflows.named_loras import text_of
from .output import describe
from .reading import open_argument

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from ..errors import LoraResolverError

__all__ = ["add_arguments", "run"]

_HELP = """
--json prints one object:
  entries  the entries of the array, in order; empty if there are errors
    model         the canonical identifier
    weight        for the diffusion model, -4 to 4
    clip_weight   for the text encoders
    enabled       false if the entry is disabled
    transformer   "high", "low", or "both"
    schedule      weight, start, end, hold, count; only if the entry has a schedule
    blocks        only if the entry has block weights
  errors   everything that is wrong with the array
    code          a stable word for programs
    parameter     the place of the error, such as lora[1].weight
    message       what is wrong
    remedy        what to do
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `parse`."""
    describe(parser, _HELP)
    parser.add_argument("--json", action="store_true", help="print one JSON document with entries and errors")
    parser.add_argument(
        "source",
        metavar="TEXT|FILE|-",
        help="the array itself, a file that contains it, or - for standard input",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the array. Returns the exit status: 2 if the array is invalid. In that case, no entry is printed."""
    entries: tuple[LoraEntry, ...] = ()
    errors: Sequence[LoraResolverError] = ()
    try:
        entries = _read(arguments.source)
    except InvalidLoraArray as error:
        errors = error.errors
    except InvalidInput as error:
        errors = [error.at("lora")]
    if arguments.json:
        document = {
            "entries": [entry.facts() for entry in entries],
            "errors": [error.as_dict() for error in errors],
        }
        print(json.dumps(document, indent=2))
    elif errors:
        print(*errors, sep="\n", file=sys.stderr)
    else:
        print(format_lora_array(entries))
    return 2 if errors else 0


def _read(source: str) -> tuple[LoraEntry, ...]:
    with open_argument(source) as content:
        return parse_lora_array(content if isinstance(content, str) else text_of(content))
