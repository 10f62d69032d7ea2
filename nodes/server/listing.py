"""The loras folders as a list: walked again after a moment, read again only where something has changed.

A page asks for many parts of it in a row, with each key that is typed. It is answered from the last list where a walk
takes longer than anybody should wait for a key, and told so.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as StillWalking
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from ...lora_resolver import LibraryFile, ResolverConfig

KEEP_SECONDS = 3.0
PATIENCE_SECONDS = 0.03
"""What a key that is typed waits for a new walk of the folders."""

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


@dataclass(frozen=True)
class _Kept:
    config: ResolverConfig
    read_at: float
    listing: FolderListing


_lock = threading.Lock()
_kept: _Kept | None = None
_walk: tuple[ResolverConfig, Future[FolderListing]] | None = None


def forget() -> None:
    """After a download, the next one to ask sees it."""
    global _kept, _walk
    with _lock:
        _kept = _walk = None


def listing(config: ResolverConfig) -> FolderListing:
    """The folders as they are, or were a moment ago. Whoever asks while they are walked waits for the same list."""
    found = _begin(config)
    return found.result() if isinstance(found, Future) else found


def listing_soon(config: ResolverConfig) -> tuple[FolderListing, bool]:
    """What `listing` gives, or the last list where that takes a while; and whether it is the first of the two."""
    with _lock:
        last = _kept.listing if _kept is not None and _kept.config == config else None
    found = _begin(config)
    if not isinstance(found, Future):
        return found, True
    if last is None:
        return found.result(), True
    try:
        return found.result(PATIENCE_SECONDS), True
    except StillWalking:
        return last, False


def _begin(config: ResolverConfig) -> FolderListing | Future[FolderListing]:
    """What is kept and young enough, or the walk that is under way, which begins now where there is none."""
    global _walk
    with _lock:
        if _kept is not None and _kept.config == config and time.monotonic() - _kept.read_at < KEEP_SECONDS:
            return _kept.listing
        if _walk is not None and _walk[0] == config:
            return _walk[1]
        before = _kept.listing if _kept is not None and _kept.config == config else None
        future: Future[FolderListing] = Future()
        _walk = (config, future)
    threading.Thread(target=_finish, args=(config, future, before), name="air-lora-walk", daemon=True).start()
    return future


def _finish(config: ResolverConfig, future: Future[FolderListing], before: FolderListing | None) -> None:
    global _kept, _walk
    found: FolderListing | None = None
    error: BaseException | None = None
    try:
        found = _read(config, before)
    except BaseException as raised:
        error = raised
    with _lock:
        # `forget` was called meanwhile: this walk may have missed what the next one to ask must see.
        if _walk is not None and _walk[1] is future:
            _walk = None
            if found is not None:
                _kept = _Kept(config, time.monotonic(), found)
    if found is not None:
        future.set_result(found)
    else:
        future.set_exception(error)


def _read(config: ResolverConfig, before: FolderListing | None) -> FolderListing:
    from ...lora_resolver import Resolver

    resolver = Resolver(config)
    stamp = resolver.library_stamp()
    if before is not None and stamp is not None and before.stamp == stamp:
        return before
    return FolderListing(sorted(resolver.library(), key=lambda file: file.name.casefold()), stamp)


def _texts_of(file: LibraryFile) -> tuple[str, str]:
    name = f"{file.title} {file.name}".casefold()
    return name, f"{name} {' '.join((*file.identifiers, *file.trigger_words)).casefold()}"
