"""One download per file, across threads, processes, and machines with a shared folder."""

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
"""Errors of a folder that doesn't support locks, such as one on NFS without its lock service."""


@contextlib.contextmanager
def only_one(lock_file: Path, target: Path, tracker: ProgressTracker, cancel: CancelToken) -> Iterator[None]:
    """Holds the exclusive right to download `target`. While waiting, shows the progress of the current holder.

    The lock is the operating system's, so it is released when a process is killed. A lease next to it also excludes
    machines that the lock doesn't reach.
    Raises Cancelled, or StorageFailed if no lock can be created.
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
    """The operating system's lock on a file, with any installed version of filelock."""
    # Where locks aren't supported, filelock falls back to a file that remains when a machine dies. We use a lease.
    if hasattr(FileLock, "fallback_to_soft"):  # older versions don't have this option
        return FileLock(path, thread_local=False, fallback_to_soft=False)
    return FileLock(path, thread_local=False)


def try_lock(lock: FileLock) -> bool:
    """Whether the lock is ours, or the folder doesn't support locks and only the lease decides. Raises OSError."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    except NotImplementedError:  # older versions of filelock raise this for ENOSYS
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
    """Shows the progress of another process's download of `target`."""

    def __init__(self, target: Path, tracker: ProgressTracker, cancel: CancelToken) -> None:
        self._target = target
        self._tracker = tracker
        self._cancel = cancel
        self._announced = False

    def a_moment(self) -> None:
        """Waits briefly. Raises Cancelled."""
        if not self._announced:
            self._tracker.start("wait", file_name=self._target.name)
            self._announced = True
        progress = read_progress(self._target)
        if progress is not None:
            self._tracker.set(*progress)
        self._cancel.wait(_LOOK_EVERY)
