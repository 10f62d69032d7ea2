"""`inspect`: describes model files from their headers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LoraResolverError
from ..model_file.architecture import detect_architecture, detect_checkpoint
from ..model_file.gguf_header import read_gguf_header
from ..model_file.pickle_header import read_pickle_header
from ..model_file.safetensors_header import read_header
from .output import ERROR_FIELDS, describe, error_fields

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from ..model_file.safetensors_header import SafetensorsHeader

__all__ = ["add_arguments", "run"]

_OF_CHECKPOINTS = {".gguf": read_gguf_header, ".ckpt": read_pickle_header}
_HELP = f"""
--json prints a list with one object for each file:
  file            the file name, as given
  kind            lora, loha, lokr, ...; empty if it isn't a LoRA
  families        the matching model families, such as sdxl or flux1; several if the header matches several
  verdict         known, ambiguous, unknown or not_a_diffusion_lora
  rank            a number; null if there is none, or more than one
  parts           unet, transformer, te1, te2, ...
  metadata        the metadata in the file
  ranks           the smallest and the largest rank
  scale           the origin of the scale: alpha tensors, the metadata, or an assumed value of 1
  notes           further observations; the last one is the verdict as a sentence
  error           null, or why the file couldn't be read:
{ERROR_FIELDS}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `inspect`."""
    describe(parser, _HELP)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="a .safetensors file, or a .gguf or .ckpt checkpoint"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints what each file is. Returns the exit status: 1 if a file couldn't be read."""
    reports = [_inspect(file) for file in arguments.files]
    if arguments.json:
        print(json.dumps(reports, indent=2))
    else:
        for report in reports:
            _print(report)
    return 1 if any(report["error"] for report in reports) else 0


def _inspect(file: str) -> dict[str, Any]:
    reader = _OF_CHECKPOINTS.get(Path(file).suffix.lower())
    if reader is not None:
        return _inspect_checkpoint(file, reader)
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
        ranks=list(found.ranks) if found.ranks else None,
        scale=found.scale,
        parts=list(found.parts),
        metadata=dict(header.metadata),
        notes=[*found.notes, found.sentence],
    )


def _inspect_checkpoint(file: str, reader: Callable[[str], SafetensorsHeader]) -> dict[str, Any]:
    """Reports a file of a kind that checkpoints use, but LoRAs don't."""
    try:
        header = reader(file)
    except LoraResolverError as error:
        return _report(file, error=error)
    found = detect_checkpoint(header)
    return _report(
        file,
        verdict="not_a_diffusion_lora",
        parts=list(found.parts),
        metadata=dict(header.metadata),
        notes=[found.sentence],
    )


def _report(file: str, *, error: LoraResolverError | None = None, **facts: Any) -> dict[str, Any]:
    blank: dict[str, Any] = {
        "kind": "",
        "families": [],
        "verdict": "unknown",
        "rank": None,
        "ranks": None,
        "scale": "",
        "parts": [],
        "metadata": {},
        "notes": [],
    }
    return {
        "file": file,
        **blank,
        **facts,
        "error": error_fields(error),
    }


def _print(report: dict[str, Any]) -> None:
    if report["error"]:
        print(f"{report['file']}: {report['error']['text']}", file=sys.stderr)
        return
    *notes, sentence = report["notes"]
    least, most = report["ranks"] or (None, None)
    rank = f" Rank {least} to {most}." if least != most else f" Rank {least}." if least else ""
    print(f"{report['file']}: {sentence}{rank}")
    if report["scale"]:
        print(f"  - scale: {report['scale']}")
    for note in notes:
        print(f"  - {note}")
