"""One download per file, whoever asks for it: threads, processes, machines with a shared folder."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from ..store import storage_error
from .partial import read_progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ..work import Meter, Stop

__all__ = ["only_one"]

_LOOK_EVERY = 0.2


@contextlib.contextmanager
def only_one(lock_file: Path, target: Path, meter: Meter, stop: Stop) -> Iterator[None]:
    """Holds the right to download `target`. Whoever waits for it shows how far the one who has it is.

    The lock is the operating system's: a process that is killed lets go of it.
    Raises Stopped, or StorageFailed where no lock can be made.
    """
    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(lock_file, thread_local=False)
        waiting = False
        while True:
            stop.check()
            try:
                lock.acquire(timeout=0)
                break
            except Timeout:
                pass
            if not waiting:
                meter.start("wait", file_name=target.name)
                waiting = True
            progress = read_progress(target)
            if progress is not None:
                meter.set(*progress)
            stop.wait(_LOOK_EVERY)
    except OSError as error:
        raise storage_error(error, lock_file) from error
    try:
        yield
    finally:
        lock.release()
