"""Merges a stack of LoRAs into the tensors of one LoRA file: exactly, with the ranks stacked, or reduced to a rank.

exact       [B₁ B₂ …] · [A₁; A₂; …] is the sum of all BᵢAᵢ to the bit; kinds without factors become full differences
to a rank   the nearest matrix of that rank (Eckart and Young, 1936), from the factors: with B = Q₁R₁ and Aᵀ = Q₂R₂,
            BA = Q₁(R₁R₂ᵀ)Q₂ᵀ, so only a small matrix needs an SVD. Whole matrices get a randomized SVD
            (Halko et al., 2011)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from ...lora_resolver import Mismatch
from .loaded_model import arriving_weight
from .pieces import pieces_of
from .slices import beside
from .stack import stack_patches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .loaded_model import LoadedWeights
    from .pieces import Piece
    from .stack import WeightedPatches

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}

_OVERSAMPLED, _POWER_STEPS = 16, 3  # of the randomized SVD
_SEED = 0


@dataclass
class Merged:
    """The tensors of the file, and the facts to report about them."""

    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    weights: int = 0
    """How many weights the file changes."""
    rank: int = 0
    """The largest rank."""
    full_differences: int = 0
    """How many weights are saved whole, because an entry's kind has no factors."""
    squared: float = 0.0
    squared_lost: float = 0.0

    @property
    def error(self) -> float:
        """‖Δ − saved‖ / ‖Δ‖ over all weights (Frobenius), from reducing the rank, without rounding to the dtype."""
        return math.sqrt(self.squared_lost / self.squared) if self.squared else 0.0

    def add(self, other: Merged) -> None:
        """Adds the other side of a checkpoint."""
        self.tensors |= other.tensors
        self.weights += other.weights
        self.rank = max(self.rank, other.rank)
        self.full_differences += other.full_differences
        self.squared += other.squared
        self.squared_lost += other.squared_lost


def merge(
    patcher: Any,
    weights: LoadedWeights,
    entries: Sequence[WeightedPatches],
    *,
    rank: int | None,
    dtype: torch.dtype,
    on_weight: Callable[[], None] = lambda: None,
) -> Merged:
    """Merges one side of a checkpoint: `patcher` is its ModelPatcher, before any patch; `rank` None keeps everything.

    `on_weight` is called after each weight and may raise to stop. Raises Mismatch with code `cannotMerge` for a LoRA
    that widens a weight, because a file can't store that.
    """
    stacked = stack_patches(entries)
    stems = file_stems(weights)
    device = (
        patcher.load_device if getattr(patcher.load_device, "type", "") == "cuda" else torch.device("cpu")
    )
    merged = Merged()
    for key, adapter in stacked.items():
        if adapter.calculate_shape(key) is not None:
            raise _widens(key, entries)
        weight, convert = arriving_weight(patcher, key)
        pieces = [_moved(piece, device) for piece in pieces_of(adapter, weight, convert, key)]
        shape = tuple(weights.shapes[key])
        _merge_weight(merged, _name(key, stems), shape, pieces, rank, dtype)
        merged.weights += 1
        on_weight()
    return merged


def file_stems(weights: LoadedWeights) -> dict[str, str]:
    """Weight → the name that most programs use for it.

    UNets and text encoders have kohya's names, `lora_unet_down_blocks_…`. Other models have ComfyUI's own names,
    `diffusion_model.…`.
    """
    is_unet = any(
        stem.startswith(("lora_unet_down_blocks_", "lora_unet_mid_block_")) for stem in weights.key_map
    )
    several_encoders = any(stem.startswith("lora_te2_") for stem in weights.key_map)
    kohya = ("lora_unet_", "lora_te1_" if several_encoders else "lora_te_", "lora_te2_", "lora_te3_")
    stems: dict[str, str] = {}
    for stem, target in weights.key_map.items():
        if not isinstance(target, str):
            continue  # a part of a weight
        own = stem.startswith(("diffusion_model.", "text_encoders."))
        # In ComfyUI's map, the last name of a UNet weight is diffusers' name, which kohya's trainer writes.
        if stem.startswith(kohya) and (is_unet or not stem.startswith("lora_unet_")):
            stems[target] = stem
        elif own and stem.split(".", 1)[1] in target:
            stems.setdefault(target, stem)
    return stems


def _name(key: str, stems: Mapping[str, str]) -> str:
    """The weight's stem. A bias gets the stem of its weight with `.diff_b` appended, or else its own stem."""
    if key in stems and not key.endswith(".bias"):
        return stems[key]
    weight = key.removesuffix(".bias") + ".weight"
    if key.endswith(".bias") and weight in stems:
        return f"{stems[weight]}.diff_b"
    if key in stems:
        return stems[key]
    raise Mismatch(
        f"LoRA files have no key for the weight {key}",
        code="cannotMerge",
        remedy="Remove the LoRA that changes it.",
    )


