"""LORA_STACK, the type that node packs use to pass LoRAs to each other: a list of (name, model weight, CLIP weight).

Comfyroll's CR LoRA Stack and the Efficiency Nodes' LoRA Stacker introduced it. An incoming stack is extended, not
changed. Names are those that ComfyUI's own loaders list, with either path separator. Some packs use whole paths.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from comfy_api.latest import io

from ...lora_resolver import InvalidInput, LoraEntry, LoraResolverError, parse_identifier
from ..server.model_folders import loader_name, lora_folder_of
from ..server.settings import resolver_config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ...lora_resolver import BlockWeights, Identifier, PeekedLora, Progress, ResolvedLora, Schedule

_log = logging.getLogger(__name__)

LoraStack = io.Custom("LORA_STACK")

Row = tuple[str, float, float]


class FullRow(tuple[str, float, float]):
    """A row that also contains what an entry has beyond its weights. Other packs see only the three members."""

    transformer: str
    schedule: Schedule | None
    blocks: BlockWeights | None
    words: tuple[str, ...] | None

    def __new__(cls, row: Row, entry: LoraEntry) -> FullRow:
        """Adds this entry's members to its row."""
        made = super().__new__(cls, row)
        made.transformer, made.schedule, made.blocks = entry.transformer, entry.schedule, entry.blocks
        made.words = entry.words
        return made


_ROW_LENGTH = 3

_NOTHING = ("", "None")
"""The names that stack nodes use for a row without a LoRA."""


@dataclass(frozen=True)
class StackEntry:
    """One row of a stack, with the members of a LoraEntry. Its weights can exceed the array's limits."""

    identifier: Identifier
    weight: float
    clip_weight: float
    place: str
    folder: Path | None
    """The file's folder, if it is outside the `loras` folders."""
    enabled: bool = True
    transformer: str = "both"
    schedule: Schedule | None = None
    blocks: BlockWeights | None = None
    words: tuple[str, ...] | None = None

    @property
    def active(self) -> bool:
        """Whether it changes anything. Inactive entries aren't looked up or read."""
        return self.weight != 0 or self.clip_weight != 0


def stack_rows(entries: Sequence[LoraEntry], files: Sequence[ResolvedLora]) -> list[Row]:
    """One row for each entry and its file. Raises StorageFailed for a file that ComfyUI's own loaders can't reach."""
    rows = []
    for entry, file in zip(entries, files):
        row: Row = (loader_name(file.path), entry.weight, entry.clip_weight)
        is_plain = entry.transformer == "both" and not entry.extensions()
        rows.append(row if is_plain else FullRow(row, entry))
        if entry.extensions():
            _log.warning(
                "%s: %s has a schedule or block weights, which only this pack's nodes support. Other packs' "
                "nodes apply it at %s to all steps and blocks",
                *(entry.place, entry.identifier, f"{entry.weight:g}"),
            )
    return rows


def stack_entries(stack: Sequence[Row] | None) -> tuple[StackEntry, ...]:
    """The rows that name a LoRA, with places such as `lora_stack[0]`. Raises InvalidInput for an invalid row."""
    return tuple(
        _entry(row, f"lora_stack[{position}]")
        for position, row in enumerate(stack or ())
        if not _is_empty(row)
    )


def resolve_entries(
    entries: Sequence[LoraEntry | StackEntry],
    *,
    on_progress: Callable[[Progress], None],
    before_downloads: Callable[
        [Mapping[str, PeekedLora | LoraResolverError]], Mapping[str, LoraResolverError]
    ],
) -> list[ResolvedLora | LoraResolverError]:
    """Like `Resolver.resolve_each`, but files of a stack can be in any folder.

    `before_downloads` is called with all entries by place, and returns the rejected places with their errors.
    """
    from ...lora_resolver import (
        Resolver,  # late, so that ComfyUI starts without loading an HTTP client
    )

    config = resolver_config()
    by_folder = {
        folder: [entry for entry in entries if _folder(entry) == folder]
        for folder in dict.fromkeys(map(_folder, entries))
    }
    outcomes: dict[str, ResolvedLora | LoraResolverError] = {}
    resolvers = {
        folder: Resolver(config.with_changes(download_dir=folder, search_dirs=()) if folder else config)
        for folder in by_folder
    }

    def look_at_all(
        found: Mapping[Identifier, PeekedLora | LoraResolverError],
    ) -> Mapping[Identifier, LoraResolverError]:
        looked = {entry.place: found[entry.identifier] for entry in by_folder[None]}
        for folder, there in by_folder.items():
            if folder is not None:  # files of a stack, which are already on this disk
                peeked = resolvers[folder].peek_all([entry.identifier for entry in there])
                looked |= {entry.place: each for entry, each in zip(there, peeked)}
        refused = before_downloads(looked)
        return {entry.identifier: refused[entry.place] for entry in by_folder[None] if entry.place in refused}

    for folder, there in by_folder.items():
        resolved = resolvers[folder].resolve_each(
            [entry.identifier for entry in there], on_progress=on_progress, before_downloads=look_at_all
        )
        outcomes |= {entry.place: outcome for entry, outcome in zip(there, resolved)}
    return [outcomes[entry.place] for entry in entries]


def _folder(entry: LoraEntry | StackEntry) -> Path | None:
    return entry.folder if isinstance(entry, StackEntry) else None


def _is_empty(row: object) -> bool:
    return isinstance(row, (list, tuple)) and len(row) == _ROW_LENGTH and row[0] in _NOTHING


def _entry(row: object, place: str) -> StackEntry:
    if not isinstance(row, (list, tuple)) or len(row) != _ROW_LENGTH or not isinstance(row[0], str):
        raise _wrong_row("The row isn't (name, model weight, CLIP weight)", place)
    if not all(isinstance(weight, (int, float)) and math.isfinite(weight) for weight in row[1:]):
        raise _wrong_row(f"The weights of {row[0]!r} aren't two finite numbers", place)
    name, folder = lora_folder_of(row[0])
    try:
        identifier = parse_identifier(f"local:{name}")
    except InvalidInput as error:
        raise error.at(place) from None
    found = StackEntry(identifier, float(row[1]), float(row[2]), place, folder)
    if isinstance(row, FullRow):
        found = replace(
            found, transformer=row.transformer, schedule=row.schedule, blocks=row.blocks, words=row.words
        )
    return found


def _wrong_row(message: str, place: str) -> InvalidInput:
    return InvalidInput(
        message,
        code="invalidStack",
        parameter=place,
        remedy="Connect the LORA_STACK output of a LoRA stack node.",
    )
