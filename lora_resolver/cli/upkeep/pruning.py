"""Removes leftovers of interrupted downloads, notes about files that no longer exist, and files that aren't needed.

Nothing outside `air/` in the download folder is changed. Files inside are removed only if they are recorded and
unchanged, and only under the lock that their download would hold. So files that are being downloaded stay.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ...errors import AccessDenied, HostedOnly, LoraResolverError, NotFound, Offline, VerificationFailed
from ...identifiers import parse_identifier
from ...on_disk.downloads import LOCK_FOLDER, RECORD_SUFFIX, Downloads
from ...on_disk.preview import named_preview
from ...records import PeekedLora
from ...resolver import Resolver
from ...safe_files import contained, storage_error
from ...transfer.download.lease import leased
from ...transfer.download.lock import file_lock, try_lock
from ...transfer.download.partial import target_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...config import ResolverConfig
    from ...identifiers import Identifier
    from ...on_disk.downloads import DownloadedFile

__all__ = ["Pruned", "Removal", "prune"]

QUIET = 3600.0
"""Seconds after which a temporary file or an empty folder counts as left behind. Newer ones may be in use."""

What = Literal["partial", "record", "unneeded", "folder", "lock"]


@dataclass(frozen=True)
class Removal:
    """One file or folder that was removed, or would be removed."""

    path: Path
    what: What
    size: int


@dataclass
class Pruned:
    """What was removed, or would be removed."""

    removed: list[Removal] = field(default_factory=list)
    in_use: list[Path] = field(default_factory=list)
    """Files that are being downloaded right now. Nothing about them was changed."""
    left: list[Path] = field(default_factory=list)
    """Files that aren't needed but have changed since the download: another program may have put them there."""
    errors: list[LoraResolverError] = field(default_factory=list)

    @property
    def freed(self) -> int:
        """The number of bytes freed."""
        return sum(removal.size for removal in self.removed)


def prune(
    config: ResolverConfig, *, keep: Sequence[Identifier] | None = None, dry_run: bool = False
) -> Pruned:
    """Removes what isn't needed. With `dry_run`, only returns what would be removed.

    With `keep`, also removes downloaded files that none of these identifiers refers to. An identifier without a version
    keeps every version. Doesn't use the network. Can be interrupted at any point and run again.

    Raises LoraResolverError if it can't be determined which file an identifier stands for; then nothing is removed.
    """
    store = Downloads(config.with_changes(search_dirs=()))
    unneeded = [] if keep is None else _not_needed(config, store, keep)
    work = _Work(config.download_dir / "air", store, dry_run)
    for stored in unneeded:
        work.remove_stored(stored)
    work.remove_partials()
    work.remove_records()
    work.remove_locks()
    work.remove_folders()
    return work.pruned


def _not_needed(config: ResolverConfig, store: Downloads, keep: Sequence[Identifier]) -> list[DownloadedFile]:
    offline = Resolver(
        config.with_changes(offline=True, store=None)
    )  # follows aliases and other tools' notes
    kept: set[Path] = set()
    for outcome in offline.peek_all(keep):
        if isinstance(outcome, PeekedLora):
            kept |= {outcome.path.resolve()} if outcome.path is not None else set()
        elif not isinstance(outcome, _NOT_HERE):
            raise outcome
    return [
        stored
        for stored in store.all()
        if stored.path.resolve() not in kept and not any(_names(each, stored) for each in keep)
    ]


# After these errors, either there is no such file, or a record with that identifier keeps it.
_NOT_HERE = (NotFound, Offline, HostedOnly, AccessDenied, VerificationFailed)


def _names(identifier: Identifier, stored: DownloadedFile) -> bool:
    """Whether the record has this identifier. One without a version or a file matches all versions or files."""
    if str(identifier) in stored.identifiers or (not identifier.id and stored.is_version(identifier)):
        return True
    whole = identifier.version in (None, "latest") or (
        identifier.source == "huggingface" and identifier.path is None
    )
    return whole and any(
        (known.source, known.id) == (identifier.source, identifier.id)
        for known in map(parse_identifier, stored.identifiers)
    )


