"""A shared store as a whole: what it contains, whether its files are unchanged, and what may be removed.

Undamaged files are never removed: one machine doesn't know what the others need.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from ...errors import StorageFailed
from ...identifiers import Identifier
from ...transfer.download import file_sha256
from ...transfer.tasks import CancelToken, run_side_by_side
from .entry import FILES, NAMES, Entry, file_name
from .files import TEMPORARY, Files, StoreLost, StoreRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ...config import ResolverConfig
    from ...records import Progress
    from ...transfer.tasks import ProgressTracker

__all__ = ["CheckedInStore", "check_store", "prune_store", "store_entries"]

LEFT_BEHIND = 24 * 3600.0
"""Seconds after which an upload under a temporary name counts as interrupted."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class CheckedInStore:
    """One file of the store."""

    entry: Entry
    state: Literal["ok", "changed", "missing"]


def store_entries(config: ResolverConfig) -> list[Entry]:
    """Every file that has a name in the store, by name. Raises StorageFailed if the store can't be reached."""
    files = _files(config, CancelToken())
    return _asked(lambda: list(_entries(files)))


def check_store(
    config: ResolverConfig, *, on_progress: Callable[[Progress], None] | None = None
) -> Iterator[CheckedInStore]:
    """Reads every file of the store again. `on_progress` may raise to stop. Raises StorageFailed."""
    for entry in store_entries(config):
        digest = _digest(config, entry, on_progress)
        yield CheckedInStore(
            entry, "missing" if digest is None else "ok" if digest == entry.sha256 else "changed"
        )


def _digest(
    config: ResolverConfig, entry: Entry, on_progress: Callable[[Progress], None] | None
) -> str | None:
    """The current SHA-256 of a file; None if it is gone."""
    cancel = CancelToken()
    files = _files(config, cancel)

    def read(tracker: ProgressTracker) -> str | None:
        with tempfile.TemporaryDirectory(prefix="air-lora-") as folder:
            copy = Path(folder) / "file"
            tracker.start("download", file_name=entry.file_name, total=entry.size)
            if not files.fetch(file_name(entry.sha256), copy, tracker.add):
                return None
            return file_sha256(copy, tracker, cancel)

    (digest,) = run_side_by_side([(Identifier("sha256", entry.sha256), read)], cancel, on_progress)
    if isinstance(digest, StoreLost | StoreRefused):
        raise _cannot(digest)
    if isinstance(digest, BaseException):
        raise digest
    return digest


def prune_store(config: ResolverConfig, *, dry_run: bool = False) -> list[tuple[str, int]]:
    """Removes interrupted uploads, and names whose file is gone. Returns each one's name in the store and its bytes.

    Raises StorageFailed if the store can't be reached or changed.
    """
    files = _files(config, CancelToken())

    def work() -> list[tuple[str, int]]:
        now = time.time()
        removed = [
            (name, size)
            for name, (size, written) in files.names(TEMPORARY).items()
            if written is not None and now - written > LEFT_BEHIND
        ]
        named = files.names(NAMES)
        present = files.names(
            FILES
        )  # after the names: other machines keep writing, and write each name after its file
        for name, (size, _) in named.items():
            entry = Entry.from_json(files.small(name) or b"")
            if entry is not None and file_name(entry.sha256) not in present:
                removed.append((name, size))
        for name, _ in [] if dry_run else removed:
            files.remove(name)
        return removed

    return _asked(work)


def _entries(files: Files) -> Iterator[Entry]:
    """Each file once, even if it has several names."""
    seen: set[str] = set()
    for name in sorted(files.names(NAMES)):
        entry = Entry.from_json(files.small(name) or b"")
        if entry is not None and entry.sha256 not in seen:
            seen.add(entry.sha256)
            yield entry


def _files(config: ResolverConfig, cancel: CancelToken) -> Files:
    if not config.store:
        raise StorageFailed(
            "No shared store is configured",
            code="noStore",
            remedy="Set AIR_LORA_STORE, for example to s3://bucket/loras.",
        )
    return Files(config.store, cancel)


def _asked(call: Callable[[], _T]) -> _T:
    try:
        return call()
    except (StoreLost, StoreRefused) as error:
        raise _cannot(error) from None


def _cannot(error: Exception) -> StorageFailed:
    return StorageFailed(
        str(error),
        code="storeFailed",
        remedy="Check AIR_LORA_STORE, the settings of its driver (such as AWS_ACCESS_KEY_ID), and the network.",
    )
