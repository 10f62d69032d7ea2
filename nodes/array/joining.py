"""Joins the `lora` arrays of several inputs into one."""

from __future__ import annotations

from dataclasses import replace

from ...lora_resolver import InvalidLoraArray, LoraEntry, LoraResolverError
from .inputs import read_array


def joined_entries(**arrays: str | None) -> tuple[LoraEntry, ...]:
    """The entries of all arrays, in the order of the arguments; places begin with the argument's name: `more[0]`.

    None is an input that isn't connected. Raises InvalidLoraArray with the errors of all arrays.
    """
    entries: list[LoraEntry] = []
    faults: list[LoraResolverError] = []
    for name, text in arrays.items():
        try:
            entries += _entries_of(text, name)
        except InvalidLoraArray as error:  # noqa: PERF203 - the errors of all arrays are shown at once
            faults += error.errors
    if faults:
        raise InvalidLoraArray(faults)
    return tuple(entries)


def _entries_of(text: str | None, name: str) -> list[LoraEntry]:
    try:
        entries = read_array(text)
    except InvalidLoraArray as error:
        raise InvalidLoraArray([each.at(_placed(each.parameter, name)) for each in error.errors]) from None
    return [replace(entry, place=_placed(entry.place, name)) for entry in entries]


def _placed(place: str, name: str) -> str:
    """`lora[1].weight` → `more[1].weight`."""
    return name + place.removeprefix("lora") if place.startswith("lora") else place
