"""Reads untrusted files within limits, and writes small files atomically.

Only regular files are opened: reading a FIFO or a device, also through a link, would block. Reads have a size limit: a
record of 100 MB, or one with a hundred thousand brackets, would use up the memory. Nothing else in this package opens a
file that it hasn't created itself. A number from a header, a record, a response, or a setting must pass a check here or
in the header's reader before anything is planned or allocated by it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import tempfile
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any, NamedTuple

from .errors import StorageFailed
from .text import setting

__all__ = [
    "MOST_BYTES",
    "FileState",
    "contained",
    "file_state",
    "open_regular",
    "open_unbuffered",
    "parse_json",
    "read_bounded",
    "read_json_file",
    "show_to_others",
    "state_of",
    "storage_error",
    "whole_number",
    "write_atomically",
]

MOST_BYTES = 1 << 50
"""More bytes than any file has (a petabyte)."""

_MOST_PARTS = 400_000  # a response with a hundred models has a few thousand
_PARTS = (b",", b"[", b"{")
_WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def open_regular(path: str | Path) -> BufferedReader:
    """The file, opened for reading. Raises OSError, also for anything but a regular file, without waiting for it."""
    return BufferedReader(open_unbuffered(path))


def open_unbuffered(path: str | Path) -> FileIO:
    """The same without a buffer, for callers that read large pieces into their own buffer."""
    _check(Path(path).stat(), path)
    handle = os.open(path, os.O_RDONLY | _WITHOUT_WAITING)
    try:
        _check(os.fstat(handle), path)  # it may have been replaced in the meantime
        return FileIO(handle)
    except BaseException:
        os.close(handle)
        raise


def _check(status: os.stat_result, path: str | Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))


def read_bounded(path: str | Path, most: int) -> bytes:
    """The content of a file of at most `most` bytes. Raises OSError, also for a larger file."""
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most:,} bytes", os.fspath(path))
    return content


def read_json_file(path: str | Path, most: int) -> Any:
    """The value in a JSON file of at most `most` bytes. Raises OSError, or ValueError for invalid JSON."""
    return parse_json(read_bounded(path, most))


def whole_number(text: str, most: int = MOST_BYTES, *, least: int = 0) -> int | None:
    """The number that plain ASCII digits spell; None for anything else, or for a number out of range.

    This is stricter than `str.isdigit` and `int`, which accept `²` and `٣`, and numbers of five thousand digits.
    """
    if not text.isascii() or not text.isdecimal() or len(text) > len(str(most)) + 3:
        return None
    number = int(text)
    return number if least <= number <= most else None


def parse_json(content: bytes | str) -> Any:
    """The value of a JSON text. Raises ValueError if it is invalid, or would take far more memory than its length.

    Lone surrogates, which valid text can't contain, become `?`.
    """
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    if len(data) > _MOST_PARTS and sum(map(data.count, _PARTS)) > _MOST_PARTS:
        raise ValueError("it has too many parts")
    try:
        value = json.loads(data)
        if b"\\ud" in data or b"\\uD" in data:
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (RecursionError, MemoryError) as error:
        raise ValueError("it is nested too deeply") from error
    return value


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
    """The state from the result of `os.stat`."""
    return FileState(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def contained(root: Path, path: Path) -> Path:
    """Returns `path` if it is below `root` when links are followed. Raises StorageFailed otherwise."""
    real_root, real_path = root.resolve(), path.resolve()
    if real_root not in real_path.parents:
        raise StorageFailed(
            f"{path} is outside {root}",
            code="outsideStore",
            remedy="Use a name without “..”, and no links to other folders.",
        )
    return path


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists, as far as this user may see."""
    # Not Path.exists, which raises PermissionError for a folder that can't be searched.
    return next((each for each in (folder, *folder.parents) if os.path.exists(each)), folder)  # noqa: PTH110


def storage_error(error: OSError, path: Path) -> StorageFailed:
    """The error that explains a failed write to the user."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return StorageFailed(
            f"The disk of {path.parent} is full",
            code="diskFull",
            remedy="Free some space, then run again. Downloaded data is kept.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageFailed(
            f"No write permission for {_existing(path.parent)}",
            code="folderNotWritable",
            remedy=f"Give this user write permission, or choose another folder with {setting('AIR_LORA_DIR')}.",
        )
    return StorageFailed(
        f"Could not write {path}: {error.strerror or type(error).__name__}",
        code="storageFailed",
        remedy=f"Check the folder, or choose another one with {setting('AIR_LORA_DIR')}.",
    )


def write_atomically(path: Path, content: bytes, *, private: bool = False) -> None:
    """Writes a small file atomically. If `private`, only its owner can read it. Raises StorageFailed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            if not private:
                show_to_others(Path(temporary))
            Path(temporary).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise storage_error(error, path) from error


def show_to_others(path: Path) -> None:
    """Sets the file's mode by the user's umask: mkstemp creates files for the owner only, but folders are shared."""
    with contextlib.suppress(OSError):  # some network folders don't support modes
        path.chmod(0o666 & ~_umask())


def _umask() -> int:
    mask = os.umask(0o022)  # the only way to read it is to set it
    os.umask(mask)
    return mask
