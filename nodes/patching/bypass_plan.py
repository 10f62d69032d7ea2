"""Decides which deltas of an array are bypassed, which are patched into the weights, and why.

A delta is patched if it has no factors, or if its weight doesn't belong to a plain layer. The sum is the same in both
cases.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import comfy.utils
import torch

from .bypass_layers import Factors, KroneckerFactors, LayerBypass, can_be_bypassed, parts_of
from .kinds import replaces, widened_to
from .slices import part_shape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .key_mapping import Target
    from .slices import Offset
    from .stack import WeightedPatches

# The reasons why a delta is patched.
NO_FACTORS = "this type of LoRA has no factors"
NO_LAYER = "it changes a bias, a norm, or another weight that isn't a linear or convolution layer"
SORTED = "its outputs aren't in the layer's order"
WIDENED = "another entry widens or replaces the weight"
PART_OF_CONVOLUTION = "it changes part of a convolution"
READ_DIRECTLY = "the model reads the weight directly instead of calling the layer"
LARGE_FACTORS = "its Kronecker factors would need more than a quarter of the layer's own operations"
GROUPED = "it's a Kronecker product on a grouped convolution"

_CHEAP = 0.25
"""A LoKr is bypassed up to this number of multiplications, as a share of the layer's own."""


@dataclass(frozen=True)
class Plan:
    """The plan for one MODEL or CLIP. It doesn't depend on the strengths."""

    layers: dict[str, LayerBypass]
    """Path of a layer → what is added to its output."""
    rest: tuple[dict[Target, Any], ...]
    """For each entry, in the order of `bypassed`, what is patched."""
    bypassed: tuple[int, ...]
    """For each entry, how many deltas are bypassed."""
    reasons: tuple[dict[str, int], ...]
    """For each entry, reason → how many deltas are patched for it."""

    def to_patch(self, entries: Sequence[WeightedPatches]) -> list[WeightedPatches]:
        """The same entries at their strengths, with only the deltas that are patched."""
        return [each.only(patches) for each, patches in zip(entries, self.rest) if patches]

    def not_patched(self, entries: Sequence[WeightedPatches]) -> list[WeightedPatches]:
        """The same entries, with only the deltas that are bypassed."""
        return [
            each.only({target: value for target, value in each.patches.items() if target not in patches})
            for each, patches in zip(entries, self.rest)
        ]


def plan(
    model: Any,
    shapes: Mapping[str, Sequence[int]],
    entries: Sequence[WeightedPatches],
    beside: Sequence[bool] | None = None,
) -> Plan:
    """Makes the plan for a patcher's `model` with weights of these shapes. Entries are sorted by their identity.

    `beside` says for each entry whether it may be bypassed; None means that all may.
    """
    whole = {
        target.key
        for entry in entries
        for target, value in entry.patches.items()
        if replaces(value) or widened_to(value) is not None
    }
    factors: dict[str, list[Factors | KroneckerFactors]] = {}
    rest: list[dict[Target, Any]] = []
    bypassed: list[int] = []
    reasons: list[Counter[str]] = []
    for number, entry in enumerate(entries):
        left: dict[Target, Any] = {}
        why: Counter[str] = Counter()
        for target, value in entry.patches.items():
            if beside is not None and not beside[number]:
                left[target] = value
                continue
            found = _factors(model, shapes, number, target, value) if target.key not in whole else WIDENED
            if isinstance(found, str):
                left[target] = value
                why[found] += 1
            else:
                factor = entry.factors.get(target.key, 1.0)
                own = factors.setdefault(target.key.removesuffix(".weight"), [])
                own.append(dataclasses.replace(found, scale=found.scale * factor) if factor != 1 else found)
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
) -> Factors | KroneckerFactors | str:
    """The factors, or the reason why the delta must be patched."""
    path, dot, name = target.key.rpartition(".")
    layer = comfy.utils.get_attr(model, path) if dot else None
    if name != "weight" or not can_be_bypassed(layer) or path.endswith("lm_head"):
        return NO_LAYER
    if _is_read_directly(layer, path):
        return READ_DIRECTLY
    if target.function is not None:
        return SORTED
    is_convolution = len(shapes[target.key]) > 2
    if is_convolution and target.offset is not None:
        return PART_OF_CONVOLUTION
    shape = part_shape(shapes[target.key], target.offset)
    if getattr(value, "name", "") == "lokr":
        if getattr(layer, "groups", 1) != 1:
            return GROUPED
        return _kronecker(number, target.offset, shape, value)
    found = _product(value)
    if found is None:
        return NO_FACTORS
    up, down, scale = found
    if up.shape[0] != shape[0] or down[0].numel() != torch.Size(shape[1:]).numel():
        return NO_FACTORS
    return Factors(number, target.offset, up, down.reshape(down.shape[0], *shape[1:]), scale)


