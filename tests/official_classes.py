"""The weights of the models' official classes, by name and size: `tests/data/official_classes.json.gz`.

The classes of ComfyUI 0.33.0 and diffusers 0.42.1, built at the published sizes on the meta device: matrices and
convolutions. An object by class name: `family` (empty for models that the table deliberately has no row for), and
`weights`, a list of [shared, rest, shape], where the first `shared` characters of the name are those of the previous
name.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).parent / "data" / "official_classes.json.gz"


@dataclass(frozen=True)
class OfficialClass:
    """One class at one size: `source` is "ComfyUI" or "diffusers"."""

    name: str
    family: str
    weights: dict[str, tuple[int, ...]]

    @property
    def source(self) -> str:
        return self.name.partition(":")[0]


@cache
def official_classes() -> tuple[OfficialClass, ...]:
    """All classes."""
    found = []
    for name, entry in json.loads(gzip.decompress(FILE.read_bytes())).items():
        weights, last = {}, ""
        for shared, rest, shape in entry["weights"]:
            last = last[:shared] + rest
            weights[last] = tuple(shape)
        found.append(OfficialClass(name, entry["family"], weights))
    return tuple(found)
