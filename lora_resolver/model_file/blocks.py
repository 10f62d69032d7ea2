"""Finds a model's rows of blocks by its tensor names, as in ComfyUI's checkpoints."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["block_rows"]

_BLOCK = re.compile(r"(?:(?:model\.)?diffusion_model\.)?([a-z_]*(?:blocks?|layers|refiner))\.([0-9]{1,4})\.")

# The first word of a row's name → its order: 0 is before all other rows, 2 is after them.
_ORDER = {"input": 0, "noise": 0, "context": 0, "ref": 0, "double": 0, "joint": 0, "single": 2, "output": 2}


def block_rows(names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Name of a row of blocks → the blocks' numbers, in the order in which data passes through the rows."""
    found: dict[str, set[int]] = {}
    for name in names:
        match = _BLOCK.match(name)
        if match:
            found.setdefault(match[1], set()).add(int(match[2]))
    order = sorted(found, key=lambda row: (_ORDER.get(row.partition("_")[0], 1), row))
    return {row: tuple(sorted(found[row])) for row in order}
