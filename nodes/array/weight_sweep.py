"""Makes arrays that differ in one weight, or in all weights, for a sheet of pictures."""

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
"""The maximum number of values. Each value makes a picture."""

LARGEST_WEIGHT = 4.0
"""The largest weight that a `lora` array allows."""

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_RANGE = re.compile(rf"({_NUMBER})\s*:\s*({_NUMBER})(?:\s*:\s*({_NUMBER}))?")
_SEPARATORS = re.compile(r"[,;\s]+")
_DEFAULT_STEP = 0.1


class Swept(NamedTuple):
    """One picture's array, and its label."""

    lora: str
    label: str
    prompt: str = ""
    """The picture's prompt; empty if no axis changes the prompt."""


def read_values(text: str) -> tuple[float, ...]:
    """Parses weights, in their order, from `0.4, 0.7, 1` or `0.2:1:0.2` (from, to, step), or a mix of both.

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
            raise _wrong(f"{part[:40]!r} isn't a number or a range")
        if len(values) > MOST_VALUES:
            raise _wrong(f"There are more than {MOST_VALUES} values, and each value makes an image")
    outside = next((value for value in values if abs(value) > LARGEST_WEIGHT), None)
    if outside is not None:
        raise _wrong(f"{outside:g} isn't between -{LARGEST_WEIGHT:g} and {LARGEST_WEIGHT:g}")
    if not values:
        raise _wrong("There are no values")
    return tuple(values)


def sweep(
    entries: Sequence[LoraEntry], entry: int, values: Sequence[float], name: str = ""
) -> tuple[Swept, ...]:
    """One array for each value. `entry` counts from 1; 0 gives the value to every enabled entry.

    `name` is shown in labels instead of the entry's identifier. If an entry's clip weight equals its weight, it changes
    too; otherwise it stays the same. The swept entry is enabled. Raises InvalidInput with code `noSuchEntry`.
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
    """The name of the entry in labels. `entry` counts from 1; 0 is all. Raises InvalidInput with code `noSuchEntry`."""
    if not 0 <= entry <= len(entries) or not entries:
        has = f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}"
        raise InvalidInput(
            f"Entry {entry} doesn't exist: the array has {has}",
            code="noSuchEntry",
            parameter="entry",
            remedy=f"Enter a number from 1 to {len(entries)}, or 0 for all entries."
            if entries
            else "Add a LoRA to the array.",
        )
    return "all" if entry == 0 else name or short_name(str(entries[entry - 1].identifier))


def _at(entry: LoraEntry, value: float) -> LoraEntry:
    clip_weight = value if entry.clip_weight == entry.weight else entry.clip_weight
    return replace(entry.with_weight(value, clip_weight), enabled=True)


def short_name(name: str) -> str:
    """The name for a label: a file's name without its folder and extension; other identifiers unchanged."""
    if not name.startswith(("local:", "huggingface:")):
        return name
    return without_ending(name.rpartition("/")[2].removeprefix("local:"))


def _span(text: str, first: float, last: float, step_text: str | None) -> list[float]:
    step = abs(float(step_text)) if step_text else _DEFAULT_STEP
    if not step:
        raise _wrong(f"{text!r} has a step of 0")
    count = math.floor(abs(last - first) / step + 1e-9) + 1
    if count > MOST_VALUES:
        raise _wrong(f"{text!r} has {count} values, and each value makes an image (at most {MOST_VALUES})")
    step = math.copysign(step, last - first)
    return [round(first + number * step, 6) for number in range(count)]


def _wrong(message: str) -> InvalidInput:
    return InvalidInput(
        message,
        code="invalidSweep",
        parameter="values",
        remedy="Write numbers such as 0.4, 0.7, 1, or a range such as 0.2:1:0.2 (from, to, step).",
    )
