"""Block weights on a loaded model: an entry's factor for each of the model's weights, by ComfyUI's own names.

This doesn't depend on the LoRA file: if the file has no tensors for a block, the other blocks keep their numbers.
Vectors and the community's presets are from https://github.com/hako-mikan/sd-webui-lora-block-weight, or from
ComfyUI-Inspire-Pack where noted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...lora_resolver import InvalidInput, block_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ...lora_resolver import BlockWeights

DIFFUSION = "diffusion_model."
TEXT_ENCODER = "text_encoder"

_BLOCK = re.compile(r"diffusion_model\.([a-z_]*(?:blocks?|layers|refiner))\.([0-9]+)\.")


def _numbered(name: str, *numbers: int) -> tuple[str, ...]:
    return tuple(f"{name}{number:02}" for number in numbers)


def _range(name: str, first: int, last: int) -> tuple[str, ...]:
    return _numbered(name, *range(first, last + 1))


_SD1, _SDXL, _FLUX = (
    "a U-Net of 12 and 12 blocks (SD 1.5, SD 2)",
    "a U-Net of 9 and 9 blocks (SDXL)",
    "FLUX.1",
)

_VECTORS: dict[int, tuple[str, tuple[str, ...]]] = {
    12: (_SDXL, ("BASE", *_numbered("IN", 4, 5, 7, 8), "MID", *_range("OUT", 0, 5))),
    17: (_SD1, ("BASE", *_numbered("IN", 1, 2, 4, 5, 7, 8), "MID", *_range("OUT", 3, 11))),
    20: (_SDXL, ("BASE", *_range("IN", 0, 8), "MID", *_range("OUT", 0, 8))),
    21: (_SDXL, ("OTHERS", *_range("IN", 1, 8), *_range("MID", 0, 2), *_range("OUT", 0, 8))),
    26: (_SD1, ("BASE", *_range("IN", 0, 11), "MID", *_range("OUT", 0, 11))),
    27: (_SD1, ("OTHERS", *_range("IN", 1, 11), *_range("MID", 0, 2), *_range("OUT", 0, 11))),
    57: (_FLUX, (*_range("D", 0, 18), *_range("S", 0, 37))),
    58: (_FLUX, ("OTHERS", *_range("D", 0, 18), *_range("S", 0, 37))),
    61: (_FLUX, ("CLIP", "T5", "IN", *_range("D", 0, 18), *_range("S", 0, 37), "OUT")),
}
"""Length → the kind of model, and the block of each number. BASE means the text encoders. OTHERS, in Inspire's vectors,
means everything without its own number. In vectors without OTHERS, weights without a number get 0. In vectors of 57
numbers, they get 1."""

_COMMUNITY: dict[str, dict[str, dict[str, float]]] = {
    "INS": {
        _SD1: dict.fromkeys(_numbered("IN", 1, 2, 4), 1.0),
        _SDXL: dict.fromkeys(_numbered("IN", 4, 5), 1.0),
    },
    "IND": {
        _SD1: dict.fromkeys(_numbered("IN", 5, 7, 8), 1.0),
        _SDXL: dict.fromkeys(_numbered("IN", 7, 8), 1.0),
    },
    "INALL": {
        _SD1: dict.fromkeys(_numbered("IN", 1, 2, 4, 5, 7, 8), 1.0),
        _SDXL: dict.fromkeys(_numbered("IN", 4, 5, 7, 8), 1.0),
    },
    "MIDD": {
        _SD1: dict.fromkeys((*_numbered("IN", 5, 7, 8), "MID", *_range("OUT", 3, 6)), 1.0),
        _SDXL: dict.fromkeys((*_numbered("IN", 7, 8), "MID", *_range("OUT", 0, 2)), 1.0),
    },
    "OUTD": {
        _SD1: dict.fromkeys(_range("OUT", 3, 6), 1.0),
        _SDXL: dict.fromkeys(_range("OUT", 0, 2), 1.0),
    },
    "OUTS": {
        _SD1: dict.fromkeys(_range("OUT", 7, 11), 1.0),
        _SDXL: dict.fromkeys(_range("OUT", 3, 5), 1.0),
    },
    "OUTALL": {
        _SD1: dict.fromkeys(_range("OUT", 3, 11), 1.0),
        _SDXL: dict.fromkeys(_range("OUT", 0, 5), 1.0),
    },
    "FACE": {_SD1: dict.fromkeys(_range("OUT", 3, 5), 1.0)},
    "PALETTE": {_SD1: {"OUT06": 0.8, **dict.fromkeys(_range("OUT", 7, 11), 1.0)}},
}
"""Preset → kind of model → the factors of its blocks. BASE is 1 in each preset, and everything else is 0."""

_LETTERS = {
    "input_blocks": "IN",
    "middle_block": "MID",
    "output_blocks": "OUT",
    "double_blocks": "D",
    "single_blocks": "S",
}
_OUTSIDE_FLUX = {
    **dict.fromkeys(("img_in", "txt_in", "time_in", "vector_in", "guidance_in"), "IN"),
    "final_layer": "OUT",
}


def block_factors(
    blocks: BlockWeights, diffusion: Iterable[str], text_encoder: Iterable[str]
) -> dict[str, float]:
    """Weight name → its factor, if that isn't 1. The names are those of the loaded model's state dicts.

    Raises InvalidInput for a vector or a preset for other models, and for a pattern that matches no weight.
    """
    names, words = list(diffusion), list(text_encoder)
    if blocks.patterns:
        factors = _by_patterns(blocks.patterns, names, words)
    elif blocks.vector:
        factors = _by_vector(blocks.vector, names, words)
    elif blocks.preset in _COMMUNITY:
        factors = _by_community_preset(blocks.preset, names, words)
    else:
        factors = _by_structure(blocks.preset, names, words)
    return {name: factor for name, factor in factors.items() if factor != 1}


def _shown(rows: Mapping[str, Sequence[int]]) -> str:
    if not rows:
        return "none"
    return ", ".join(
        f"{row}.{numbers[0]}" + (f"-{numbers[-1]}" if len(numbers) > 1 else "")
        for row, numbers in rows.items()
    )


def _by_patterns(
    patterns: Sequence[tuple[str, float]], names: Sequence[str], words: Sequence[str]
) -> dict[str, float]:
    factors: dict[str, float] = {}
    inside = {name: name.removeprefix(DIFFUSION) for name in names}
    for pattern, factor in patterns:
        matches = _matcher(pattern)
        found = [name for name, own in inside.items() if matches(own)]
        if pattern == TEXT_ENCODER:
            found += words
        elif not pattern.startswith(
            "*"
        ):  # a star matches names of the diffusion model only; the text encoder has its own pattern
            found += [name for name in words if matches(name)]
        if not found and not (pattern == TEXT_ENCODER and not words):
            raise InvalidInput(
                f'"{pattern}" matches no block of this checkpoint',
                code="unknownBlock",
                remedy=f"Its blocks are {_shown(block_rows(names))}; {TEXT_ENCODER} is the text encoder.",
            )
        factors.update(dict.fromkeys(found, factor))
    return factors


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a weight's name begins with the pattern: `*` is any part of a name, and 3-5 are the numbers 3 to 5."""
    parts = []
    for segment in pattern.split("."):
        first, dash, last = segment.partition("-")
        if dash:
            numbers = range(int(first), min(int(last), int(first) + 999) + 1)
            parts.append("(?:" + "|".join(map(str, numbers)) + ")" if numbers else "(?!)")
        elif segment == "*":
            parts.append(r"[^.]+(?:\.[^.]+)*?")
        else:
            parts.append(re.escape(segment).replace(r"\*", "[^.]*"))
    compiled = re.compile(r"\.".join(parts) + r"(?:\.|$)")
    return lambda name: compiled.match(name) is not None


