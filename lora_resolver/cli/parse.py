"""`parse`: the entries of a `lora` array in canonical form, or everything that is wrong with it."""

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
  entries  of the array, in its order; none where there are errors
    model         the identifier in canonical spelling
    weight        on the diffusion model, -4 to 4
    clip_weight   on the text encoders
    enabled       false: the entry is left out
    transformer   "high", "low" or "both"
    schedule      where it has one: weight, start, end, hold, count
    blocks        where it has them
  errors   everything that is wrong with it
    code          a stable word for programs
    parameter     the place, such as lora[1].weight
    message       what is wrong
    remedy        what to do
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `parse`."""
    describe(parser, _HELP)
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
