"""Parts of weights: their positions, shapes, and contents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

Shape = tuple[int, ...]

Offset = tuple[int, int, int]
"""(dimension, start, length) of a part of a weight."""


def corner(weight: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """The part of a padded weight that existed before the padding: at most `shape` in each dimension."""
    for dimension, size in enumerate(shape):
        if size < weight.shape[dimension]:
            weight = weight.narrow(dimension, 0, size)
    return weight


def overlap(first: Offset | None, second: Offset | None) -> bool:
    """Whether two parts of a weight overlap; None is the whole weight."""
    if first is None or second is None or first[0] != second[0]:
        return True
    return first[1] < second[1] + second[2] and second[1] < first[1] + first[2]


def part_of(weight: torch.Tensor, offset: Offset | None) -> torch.Tensor:
    """A view of the part; None is the whole weight."""
    return weight if offset is None else weight.narrow(*offset)


def part_shape(shape: Sequence[int], offset: Offset | None) -> Shape:
    """The shape of a part of a weight, (dimension, start, length); None is the whole weight."""
    if offset is None:
        return tuple(shape)
    dimension, _start, length = offset
    return (*shape[:dimension], length, *shape[dimension + 1 :])


def placed_factors(
    factors: tuple[torch.Tensor, torch.Tensor], shape: torch.Size, offset: Offset | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pads the factors of a part with rows or columns of zeros, so that they fit the whole weight."""
    up, down = factors
    if offset is None:
        return up, down
    dimension, start, length = offset
    if dimension == 0:
        whole = up.new_zeros(shape[0], up.shape[1])
        whole[start : start + length] = up
        return whole, down
    whole = down.new_zeros(down.shape[0], shape[1])
    whole[:, start : start + length] = down
    return up, whole


def beside(factors: list[Any], dimension: int) -> torch.Tensor:
    """Concatenates the factors along the rank. Shorter ones are padded with zeros."""
    longest = max(each.shape[1 - dimension] for each in factors)
    filled = []
    for each in factors:
        missing = longest - each.shape[1 - dimension]
        padding = (0, 0, 0, missing) if dimension == 1 else (0, missing)
        filled.append(torch.nn.functional.pad(each, padding) if missing else each)
    return torch.cat(filled, dimension)
