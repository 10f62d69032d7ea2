"""SHA-256 of a file during its download, and of a file on disk."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

from ...safe_files import open_unbuffered

if TYPE_CHECKING:
    from pathlib import Path

    from ..tasks import CancelToken, ProgressTracker
    from .partial import PartFile

__all__ = ["FollowingDigest", "file_sha256"]

_BLOCK = 1 << 20
_WAIT = 0.1


class FollowingDigest:
    """Hashes a part file in a separate thread, following the bytes that have arrived without a gap.

    The bytes are read back while they are still in the page cache. The hash is therefore done shortly after the last
    byte, however many ranges the file arrives in.
    """

    def __init__(self, part: PartFile, cancel: CancelToken) -> None:
        self._part = part
        self._cancel = cancel
        self._digest = hashlib.sha256()
        self.hashed = 0
        self._left = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="air-lora-hash", daemon=True)
        self._thread.start()

    def __enter__(self) -> FollowingDigest:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the thread: on Windows, a file that it holds open can't be renamed or removed."""
        self._left = True
        self._thread.join()

    def result(self, tracker: ProgressTracker) -> str:
        """Waits for the remaining bytes and returns the hash in lowercase hex. Raises Cancelled or OSError."""
        while self._thread.is_alive():
            self._thread.join(_WAIT)
            tracker.set(self.hashed, self._part.pieces.size)
        if self._error is not None:
            raise self._error
        return self._digest.hexdigest()

    def _run(self) -> None:
        buffer = memoryview(bytearray(_BLOCK))
        try:
            with self._part.path.open("rb", buffering=0) as file:
                while not self._left:
                    self._cancel.check()
                    reached, whole = self._part.pieces.frontier(self.hashed, _WAIT)
                    if whole and reached == self.hashed:
                        self._part.hashed(file)
                        return
                    while self.hashed < reached:
                        self._cancel.check()
                        count = file.readinto(buffer[: min(_BLOCK, reached - self.hashed)])
                        if not count:
                            raise OSError(f"{self._part.path} was truncated during the download")
                        self._digest.update(buffer[:count])
                        self.hashed += count
        except BaseException as error:  # raised by `result`
            self._error = error


def file_sha256(path: Path, tracker: ProgressTracker, cancel: CancelToken) -> str:
    """SHA-256 of a file on this disk, in lowercase hex. Reports progress and can be canceled."""
    tracker.start("verify", file_name=path.name, total=path.stat().st_size)
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_BLOCK))
    with open_unbuffered(path) as file:
        while count := file.readinto(buffer):
            cancel.check()
            digest.update(buffer[:count])
            tracker.add(count)
    return digest.hexdigest()
