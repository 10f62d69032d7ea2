"""The `lora` array as it reaches a node: typed, or over a wire, where it may also be a prompt with tags in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lora_resolver import parse_lora_array, tags_as_array
from ..server.settings import lora_names

if TYPE_CHECKING:
    from ...lora_resolver import LoraEntry


def read_array(text: object) -> tuple[LoraEntry, ...]:
    """The entries of an array, or of the `<lora:name:0.7>` tags of a text that is none. Raises InvalidLoraArray."""
    tagged = tags_as_array(text, lora_names) if isinstance(text, str) else None
    return parse_lora_array(text if tagged is None else tagged)
