"""`resolve`: each identifier to a verified file, found on disk or downloaded."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput, LoraResolverError
from ..identifiers import parse_identifier
from ..settings_file import user_config

if TYPE_CHECKING:
    import argparse

    from ..config import ResolverConfig
    from ..identifiers import Identifier
    from ..records import Progress, ResolvedLora
    from ..resolver import Resolver

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `resolve`."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("identifiers", metavar="IDENTIFIER", nargs="+", help="such as civitai:120096@135931")


def run(arguments: argparse.Namespace) -> int:
    """Print where each file is. Returns the exit status: 2 for bad input, 1 where one could not be had."""
    parsed = [_parse(text) for text in arguments.identifiers]
    identifiers = [each for each in parsed if not isinstance(each, dict)]
    reports = [each for each in parsed if isinstance(each, dict)]
    bad_input = bool(reports)
    try:
        config = user_config()
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    reports += _resolve(identifiers, config, with_bar=not arguments.json)
    if arguments.json:
        print(json.dumps(reports, indent=2))
    else:
        for report in reports:
            _print(report)
    return 2 if bad_input else 1 if any(report["error"] for report in reports) else 0


def _parse(text: str) -> Identifier | dict[str, Any]:
    """The identifier, or the report that says why it is none."""
    try:
        return parse_identifier(text)
    except InvalidInput as error:
        return _report(text, error=error)


def _resolve_one(resolver: Resolver, identifier: Identifier, bar: _Bars | None) -> dict[str, Any]:
    try:
        return _report(str(identifier), resolver.resolve(identifier, on_progress=bar))
    except LoraResolverError as error:
        return _report(str(identifier), error=error)


def _resolve(
    identifiers: list[Identifier], config: ResolverConfig, *, with_bar: bool
) -> list[dict[str, Any]]:
    from ..resolver import Resolver  # it needs an HTTP client, which bad input does not

    bar = _Bars() if with_bar and sys.stderr.isatty() else None
    resolver = Resolver(config)
    try:
        found = resolver.resolve_all(identifiers, on_progress=bar)
        return [_report(str(lora.identifier), lora) for lora in found]
    except LoraResolverError:
        # One failure must not hide the files that were found: each is on disk by now, so this costs no network.
        return [_resolve_one(resolver, identifier, bar) for identifier in identifiers]
    finally:
        if bar is not None:
            bar.close()


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
        "error": error.as_dict() | {"text": str(error)} if error else None,
    }


def _print(report: dict[str, Any]) -> None:
    if report["error"]:
        print(f"{report['identifier']}: {report['error']['text']}", file=sys.stderr)
        return
    print(report["path"])
    print(f"  {report['identifier']}, {report['size']:,} bytes, sha256 {report['sha256']}")
    print(f"  for {', '.join(report['architecture']) or 'an unknown architecture'}", end="")
    words = ", ".join(report["trigger_words"])
    print(f"; trigger words: {words}" if words else "")


class _Bars:
    """One bar for each file on the terminal."""

    def __init__(self) -> None:
        self._bars: dict[Identifier, Any] = {}

    def __call__(self, progress: Progress) -> None:
        if progress.phase != "download":
            return
        from tqdm import tqdm

        bar = self._bars.get(progress.identifier)
        if bar is None:
            bar = tqdm(total=progress.total, unit="B", unit_scale=True, desc=progress.file_name[:40])
            self._bars[progress.identifier] = bar
        bar.n = progress.done
        bar.refresh()

    def close(self) -> None:
        """Leaves the bars as they are, and the cursor below them."""
        for bar in self._bars.values():
            bar.close()
