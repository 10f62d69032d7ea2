"""Measures how strong each LoRA of a stack is, and how much each pair competes, without computing full deltas.

For low-rank deltas Δᵢ = Bᵢ·Aᵢ, every inner product comes from small matrices: ⟨Δᵢ, Δⱼ⟩ = Σ (BᵢᵀBⱼ) ∘ (AᵢAⱼᵀ), and so
‖Δ‖² = tr(BᵀB·AAᵀ). With all factors of a weight stacked along the rank, these are two products of size (Σr, Σr). For
kinds without factors (LoHa, LoKr, DoRA, OFT, full differences), the full delta is computed, for one weight at a time.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch

from .loaded_model import arriving_weight, diffusion_weights
from .pieces import pieces_of
from .slices import beside
from .stack import stack_patches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .pieces import Piece
    from .stack import WeightedPatches

LARGEST_WEIGHT = 4.0
"""The largest suggested weight: the limit of a `lora` array."""

_PIECE = 1 << 18

_BLOCK = re.compile(r"(?:diffusion_model\.)?([^.]+(?:\.\d+)?)")


@dataclass(frozen=True)
class Analysis:
    """Measurements of N entries over the blocks of a model, in the order of the entries and of the model.

    Strengths are for the entries' weights, relative to the model's own weights: ‖Δ‖ / ‖W‖ (Frobenius), over all weights
    that any entry changes.
    """

    blocks: tuple[str, ...]
    strengths: tuple[float, ...]
    """Per entry, in total."""
    block_strengths: tuple[tuple[float, ...], ...]
    """Per entry, by block."""
    cosines: tuple[tuple[float, ...], ...]
    """N × N: 1 is the same change, -1 the opposite change, and 0 means that they don't affect each other."""
    common: tuple[tuple[float, ...], ...]
    """N × N: the number of weights that both change, as a share of those that either changes."""
    weights: tuple[int, ...]
    """Per entry, how many weights it changes."""


def analyse(model: Any, entries: Sequence[WeightedPatches]) -> Analysis:
    """Compares the entries' deltas of the MODEL's weights. The weights are those before any patch."""
    order = {key: number for number, key in enumerate(diffusion_weights(model).shapes)}
    patches = [stack_patches([entry]) for entry in entries]
    keys = sorted({key for each in patches for key in each}, key=order.__getitem__)
    count = len(entries)
    grams: dict[str, torch.Tensor] = {}
    norms: dict[str, float] = {}
    for key in keys:
        weight, convert = arriving_weight(model, key)
        present = [number for number in range(count) if key in patches[number]]
        gram = torch.zeros(count, count, dtype=torch.float64)
        there = torch.tensor(present)
        gram[there.unsqueeze(1), there] = _gram(
            [pieces_of(patches[number][key], weight, convert, key) for number in present]
        )
        block = _block_of(key)
        grams[block] = grams[block] + gram if block in grams else gram
        norms[block] = norms.get(block, 0.0) + _squared_norm(model.model, key, weight, convert)
    total = sum(grams.values(), torch.zeros(count, count, dtype=torch.float64))
    changed = [set(each) for each in patches]
    return Analysis(
        blocks=tuple(grams),
        strengths=_relative(total, sum(norms.values())),
        block_strengths=tuple(zip(*(_relative(grams[block], norms[block]) for block in grams)))
        if grams
        else tuple(() for _ in entries),
        cosines=_cosines(total),
        common=tuple(tuple(_share(a & b, a | b) for b in changed) for a in changed),
        weights=tuple(len(each) for each in changed),
    )


def even_weights(strengths: Sequence[float], weights: Sequence[float]) -> tuple[float, ...]:
    """Weights at which each entry is as strong as the geometric mean of all current strengths, rounded to 0.01.

    An entry without effect keeps its weight. For kinds whose delta isn't proportional to the weight (DoRA), this is an
    approximation.
    """
    felt = [strength for strength in strengths if strength > 0]
    mean = math.exp(sum(map(math.log, felt)) / len(felt)) if felt else 0.0
    return tuple(
        _rounded(weight * mean / strength) if strength > 0 else weight
        for strength, weight in zip(strengths, weights)
    )


