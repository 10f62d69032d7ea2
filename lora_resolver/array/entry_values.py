"""Reads the values of an entry's members. Each function returns the value, or raises an error with a remedy."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import InvalidInput
from ..identifiers import Identifier, parse_identifier
from ..text import nearest, quoted
from .block_weights import read_blocks
from .schedule import COUNTS, MAX_POINTS, is_position

MAX_WEIGHT = 4.0
TRANSFORMERS = ("high", "low", "both")
MAX_WORDS, MAX_WORD = 200, 1000
_RANGE = f"Write a number from -{MAX_WEIGHT:.0f} to {MAX_WEIGHT:.0f}, such as 0.7."
_NUMBER = f"Write a number from -{MAX_WEIGHT:.0f} to {MAX_WEIGHT:.0f} without quotation marks, such as 0.7."


def read_model(value: object) -> Identifier:
    if isinstance(value, int) and not isinstance(value, bool):
        value = (
            str(value) if abs(value) < 10**20 else "0"
        )  # the JavaScript SDK allows numbers, but no number identifies a model
    if not isinstance(value, str):
        raise wrong_type(
            value, "a model name", 'Write it in quotation marks, such as "civitai:120096@135931".'
        )
    return parse_identifier(value)


def read_weight_or_points(value: object) -> float | tuple[tuple[float, float], ...]:
    if not isinstance(value, (list, tuple)):
        return read_weight(value)
    remedy = f"Write 2 to {MAX_POINTS} points in order of position, such as [[0, 0.2], [0.5, 1]]."
    points: list[tuple[float, float]] = []
    for number, point in enumerate(value[: MAX_POINTS + 1]):
        if not isinstance(point, (list, tuple)) or len(point) != 2 or not is_position(point[0]):
            raise InvalidInput(
                f"Point {number + 1} isn't a [position, weight] pair",
                code="invalidValue",
                remedy=remedy,
            )
        if points and point[0] <= points[-1][0]:
            raise InvalidInput(
                f"Point {number + 1} must come after the point before it",
                code="invalidValue",
                remedy=remedy,
            )
        try:
            points.append((float(point[0]), read_weight(point[1])))
        except InvalidInput as error:
            message = f"Point {number + 1}: {error.message}"
            raise InvalidInput(message, code=error.code, remedy=error.remedy) from None
    if not 2 <= len(value) <= MAX_POINTS:
        what = "1 point" if len(value) == 1 else f"{len(value):,} points"
        message = f"A weight that changes over the steps can't have {what}"
        raise InvalidInput(message, code="invalidValue", remedy=remedy)
    return tuple(points)


def read_position(value: object) -> float:
    if not is_position(value):
        raise InvalidInput(
            f"Expected a position, got {_shown(value)}",
            code="valueOutOfRange" if isinstance(value, (int, float)) else "invalidType",
            remedy='Write a number from 0 to 1, such as 0.5. To count whole steps, add "count": "numbers".',
        )
    return float(value)


def read_count(value: object) -> str:
    if isinstance(value, str) and value in COUNTS:
        return value
    raise InvalidInput(
        f"Unsupported value: {_shown(value)}",
        code="invalidValue" if isinstance(value, str) else "invalidType",
        remedy='Write "steps" for a share of the steps, "percent" for a share of the noise schedule as in ComfyUI, '
        'or "numbers" for whole steps.',
    )


def read_words(value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
        raise wrong_type(value, "a list of trigger words", 'Write ["a word"], or [] for none.')
    if len(value) > MAX_WORDS or any(len(each) > MAX_WORD for each in value):
        raise InvalidInput(
            f"The list has more than {MAX_WORDS} words, or a word has more than {MAX_WORD} characters",
            code="invalidValue",
            remedy="List only the words that you want in the prompt.",
        )
    return tuple(dict.fromkeys(filter(None, (" ".join(each.split()) for each in value))))


def read_weight(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong_type(value, "a number", _NUMBER)
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput(f"{_shown(value)} isn't a finite number", code="valueOutOfRange", remedy=_RANGE)
    if not -MAX_WEIGHT <= value <= MAX_WEIGHT:
        raise InvalidInput(
            f"{_shown(value)} is out of range",
            code="valueOutOfRange",
            remedy=_RANGE,
        )
    return float(value) + 0.0  # -0.0 becomes 0.0


def read_transformer(value: object) -> str:
    if isinstance(value, str) and value in TRANSFORMERS:
        return value
    meant = nearest(value, TRANSFORMERS) if isinstance(value, str) else None
    raise InvalidInput(
        f"Unsupported value: {_shown(value)}" + (f'. Did you mean "{meant}"?' if meant else ""),
        code="invalidValue" if isinstance(value, str) else "invalidType",
        remedy='Write "high", "low" or "both".',
    )


def read_switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise wrong_type(value, "true or false", "Write true or false without quotation marks.")
    return value


READERS: dict[str, Callable[[object], Any]] = {
    "model": read_model,
    "weight": read_weight_or_points,
    "clip_weight": read_weight,
    "transformer": read_transformer,
    "enabled": read_switch,
    "start": read_position,
    "end": read_position,
    "hold": read_switch,
    "count": read_count,
    "blocks": read_blocks,
    "words": read_words,
}


def wrong_type(value: object, wanted: str, remedy: str) -> InvalidInput:
    return InvalidInput(f"Expected {wanted}, got {_shown(value)}", code="invalidType", remedy=remedy)


def _shown(value: object) -> str:
    """A short form of the value, in JSON's terms."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "an array"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a number of more than 20 digits"
    if isinstance(value, float):
        return json.dumps(float(value))
    return quoted(str(value), 40).strip('"')
