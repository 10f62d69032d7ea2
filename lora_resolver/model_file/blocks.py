"""The rows of blocks that a model has, by the names of its tensors as ComfyUI's checkpoints have them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["block_rows"]

_BLOCK = re.compile(r"(?:(?:model\.)?diffusion_model\.)?([a-z_]*(?:blocks?|layers|refiner))\.([0-9]{1,4})\.")

# By the first word of a row's name: what comes before and after all others.
_ORDER = {"input": 0, "noise": 0, "context": 0, "ref": 0, "double": 0, "joint": 0, "single": 2, "output": 2}


def block_rows(names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Name of a row of blocks → their numbers, in the order in which data goes through them."""
    found: dict[str, set[int]] = {}
    for name in names:
        match = _BLOCK.match(name)
        if match:
            found.setdefault(match[1], set()).add(int(match[2]))
    order = sorted(found, key=lambda row: (_ORDER.get(row.partition("_")[0], 1), row))
    return {row: tuple(sorted(found[row])) for row in order}
