"""The strength of an entry in each block of the model: "blocks" (our extension).

    "blocks": "early"                                     a preset by the model's structure
    "blocks": "OUTALL"                                    a preset of the community, for U-Nets
    "blocks": { "lbw": "1,0,0,0,1,1,1,1,1,1,1,1" }        a vector in the format of LoRA Block Weight
    "blocks": { "output_blocks.3-5": 0.5, "double_blocks.*": 0 }     the model's own names

A factor multiplies the entry's weight in these blocks. Blocks that no pattern matches keep the factor 1. If several
patterns match the same weight, the last one counts. This module reads only the syntax, because the model's blocks
aren't known yet.

Vectors and presets: https://github.com/hako-mikan/sd-webui-lora-block-weight
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import InvalidInput
from ..text import nearest, quoted

__all__ = ["COMMUNITY_PRESETS", "STRUCTURAL_PRESETS", "VECTOR_LENGTHS", "BlockWeights"]

STRUCTURAL_PRESETS = (
    *("early", "middle", "late", "attention", "mlp", "input", "output", "single", "double"),
    "no text encoder",
)
COMMUNITY_PRESETS = ("INS", "IND", "INALL", "MIDD", "OUTD", "OUTS", "OUTALL", "FACE", "PALETTE")
VECTOR_LENGTHS = (12, 17, 20, 21, 26, 27, 57, 58, 61)

_WHOLE = {"NONE": 0.0, "ALL": 1.0, "ALL0.5": 0.5}
"""The community's presets that have the same factor everywhere."""

MAX_PATTERNS = 200
MAX_PATTERN = 120
MAX_FACTOR = 4.0

_SEGMENT = r"(?:[0-9]{1,4}-[0-9]{1,4}|[A-Za-z0-9_*]+)"
_PATTERN = re.compile(rf"{_SEGMENT}(?:\.{_SEGMENT})*")
_MAX_STARS = 4
_REMEDY = (
    'Write a preset such as "early" or "OUTALL", a vector such as {"lbw": "1,0,…"}, or blocks by name, such as '
    '{"output_blocks.3-5": 0.5}.'
)


@dataclass(frozen=True)
class BlockWeights:
    """A preset, a vector, or patterns in order with their factors."""

    preset: str = ""
    vector: tuple[float, ...] = ()
    patterns: tuple[tuple[str, float], ...] = ()

    def as_json(self) -> object:
        """The value as it is written in the array."""
        if self.preset:
            return self.preset
        if self.vector:
            return {"lbw": ",".join(f"{factor:g}" for factor in self.vector)}
        return dict(self.patterns)


def read_blocks(value: object) -> BlockWeights:
    """The block weights from the value in the array. Raises InvalidInput."""
    if isinstance(value, str):
        return _read_text(value)
    if not isinstance(value, Mapping):
        raise InvalidInput("Expected a preset or an object", code="invalidType", remedy=_REMEDY)
    if not value:
        raise InvalidInput("No block is listed", code="invalidValue", remedy=_REMEDY)
    if "lbw" in value:
        if len(value) > 1:
            raise InvalidInput(
                '"lbw" can\'t be combined with other blocks',
                code="invalidValue",
                remedy='Write either "lbw" alone or the blocks by name.',
            )
        return _read_lbw(value["lbw"])
    if len(value) > MAX_PATTERNS:
        raise InvalidInput(
            f"{len(value):,} blocks are listed, but the limit is {MAX_PATTERNS}",
            code="invalidValue",
            remedy="Use patterns, such as output_blocks.3-5 or double_blocks.*.",
        )
    return BlockWeights(patterns=tuple((_pattern(key), _factor(each, key)) for key, each in value.items()))


def _read_lbw(value: object) -> BlockWeights:
    if isinstance(value, str):
        return _read_text(value)
    if isinstance(value, (list, tuple)):
        return _vector([_factor(each, "lbw") for each in value[: max(VECTOR_LENGTHS) + 1]], len(value))
    raise InvalidInput('"lbw" must be a list of numbers', code="invalidType", remedy=_REMEDY)


