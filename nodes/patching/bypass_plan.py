"""Which deltas of an array go beside their layers, and which into their weights, and why.

What has no factors, or belongs to something that is no plain layer, is patched: the sum is the same either way.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import comfy.utils
import torch

from .bypass import Factors, LayerBypass, can_be_bypassed, parts_of
from .kinds import replaces, widened_to
from .slices import part_shape
from .stack import WeightedPatches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .key_mapping import Target

# Why a delta is patched.
NO_FACTORS = "its kind has no factors"
NO_LAYER = "it changes a bias, a norm or another weight that is no linear layer and no convolution"
SORTED = "its outputs are in another order than the layer's"
WIDENED = "another entry widens or replaces the weight"
PART_OF_CONVOLUTION = "it changes a part of a convolution"


@dataclass(frozen=True)
class Plan:
    """For one MODEL or CLIP, whatever the strengths."""

    layers: dict[str, LayerBypass]
    """Path of a layer → what is added to it."""
    rest: tuple[dict[Target, Any], ...]
    """For each entry, in the order of `bypassed`, what is patched."""
    bypassed: tuple[int, ...]
    """For each entry, how many deltas go beside their layers."""
    reasons: tuple[dict[str, int], ...]
    """For each entry, why others do not → how many."""

    def to_patch(self, entries: Sequence[WeightedPatches]) -> list[WeightedPatches]:
        """The same entries with what is left for patching, at their strengths."""
        return [
            WeightedPatches(each.place, each.name, each.sha256, each.strength, patches)
            for each, patches in zip(entries, self.rest)
            if patches
        ]

    def not_patched(self, entries: Sequence[WeightedPatches]) -> list[WeightedPatches]:
        """The same entries with all that goes beside its layer."""
        return [
            WeightedPatches(
                *(each.place, each.name, each.sha256, each.strength),
                {target: value for target, value in each.patches.items() if target not in patches},
            )
            for each, patches in zip(entries, self.rest)
        ]


def plan(model: Any, shapes: Mapping[str, Sequence[int]], entries: Sequence[WeightedPatches]) -> Plan:
    """`model` is what the patcher holds, `shapes` its weights'. Entries come in the order of their SHA-256."""
    whole = {
        target.key
        for entry in entries
        for target, value in entry.patches.items()
        if replaces(value) or widened_to(value) is not None
    }
    factors: dict[str, list[Factors]] = {}
    rest: list[dict[Target, Any]] = []
    bypassed: list[int] = []
    reasons: list[Counter[str]] = []
    for number, entry in enumerate(entries):
        left: dict[Target, Any] = {}
        why: Counter[str] = Counter()
        for target, value in entry.patches.items():
            found = _factors(model, shapes, number, target, value) if target.key not in whole else WIDENED
            if isinstance(found, str):
                left[target] = value
                why[found] += 1
            else:
                factors.setdefault(target.key.removesuffix(".weight"), []).append(found)
        rest.append(left)
        bypassed.append(len(entry.patches) - len(left))
        reasons.append(why)
    return Plan(
        {path: parts_of(own) for path, own in factors.items()},
        tuple(rest),
        tuple(bypassed),
        tuple(dict(each) for each in reasons),
    )


def _factors(
    model: Any, shapes: Mapping[str, Sequence[int]], number: int, target: Target, value: Any
) -> Factors | str:
    """The factors, or why it has to be patched."""
    path, dot, name = target.key.rpartition(".")
    layer = comfy.utils.get_attr(model, path) if dot else None
    if name != "weight" or not can_be_bypassed(layer) or path.endswith("lm_head"):
        return NO_LAYER
    if target.function is not None:
        return SORTED
    is_convolution = len(shapes[target.key]) > 2
    if is_convolution and target.offset is not None:
        return PART_OF_CONVOLUTION
    found = _product(value)
    if found is None:
        return NO_FACTORS
    up, down, scale = found
    shape = part_shape(shapes[target.key], target.offset)
    if up.shape[0] != shape[0] or down[0].numel() != torch.Size(shape[1:]).numel():
        return NO_FACTORS
    return Factors(number, target.offset, up, down.reshape(down.shape[0], *shape[1:]), scale)


def _product(value: Any) -> tuple[torch.Tensor, torch.Tensor, float] | None:
    """(out, rank), (rank, in[, *kernel]) and alpha/rank of a LoRA, a Tucker core in the second; None for others."""
    if getattr(value, "name", "") != "lora":
        return None
    up, down, alpha, core, dora_scale, reshape = value.weights
    if dora_scale is not None or reshape is not None or up.dim() < 2 or down.dim() < 2:
        return None
    scale = float(alpha / down.shape[0]) if alpha is not None else 1.0
    if core is not None:  # (rank, rank, *kernel), and the second factor is of size one
        down = torch.tensordot(core.float(), down.flatten(1).float(), dims=([1], [0])).movedim(-1, 1)
    return up.flatten(1), down, scale
