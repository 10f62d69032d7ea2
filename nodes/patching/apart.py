"""Splits a file's fused projections (`…to_qkv`) for a model with separate q, k and v: by the rows of the up factor.

`name_index` handles the opposite case: separate q, k and v in a file, for the rows of a model's fused weight.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .modules import Module

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

_FUSED = re.compile(r"(?P<before>.*?)(?P<letters>qkv|kv)(?P<after>_proj|)")
_BY_ROWS = ("up", "diff", "dora_scale")
_WHOLE = ("down", "alpha")


def parts_of_fused(module: Module, rows_of: Callable[[str], int | None]) -> list[tuple[str, Module]] | None:
    """For each projection, its name as a separate module, and its part of this module, which keeps this module's name.

    Returns None if this isn't a fused module, or if the model's weights don't have as many outputs together. `rows_of`
    returns the number of outputs of the weight with this name, or None if there is no such weight. Low-rank factors,
    magnitudes of outputs, and differences are split by rows. Other kinds aren't split.
    """
    fused = _FUSED.fullmatch(module.stem)
    if fused is None or not module.tensors.keys() <= {*_BY_ROWS, *_WHOLE}:
        return None
    stems = [f"{fused['before']}{letter}{fused['after']}" for letter in fused["letters"]]
    lengths = [rows_of(stem) for stem in stems]
    if None in lengths:
        return None
    rows = [length for length in lengths if length is not None]
    by_rows = {role: named for role, named in module.tensors.items() if role in _BY_ROWS}
    if not by_rows or any(not _has_rows(tensor, sum(rows)) for _, tensor in by_rows.values()):
        return None
    parts = [(stem, Module(module.stem, dict(module.tensors))) for stem in stems]
    for role, (name, tensor) in by_rows.items():
        for (_, part), slice_ in zip(parts, tensor.split(rows)):
            part.tensors[role] = name, slice_
    return parts


def _has_rows(tensor: torch.Tensor, count: int) -> bool:
    return bool(tensor.dim() > 0 and tensor.shape[0] == count)
