"""`resolve`: finds or downloads a verified file for each identifier."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput, LoraResolverError
from ..identifiers import parse_identifier
from ..settings.settings_file import user_config
from .bars import Bars
from .output import ERROR_FIELDS, describe, error_fields, plain

if TYPE_CHECKING:
    import argparse

    from ..identifiers import Identifier
    from ..records import ResolvedLora

__all__ = ["add_arguments", "run"]

_HELP = f"""
--json prints a list with one object for each identifier:
  identifier      the canonical identifier
  path            full path of the file; null if it isn't available
  sha256          of the file
  size            in bytes
  source          where it came from: civitai, huggingface, local, ...
  downloaded      true if this command downloaded it
  architecture    the matching model families, as `inspect` reports them
  trigger_words   the author's trigger words, or words in the captions of all training pictures
  error           null, or why it isn't available:
{ERROR_FIELDS}\
and, with a shared store (AIR_LORA_STORE):
  from_store      true if it came from the shared store
  warnings        problems that didn't stop the command, such as an unreachable shared store
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `resolve`."""
    describe(parser, _HELP)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "identifiers", metavar="IDENTIFIER", nargs="+", help="for example, civitai:120096@135931"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints where each file is. Returns the exit status: 2 for invalid input, 1 if a file isn't available."""
    parsed = [_parse(text) for text in arguments.identifiers]
    identifiers = [each for each in parsed if not isinstance(each, dict)]
    reports = [each for each in parsed if isinstance(each, dict)]
    bad_input = bool(reports)
    reports += _resolve(identifiers)
    if arguments.json:
        print(json.dumps(reports, indent=2))
    else:
        for report in reports:
            _print(report)
    return 2 if bad_input else 1 if any(report["error"] for report in reports) else 0


def _parse(text: str) -> Identifier | dict[str, Any]:
    """The identifier, or the report about why it is invalid."""
    try:
        return parse_identifier(text)
    except InvalidInput as error:
        return _report(text, error=error)


def _resolve(identifiers: list[Identifier]) -> list[dict[str, Any]]:
    if not identifiers:
        return []
    from ..resolver import Resolver  # needs an HTTP client, which invalid input doesn't need

    config = user_config()
    with Bars() as bars:
        outcomes = Resolver(config).resolve_each(identifiers, on_progress=bars)
    reports = [
        _report(str(identifier), error=outcome)
        if isinstance(outcome, LoraResolverError)
        else _report(str(identifier), outcome)
        for identifier, outcome in zip(identifiers, outcomes)
    ]
    if config.store:
        for report, outcome in zip(reports, outcomes):
            lora = None if isinstance(outcome, LoraResolverError) else outcome
            report["from_store"] = lora.from_store if lora else False
            report["warnings"] = list(lora.warnings) if lora else []
    return reports


def _report(
    identifier: str, lora: ResolvedLora | None = None, *, error: LoraResolverError | None = None
) -> dict[str, Any]:
    return {
        "identifier": identifier,
        "path": str(lora.path) if lora else None,
        "sha256": lora.sha256 if lora else None,
        "size": lora.size if lora else None,
        "source": lora.source if lora else None,
        "downloaded": lora.downloaded if lora else False,
        "architecture": list(lora.architecture.families) if lora else [],
        "trigger_words": list(lora.trigger_words) if lora else [],
        "error": error_fields(error),
    }


def _print(report: dict[str, Any]) -> None:
    if report["error"]:
        print(f"{report['identifier']}: {report['error']['text']}", file=sys.stderr)
        return
    print(report["path"])
    print(f"  {report['identifier']}, {report['size']:,} bytes, sha256 {report['sha256']}")
    print(f"  for {', '.join(report['architecture']) or 'an unknown architecture'}", end="")
    words = plain(", ".join(report["trigger_words"]))
    print(f"; trigger words: {words}" if words else "")