def _by_vector(vector: Sequence[float], names: Sequence[str], words: Sequence[str]) -> dict[str, float]:
    kind, slots = _VECTORS[len(vector)]
    rows = block_rows(names)
    if _kind_of(rows) != kind:
        fitting = [str(length) for length, (each, _) in _VECTORS.items() if each == _kind_of(rows)]
        raise InvalidInput(
            f"A vector of {len(vector)} numbers is for {kind}, not for this checkpoint",
            code="wrongBlocks",
            remedy=f"For this checkpoint, use {' or '.join(fitting)} numbers."
            if fitting
            else f"This checkpoint has no vector format. Use block names instead: {_shown(rows)}.",
        )
    others = vector[slots.index("OTHERS")] if "OTHERS" in slots else 1.0 if len(vector) == 57 else 0.0
    return _by_slots(dict(zip(slots, vector)), others, names, words)


def _by_community_preset(preset: str, names: Sequence[str], words: Sequence[str]) -> dict[str, float]:
    rows = block_rows(names)
    kinds = _COMMUNITY[preset]
    kind = _kind_of(rows)
    if kind not in kinds:
        raise InvalidInput(
            f"The preset {preset} is for {' or '.join(kinds)}, not for this checkpoint",
            code="wrongBlocks",
            remedy=f'Use a preset such as "early", or block names: {_shown(rows)}.',
        )
    return _by_slots({"BASE": 1.0, **kinds[kind]}, 0.0, names, words)


