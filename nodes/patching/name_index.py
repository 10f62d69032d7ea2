"""Finds the weight of the loaded model for a module's name, in any spelling.

ComfyUI's key maps contain each weight in the spellings that ComfyUI reads. This index compares names without prefixes
and separators, so that a spelling that is known for one kind of file works for all kinds. It also maps separate q, k
and v to their parts of a fused weight.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...lora_resolver import plain_name
from .other_names import other_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Slot = Any
"""A key map's target: a weight's name, or (name, (dimension, start, length)[, function]) for a part of one."""

_ORIGINAL = ("diffusion_model.", "model.diffusion_model.")
_AMBIGUOUS = object()
_PlainNames = dict[tuple[str, str], Slot]


class NameIndex:
    """Names of modules → slots, for one loaded model."""

    def __init__(self, key_map: Mapping[str, Slot], shapes: Mapping[str, Sequence[int]]) -> None:
        self._key_map = {stem: slot for stem, slot in key_map.items() if _is_there(slot, shapes)}
        self._shapes = shapes
        self._has_encoders = any(stem.startswith("text_encoders.") for stem in self._key_map)

    def slot_of(self, stem: str, *, joint: bool = False) -> Slot | None:
        """The weight, or the part of a weight, that a module of a file changes; None if there is none.

        `joint`: the file is for a transformer with joint attention. The meaning of a few names depends on this.
        """
        slot = self._key_map.get(stem)
        if slot is not None:
            return slot
        plain = plain_name(stem)
        if plain[0] and not self._has_encoders:
            return None
        original, every = self._plain_names
        index = original if stem.startswith(_ORIGINAL) else every
        for known in (original, index):
            if plain in known:
                return _unless_ambiguous(known[plain])
        if not plain[0]:
            for name in other_names(plain[1], joint=joint):
                if ("", name) in index:
                    return _unless_ambiguous(index["", name])
        return None

    @cached_property
    def _plain_names(self) -> tuple[_PlainNames, _PlainNames]:
        """Two indexes: of the model's own names alone, and of all names.

        They are separate because diffusers' names for another family may be spelled like the model's own names. Both
        are built for the first file with a name that isn't in the key map.
        """
        original: _PlainNames = {}
        every: _PlainNames = {}
        # Stable Cascade's prefix means its only text encoder. If there are others, its names would be ambiguous, so
        # they come last and replace no other name.
        for stem, slot in sorted(self._key_map.items(), key=lambda item: item[0].startswith("lora_prior_te")):
            plain = plain_name(stem)
            if stem.startswith("lora_prior_te"):
                every.setdefault(plain, slot)
                continue
            _add(every, plain, slot)
            if stem.startswith(_ORIGINAL):
                _add(original, plain, slot)
        for index in (original, every):
            for plain, slot in [
                *_norms_by_scale(self._shapes),
                *_parts_of_fused(index, self._shapes),
                *_parts_of_first_layers(index, self._shapes),
            ]:
                index.setdefault(plain, slot)
        return original, every


def _unless_ambiguous(slot: Slot) -> Slot | None:
    return None if slot is _AMBIGUOUS else slot


def _is_there(slot: Slot, shapes: Mapping[str, Sequence[int]]) -> bool:
    """Whether the part exists in the weight: ComfyUI's key map has thirds of Lumina 2's qkv, which don't exist."""
    shape = shapes.get(slot if isinstance(slot, str) else slot[0])
    if shape is None:
        return False
    if isinstance(slot, str) or slot[1] is None:
        return True
    dimension, start, length = slot[1]
    return bool(start + length <= shape[dimension])


def _add(index: dict[tuple[str, str], Slot], plain: tuple[str, str], slot: Slot) -> None:
    known = index.setdefault(plain, slot)
    if known is not slot and known != slot:
        index[plain] = _AMBIGUOUS


def _norms_by_scale(shapes: Mapping[str, Sequence[int]]) -> Iterator[tuple[tuple[str, str], Slot]]:
    """Norms whose weight is named `scale`, such as FLUX.1's query and key norms: ComfyUI's key map has no `scale`."""
    for key in shapes:
        if key.startswith("diffusion_model.") and key.endswith(".scale"):
            yield plain_name(key.removesuffix(".scale")), key


def _parts_of_fused(
    index: Mapping[tuple[str, str], Slot], shapes: Mapping[str, Sequence[int]]
) -> Iterator[tuple[tuple[str, str], Slot]]:
    """q, k and v of each fused `…qkv`: q has as many rows as the weight has inputs, k and v have half of the rest."""
    for (part, name), slot in index.items():
        if not isinstance(slot, str) or not name.endswith("qkv"):
            continue
        outputs, inputs, *more = shapes[slot]
        if more or outputs <= inputs or (outputs - inputs) % 2:
            continue
        other = (outputs - inputs) // 2
        start = 0
        for number, (letter, length) in enumerate((("q", inputs), ("k", other), ("v", other))):
            before = name.removesuffix("qkv").removesuffix("to_")
            for spelled in (before + letter, f"{before}to_{letter}", f"{name}_{number}"):  # the last is OMI's
                yield (part, spelled), (slot, (0, start, length))
            start += length


def _parts_of_first_layers(
    index: Mapping[tuple[str, str], Slot], shapes: Mapping[str, Sequence[int]]
) -> Iterator[tuple[tuple[str, str], Slot]]:
    """The parts of each FLUX-like `single_blocks.N.linear1`, which contains q, k, v and the feed-forward layer.

    OMI's format numbers the parts. XLabs trains qkv as one part.
    """
    for (part, name), slot in index.items():
        if (
            not isinstance(slot, str)
            or not name.startswith("single_blocks_")
            or not name.endswith("_linear1")
        ):
            continue
        outputs, inputs = shapes[slot][:2]
        if outputs <= 3 * inputs:
            continue
        for number in range(3):
            yield (part, f"{name}_{number}"), (slot, (0, number * inputs, inputs))
        yield (part, f"{name}_3"), (slot, (0, 3 * inputs, outputs - 3 * inputs))
        yield (part, f"{name}_qkv"), (slot, (0, 0, 3 * inputs))