class _Work:
    """The work of one call."""

    def __init__(self, root: Path, store: Downloads, dry_run: bool) -> None:
        self.pruned = Pruned()
        self._root = root
        self._store = store
        self._dry_run = dry_run
        self._gone: set[Path] = set()
        self._own_locks: set[Path] = set()
        self._now = time.time()

    def remove_stored(self, stored: DownloadedFile) -> None:
        """Removes a downloaded file and its notes. The record goes last, so that an interrupted run can continue."""
        if not stored.unchanged:
            self.pruned.left.append(stored.path)
            return
        with self._only_one(stored.path) as free:
            if free:
                self._remove(stored.path, "unneeded")
                if stored.path in self._gone:
                    self._remove_notes(stored.path, "unneeded")

    def remove_partials(self) -> None:
        """Removes what interrupted downloads left: bytes, their records, and files that were being written."""
        targets: dict[Path, list[Path]] = {}
        for folder, _, names in os.walk(self._root):
            for name in sorted(names):
                path = Path(folder, name)
                target = target_of(path)
                if target is not None:
                    targets.setdefault(target, []).append(path)
                elif name.startswith(".") and name.endswith(".tmp") and self._is_old(path):
                    self._remove(path, "partial")
        for target, parts in targets.items():
            with self._only_one(target) as free:
                for part in parts if free else ():
                    self._remove(part, "partial")

    def remove_records(self) -> None:
        """Removes notes about files that no longer exist."""
        for record in self._store.abandoned():
            target = record.with_name(record.name.removesuffix(RECORD_SUFFIX) + ".safetensors")
            with self._only_one(target) as free:
                if free and not target.exists():
                    self._remove_notes(target, "record")

    def remove_locks(self) -> None:
        """Removes lock files that no process holds. A waiting process creates a new one (handled by filelock)."""
        for path in sorted((self._root / LOCK_FOLDER).glob("*.lease*")):
            if not leased(path):
                self._remove(path, "lock")
        for path in sorted((self._root / LOCK_FOLDER).glob("*.lock")):
            with self._locked(path) as free:
                if free and os.name == "posix":
                    self._remove_lock(path)
            if (
                free and os.name != "posix"
            ):  # Windows can't remove an open file, nor open a file that is being removed
                self._remove_lock(path)

    def _remove_lock(self, path: Path) -> None:
        if path in self._own_locks:
            path.unlink(missing_ok=True)
        else:
            self._remove(path, "lock")

    def remove_folders(self) -> None:
        """Removes empty folders, innermost first."""
        for name, _, _ in os.walk(self._root, topdown=False):
            folder = Path(name)
            if folder in (self._root, self._root / LOCK_FOLDER) or not self._is_empty(folder):
                continue
            # A folder that was already empty may be new, for a file that is about to be downloaded.
            if self._is_old(folder) or any(folder in path.parents for path in self._gone):
                self._remove(folder, "folder")

    def _is_empty(self, folder: Path) -> bool:
        """Whether nothing is left in it, also in a dry run."""
        try:
            return set(folder.iterdir()) <= self._gone
        except OSError:
            return False

    def _remove_notes(self, target: Path, what: What) -> None:
        preview = named_preview(target)
        for path in (target.with_suffix(".civitai.info"), preview, target.with_suffix(RECORD_SUFFIX)):
            if path is not None and path.is_file():
                self._remove(path, what)

    def _remove(self, path: Path, what: What) -> None:
        try:
            contained(self._root, path.parent / "x")
            size = _size_on_disk(path) if what != "folder" else 0
            if not self._dry_run and what == "folder":
                path.rmdir()
            elif not self._dry_run:
                path.unlink()
        except FileNotFoundError:  # another process has removed it
            return
        except OSError as error:
            self._fail(storage_error(error, path))
            return
        except LoraResolverError as error:
            self._fail(error)
            return
        self._gone.add(path)
        self.pruned.removed.append(Removal(path, what, size))

    @contextlib.contextmanager
    def _only_one(self, target: Path) -> Iterator[bool]:
        """Holds the lock of the target's download; False if another process holds it."""
        lock = self._store.lock_file(target)
        if not lock.exists():
            self._own_locks.add(lock)
        with self._locked(lock) as free:
            if not free and target not in self.pruned.in_use:
                self.pruned.in_use.append(target)
            yield free

    @contextlib.contextmanager
    def _locked(self, path: Path) -> Iterator[bool]:
        if self._dry_run and not path.exists():  # a dry run must not create files
            yield True
            return
        if leased(path):  # by another machine, which the lock may not reach
            yield False
            return
        lock = file_lock(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            free = try_lock(lock)
        except OSError as error:
            self._fail(storage_error(error, path))
            yield False
            return
        try:
            yield free
        finally:
            lock.release()

    def _fail(self, error: LoraResolverError) -> None:
        if str(error) not in map(str, self.pruned.errors):
            self.pruned.errors.append(error)

    def _is_old(self, path: Path) -> bool:
        try:
            return self._now - path.lstat().st_mtime > QUIET
        except OSError:
            return False


def _size_on_disk(path: Path) -> int:
    """Bytes on disk. An interrupted download is as long as the whole file, but sparse."""
    status = path.lstat()
    blocks = getattr(status, "st_blocks", 0) * 512  # POSIX uses this unit, whatever the disk uses
    return min(status.st_size, blocks) if blocks else status.st_size
