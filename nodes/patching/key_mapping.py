"""A LoRA file's tensors → patches of the loaded weights, through ComfyUI's own converters, key maps and adapters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import comfy.lora
import comfy.lora_convert
from comfy.weight_adapter.base import WeightAdapterBase

from .foreign_names import name_in, read_as_adapters

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


def convert(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """The tensors as ComfyUI's adapters read them, for formats that it or this pack converts.

    Raises VerificationFailed where the metadata says something of the weights that cannot be read.
    """
    return read_as_adapters(comfy.lora_convert.convert_lora(dict(tensors)), metadata)


def map_file(tensors: Mapping[str, torch.Tensor], weights: LoadedWeights) -> MappedFile:
    """Finds the weight that each tensor belongs to. What belongs to none is not in `matched`."""
    key_map, own_names = _cut_to(tensors, weights.key_map)
    spelled = {name: tensors[own] for name, own in own_names.items()}
    loaded = comfy.lora.load_lora(spelled, key_map, log_missing=False)
    patches = {Target.of(slot): value for slot, value in loaded.items()}
    patches = {target: value for target, value in patches.items() if target.key in weights.shapes}
    used = _names_of(spelled, patches.values(), key_map)
    return MappedFile(patches, frozenset(own_names[name] for name in used))


def _cut_to(names: Iterable[str], key_map: Mapping[str, Slot]) -> tuple[dict[str, Slot], dict[str, str]]:
    """The part of the key map that these names use, and name as the key map has it → name in the file.

    load_lora walks the whole map for each file, and is given no more than it can use.
    """
    cut: dict[str, Slot] = {}
    own_names: dict[str, str] = {}
    foreign: list[str] = []
    for name in names:
        stem = _stem_in(key_map, name)
        if stem is None:
            foreign.append(name)
        else:
            cut[stem] = key_map[stem]
            own_names[name] = name
    for name in foreign:
        known = name_in(key_map, name)
        stem = _stem_in(key_map, known) if known is not None else None
        if known is not None and stem is not None and known not in own_names:
            cut[stem] = key_map[stem]
            own_names[known] = name
    return cut, own_names


def _stem_in(key_map: Mapping[str, Slot], name: str) -> str | None:
    end = len(name)
    while end > 0:
        stem = name[:end].removesuffix("_lora")
        if stem in key_map:
            return stem
        end = name.rfind(".", 0, end)
    return None


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
