"""Opens and reads files that somebody else has put there: regular ones only, and no more than a bound.

A FIFO or a device would hang whoever reads it, also behind a link; a record of 100 MB, or one of a hundred thousand
brackets, would take the memory. Nothing else in this package opens a file that it has not made itself.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any

from .bounded import parse_json

__all__ = ["open_regular", "open_unbuffered", "read_bounded", "read_json_file"]

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
