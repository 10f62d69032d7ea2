"""Collects the trigger words of several LoRAs, and appends missing ones to a prompt."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...lora_resolver import LoraResolverError, one_or_several

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...lora_resolver import LoraEntry, PeekedLora, ResolvedLora


def words_of(
    outcomes: Sequence[ResolvedLora | PeekedLora | LoraResolverError],
    places: Sequence[str] = (),
    entries: Sequence[LoraEntry] = (),
) -> tuple[str, ...]:
    """Each word once, in the array's order. Raises the errors among the outcomes, each at its place.

    `entries` are the entries that the outcomes belong to. If an entry sets its own words, these are used.
    """
    errors = [
        outcome.at(places[position]) if places else outcome
        for position, outcome in enumerate(outcomes)
        if isinstance(outcome, LoraResolverError)
    ]
    if errors:
        raise one_or_several(errors)
    said = [entry.words for entry in entries] or [None] * len(outcomes)
    found = (
        lora.trigger_words if own is None else own
        for lora, own in zip(outcomes, said)
        if not isinstance(lora, LoraResolverError)
    )
    return tuple(dict.fromkeys(word for words in found for word in words))


def with_missing_words(prompt: str, words: Sequence[str]) -> tuple[str, list[str]]:
    """The prompt with the missing words appended, and the appended words.

    The comma-separated parts of a word are checked separately. Case, weights, and escapes are ignored.
    """
    said = _plain(prompt)
    missing: dict[str, str] = {}
    for part in (part.strip() for word in words for part in word.split(",")):
        sought = _plain(part)
        if sought and not re.search(rf"(?<!\w){re.escape(sought)}(?!\w)", said):
            missing.setdefault(sought, part)
    parts = [_escaped(part) for part in missing.values()]
    begin = prompt.rstrip().rstrip(",").rstrip()
    return (", ".join(filter(None, [begin, *parts])) if parts else prompt), parts


def _plain(text: str) -> str:
    return " ".join(text.replace("\\(", "(").replace("\\)", ")").lower().split())


def _escaped(part: str) -> str:
    """Escapes the parentheses of a name such as `jinx (arcane)`, which would change its weight in the prompt.

    Parentheses that contain a weight stay unchanged.
    """
    if re.search(r"\\[()]|\([^()]*:[ \d.]+\)", part):
        return part
    return part.replace("(", "\\(").replace(")", "\\)")
