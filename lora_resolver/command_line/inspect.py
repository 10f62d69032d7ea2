"""`inspect`: what a .safetensors file is, from its header alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..architecture import detect_architecture
from ..errors import LoraResolverError
from ..safetensors_header import read_header

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `inspect`."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("files", metavar="FILE", nargs="+", help="a .safetensors file")


def run(arguments: argparse.Namespace) -> int:
    """Print what each file is. Returns the exit status: 1 where one could not be read."""
    reports = [_inspect(file) for file in arguments.files]
    if arguments.json:
        print(json.dumps(reports, indent=2))
    else:
        for report in reports:
            _print(report)
    return 1 if any(report["error"] for report in reports) else 0


def _inspect(file: str) -> dict[str, Any]:
    try:
        header = read_header(Path(file))
    except LoraResolverError as error:
        return _report(file, error=error)
    found = detect_architecture(header)
    return _report(
        file,
        kind=found.kind,
        families=list(found.families),
        verdict=found.verdict,
        rank=found.rank,
        parts=list(found.parts),
        metadata=dict(header.metadata),
        notes=[*found.notes, found.sentence],
    )


def _report(file: str, *, error: LoraResolverError | None = None, **facts: Any) -> dict[str, Any]:
    blank: dict[str, Any] = {
        "kind": "",
        "families": [],
        "verdict": "unknown",
        "rank": None,
        "parts": [],
        "metadata": {},
        "notes": [],
    }
    return {
        "file": file,
        **blank,
        **facts,
        "error": error.as_dict() | {"text": str(error)} if error else None,
    }


def _print(report: dict[str, Any]) -> None:
    if report["error"]:
        print(f"{report['file']}: {report['error']['text']}", file=sys.stderr)
        return
    *notes, sentence = report["notes"]
    rank = f" Rank {report['rank']}." if report["rank"] else ""
    print(f"{report['file']}: {sentence}{rank}")
    for note in notes:
        print(f"  - {note}")
