"""The delta of one weight in parts: low-rank factors if the kind has them, otherwise whole matrices."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from comfy.weight_adapter.base import pad_tensor_to_shape

from .kinds import apply_other, grown_shape
from .slices import corner, part_shape, placed_factors


class Piece(NamedTuple):
    """A part of the delta of a weight, flattened to (out, in): up @ down, or `whole` if it has no factors."""

    up: torch.Tensor | None
    down: torch.Tensor | None
    whole: torch.Tensor | None


def pieces_of(adapter: Any, weight: torch.Tensor, convert: Any, key: str) -> list[Piece]:
    """What an adapter adds to its weight, as a list of parts to sum.

    Low-rank slices are padded with rows or columns of zeros, so that they stay low-rank.
    """
    shape = torch.Size(adapter.calculate_shape(key) or weight.shape)
    pieces = []
    for offset, function, low_rank, others in adapter.sections:
        for up, down, strength in low_rank:
            factors = up.flatten(1).float() * strength, down.flatten(1).float()
            if function is None and (offset is None or (offset[0] < 2 and len(shape) == 2)):
                pieces.append(Piece(*placed_factors(factors, shape, offset), None))
                continue
            delta = (factors[0] @ factors[1]).reshape(part_shape(shape, offset))
            pieces.append(_whole(delta if function is None else function(delta), shape, offset))
        if others:
            own_shape = weight.shape
            padded = pad_tensor_to_shape(convert(weight, inplace=False).float(), shape)
            padded = padded if offset is None else padded.narrow(*offset)
            for kind, values, strength in others:
                start = padded if grown_shape(kind, values) is not None else corner(padded, own_shape)
                alone = apply_other(
                    (kind, values), start.clone(), key, strength, function, torch.float32, None
                )
                pieces.append(_whole((alone - start).cpu(), shape, offset))
    return pieces


def _whole(delta: torch.Tensor, shape: torch.Size, offset: tuple[int, int, int] | None) -> Piece:
    if offset is not None:
        placed = delta.new_zeros(shape)
        placed.narrow(*offset).copy_(delta)
        delta = placed
    return Piece(None, None, delta.reshape(delta.shape[0], -1))