_READ_DIRECTLY = (".ffn.2", ".net.2", ".fc2", ".down_proj")


def _is_read_directly(layer: Any, path: str) -> bool:
    """Whether the model's code reads the layer's weight directly: newer ComfyUI's `ops.linear_input_act`, for int8."""
    if path.endswith(".conv1d"):  # Qwen 3.5, while it generates
        return True
    weight = getattr(layer, "weight", None)
    return getattr(weight, "_layout_cls", None) == "TensorWiseINT8Layout" and path.endswith(_READ_DIRECTLY)


def _kronecker(
    number: int, offset: Offset | None, shape: Sequence[int], value: Any
) -> KroneckerFactors | str:
    """The factors of a LoKr for a weight of this shape, or the reason why it must be patched."""
    w1, w2, alpha, w1_a, w1_b, w2_a, w2_b, core, dora_scale = value.weights
    if dora_scale is not None:
        return NO_FACTORS
    # ComfyUI divides alpha by the rank of the factor that is a product. If both are, it uses the second one's rank.
    of_rank = w2_b if w2 is None else w1_b if w1 is None else None
    scale = float(alpha) / of_rank.shape[0] if alpha is not None and of_rank is not None else 1.0
    first = (w1_a.float() @ w1_b.float() if w1 is None else w1).flatten(1)
    up, down = None, w2
    if w2 is None and core is not None:  # core (rank, rank, *kernel), a (rank, out), b (rank, in)
        up, down = w2_a.T, torch.tensordot(core.float(), w2_b.float(), dims=([1], [0])).movedim(-1, 1)
    elif w2 is None:
        up, down = w2_a.flatten(1), w2_b
    kernel = torch.Size(shape[2:])
    inputs, odd = divmod(down[0].numel(), kernel.numel())
    outputs = (down if up is None else up).shape[0]
    if odd or first.shape[1] * inputs != shape[1] or first.shape[0] * outputs != shape[0]:
        return NO_FACTORS
    share = down.shape[0] / shape[0] + (
        down.shape[0] / torch.Size(shape[1:]).numel() if up is not None else 0
    )
    if share > _CHEAP:
        return LARGE_FACTORS
    return KroneckerFactors(number, offset, first, up, down.reshape(down.shape[0], inputs, *kernel), scale)


def _product(value: Any) -> tuple[torch.Tensor, torch.Tensor, float] | None:
    """(out, rank), (rank, in[, *kernel]), and alpha/rank of a LoRA; None for other kinds.

    A Tucker core is multiplied into the second factor.
    """
    if getattr(value, "name", "") != "lora":
        return None
    up, down, alpha, core, dora_scale, reshape = value.weights
    if dora_scale is not None or reshape is not None or up.dim() < 2 or down.dim() < 2:
        return None
    scale = float(alpha / down.shape[0]) if alpha is not None else 1.0
    if core is not None:  # core (rank, rank, *kernel); the second factor has a kernel of size one
        down = torch.tensordot(core.float(), down.flatten(1).float(), dims=([1], [0])).movedim(-1, 1)
    return up.flatten(1), down, scale
