"""What comes from outside, read within bounds, and small files of ours, written whole or not at all.

Only regular files are opened, and no more is read than a bound: a FIFO or a device would hang whoever reads it, also
behind a link; a record of 100 MB, or one of a hundred thousand brackets, would take the memory. Nothing else in this
package opens a file that it has not made itself. Nothing is planned or allocated by a number from a header, a record,
an answer or a setting that did not pass through here or through a header's own checks.
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

_MOST_PARTS = 400_000  # an answer with a hundred models has some thousand
_PARTS = (b",", b"[", b"{")
_WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def open_regular(path: str | Path) -> BufferedReader:
    """The file, opened for reading. Raises OSError, also for what is no regular file, which is not waited for."""
    return BufferedReader(open_unbuffered(path))


def open_unbuffered(path: str | Path) -> FileIO:
    """The same without a buffer, for whoever reads large pieces into one of their own."""
    _check(Path(path).stat(), path)
    handle = os.open(path, os.O_RDONLY | _WITHOUT_WAITING)
    try:
        _check(os.fstat(handle), path)  # it may have been exchanged since
        return FileIO(handle)
    except BaseException:
        os.close(handle)
        raise


def _check(status: os.stat_result, path: str | Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))


def read_bounded(path: str | Path, most: int) -> bytes:
    """The content of a file of at most so many bytes. Raises OSError, also for a larger one."""
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most:,} bytes", os.fspath(path))
    return content


def read_json_file(path: str | Path, most: int) -> Any:
    """What a JSON file of at most so many bytes says. Raises OSError, or ValueError for what is no JSON."""
    return parse_json(read_bounded(path, most))


def whole_number(text: str, most: int = MOST_BYTES, *, least: int = 0) -> int | None:
    """The number that plain digits say; None for anything else, or where it is out of bounds.

    `²` and `٣` are digits to `str.isdigit` and to `int`, and five thousand digits are a number.
    """
    if not text.isascii() or not text.isdecimal() or len(text) > len(str(most)) + 3:
        return None
    number = int(text)
    return number if least <= number <= most else None


def parse_json(content: bytes | str) -> Any:
    """What a JSON text says. Raises ValueError for what is no JSON, or would take far more memory than its length.

    Halves of surrogate pairs, which no text may have, come out as `?`.
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
    """The state that a status tells."""
    return FileState(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def contained(root: Path, path: Path) -> Path:
    """`path`, proved to lie below `root`, with links followed; StorageFailed otherwise."""
    real_root, real_path = root.resolve(), path.resolve()
    if real_root not in real_path.parents:
        raise StorageFailed(
            f"{path} leads out of {root}",
            code="outsideStore",
            remedy="Use a name without “..”, and no links that lead elsewhere.",
        )
    return path


def storage_error(error: OSError, path: Path) -> StorageFailed:
    """What a failed write means to the user."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return StorageFailed(
            f"the disk of {path.parent} is full",
            code="diskFull",
            remedy="Free some space and run it again; what was downloaded is kept.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageFailed(
            f"{path.parent} may not be written to",
            code="folderNotWritable",
            remedy=f"Give this user the right to write there, or choose another folder: {setting('AIR_LORA_DIR')}.",
        )
    return StorageFailed(
        f"{path} could not be written: {error.strerror or type(error).__name__}",
        code="storageFailed",
        remedy=f"Check the folder, or choose another one: {setting('AIR_LORA_DIR')}.",
    )


def write_atomically(path: Path, content: bytes, *, private: bool = False) -> None:
    """Writes a small file that is seen whole or not at all; `private`: for its owner alone. Raises StorageFailed."""
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
    """Lets the user's umask say who may read it: mkstemp makes files for the owner alone, and folders are shared."""
    with contextlib.suppress(OSError):  # some network folders have no such rights
        path.chmod(0o666 & ~_umask())


def _umask() -> int:
    mask = os.umask(0o022)  # the only way to read it is to set it
    os.umask(mask)
    return mask
