"""How the subcommands show sizes, statuses, and errors."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..errors import LoraResolverError

__all__ = ["ERROR_FIELDS", "describe", "error_fields", "plain", "size"]

_EXIT_STATUS = """
exit status:
  0    done
  1    something failed; each failure is reported
  2    invalid usage or invalid input
  130  stopped with Ctrl-C; interrupted downloads can be resumed
"""

ERROR_FIELDS = """\
    code          a stable word for programs, such as notFound or loginNeeded
    parameter     the place of the error; empty if there is none
    message       what is wrong
    remedy        what to do
    text          parameter, message, and remedy in one text
"""


def describe(parser: argparse.ArgumentParser, text: str = "") -> None:
    """Adds the fields of `--json` and the exit status to a subcommand's `--help`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n".join(part.strip("\n") + "\n" for part in (text, _EXIT_STATUS) if part)


def error_fields(error: LoraResolverError | None) -> dict[str, Any] | None:
    """An error in the form of the JSON documents."""
    return error.as_dict() | {"text": str(error)} if error is not None else None


def size(count: int | None) -> str:
    """A size such as `2.5 MB`, in units of 1,000, like disks and download pages."""
    if count is None:
        return "size unknown"
    if count < 1000:
        return f"{count} bytes"
    units = ["kB", "MB", "GB", "TB"]
    number = count / 1000
    while number >= 999.95 and len(units) > 1:
        number /= 1000
        del units[0]
    return f"{number:.1f} {units[0]}"


def plain(text: str) -> str:
    """A text from a source or a file, for a terminal: without control characters."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