def _merge_weight(
    merged: Merged,
    name: str,
    shape: tuple[int, ...],
    pieces: Sequence[Piece],
    rank: int | None,
    dtype: torch.dtype,
) -> None:
    whole = [piece.whole for piece in pieces if piece.whole is not None]
    factors = [(piece.up, piece.down) for piece in pieces if piece.up is not None and piece.down is not None]
    if name.endswith(".diff_b") or len(shape) < 2 or (whole and rank is None):
        difference = _sum(whole, factors)
        squared = float(difference.square().sum(dtype=torch.float64))
        suffix = "" if name.endswith(".diff_b") else ".diff"
        merged.tensors[name + suffix] = difference.reshape(shape).to(dtype).cpu().contiguous()
        merged.full_differences += len(shape) > 1
        merged.squared += squared
        return
    if whole:
        up, down, squared, lost = _cut_matrix(_sum(whole, factors), rank or 1)
    else:
        up, down, squared, lost = _cut_factors([_balanced(*each) for each in factors], rank)
    merged.squared += squared
    merged.squared_lost += max(0.0, lost)
    merged.rank = max(merged.rank, up.shape[1])
    kohya = "." not in name
    up_name, down_name = (
        (".lora_up.weight", ".lora_down.weight") if kohya else (".lora_B.weight", ".lora_A.weight")
    )
    ones = [1] * (len(shape) - 2)
    merged.tensors[name + up_name] = up.reshape(shape[0], -1, *ones).to(dtype).cpu().contiguous()
    merged.tensors[name + down_name] = down.reshape(-1, *shape[1:]).to(dtype).cpu().contiguous()
    if kohya:  # the other spelling has no alpha: its scale is 1
        merged.tensors[f"{name}.alpha"] = torch.tensor(float(up.shape[1]))


def _sum(whole: Sequence[torch.Tensor], factors: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    products = [up @ down for up, down in factors]
    total = [*whole, *products][0].clone()
    for each in [*whole, *products][1:]:
        total += each
    return total


def _balanced(up: torch.Tensor, down: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scales both factors to a similar size, so that they stay in fp16's range. A power of two rounds nothing."""
    above, below = float(up.abs().max()), float(down.abs().max())
    if not above or not below:
        return up, down
    shift = 2.0 ** round(math.log2(below / above) / 2)
    return up * shift, down / shift


def _cut_factors(
    factors: Sequence[tuple[torch.Tensor, torch.Tensor]], rank: int | None
) -> tuple[torch.Tensor, torch.Tensor, float, float]:
    """Returns up (out, r), down (r, in), ‖Δ‖², and the part of ‖Δ‖² that is lost."""
    up, down = beside([up for up, _ in factors], 1), beside([down for _, down in factors], 0)
    most = min(len(up), down.shape[1])
    if up.shape[1] <= (most if rank is None else rank):
        return up, down, float(((up.T @ up) * (down @ down.T)).sum(dtype=torch.float64)), 0.0
    rank = min(rank or most, most)
    left, small_left = torch.linalg.qr(up)
    right, small_right = torch.linalg.qr(down.T)
    u, sizes, v = torch.linalg.svd(small_left @ small_right.T, full_matrices=False)
    return _split(left @ u, sizes, v @ right.T, rank, float(sizes.square().sum(dtype=torch.float64)))


def _cut_matrix(delta: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor, float, float]:
    width = min(rank + _OVERSAMPLED, *delta.shape)
    generator = torch.Generator().manual_seed(_SEED)
    sample = delta @ torch.randn(delta.shape[1], width, generator=generator).to(delta.device)
    for _ in range(_POWER_STEPS):
        sample = delta @ torch.linalg.qr(delta.T @ torch.linalg.qr(sample)[0])[0]
    basis = torch.linalg.qr(sample)[0]
    u, sizes, v = torch.linalg.svd(basis.T @ delta, full_matrices=False)
    return _split(basis @ u, sizes, v, rank, float(delta.square().sum(dtype=torch.float64)))


def _split(
    u: torch.Tensor, sizes: torch.Tensor, v: torch.Tensor, rank: int, squared: float
) -> tuple[torch.Tensor, torch.Tensor, float, float]:
    rank = min(rank, len(sizes))
    root = sizes[:rank].sqrt()
    kept = float(sizes[:rank].square().sum(dtype=torch.float64))
    return u[:, :rank] * root, root.unsqueeze(1) * v[:rank], squared, squared - kept


def _moved(piece: Piece, device: torch.device) -> Piece:
    return type(piece)(*(None if part is None else part.to(device) for part in piece))


def _widens(key: str, entries: Sequence[WeightedPatches]) -> Mismatch:
    entry = next((each for each in entries for target in each.patches if target.key == key), entries[0])
    return Mismatch(
        f"{entry.name} widens the weight {key}, which isn't possible in a file with other LoRAs",
        code="cannotMerge",
        parameter=entry.place,
        remedy="Remove it from the array, and apply it in addition to the saved file.",
    )
