"""A file's fused projections (`…to_qkv`), for a model that keeps q, k and v apart: rows of the first factor.

The other way round, q of a file for the rows of a model's fused weight, is for `name_index` to know.
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
    """For each projection, the name that it would have alone and its part of the module, which keeps its own name.

    None where this is no fused module, or the model's weights have not as many outputs as it. `rows_of` gives those of
    the weight for a name, None where there is none. Low-rank factors, magnitudes of outputs and differences are taken
    apart by rows; other kinds are left as they are.
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