def _rounded(weight: float) -> float:
    """The rounded weight. It is never 0, which would disable the entry."""
    near = max(-LARGEST_WEIGHT, min(LARGEST_WEIGHT, round(weight, 2)))
    return near if abs(near) >= 0.1 else float(f"{weight:.2g}")


def _block_of(key: str) -> str:
    """`diffusion_model.input_blocks.4.1.proj_in.weight` → `input_blocks.4`."""
    found = _BLOCK.match(key)
    return found[1] if found else key


def _gram(entries: Sequence[list[Piece]]) -> torch.Tensor:
    """(N, N) inner products ⟨Δᵢ, Δⱼ⟩ of one weight, float64."""
    factored = [
        (n, piece.up, piece.down)
        for n, each in enumerate(entries)
        for piece in each
        if piece.up is not None and piece.down is not None
    ]
    full = [(n, piece.whole) for n, each in enumerate(entries) for piece in each if piece.whole is not None]
    gram = torch.zeros(len(entries), len(entries), dtype=torch.float64)
    if factored:
        up = beside([up for _, up, _ in factored], 1)  # (out, Σr)
        down = beside([down for _, _, down in factored], 0)  # (Σr, in)
        products = (up.T @ up).mul_(down @ down.T)  # (Σr, Σr)
        owners = torch.tensor([n for n, each, _ in factored for _ in range(each.shape[1])])
        rows = torch.zeros(len(entries), len(owners)).index_add_(0, owners, products)
        gram.index_add_(1, owners, rows.double())
    for position, (n, whole) in enumerate(full):
        for m, other in full[position:]:
            inner = _inner(whole, other)
            gram[n, m] += inner
            if other is not whole:
                gram[m, n] += inner
        for m, up, down in factored:
            height, width = min(len(whole), len(up)), min(whole.shape[1], down.shape[1])
            inner = float(((up[:height].T @ whole[:height, :width]) * down[:, :width]).sum())
            gram[n, m] += inner
            gram[m, n] += inner
    return gram


def _inner(first: torch.Tensor, second: torch.Tensor) -> float:
    """The inner product over the part that both cover: a LoRA can widen a weight, which the other may not do."""
    rows, columns = min(len(first), len(second)), min(first.shape[1], second.shape[1])
    return float((first[:rows, :columns] * second[:rows, :columns]).sum())


# Kept per model: a checkpoint's weights don't change, and reading all of them takes longer than everything else.
_norms: WeakKeyDictionary[torch.nn.Module, dict[str, float]] = WeakKeyDictionary()


def _squared_norm(module: torch.nn.Module, key: str, weight: torch.Tensor, convert: Any) -> float:
    known = _norms.setdefault(module, {})
    if key not in known:
        # In pieces, because one fp32 sum over tens of millions of squares has an error of some thousandths.
        pieces = convert(weight, inplace=False).flatten().split(_PIECE)
        known[key] = sum(float(torch.dot(each, each)) for each in (piece.float() for piece in pieces))
    return known[key]


def _relative(gram: torch.Tensor, squared_norm: float) -> tuple[float, ...]:
    if not squared_norm:
        return (0.0,) * len(gram)
    return tuple((gram.diagonal().clamp_min(0) / squared_norm).sqrt().tolist())


def _cosines(gram: torch.Tensor) -> tuple[tuple[float, ...], ...]:
    sizes = gram.diagonal().clamp_min(0).sqrt()
    scale = sizes.unsqueeze(1) * sizes
    cosines = torch.where(scale > 0, gram / scale.clamp_min(torch.finfo(scale.dtype).tiny), 0.0).clamp(-1, 1)
    return tuple(map(tuple, cosines.tolist()))


def _share(both: set[str], either: set[str]) -> float:
    return len(both) / len(either) if either else 0.0
