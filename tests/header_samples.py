"""Headers of real and synthetic LoRA files, with their labels: `tests/data/lora_headers.json.gz`.

A list of objects: `arch` is the true family, `synthetic` marks those made from model code, `completeness` says whether
all tensors are included, and `source` is where the facts come from. `tensors` is a list of [shared, rest, dtype,
shape]: the first `shared` characters of the name are those of the previous name. dtype and shape are null if only the
name is known.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lora_resolver import SafetensorsHeader, TensorInfo

FILE = Path(__file__).parent / "data" / "lora_headers.json.gz"

# For these, the label is what the file was trained on, but the file isn't a LoRA.
NO_LORA = {"mosael_sd15_embedding"}


@dataclass(frozen=True)
class Sample:
    """One header."""

    name: str
    arch: str
    synthetic: bool
    completeness: str
    header: SafetensorsHeader

    @property
    def has_shapes(self) -> bool:
        """Whether shapes are known. Names alone carry less information."""
        return any(info.shape for info in self.header.tensors.values())

    @property
    def is_whole(self) -> bool:
        return self.completeness.startswith("full")

    @property
    def group(self) -> str:
        """How complete the information is: "synthetic", "names only", "real, in part", "real, whole"."""
        if self.synthetic:
            return "synthetic"
        if not self.has_shapes:
            return "names only"
        return "real, whole" if self.is_whole else "real, in part"

    @property
    def is_lora(self) -> bool:
        return self.arch != "not_diffusion" and self.name not in NO_LORA

    @property
    def is_settled(self) -> bool:
        """False if the label says that the family could not be determined."""
        return self.is_lora and "unknown" not in self.arch


@cache
def samples() -> tuple[Sample, ...]:
    """All samples, sorted by name."""
    return tuple(_sample(entry) for entry in json.loads(gzip.decompress(FILE.read_bytes())))


def _sample(entry: dict) -> Sample:
    tensors, name = {}, ""
    for shared, rest, dtype, shape in entry["tensors"]:
        name = name[:shared] + rest
        tensors[name] = TensorInfo(dtype or "", tuple(shape or ()), 0, 0)
    metadata = {key: str(value) for key, value in entry["metadata"].items()}
    header = SafetensorsHeader(tensors, metadata, 0, 0)
    return Sample(entry["name"], entry["arch"], entry["synthetic"], entry["completeness"], header)


def verdict_on(sample: Sample) -> str:
    """ "right", "right among several", "unknown" or "wrong"."""
    from lora_resolver import detect_architecture

    found = detect_architecture(sample.header)
    if not sample.is_lora:
        return "right" if found.verdict == "not_a_diffusion_lora" else "wrong"
    if found.verdict == "not_a_diffusion_lora":
        return "wrong"
    if found.verdict == "unknown":
        return "unknown"
    if sample.is_settled and sample.arch not in found.families:
        return "wrong"
    return "right" if len(found.families) == 1 else "right among several"
