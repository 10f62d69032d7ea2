"""What a sweep goes over other than weights: blocks, steps, and which entries are on."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from ...lora_resolver import InvalidInput, InvalidLoraArray, format_lora_array, parse_lora_array
from .weight_sweep import MOST_VALUES, Swept, entry_name, read_values, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...lora_resolver import LoraEntry

AXES = ("weight", "blocks", "steps", "entries")

_HOW = {
    "blocks": "Write presets or names of blocks with semicolons between: early; middle; late; output_blocks.3-5; all.",
    "steps": "Write spans as shares of the steps: 0-0.5, 0.5-1, 0-1.",
    "entries": "Write numbers of entries, together with +: none, 1, 2, 1+2, all. Or each, for every one alone.",
}
_SPAN = re.compile(r"(\d*\.?\d+)\s*-\s*(\d*\.?\d+)")


def sweep_over(
    axis: str, entries: Sequence[LoraEntry], entry: int, values: str, name: str = ""
) -> tuple[Swept, ...]:
    """One array for each value of this axis; `entry` and `name` as for `sweep`.

    Raises InvalidInput with code `invalidSweep` or `noSuchEntry`.
    """
    if axis == "weight":
        return sweep(entries, entry, read_values(values), name)
    if axis == "entries":
        return tuple(_of_entries(entries, each) for each in _subsets(values, len(entries)))
    named = entry_name(entries, entry, name)
    change = _with_blocks if axis == "blocks" else _with_span
    separator = r"[;\n]" if axis == "blocks" and re.search(r"[;\n{]", values) else r"[,;\n]"
    texts = [each.strip() for each in re.split(separator, values) if each.strip()]
    if not texts:
        raise _wrong("there is no value", axis)
    if len(texts) > MOST_VALUES:
        raise _wrong(f"there are more than {MOST_VALUES} values, and each is a picture", axis)
    return tuple(
        Swept(format_lora_array(_changed(entries, entry, change, text)), f"{named}  {text}") for text in texts
    )


def _changed(
    entries: Sequence[LoraEntry], entry: int, change: Callable[[LoraEntry, str], LoraEntry], text: str
) -> list[LoraEntry]:
    return [
        change(replace(each, enabled=True), text)
        if number == entry or (entry == 0 and each.enabled)
        else each
        for number, each in enumerate(entries, start=1)
    ]


def _with_blocks(entry: LoraEntry, text: str) -> LoraEntry:
    """Only these blocks; a name that is no preset leaves out all others."""
    if text.lower() == "all":
        return replace(entry, blocks=None)
    if re.fullmatch(r"[a-z_]+\.[\w.*-]+", text):
        blocks: object = {"*": 0, "text_encoder": 1, text: 1}
    else:
        blocks = text
    return replace(entry, blocks=_member(entry, "blocks", blocks).blocks)


def _with_span(entry: LoraEntry, text: str) -> LoraEntry:
    span = _SPAN.fullmatch(text)
    if not span:
        raise _wrong(f"{text[:40]!r} is no span", "steps")
    start, end = float(span[1]), float(span[2])
    made = _member(entry, "start", start, end=end)
    if entry.schedule is None or len(entry.schedule.points) < 2:
        return replace(entry, schedule=made.schedule)
    if entry.schedule.count != "steps":
        raise _wrong(f"{entry.identifier} counts its points in {entry.schedule.count}", "steps")
    return replace(entry, schedule=replace(entry.schedule, start=start, end=end))


def _member(entry: LoraEntry, key: str, value: object, **more: object) -> LoraEntry:
    """An entry of this weight with one more member. Raises what is wrong with that as a fault of the sweep."""
    try:
        (made,) = parse_lora_array([{"model": "civitai:1@1", "weight": entry.weight, key: value, **more}])
    except InvalidLoraArray as faults:
        fault = faults.errors[0]
        raise _wrong(fault.message, "steps" if key == "start" else key) from None
    return made


def _subsets(text: str, count: int) -> list[tuple[str, frozenset[int]]]:
    """(label, numbers of the entries that are on) for each value."""
    everything = frozenset(range(1, count + 1))
    found: list[tuple[str, frozenset[int]]] = []
    for part in filter(None, (each.strip().lower() for each in re.split(r"[,;\n]", text))):
        if part == "each":
            found += [(str(number), frozenset({number})) for number in sorted(everything)]
        elif part in ("none", "all"):
            found.append((part, everything if part == "all" else frozenset()))
        else:
            numbers = [each.strip() for each in part.split("+")]
            if not all(each.isdecimal() and int(each) in everything for each in numbers):
                raise _wrong(f"{part[:40]!r} names no entry of an array of {count}", "entries")
            found.append((part, frozenset(map(int, numbers))))
    if not found:
        raise _wrong("there is no value", "entries")
    if len(found) > MOST_VALUES:
        raise _wrong(f"there are more than {MOST_VALUES} values, and each is a picture", "entries")
    return found


def _of_entries(entries: Sequence[LoraEntry], subset: tuple[str, frozenset[int]]) -> Swept:
    label, numbers = subset
    changed = [replace(each, enabled=number in numbers) for number, each in enumerate(entries, start=1)]
    names = [entry_name(entries, number, "") for number in sorted(numbers)]
    shown = label if label in ("none", "all") else " + ".join(names)
    return Swept(format_lora_array(changed), shown)


def _wrong(message: str, axis: str) -> InvalidInput:
    return InvalidInput(message, code="invalidSweep", parameter="values", remedy=_HOW[axis])
