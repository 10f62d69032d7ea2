"""Picks entries of an array, at random by a seed or in turn, and draws weights from a range."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from ...lora_resolver import InvalidInput
from .weight_sweep import LARGEST_WEIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...lora_resolver import LoraEntry

HOW = ("random", "in turn")

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*(?:to|\.\.\.?|…|:)\s*({_NUMBER})\s*")
_DIGITS = 2


def pick(
    entries: Sequence[LoraEntry], how: str, seed: int, count: int, weights: str = ""
) -> tuple[LoraEntry, ...]:
    """The picked entries in the array's order, at their own weights, or at weights drawn from a range in `weights`.

    Picks only active entries. The same seed picks the same entries on every machine. "in turn" begins at entry
    seed × count and starts over at the end. A range is a text such as "0.4 to 0.9". Raises InvalidInput with code
    `invalidPick`.
    """
    present = [entry for entry in entries if entry.active]
    if not present:
        raise _wrong("No LoRA in the array is enabled", "lora", "Enable a LoRA.")
    if not 1 <= count <= len(present):
        raise _wrong(
            f"Can't pick {count}: {len(present)} {'LoRA is' if len(present) == 1 else 'LoRAs are'} enabled",
            "count",
            "Enter 1." if len(present) == 1 else f"Enter a number from 1 to {len(present)}.",
        )
    span = _read_range(weights)
    generator = random.Random(seed)  # noqa: S311 - chooses LoRAs, not secrets
    if how == "random":
        chosen = sorted(generator.sample(range(len(present)), count))
    else:
        chosen = sorted((seed * count + number) % len(present) for number in range(count))
    picked = []
    for number in chosen:
        entry = present[number]
        if span is not None:
            weight = round(generator.uniform(*span), _DIGITS)
            clip_weight = weight if entry.clip_weight == entry.weight else entry.clip_weight
            entry = entry.with_weight(weight, clip_weight)
        picked.append(entry)
    return tuple(picked)


def _read_range(text: str) -> tuple[float, float] | None:
    if not text.strip():
        return None
    found = _RANGE.fullmatch(text)
    if found is None:
        raise _wrong(f"{text[:40]!r} isn't a range of weights", "weights", _HOW_TO)
    low, high = float(found[1]), float(found[2])
    if low > high or max(abs(low), abs(high)) > LARGEST_WEIGHT:
        raise _wrong(f"{text[:40]!r} isn't a range between -4 and 4", "weights", _HOW_TO)
    return low, high


_HOW_TO = "Write a range such as 0.4 to 0.9, or leave it empty to use the array's weights."


def _wrong(message: str, parameter: str, remedy: str) -> InvalidInput:
    return InvalidInput(message, code="invalidPick", parameter=parameter, remedy=remedy)
