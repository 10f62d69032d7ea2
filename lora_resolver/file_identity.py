"""What tells, without reading a file, whether somebody has written to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import os
    from pathlib import Path

__all__ = ["FileState", "file_state", "state_of"]


class FileState(NamedTuple):
    """Size in bytes, times of the last write and of the last change of any kind in nanoseconds, inode."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def file_state(path: Path) -> FileState:
    """The state of the file at this path. Raises OSError."""
    return state_of(path.stat())


def state_of(status: os.stat_result) -> FileState:
    """The state that a status tells."""
    return FileState(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
