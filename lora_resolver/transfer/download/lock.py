"""One download per file, whoever asks for it: threads, processes, machines with a shared folder."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from ...safe_files import storage_error
from .lease import Lease, lease_file
from .partial import read_progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ..tasks import CancelToken, ProgressTracker

__all__ = ["file_lock", "only_one", "try_lock"]

_LOOK_EVERY = 0.2

_NO_LOCKS_HERE = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})
"""What a folder says that knows no locks, such as one on NFS without its lock service."""


@contextlib.contextmanager
def only_one(lock_file: Path, target: Path, tracker: ProgressTracker, cancel: CancelToken) -> Iterator[None]:
    """Holds the right to download `target`. Whoever waits for it shows how far the one who has it is.

    The lock is the operating system's: a process that is killed lets go of it. A lease beside it holds off machines
    that the lock does not reach.
    Raises Cancelled, or StorageFailed where no lock can be made.
    """
    lock, lease = file_lock(lock_file), Lease(lease_file(lock_file))
    waiting = _Waiting(target, tracker, cancel)
    cancel.check()
    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        while not try_lock(lock):
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


def file_lock(path: Path) -> FileLock:
    """The operating system's lock on a file, whichever version of filelock is installed."""
    # Its way out where there are no locks is a file that outlives a machine that dies. We have a lease.
    if hasattr(FileLock, "fallback_to_soft"):  # older versions have no say in it
        return FileLock(path, thread_local=False, fallback_to_soft=False)
    return FileLock(path, thread_local=False)


def try_lock(lock: FileLock) -> bool:
    """Whether it is ours now, or there are no locks in this folder: then the lease alone decides. Raises OSError."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    except NotImplementedError:  # how older versions of filelock say ENOSYS
        return True
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise
    return True


def _wait_for(lease: Lease, lock_file: Path, waiting: _Waiting) -> None:
    try:
        while not lease.take():
            waiting.a_moment()
    except OSError as error:
        raise storage_error(error, lock_file) from error


class _Waiting:
    """Shows how far somebody else's download of `target` is."""

    def __init__(self, target: Path, tracker: ProgressTracker, cancel: CancelToken) -> None:
        self._target = target
        self._tracker = tracker
        self._cancel = cancel
        self._announced = False

    def a_moment(self) -> None:
        """Waits a little. Raises Cancelled."""
        if not self._announced:
            self._tracker.start("wait", file_name=self._target.name)
            self._announced = True
        progress = read_progress(self._target)
        if progress is not None:
            self._tracker.set(*progress)
        self._cancel.wait(_LOOK_EVERY)
