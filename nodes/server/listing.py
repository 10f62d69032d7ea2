"""The loras folders as a list: walked again after a moment, read again only where something has changed.

A page asks for many parts of it in a row, with each key that is typed.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from ...lora_resolver import LibraryFile, ResolverConfig

KEEP_SECONDS = 3.0

_UNUSABLE = ("unsound", "not_a_diffusion_lora")


@dataclass(frozen=True)
class FolderListing:
    """Every LoRA file, by name."""

    files: list[LibraryFile]
    stamp: str | None
    """As `Resolver.library_stamp`."""

    @cached_property
    def _texts(self) -> list[tuple[str, str]]:
        """Of each file: its names, and all that is searched."""
        return [_texts_of(file) for file in self.files]

    def search(self, query: str, families: Collection[str]) -> list[LibraryFile]:
        """The files with all these words that fit one of the families, or may; all families where there is none.

        What has the words in its name comes before what has them in its trigger words alone.
        """
        words = query.casefold().split()
        wanted = set(families)
        named, others = [], []
        for file, (name, text) in zip(self.files, self._texts):
            if file.verdict in _UNUSABLE or (wanted and file.families and wanted.isdisjoint(file.families)):
                continue
            if all(word in name for word in words):
                named.append(file)
            elif all(word in text for word in words):
                others.append(file)
        return named + others


_lock = threading.Lock()
_kept: tuple[float, ResolverConfig, FolderListing] | None = None


def forget() -> None:
    """After a download, the next one to ask sees it."""
    global _kept
    with _lock:
        _kept = None


def listing(config: ResolverConfig) -> FolderListing:
    """Whoever asks while it is read waits for the same list."""
    global _kept
    with _lock:
        before = _kept[2] if _kept is not None and _kept[1] == config else None
        if before is not None and _kept is not None and time.monotonic() - _kept[0] < KEEP_SECONDS:
            return before
        from ...lora_resolver import Resolver

        resolver = Resolver(config)
        stamp = resolver.library_stamp()
        if before is None or stamp is None or before.stamp != stamp:
            files = sorted(resolver.library(), key=lambda file: file.name.casefold())
            before = FolderListing(files, stamp)
        _kept = (time.monotonic(), config, before)
        return before


def _texts_of(file: LibraryFile) -> tuple[str, str]:
    name = f"{file.title} {file.name}".casefold()
    return name, f"{name} {' '.join((*file.identifiers, *file.trigger_words)).casefold()}"
