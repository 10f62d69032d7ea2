"""A LoRA file's tensors → patches of the loaded weights, through ComfyUI's own converters, key maps and adapters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import comfy.lora
import comfy.lora_convert
from comfy.weight_adapter.base import WeightAdapterBase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import torch

    from .loaded_model import LoadedWeights, Slot

# What comfy.lora.load_lora reads without an adapter.
PLAIN_SUFFIXES = (".diff", ".diff_b", ".set_weight", ".w_norm", ".b_norm", ".alpha", ".dora_scale")


@dataclass(frozen=True)
class Target:
    """One weight, or a part of one, that a file changes."""

    key: str
    """Name of the weight in the loaded model."""
    offset: tuple[int, int, int] | None = None
    """(dimension, start, length) of the part, None for the whole weight."""
    function: Any = field(default=None, hash=False)
    """What ComfyUI applies to the delta before it is added, None for nothing."""

    @classmethod
    def of(cls, slot: Slot) -> Target:
        """Reads a key map's target in each of its three forms."""
        if isinstance(slot, str):
            return cls(slot)
        return cls(slot[0], *slot[1:3])


@dataclass(frozen=True)
class MappedFile:
    """What one file does to one side of the loaded checkpoint."""

    patches: dict[Target, Any]
    """Target → an adapter of ComfyUI's, or its tuple ("diff" | "set", (tensor,))."""
    matched: frozenset[str]
    """Names in the file that are part of a patch."""


def convert(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors under the names that ComfyUI's key maps know, for formats that it converts."""
    return comfy.lora_convert.convert_lora(dict(tensors))


def map_file(tensors: Mapping[str, torch.Tensor], weights: LoadedWeights) -> MappedFile:
    """Finds the weight that each tensor belongs to. What belongs to none is not in `matched`."""
    key_map = _cut_to(tensors, weights.key_map)
    loaded = comfy.lora.load_lora(tensors, key_map, log_missing=False)
    patches = {Target.of(slot): value for slot, value in loaded.items()}
    patches = {target: value for target, value in patches.items() if target.key in weights.shapes}
    return MappedFile(patches, _names_of(tensors, patches.values(), key_map))


def _cut_to(names: Iterable[str], key_map: Mapping[str, Slot]) -> dict[str, Slot]:
    """The part of the key map that these names use: load_lora walks the whole map for each file."""
    cut = {}
    for name in names:
        end = len(name)
        while end > 0:
            stem = name[:end].removesuffix("_lora")
            if stem in key_map:
                cut[stem] = key_map[stem]
                break
            end = name.rfind(".", 0, end)
    return cut


def _names_of(names: Iterable[str], values: Iterable[Any], key_map: Mapping[str, Slot]) -> frozenset[str]:
    used: set[str] = set()
    for value in values:
        if isinstance(value, WeightAdapterBase):
            used |= value.loaded_keys
    for name in names:
        for suffix in PLAIN_SUFFIXES:
            if name.endswith(suffix) and name.removesuffix(suffix) in key_map:
                used.add(name)
    return frozenset(used)
