"""Finds, fetches, and keeps files in a store that several machines share.

Nothing here stops a run: if the store is unreachable, refuses a request, or has a damaged file, this is reported once,
in the log and in `warnings`, and the LoRA's own source is used. Everything read is checked against its SHA-256 before
it is used.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ...errors import LoraResolverError, VerificationFailed
from ...model_file.safetensors_header import header_end, parse_header, read_header
from ...on_disk.preview import find_preview, named_preview
from ...records import FileRecord
from ...safe_files import read_bounded, show_to_others, storage_error, write_atomically
from ...transfer.download import VerifiedFile, file_sha256
from ...transfer.peek import FIRST_BYTES, RemoteHeader
from ..context import NotInStore
from .entry import Entry, file_name, may_be_kept, name_of, stands_still
from .files import Files, StoreLost, StoreRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...config import ResolverConfig
    from ...identifiers import Identifier
    from ...model_file.safetensors_header import SafetensorsHeader
    from ...records import LoraRecord
    from ...transfer.tasks import CancelToken, ProgressTracker
    from ..context import FetchableFile, SourceContext

__all__ = ["SharedStore", "StoredFile"]

FORGIVEN_AFTER = 30.0
"""Seconds without another attempt after the store was unreachable: a prompt should not wait for it twice."""

MAX_PREVIEW = 8 * 1024**2

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_lost_until: dict[str, float] = {}
"""Address → time of the next attempt, for this process."""


class SharedStore:
    """The store of one run. Its methods may be called from several threads."""

    def __init__(self, config: ResolverConfig, cancel: CancelToken) -> None:
        self._config = config
        self._address = config.store or ""
        self._files = Files(self._address, cancel)
        self._cancel = cancel
        self._lock = threading.Lock()
        self._warnings: dict[str, None] = {}
        self._damaged: set[str] = set()

    @property
    def warnings(self) -> tuple[str, ...]:
        """The problems so far, without duplicates, for people."""
        with self._lock:
            return tuple(self._warnings)

    def find(self, identifier: Identifier, *, last_resort: bool = False) -> StoredFile | None:
        """The file in the store under this name. A name that may stand for another file by now is a last resort, for
        when its source isn't available.
        """
        if not (may_be_kept(identifier) if last_resort else stands_still(identifier)):
            return None
        text = str(identifier)
        content = self._ask(lambda: self._files.small(name_of(text)))
        entry = None if content is None else Entry.from_json(content, text)
        if content is not None and entry is None:
            self._warn(f"The shared store's entry for {text} can't be read and was ignored")
        usable = (
            entry is not None and entry.kind == self._config.kind and entry.size <= self._config.max_bytes
        )
        return StoredFile(self, entry) if usable and entry is not None else None

    def header(self, entry: Entry) -> SafetensorsHeader:
        """The header of a file in the store. Raises NotInStore, also for an invalid header."""
        name = file_name(entry.sha256)
        first = self._ask(lambda: self._files.part(name, 0, FIRST_BYTES))
        if first is None:
            raise NotInStore
        try:
            end = header_end(first, entry.size)
            whole = first if end <= len(first) else self._ask(lambda: self._files.part(name, 0, end))
            if whole is None:
                raise NotInStore
            return parse_header(whole, entry.size)
        except VerificationFailed:
            self._found_damaged(entry.sha256)
            raise NotInStore from None

    def fetch(self, sha256: str, target: Path, tracker: ProgressTracker) -> VerifiedFile | None:
        """Puts the file with this SHA-256 at `target`, if the store has it undamaged.

        The caller holds the lock on the target. Raises StorageFailed or Cancelled.
        """
        if sha256 in self._damaged:
            return None
        name = file_name(sha256)
        size = self._ask(lambda: self._files.size(name))
        if size is None or size > self._config.max_bytes:
            return None
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = _new_file_beside(target)
            try:
                return self._fetch(name, sha256, size, temporary, target, tracker)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, target) from error

    def _fetch(
        self, name: str, sha256: str, size: int, temporary: Path, target: Path, tracker: ProgressTracker
    ) -> VerifiedFile | None:
        tracker.start("download", file_name=target.name, total=size)
        if not self._ask(lambda: self._files.fetch(name, temporary, tracker.add)):
            return None
        header = None
        if temporary.stat().st_size == size and file_sha256(temporary, tracker, self._cancel) == sha256:
            with contextlib.suppress(LoraResolverError):
                header = read_header(temporary)
        if header is None:
            self._found_damaged(sha256)
            return None
        self._cancel.check()
        show_to_others(temporary)
        temporary.replace(target)
        return VerifiedFile(sha256, header)

    def keep_preview(self, entry: Entry, target: Path) -> None:
        """Puts the picture next to a file, if the store has one."""
        if not entry.preview or find_preview(target) is not None:
            return
        content = self._ask(
            lambda: self._files.part(file_name(entry.sha256, f"preview.{entry.preview}"), 0, MAX_PREVIEW)
        )
        if content:
            with contextlib.suppress(LoraResolverError):
                write_atomically(target.with_suffix(f".preview.{entry.preview}"), content)

    def keep(self, path: Path, found: FetchableFile, sha256: str, tracker: ProgressTracker) -> bool:
        """Puts a verified file from this disk and its names into the store, if they are missing. Raises Cancelled.

        Returns whether the store now has all of it.
        """
        preview = named_preview(path)
        entry = Entry(
            sha256=sha256,
            size=path.stat().st_size,
            file_name=found.file.name,
            source=found.source,
            folder=found.folder,
            kind=self._config.kind,
            identifiers=tuple(dict.fromkeys([*found.identifiers, f"sha256:{sha256}"])),
            record=found.record,
            preview="" if preview is None else preview.suffix[1:],
        )
        kept = self._ask(lambda: self._keep(path, entry, preview, tracker))
        return bool(kept)

    def _keep(self, path: Path, entry: Entry, preview: Path | None, tracker: ProgressTracker) -> bool:
        name = file_name(entry.sha256)
        if entry.sha256 in self._damaged or self._files.size(name) != entry.size:
            tracker.start("store", file_name=path.name, total=entry.size)
            self._files.put(name, path, tracker.add)
            self._damaged.discard(entry.sha256)
        if preview is not None:
            picture = file_name(entry.sha256, f"preview.{entry.preview}")
            if self._files.size(picture) is None:
                self._files.put(picture, read_bounded(preview, MAX_PREVIEW))
        for identifier in entry.identifiers:  # last, so that no name points to a missing file
            self._files.put(name_of(identifier), entry.as_json(identifier))
        return True

    def _ask(self, call: Callable[[], _T]) -> _T | None:
        """The result; None if the store is unreachable or refuses the request."""
        if time.monotonic() < _lost_until.get(self._address, 0.0):
            self._warn("The shared store was skipped because it couldn't be reached a moment ago")
            return None
        try:
            return call()
        except StoreLost as error:
            _lost_until[self._address] = time.monotonic() + FORGIVEN_AFTER
            self._warn(f"{error}; using the LoRA's own source instead")
        except StoreRefused as error:
            self._warn(str(error))
        return None

    def _found_damaged(self, sha256: str) -> None:
        self._damaged.add(sha256)
        self._warn(f"The shared store's file {sha256} is damaged and was ignored")

    def _warn(self, text: str) -> None:
        with self._lock:
            new = text not in self._warnings
            self._warnings.setdefault(text)
        if new:
            _log.warning("[AIR LoRA] %s", text)


@dataclass(frozen=True)
class StoredFile:
    """A file that the store lists: a FetchableFile."""

    store: SharedStore
    entry: Entry

    @property
    def source(self) -> str:
        """The source of the file."""
        return self.entry.source

    @property
    def folder(self) -> str:
        """The folder for it on a disk."""
        return self.entry.folder

    @property
    def record(self) -> LoraRecord:
        """What its source said about it."""
        return self.entry.record

    @property
    def identifiers(self) -> tuple[str, ...]:
        """The names of the file."""
        return self.entry.identifiers

    @cached_property
    def file(self) -> FileRecord:
        """Its name, size, and SHA-256. It has no address."""
        return FileRecord(self.entry.file_name, "", self.entry.size, self.entry.sha256)

    def header(self, _target: Path, _context: SourceContext) -> RemoteHeader:
        """Its header from the store. Raises NotInStore."""
        header = self.store.header(self.entry)
        return RemoteHeader(header, header.file_size, header.data_start)

    def fetch(self, target: Path, _context: SourceContext, tracker: ProgressTracker) -> VerifiedFile:
        """Copies the file from the store. Raises NotInStore or StorageFailed."""
        verified = self.store.fetch(self.entry.sha256, target, tracker)
        if verified is None:
            raise NotInStore
        return verified

    def fetch_picture(self, _url: str, target: Path, _context: SourceContext) -> None:
        """Uses the store's picture: the picture's original address may not be reachable from this machine."""
        self.store.keep_preview(self.entry, target)


def _new_file_beside(target: Path) -> Path:
    """An empty file, named so that `prune` recognizes it as an unfinished write."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}.", suffix=".tmp")
    os.close(handle)
    return Path(name)
