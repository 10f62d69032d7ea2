"""Arrays that differ in one weight, or in all: what a sheet of pictures is made from."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ...lora_resolver import InvalidInput, format_lora_array, without_ending

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...lora_resolver import LoraEntry

MOST_VALUES = 100
"""Each is a picture."""

LARGEST_WEIGHT = 4.0
"""Of a `lora` array."""

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_RANGE = re.compile(rf"({_NUMBER})\s*:\s*({_NUMBER})(?:\s*:\s*({_NUMBER}))?")
_SEPARATORS = re.compile(r"[,;\s]+")
_DEFAULT_STEP = 0.1


class Swept(NamedTuple):
    """One picture's array, and what to write above it."""

    lora: str
    label: str


def read_values(text: str) -> tuple[float, ...]:
    """`0.4, 0.7, 1` or `0.2:1:0.2` (from, to, step), or both → the weights, in their order.

    Raises InvalidInput with code `invalidSweep`.
    """
    values: list[float] = []
    for part in filter(None, _SEPARATORS.split(re.sub(r"\s*:\s*", ":", text.strip()))):
        span = _RANGE.fullmatch(part)
        if span:
            values += _span(part, float(span[1]), float(span[2]), span[3])
        elif re.fullmatch(_NUMBER, part):
            values.append(float(part))
        else:
            raise _wrong(f"{part[:40]!r} is no number and no range")
        if len(values) > MOST_VALUES:
            raise _wrong(f"there are more than {MOST_VALUES} values, and each is a picture")
    outside = next((value for value in values if abs(value) > LARGEST_WEIGHT), None)
    if outside is not None:
        raise _wrong(f"{outside:g} is outside -{LARGEST_WEIGHT:g}…{LARGEST_WEIGHT:g}")
    if not values:
        raise _wrong("there is no value")
    return tuple(values)


def sweep(
    entries: Sequence[LoraEntry], entry: int, values: Sequence[float], name: str = ""
) -> tuple[Swept, ...]:
    """One array for each value. `entry` counts from 1; 0 gives the value to every entry that is on. `name` is what
    the labels call the entry, in place of its identifier.

    A clip weight that was the weight goes along; another one stays. The entry that is swept is switched on.
    Raises InvalidInput with code `noSuchEntry`.
    """
    named = entry_name(entries, entry, name)
    swept = []
    for value in values:
        changed = [
            _at(each, value) if number == entry or (entry == 0 and each.enabled) else each
            for number, each in enumerate(entries, start=1)
        ]
        swept.append(Swept(format_lora_array(changed), f"{named}  {value:g}"))
    return tuple(swept)


def entry_name(entries: Sequence[LoraEntry], entry: int, name: str) -> str:
    """What labels call the entry, which counts from 1; 0 is all. Raises InvalidInput with code `noSuchEntry`."""
    if not 0 <= entry <= len(entries) or not entries:
        has = f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}"
        raise InvalidInput(
            f"there is no entry {entry} in an array of {has}",
            code="noSuchEntry",
            parameter="entry",
            remedy=f"Write a number from 1 to {len(entries)}, or 0 for all."
            if entries
            else "Add a LoRA to lora.",
        )
    return "all" if entry == 0 else name or _short(str(entries[entry - 1].identifier))


def _at(entry: LoraEntry, value: float) -> LoraEntry:
    clip_weight = value if entry.clip_weight == entry.weight else entry.clip_weight
    return replace(entry.with_weight(value, clip_weight), enabled=True)


def _short(name: str) -> str:
    """A file's name without its folder and ending; other identifiers as they are."""
    if not name.startswith(("local:", "huggingface:")):
        return name
    return without_ending(name.rpartition("/")[2].removeprefix("local:"))


def _span(text: str, first: float, last: float, step_text: str | None) -> list[float]:
    step = abs(float(step_text)) if step_text else _DEFAULT_STEP
    if not step:
        raise _wrong(f"{text!r} has a step of 0")
    count = math.floor(abs(last - first) / step + 1e-9) + 1
    if count > MOST_VALUES:
        raise _wrong(f"{text!r} are {count} values, and each is a picture")
    step = math.copysign(step, last - first)
    return [round(first + number * step, 6) for number in range(count)]


def _wrong(message: str) -> InvalidInput:
    return InvalidInput(
        message,
        code="invalidSweep",
        parameter="values",
        remedy="Write numbers as 0.4, 0.7, 1, or a range as 0.2:1:0.2 (from, to, step).",
    )
