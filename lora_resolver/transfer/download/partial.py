"""The temporary file of a download, and the record next to it that makes resuming possible.

    <name>.safetensors.air-part         the bytes so far, at their final offsets (with gaps between)
    <name>.safetensors.air-part.json    what they are: size, SHA-256, ETag, and how much of each piece is there
    <name>.safetensors.<word>.air-part  the complete file, just before it is renamed

The record is written after the bytes that it describes, and replaced in one step. A process that is killed at any
moment leaves a record that claims too little, never too much. After a power cut, the record may claim bytes that never
reached the disk. The SHA-256 at the end detects this.

If another process still works on the same download, on a shared folder where locks have no effect, each process writes
to a separate file under the same name. Only the file that was hashed gets the final name (`PartFile.place`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import StorageFailed
from ...safe_files import open_regular, read_json_file, write_atomically
from .pieces import Pieces

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

    from .request import DownloadRequest

__all__ = ["Facts", "PartFile", "TakenOver", "clear_partial", "read_progress", "sha256_of", "target_of"]

PART_SUFFIX = ".air-part"
RECORD_SUFFIX = ".air-part.json"
SAVE_EVERY = 0.5
"""Seconds between two records: the most that is lost when a process is killed."""
MAX_RECORD_BYTES = 4 * 1024**2
_FORMAT = 1
_WORD = 8
"""Hexadecimal digits that distinguish one program's file, just before it is renamed, from another's."""
_LEFT_BY = re.compile(rf"(?P<target>.+?)(?:\.[0-9a-f]{{{_WORD}}})?{re.escape(PART_SUFFIX)}(?:\.json)?")


@dataclass(frozen=True)
class Facts:
    """What identifies the bytes that a server sends."""

    size: int | None
    etag: str = ""
    """A strong ETag (RFC 9110, 8.8.3), or empty."""


class TakenOver(OSError):
    """The file at the part file's path was written by another program."""


class PartFile:
    """The temporary file of one download. Threads may write to it at the same time."""

    def __init__(self, request: DownloadRequest) -> None:
        self.path = request.target.with_name(request.target.name + PART_SUFFIX)
        self._record_path = request.target.with_name(request.target.name + RECORD_SUFFIX)
        self._sha256 = request.file.sha256
        self._lock = threading.Lock()
        self._saved = 0.0
        self._saved_done = 0
        self.facts: Facts | None = None
        self.pieces = Pieces([])
        self.resumed = False
        """Whether it contains bytes of an earlier run."""
        self._hashed: tuple[int, ...] | None = None

    def load(self) -> None:
        """Loads what an earlier run left, if it is part of the same file. Otherwise, starts empty."""
        try:
            record = read_json_file(self._record_path, MAX_RECORD_BYTES)
            facts = Facts(record["size"], record["etag"])
            pieces = Pieces.from_record(record["pieces"])
            whole = self.path.stat().st_size == facts.size == pieces.size
            same = record["format"] == _FORMAT and record["sha256"] == self._sha256
            # Without an expected hash, only an ETag shows that the server still sends the same file.
            usable = whole and same and (self._sha256 is not None or facts.etag != "")
        except (OSError, ValueError, KeyError, TypeError):
            usable = False
        if usable:
            self.facts, self.pieces = facts, pieces
            self.resumed = pieces.done > 0
        else:
            self.clear()

    def begin(self, facts: Facts, pieces: Pieces) -> None:
        """Starts over with an empty file for these facts."""
        self.facts, self.pieces, self.resumed = facts, pieces, False
        self.path.unlink(missing_ok=True)  # not truncated: it may be another process's file
        with self.path.open("xb") as file:
            if facts.size is not None:
                file.truncate(facts.size)
        self.save()

    def open(self) -> FileIO:
        """A separate handle for each thread. Unbuffered, so that other threads see written bytes at once."""
        return self.path.open("rb+", buffering=0)

    def save(self, *, at_most_every: float = 0.0) -> None:
        """Writes the record. Only a resumable download has one."""
        if self.facts is None or self.facts.size is None or not self.pieces.resumable:
            return
        with self._lock:
            done = self.pieces.done
            if at_most_every and (time.monotonic() - self._saved < at_most_every or done == self._saved_done):
                return
            self._saved, self._saved_done = time.monotonic(), done
            content: dict[str, Any] = {
                "format": _FORMAT,
                "size": self.facts.size,
                "sha256": self._sha256,
                "etag": self.facts.etag,
                "pieces": self.pieces.as_record(),
            }
            write_atomically(self._record_path, json.dumps(content).encode())

    def clear(self) -> None:
        """Removes the bytes and their record."""
        self._record_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self.facts, self.pieces, self.resumed = None, Pieces([]), False

    def keep_or_clear(self) -> None:
        """After a failure: keeps only what can be resumed. Never raises, so that the original failure is reported."""
        with contextlib.suppress(OSError, StorageFailed):
            if self.pieces.resumable and self.pieces.done:
                self.save()
            else:
                self.clear()

    def hashed(self, file: FileIO) -> None:
        """Notes that the SHA-256 was computed from this open file, whatever is at the path later."""
        self._hashed = _identity(os.fstat(file.fileno()))

    def place(self, target: Path, sha256: str) -> None:
        """Renames the verified file to its final name. Only the bytes that were hashed get that name.

        Raises TakenOver if another program has replaced the part file.
        """
        own = target.with_name(f"{target.name}.{secrets.token_hex(_WORD // 2)}{PART_SUFFIX}")
        self.path.replace(own)  # from here on, no other program knows the path
        try:
            # Some network folders change a file's inode and time when it is flushed. In that case, compare the bytes.
            if _identity(own.stat()) != self._hashed and sha256_of(own) != sha256:
                raise TakenOver(f"{self.path.name} was replaced by another program")
            own.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                own.replace(self.path)
            raise
        self._record_path.unlink(missing_ok=True)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """Identifies a file. The inode alone isn't enough, because it is reused when a file is deleted."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in lowercase hex."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_progress(target: Path) -> tuple[int, int] | None:
    """(bytes present, size) of a download of `target` that is running in another process."""
    try:
        record = read_json_file(target.with_name(target.name + RECORD_SUFFIX), MAX_RECORD_BYTES)
        return Pieces.from_record(record["pieces"]).done, int(record["size"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def target_of(path: Path) -> Path | None:
    """The target of the download that left this file; None if no download left it."""
    found = _LEFT_BY.fullmatch(path.name)
    return path.with_name(found["target"]) if found else None


def clear_partial(target: Path) -> int:
    """Removes what an interrupted download of `target` left and returns the bytes freed."""
    freed = 0
    for suffix in (PART_SUFFIX, RECORD_SUFFIX):
        path = target.with_name(target.name + suffix)
        with contextlib.suppress(OSError):
            freed += path.stat().st_size
            path.unlink()
    return freed
