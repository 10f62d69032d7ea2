"""Saves what has arrived while the rest arrives: the bytes to disk, and the record of them."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from ...errors import StorageFailed
from .partial import SAVE_EVERY

if TYPE_CHECKING:
    from .partial import PartFile

__all__ = ["FollowingFlush"]

_AT_LEAST = 32 * 1024**2
"""Bytes that are worth a separate flush. Smaller files are only flushed at the end."""
_LOOK_EVERY = 0.1

# `fdatasync`, where it exists, doesn't write the file's times, which nothing needs yet.
_sync = getattr(os, "fdatasync", os.fsync)


class FollowingFlush:
    """Flushes a part file in a separate thread, so that little remains to be written after the last byte.

    The record is written twice a second, whether or not bytes arrive: a process may be killed while its server is
    silent.

    By default, systems begin to write after half a minute, or when a tenth of all memory is waiting. The `fsync` before
    the final rename then has to wait for all of it. These flushes only begin earlier: the final one is still needed.
    """

    def __init__(self, part: PartFile) -> None:
        self._part = part
        self._left = threading.Event()
        self._error: OSError | StorageFailed | None = None
        self._thread = threading.Thread(target=self._run, name="air-lora-flush", daemon=True)

    def __enter__(self) -> FollowingFlush:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Ends the thread: on Windows, a file that it holds open can't be renamed or removed.

        Raises the thread's error, OSError or StorageFailed: the system reports each lost write only once, and doesn't
        report it again to the final flush.
        """
        self._left.set()
        self._thread.join()
        if self._error is not None and kind is None:
            raise self._error

    def _run(self) -> None:
        flushed = self._part.pieces.done
        try:
            with self._part.open() as file:
                while not self._left.wait(_LOOK_EVERY):
                    self._part.save(at_most_every=SAVE_EVERY)
                    done = self._part.pieces.done
                    if done - flushed >= _AT_LEAST:
                        _sync(file.fileno())
                        flushed = done
        except (OSError, StorageFailed) as error:  # raised by `__exit__`
            self._error = error
