"""Guesses the meaning of a text that isn't an identifier, for the remedy of InvalidIdentifier."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import unquote

from ..errors import InvalidIdentifier
from ..text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["is_prompt_tag", "suggestion"]

_WEIGHT = r"(?P<weight>-?(?:[0-9]{1,3}(?:\.[0-9]{0,6})?|\.[0-9]{1,6}))"
_PROMPT_TAG = re.compile(
    rf"<\s*(?:lora|lyco|lycoris)\s*:(?P<name>[^<>]+?)(?::{_WEIGHT})?(?::[^<>:]*)?>", re.IGNORECASE
)
_NAME_AND_WEIGHT = re.compile(rf"(?P<name>.+):{_WEIGHT}")
_WRAPPING = "\"'`“”‘’<>()[]{},; "


def is_prompt_tag(text: str) -> bool:
    """Whether `text` is `<lora:name:0.7>`, as other programs write it in the prompt."""
    return bool(_PROMPT_TAG.fullmatch(text))


def suggestion(text: str, parse: Callable[[str], object]) -> str | None:
    """A sentence with the correct spelling of `text`, or None if it can't be guessed.

    `parse` raises InvalidIdentifier for a text that isn't an identifier. Only spellings that it accepts are suggested.
    """
    tag = _PROMPT_TAG.fullmatch(text)
    named = tag or _NAME_AND_WEIGHT.fullmatch(text)
    candidates = [*_respellings(named["name"] if named else text)]
    if tag:  # names in tags have no ending
        candidates.append(f"local:{tag['name'].strip()}.safetensors")
    for candidate in candidates:
        try:
            canonical = str(parse(candidate))
        except InvalidIdentifier:
            continue
        if named and named["weight"]:
            return f'Write {{ "model": {quoted(canonical)}, "weight": {float(named["weight"])} }}.'
        return f"Did you mean {quoted(canonical)}?"
    if re.fullmatch("[0-9]{1,18}", text):
        return (
            f'If this is a CivitAI version ID, write "civitai:@{text}". '
            f'If it is a model ID, write "civitai:{text}@latest".'
        )
    if re.fullmatch(r"\w[\w .-]*", text):
        return f"For a file on your disk, write {quoted(f'local:{text}.safetensors')}."
    return None


def _respellings(text: str) -> Iterator[str]:
    """Possible corrections of `text`, the most likely first."""
    tidy = unicodedata.normalize("NFKC", unquote(text).strip(_WRAPPING).rstrip("."))
    joined = re.sub(r"\s+", "", tidy)
    yield from (tidy, joined)
    if re.fullmatch(r"[0-9]+@[0-9]+(?:\+[0-9]+)?(?:\.\w+)?", joined):
        yield f"civitai:{joined}"
    if numbers := re.fullmatch(r"civitai[^0-9]{1,20}([0-9]+)[^0-9]{1,20}([0-9]+)", tidy, re.IGNORECASE):
        yield f"civitai:{numbers[1]}@{numbers[2]}"
    if re.fullmatch(r"[0-9A-Fa-f]{64}", joined):
        yield f"sha256:{joined}"
    if re.fullmatch(r"[\w.-]+/[\w.-]+@.+", tidy):
        yield f"huggingface:{tidy}"
    yield f"local:{tidy}"
    if re.fullmatch(r"[\w.-]+/[\w.-]+", tidy):
        yield f"huggingface:{tidy}"
