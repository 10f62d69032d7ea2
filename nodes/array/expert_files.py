"""Dual-expert models such as Wan 2.2: chooses the expert's file if a version has one file for each expert."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from ...lora_resolver import LoraEntry, LoraResolverError, parse_identifier
from ..server.settings import resolver_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .lora_stack import StackEntry

_HIGH, _LOW = re.compile(r"high", re.IGNORECASE), re.compile(r"low", re.IGNORECASE)


def with_files_of_expert(
    entries: Sequence[LoraEntry | StackEntry], expert: str
) -> list[LoraEntry | StackEntry]:
    """The entries. If a version has one file called High and one called Low, the entry gets the file of this expert.

    An entry that already names a file or an expert stays unchanged. `expert` is "high", "low", or "both".
    """
    asked = [entry for entry in entries if expert != "both" and _may_be_a_pair(entry)]
    if not asked:
        return list(entries)
    from ...lora_resolver import (
        Resolver,
    )  # late, so that ComfyUI starts without loading an HTTP client

    found = {}
    for entry, peeked in zip(
        asked, Resolver(resolver_config()).peek_all([each.identifier for each in asked])
    ):
        # If the lookup fails, the error is reported later, when the file is resolved.
        record = None if isinstance(peeked, LoraResolverError) else peeked.record
        number = _file_of(record.model_files, expert) if record is not None else None
        if number is not None:
            found[entry.place] = (
                parse_identifier(f"{record.identifier}+{number}") if record else entry.identifier
            )
    return [
        replace(entry, identifier=found[entry.place]) if entry.place in found else entry for entry in entries
    ]


def _may_be_a_pair(entry: LoraEntry | StackEntry) -> bool:
    identifier = entry.identifier
    return (
        isinstance(entry, LoraEntry)
        and entry.transformer == "both"
        and identifier.source == "civitai"
        and identifier.file_id is None
        and identifier.choice is None
    )


def _file_of(files: Sequence[tuple[str, str, str]], expert: str) -> str | None:
    """The ID of the expert's file, if exactly one file is called High and exactly one Low."""
    high = [number for number, name, _ in files if _HIGH.search(name) and not _LOW.search(name)]
    low = [number for number, name, _ in files if _LOW.search(name) and not _HIGH.search(name)]
    if len(high) != 1 or len(low) != 1:
        return None
    return (high if expert == "high" else low)[0]
