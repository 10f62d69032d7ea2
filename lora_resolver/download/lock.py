"""One download per file, whoever asks for it: threads, processes, machines with a shared folder."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from ..store import storage_error
from .lease import Lease, lease_file
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

    The lock is the operating system's: a process that is killed lets go of it. A lease beside it holds off machines
    that the lock does not reach.
    Raises Stopped, or StorageFailed where no lock can be made.
    """
    lock, lease = FileLock(lock_file, thread_local=False), Lease(lease_file(lock_file))
    waiting = _Waiting(target, meter, stop)
    stop.check()
    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        while not _locked(lock):
            waiting.a_moment()
    except OSError as error:
        raise storage_error(error, lock_file) from error
    try:
        _wait_for(lease, lock_file, waiting)
        try:
            yield
        finally:
            lease.release()
    finally:
        lock.release()


def _locked(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


def _wait_for(lease: Lease, lock_file: Path, waiting: _Waiting) -> None:
    try:
        while not lease.take():
            waiting.a_moment()
    except OSError as error:
        raise storage_error(error, lock_file) from error


class _Waiting:
    """Shows how far somebody else's download of `target` is."""

    def __init__(self, target: Path, meter: Meter, stop: Stop) -> None:
        self._target = target
        self._meter = meter
        self._stop = stop
        self._announced = False

    def a_moment(self) -> None:
        """Waits a little. Raises Stopped."""
        if not self._announced:
            self._meter.start("wait", file_name=self._target.name)
            self._announced = True
        progress = read_progress(self._target)
        if progress is not None:
            self._meter.set(*progress)
        self._stop.wait(_LOOK_EVERY)
