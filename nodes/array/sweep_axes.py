"""The axes of a sweep other than weights: blocks, steps, enabled entries, model versions, and prompts."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from ...lora_resolver import (
    InvalidIdentifier,
    InvalidInput,
    InvalidLoraArray,
    format_lora_array,
    parse_identifier,
    parse_lora_array,
)
from .weight_sweep import MOST_VALUES, Swept, entry_name, read_values, short_name, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...lora_resolver import Identifier, LoraEntry

    VersionsOf = Callable[[Identifier], Sequence[tuple[Identifier, str]]]

AXES = ("weight", "blocks", "steps", "entries", "versions", "prompts")

_HOW = {
    "blocks": "Write block presets or block names, separated by semicolons: early; middle; late; "
    "output_blocks.3-5; all.",
    "steps": "Write ranges as fractions of the steps: 0-0.5, 0.5-1, 0-1.",
    "entries": "Write entry numbers, combined with +: none, 1, 2, 1+2, all. Or write each, for every entry alone.",
    "versions": "Write version numbers from the model's page, or full identifiers: 135931, 128713. Or write all.",
    "prompts": "Write prompts separated by semicolons, and connect the prompt output to the text encoder.",
}
_SPAN = re.compile(r"(\d*\.?\d+)\s*-\s*(\d*\.?\d+)")


def nameless(_: int) -> str:
    """Returns no name, so that labels show each entry's identifier."""
    return ""


def sweep_over(
    axis: str,
    entries: Sequence[LoraEntry],
    entry: int,
    values: str,
    name_of: Callable[[int], str] = nameless,
    versions_of: VersionsOf | None = None,
) -> tuple[Swept, ...]:
    """One array for each value of this axis; `entry` as for `sweep`.

    `name_of` returns the entry's name for labels, or "" to show its identifier. `versions_of` looks up a model's
    versions; without it, "all" is the entry's own version.
    Raises InvalidInput with code `invalidSweep` or `noSuchEntry`.
    """
    if axis == "weight":
        return sweep(entries, entry, read_values(values), name_of(entry))
    if axis == "entries":
        return tuple(_of_entries(entries, each, name_of) for each in _subsets(values, len(entries)))
    if axis == "prompts":
        lora = format_lora_array(entries)
        return tuple(Swept(lora, " ".join(text.split()), text) for text in _texts(values, r"[;\n]", axis))
    named = entry_name(entries, entry, name_of(entry))
    if axis == "versions":
        if entry == 0:
            raise _wrong("The versions axis needs a single entry, but entry is 0", axis)
        chosen = _versions(entries[entry - 1].identifier, values, versions_of)
        return tuple(Swept(format_lora_array(_of_version(entries, entry, to)), label) for to, label in chosen)
    change = _with_blocks if axis == "blocks" else _with_span
    separator = r"[;\n]" if axis == "blocks" and re.search(r"[;\n{]", values) else r"[,;\n]"
    return tuple(
        Swept(format_lora_array(_changed(entries, entry, change, text)), f"{named}  {text}")
        for text in _texts(values, separator, axis)
    )


def _of_version(entries: Sequence[LoraEntry], entry: int, to: Identifier) -> list[LoraEntry]:
    return _changed(entries, entry, lambda each, _: replace(each, identifier=to), "")


def _texts(values: str, separator: str, axis: str) -> list[str]:
    texts = [each.strip() for each in re.split(separator, values) if each.strip()]
    if not texts:
        raise _wrong("There are no values", axis)
    if len(texts) > MOST_VALUES:
        raise _wrong(f"There are more than {MOST_VALUES} values, and each value makes an image", axis)
    return texts


def _versions(
    identifier: Identifier, values: str, versions_of: VersionsOf | None
) -> list[tuple[Identifier, str]]:
    """Returns (identifier, label) for each value."""
    texts = _texts(values, r"[,;\s]+", "versions")
    numbered = [text for text in texts if text.isdecimal() and text.isascii()]
    listed: Sequence[tuple[Identifier, str]] = ()
    if versions_of is not None and (numbered or "all" in map(str.lower, texts)):
        listed = versions_of(identifier)
    model = next(
        (each.id for each, _ in listed if each.id), identifier.id if identifier.source == "civitai" else ""
    )
    names = {str(each.version): label for each, label in listed}
    chosen: list[tuple[Identifier, str]] = []
    for text in texts:
        if text.lower() == "all":
            chosen += listed or [(identifier, short_name(str(identifier)))]
        elif text in numbered:
            if not model and identifier.source != "local":
                raise _wrong(f"{identifier} isn't a CivitAI model, so it has no version {text}", "versions")
            found = parse_identifier(f"civitai:{model}@{text}") if model else identifier
            chosen.append((found, names.get(text) or f"@{text}"))
        else:
            try:
                other = parse_identifier(text)
            except InvalidIdentifier as error:
                raise _wrong(error.message, "versions") from None
            chosen.append((other, short_name(str(other))))
    if len(chosen) > MOST_VALUES:
        raise _wrong(
            f"There are more than {MOST_VALUES} versions, and each version makes an image", "versions"
        )
    return chosen


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
    """Limits the entry to these blocks: by a preset, or by a block name, which leaves out all others."""
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
        raise _wrong(f"{text[:40]!r} isn't a range of steps", "steps")
    start, end = float(span[1]), float(span[2])
    made = _member(entry, "start", start, end=end)
    if entry.schedule is None or len(entry.schedule.points) < 2:
        return replace(entry, schedule=made.schedule)
    if entry.schedule.count != "steps":
        raise _wrong(
            f"The schedule of {entry.identifier} counts in {entry.schedule.count}, not in steps", "steps"
        )
    return replace(entry, schedule=replace(entry.schedule, start=start, end=end))


def _member(entry: LoraEntry, key: str, value: object, **more: object) -> LoraEntry:
    """An entry of this weight with one more member. An error in the member is raised as an error of the sweep."""
    try:
        (made,) = parse_lora_array([{"model": "civitai:1@1", "weight": entry.weight, key: value, **more}])
    except InvalidLoraArray as faults:
        fault = faults.errors[0]
        raise _wrong(fault.message, "steps" if key == "start" else key) from None
    return made


def _subsets(text: str, count: int) -> list[tuple[str, frozenset[int]]]:
    """Returns (label, numbers of the enabled entries) for each value."""
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
                raise _wrong(
                    f"{part[:40]!r} doesn't match the array, which has {count} {'entry' if count == 1 else 'entries'}",
                    "entries",
                )
            found.append((part, frozenset(map(int, numbers))))
    if not found:
        raise _wrong("There are no values", "entries")
    if len(found) > MOST_VALUES:
        raise _wrong(f"There are more than {MOST_VALUES} values, and each value makes an image", "entries")
    return found


def _of_entries(
    entries: Sequence[LoraEntry], subset: tuple[str, frozenset[int]], name_of: Callable[[int], str]
) -> Swept:
    label, numbers = subset
    changed = [replace(each, enabled=number in numbers) for number, each in enumerate(entries, start=1)]
    names = [entry_name(entries, number, name_of(number)) for number in sorted(numbers)]
    shown = label if label in ("none", "all") else " + ".join(names)
    return Swept(format_lora_array(changed), shown)


def _wrong(message: str, axis: str) -> InvalidInput:
    return InvalidInput(message, code="invalidSweep", parameter="values", remedy=_HOW[axis])
