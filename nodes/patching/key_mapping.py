"""Maps a LoRA file's modules to patches of the loaded weights."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch.nn.functional import pad

from ...lora_resolver import Mismatch
from .apart import parts_of_fused
from .modules import NO_BIAS, NO_WEIGHT, SECOND_EXPERT, TWICE, changes_of, fitted_magnitudes
from .slices import part_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from .loaded_model import LoadedWeights
    from .lora_file import LoraFile
    from .name_index import Slot

# Wan 2.2 has an expert for each half of the steps, and diffusers saves the LoRAs for both in one file.
_SECOND = re.compile(r"transformer_2\.")
# The layers whose input is the latents. In models for inpainting or control, additional inputs follow the latents.
_INPUT_LAYERS = ("img_in", "x_embedder.proj", "x_embedder", "patch_embedding", "input_blocks.0.0", "conv_in")


@dataclass(frozen=True)
class Target:
    """One weight, or a part of one, that a file changes."""

    key: str
    """Name of the weight in the loaded model."""
    offset: tuple[int, int, int] | None = None
    """(dimension, start, length) of the part; None for the whole weight."""
    function: Any = field(default=None, hash=False)
    """The function that ComfyUI applies to the delta before it is added, or None."""
    number: int = 0
    """The number of the change: a module can change its weight in several ways, by factors and by a difference."""

    @classmethod
    def of(cls, slot: Slot, number: int = 0) -> Target:
        """Converts a key map's target, which has one of three forms."""
        if isinstance(slot, str):
            return cls(slot, number=number)
        offset, function = (*slot[1:3], None)[:2]
        return cls(slot[0], offset, function, number)

    def bias(self) -> Target | None:
        """The same part of the weight's bias."""
        if not self.key.endswith(".weight") or (self.offset is not None and self.offset[0] != 0):
            return None
        return Target(f"{self.key.removesuffix('weight')}bias", self.offset, self.function, self.number)


@dataclass(frozen=True)
class MappedFile:
    """How one file changes one side of the loaded checkpoint."""

    patches: dict[Target, Any]
    """Target → one of ComfyUI's adapters, or its tuple ("diff" | "set", (tensor,))."""
    matched: frozenset[str]
    """Names in the file that are part of a patch."""
    unused: dict[str, str]
    """Names in the file that aren't part of a patch, and why."""
    widened: tuple[str, ...] = ()
    """Input layers that have more inputs in the model than in the file; see `_widened`."""


def map_file(file: LoraFile, weights: LoadedWeights) -> MappedFile:
    """Finds the weight that each tensor belongs to. Tensors without a weight are in `unused`.

    Raises Mismatch for a module that has a weight but can't be read; see `changes_of`.
    """
    patches: dict[Target, Any] = {}
    matched: set[str] = set()
    unused = dict(file.other_tensors)
    widened: list[str] = []

    def slot_of(stem: str) -> Slot | None:
        found = weights.names.slot_of(stem)
        if found is None and file.has_joint_attention:
            found = weights.names.slot_of(stem, joint=True)
        return found if found is not None and Target.of(found).key in weights.shapes else None

    def rows_of(stem: str) -> int | None:
        found = slot_of(stem)
        target = Target.of(found) if found is not None else None
        return None if target is None else part_shape(weights.shapes[target.key], target.offset)[0]

    has_two = any(map(_SECOND.match, file.modules)) and not all(map(_SECOND.match, file.modules))
    modules = deque(file.modules.items())
    while modules:
        stem, module = modules.popleft()
        if has_two and _SECOND.match(stem):
            unused.update((name, SECOND_EXPERT) for name, _ in module.tensors.values())
            continue
        slot = slot_of(stem)
        if slot is None:
            parts = parts_of_fused(module, rows_of)
            if parts is not None:
                modules.extendleft(reversed(parts))
                continue
            unused.update((name, NO_WEIGHT) for name, _ in module.tensors.values())
            continue
        target = Target.of(slot)
        changes = changes_of(module, file.alphas, has_values=file.has_values)
        unused.update(changes.unused)
        if target in patches:
            unused.update(dict.fromkeys(changes.used, TWICE))
        else:
            shape = part_shape(weights.shapes[target.key], target.offset)
            for number, value in enumerate(changes.weight):
                wide = _widened(value, target, shape)
                if wide is not None:
                    widened.append(target.key)
                patches[Target.of(slot, number)] = _fitted(
                    value if wide is None else wide, stem, target, shape
                )
            matched |= changes.used
        bias = target.bias()
        if bias is None or bias.key not in weights.shapes:
            unused.update(dict.fromkeys(changes.used_by_bias, NO_BIAS))
        elif bias in patches:
            unused.update(dict.fromkeys(changes.used_by_bias, TWICE))
        else:
            for number, value in enumerate(changes.bias):
                patches[Target(bias.key, bias.offset, bias.function, number)] = value
            matched |= changes.used_by_bias
    return MappedFile(patches, frozenset(matched), unused, tuple(widened))


def _fitted(value: Any, stem: str, target: Target, shape: Sequence[int]) -> Any:
    """Adjusts an adapter to this part of a weight: the shape of magnitudes, the order of a replacement's outputs."""
    if isinstance(value, tuple):
        kind, (tensor, *rest) = value
        if kind == "set" and target.function is not None:
            return kind, (target.function(tensor), *rest)
        return value
    if target.offset is not None and value.name == "lora" and value.weights[5] is not None:
        raise Mismatch(
            f"{stem} widens part of the weight {target.key}, which must keep its shape",
            code="shapeClash",
            remedy="Remove the entry, or set on_mismatch to skip.",
        )
    return fitted_magnitudes(value, stem, shape, target.function) if len(shape) > 1 else value


def _widened(value: Any, target: Target, shape: Sequence[int]) -> Any:
    """A LoRA of an input layer, widened for a model that has more inputs than the latents; None if it isn't needed.

    The first inputs are the latents. The LoRA wasn't trained on the inputs after them (a mask, a control picture), so
    its factor gets zeros there, as in diffusers (`_maybe_expand_lora_state_dict` in `loaders/lora_pipeline.py`).
    """
    if target.offset is not None or getattr(value, "name", "") != "lora":
        return None
    up, down, alpha, mid, dora_scale, reshape = value.weights
    if mid is not None or dora_scale is not None or reshape is not None:
        return None
    layer = target.key.removeprefix("diffusion_model.").removesuffix(".weight")
    if layer not in _INPUT_LAYERS or down.dim() != len(shape) or up.shape[0] != shape[0]:
        return None
    missing = shape[1] - down.shape[1]
    if missing <= 0 or tuple(down.shape[2:]) != tuple(shape[2:]):
        return None
    wide: torch.Tensor = pad(down, [0, 0] * len(shape[2:]) + [0, missing])
    return type(value)(value.loaded_keys, (up, wide, alpha, mid, dora_scale, reshape))