def _kind_of(rows: Mapping[str, Sequence[int]]) -> str:
    sizes = {row: len(numbers) for row, numbers in rows.items()}
    if sizes.get("input_blocks") == sizes.get("output_blocks"):
        found = {12: _SD1, 9: _SDXL}.get(sizes.get("input_blocks", 0))
        if found:
            return found
    if (sizes.get("double_blocks"), sizes.get("single_blocks")) == (19, 38):
        return _FLUX
    return ""


def _by_slots(
    slots: Mapping[str, float], others: float, names: Sequence[str], words: Sequence[str]
) -> dict[str, float]:
    factors = {}
    for name in names:
        slot = _slot_of(name)
        whole_middle = slots.get("MID", others) if slot.startswith("MID") else others
        factors[name] = slots.get(slot, whole_middle)
    for name in words:
        own = "T5" if name.startswith(("t5", "umt5")) else "CLIP"
        factors[name] = slots.get("BASE", slots.get(own, others))
    return factors


def _slot_of(name: str) -> str:
    match = _BLOCK.match(name)
    if match is None:
        return _OUTSIDE_FLUX.get(name.removeprefix(DIFFUSION).split(".")[0], "")
    letter = _LETTERS.get(match[1])
    return f"{letter}{int(match[2]):02}" if letter else ""


# In FLUX.1's single blocks, both layers contain attention and MLP weights, so they match both presets.
_BOTH = r"|single_blocks\.[0-9]+\.linear[12]"
_ATTENTION = re.compile(r"(?:^|[._])(?:attn|attention|qkv)" + _BOTH)
_MLP = re.compile(r"(?:^|[._])(?:ff|ffn|mlp|feed_forward)(?:$|[._0-9])" + _BOTH)


def _by_structure(preset: str, names: Sequence[str], words: Sequence[str]) -> dict[str, float]:
    """In the diffusion model, only the weights of the preset are active. The text encoder stays unchanged."""
    if preset == "no text encoder":
        return dict.fromkeys(words, 0.0)
    rows = block_rows(names)
    if preset in ("early", "middle", "late"):
        order = [(row, number) for row, numbers in rows.items() for number in numbers]
        third = ("early", "middle", "late").index(preset)
        chosen = set(order[third * len(order) // 3 : (third + 1) * len(order) // 3])

        def counts(name: str) -> bool:
            match = _BLOCK.match(name)
            return match is not None and (match[1], int(match[2])) in chosen

    elif preset in ("attention", "mlp"):
        pattern = _ATTENTION if preset == "attention" else _MLP

        def counts(name: str) -> bool:
            return pattern.search(name.removeprefix(DIFFUSION)) is not None

    else:

        def counts(name: str) -> bool:
            match = _BLOCK.match(name)
            return match is not None and match[1].partition("_")[0] == preset

    factors = {name: 1.0 if counts(name) else 0.0 for name in names}
    if not any(factors.values()):
        raise InvalidInput(
            f'This checkpoint has no blocks for "{preset}"',
            code="wrongBlocks",
            remedy=f"Its blocks are {_shown(rows)}.",
        )
    return factors
