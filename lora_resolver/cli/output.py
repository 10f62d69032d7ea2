"""How the sub-commands say sizes, statuses and errors."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..errors import LoraResolverError

__all__ = ["ERROR_FIELDS", "describe", "error_fields", "plain", "size"]

_EXIT_STATUS = """
exit status:
  0    done
  1    something failed; each failure is named
  2    bad usage or bad input
  130  stopped with Ctrl-C; what can be resumed is kept
"""

ERROR_FIELDS = """\
    code          a stable word for programs, such as notFound or loginNeeded
    parameter     where it was written; empty where there is no such place
    message       what is wrong
    remedy        what to do
    text          the three in one sentence
"""


def describe(parser: argparse.ArgumentParser, text: str = "") -> None:
    """Puts the exit status, and before it what `--json` prints, under a sub-command's `--help`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n".join(part.strip("\n") + "\n" for part in (text, _EXIT_STATUS) if part)


def error_fields(error: LoraResolverError | None) -> dict[str, Any] | None:
    """An error as the JSON documents show it."""
    return error.as_dict() | {"text": str(error)} if error is not None else None


def size(count: int | None) -> str:
    """`2.5 MB`; units of 1,000, as disks and download pages count."""
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
    """What a source or a file says, for a terminal: without control characters."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
