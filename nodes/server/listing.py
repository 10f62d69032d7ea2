"""The loras folders as a list, walked again only after a moment: a page asks for many parts of it in a row."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...lora_resolver import LibraryFile, ResolverConfig

KEEP_SECONDS = 3.0

_lock = threading.Lock()
_kept: tuple[float, ResolverConfig, list[LibraryFile]] | None = None


def forget() -> None:
    """After a download, the next one to ask sees it."""
    global _kept
    with _lock:
        _kept = None


def library_files(config: ResolverConfig) -> list[LibraryFile]:
    """Every LoRA file, by name. Whoever asks while it is read waits for the same list."""
    global _kept
    with _lock:
        if _kept is not None and _kept[1] == config and time.monotonic() - _kept[0] < KEEP_SECONDS:
            return _kept[2]
        from ...lora_resolver import Resolver

        files = sorted(Resolver(config).library(), key=lambda file: file.name.casefold())
        _kept = (time.monotonic(), config, files)
        return files