def _read_text(text: str) -> BlockWeights:
    """Reads the name of a preset, or the comma-separated numbers of a vector."""
    plain = text[: 20 * max(VECTOR_LENGTHS)].strip().rstrip(";").strip()
    # Inspire's names begin with the model's. A= and B= only give values to the letters A and B in a vector.
    plain = re.sub(r"^(?:SD|SDXL|SD-XL)-(?=[A-Za-z])", "", plain, flags=re.IGNORECASE)
    if "," in plain and not re.search(r"[ABRUX]", plain.partition(";")[0], re.IGNORECASE):
        plain = re.sub(r"(?:;\s*[AB]\s*=\s*[-+0-9.]*)+$", "", plain, flags=re.IGNORECASE)
    known = {name.lower(): name for name in (*STRUCTURAL_PRESETS, *COMMUNITY_PRESETS)}
    if plain.lower().replace("_", " ") in known:
        return BlockWeights(preset=known[plain.lower().replace("_", " ")])
    if plain.upper() in _WHOLE:
        factor = _WHOLE[plain.upper()]
        return BlockWeights(patterns=(("*", factor), ("text_encoder", factor)))
    if "," not in plain:
        if plain.upper() in ("R", "U", "RANDOM", "X", "A", "B"):
            raise InvalidInput(
                f"{quoted(plain, 40)} stands for random or swept weights, but the same array must always give the same "
                "image",
                code="invalidValue",
                remedy="Write the numbers themselves.",
            )
        meant = nearest(plain, (*STRUCTURAL_PRESETS, *COMMUNITY_PRESETS))
        raise InvalidInput(
            f"Unknown preset {quoted(plain, 40)}" + (f'. Did you mean "{meant}"?' if meant else ""),
            code="invalidValue",
            remedy=f"The presets are {', '.join((*STRUCTURAL_PRESETS, *COMMUNITY_PRESETS))}.",
        )
    parts = plain.split(",")
    return _vector([_number(part) for part in parts], len(parts))


def _vector(factors: list[float], length: int) -> BlockWeights:
    if length not in VECTOR_LENGTHS:
        raise InvalidInput(
            f"Unsupported vector length: {length}",
            code="invalidValue",
            remedy=f"Vectors have {', '.join(map(str, VECTOR_LENGTHS[:-1]))} or {VECTOR_LENGTHS[-1]} numbers.",
        )
    return BlockWeights(vector=tuple(factors))


def _number(text: str) -> float:
    plain = text.strip()
    if plain.upper() in ("R", "U", "X", "A", "B"):
        raise InvalidInput(
            f"{plain} stands for a random or swept number, but the same array must always give the same image",
            code="invalidValue",
            remedy="Write the numbers themselves.",
        )
    try:
        number = float(plain)
    except ValueError:
        raise InvalidInput(
            f"{quoted(plain, 40)} in the vector isn't a number", code="invalidValue", remedy=_REMEDY
        ) from None
    return _factor(number, "the vector")


def _pattern(key: object) -> str:
    if (
        not isinstance(key, str)
        or len(key) > MAX_PATTERN
        or not _PATTERN.fullmatch(key)
        or key.count("*") > _MAX_STARS
    ):
        raise InvalidInput(
            f"{quoted(str(key), 40)} isn't a valid block pattern",
            code="invalidValue",
            remedy="Use the model's own block names, with * for any name and 3-5 for a range: output_blocks.3-5.",
        )
    return key


def _factor(value: object, where: object) -> float:
    code = "invalidType"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if math.isfinite(value) and abs(value) <= MAX_FACTOR:
            return float(value) + 0.0
        code = "valueOutOfRange"
    raise InvalidInput(
        f"The factor of {quoted(str(where), 40)} must be a number from -{MAX_FACTOR:.0f} to {MAX_FACTOR:.0f}",
        code=code,
        remedy="Write a number without quotation marks, such as 0.5. Use 0 to leave the block out.",
    )
