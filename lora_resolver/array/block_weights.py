"""How strongly an entry counts in each block of the model: "blocks" (our extension).

    "blocks": "early"                                     a preset by the model's structure
    "blocks": "OUTALL"                                    a preset of the community, for U-Nets
    "blocks": { "lbw": "1,0,0,0,1,1,1,1,1,1,1,1" }        a vector, as LoRA Block Weight writes it
    "blocks": { "output_blocks.3-5": 0.5, "double_blocks.*": 0 }     the model's own names

A factor multiplies the entry's weight there. What no pattern names keeps the factor 1; where several name the same
weight, the last one counts. Which blocks a model has is known when the array meets it: here only the form is read.

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
"""The community's presets that are one factor everywhere."""

MAX_PATTERNS = 200
MAX_PATTERN = 120
MAX_FACTOR = 4.0

_SEGMENT = r"(?:[0-9]{1,4}-[0-9]{1,4}|[A-Za-z0-9_*]+)"
_PATTERN = re.compile(rf"{_SEGMENT}(?:\.{_SEGMENT})*")
_MAX_STARS = 4
_REMEDY = (
    'Write a preset such as "early" or "OUTALL", {"lbw": "1,0,…"}, or blocks by name, as in '
    '{"output_blocks.3-5": 0.5}.'
)


@dataclass(frozen=True)
class BlockWeights:
    """One of: a preset, a vector, patterns with their factors in their order."""

    preset: str = ""
    vector: tuple[float, ...] = ()
    patterns: tuple[tuple[str, float], ...] = ()

    def as_json(self) -> object:
        """As the array has it."""
        if self.preset:
            return self.preset
        if self.vector:
            return {"lbw": ",".join(f"{factor:g}" for factor in self.vector)}
        return dict(self.patterns)


def read_blocks(value: object) -> BlockWeights:
    """Raises InvalidInput."""
    if isinstance(value, str):
        return _read_text(value)
    if not isinstance(value, Mapping):
        raise InvalidInput("it is neither a preset nor an object", code="invalidType", remedy=_REMEDY)
    if not value:
        raise InvalidInput("it names no block", code="invalidValue", remedy=_REMEDY)
    if "lbw" in value:
        if len(value) > 1:
            raise InvalidInput(
                '"lbw" stands beside other blocks',
                code="invalidValue",
                remedy='Write "lbw" alone, or the blocks by name.',
            )
        return _read_lbw(value["lbw"])
    if len(value) > MAX_PATTERNS:
        raise InvalidInput(
            f"it names {len(value):,} blocks, and at most {MAX_PATTERNS} are read",
            code="invalidValue",
            remedy="Use patterns, as in output_blocks.3-5 or double_blocks.*.",
        )
    return BlockWeights(patterns=tuple((_pattern(key), _factor(each, key)) for key, each in value.items()))


def _read_lbw(value: object) -> BlockWeights:
    if isinstance(value, str):
        return _read_text(value)
    if isinstance(value, (list, tuple)):
        return _vector([_factor(each, "lbw") for each in value[: max(VECTOR_LENGTHS) + 1]], len(value))
    raise InvalidInput('"lbw" is no list of numbers', code="invalidType", remedy=_REMEDY)


def _read_text(text: str) -> BlockWeights:
    """A preset's name, or a vector's numbers with commas between."""
    plain = text[: 20 * max(VECTOR_LENGTHS)].strip().rstrip(";").strip()
    # Inspire's names say for which models they are, and A= and B= what these letters stand for where a vector has them.
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
                f"{quoted(plain, 40)} stands for weights that are drawn or swept: the same array must give the same "
                "picture",
                code="invalidValue",
                remedy="Write the numbers themselves.",
            )
        meant = nearest(plain, (*STRUCTURAL_PRESETS, *COMMUNITY_PRESETS))
        raise InvalidInput(
            f"{quoted(plain, 40)} is no preset" + (f', did you mean "{meant}"?' if meant else ""),
            code="invalidValue",
            remedy=f"Presets are {', '.join((*STRUCTURAL_PRESETS, *COMMUNITY_PRESETS))}.",
        )
    parts = plain.split(",")
    return _vector([_number(part) for part in parts], len(parts))


def _vector(factors: list[float], length: int) -> BlockWeights:
    if length not in VECTOR_LENGTHS:
        raise InvalidInput(
            f"a vector of {length} numbers is of no known kind",
            code="invalidValue",
            remedy=f"Vectors have {', '.join(map(str, VECTOR_LENGTHS[:-1]))} or {VECTOR_LENGTHS[-1]} numbers.",
        )
    return BlockWeights(vector=tuple(factors))


def _number(text: str) -> float:
    plain = text.strip()
    if plain.upper() in ("R", "U", "X", "A", "B"):
        raise InvalidInput(
            f"{plain} stands for a number that is drawn or swept: the same array must give the same picture",
            code="invalidValue",
            remedy="Write the numbers themselves.",
        )
    try:
        number = float(plain)
    except ValueError:
        raise InvalidInput(
            f"{quoted(plain, 40)} in the vector is no number", code="invalidValue", remedy=_REMEDY
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
            f"{quoted(str(key), 40)} is no pattern for blocks",
            code="invalidValue",
            remedy="Write the model's own names, with * for any and 3-5 for several numbers: output_blocks.3-5.",
        )
    return key


def _factor(value: object, where: object) -> float:
    code = "invalidType"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if math.isfinite(value) and abs(value) <= MAX_FACTOR:
            return float(value) + 0.0
        code = "valueOutOfRange"
    raise InvalidInput(
        f"the factor of {quoted(str(where), 40)} is no number from -{MAX_FACTOR:.0f} to {MAX_FACTOR:.0f}",
        code=code,
        remedy="Write a number without quotation marks, as in 0.5; 0 leaves the block out.",
    )
