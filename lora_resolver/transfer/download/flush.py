"""Keeping what has arrived while the rest arrives: on the disk, and in the record of what is there."""

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
"""Bytes that are worth a flush of their own. Smaller files are written by the one at the end alone."""
_LOOK_EVERY = 0.1

# Where there is one, the call that leaves out the file's times, which nobody needs yet.
_sync = getattr(os, "fdatasync", os.fsync)


class FollowingFlush:
    """Flushes a part file in a thread of its own, so that little is left to wait for after the last byte.

    The record is written twice a second, whether or not bytes come: a process may be killed while its server is silent.

    Left alone, systems begin to write after half a minute or at a tenth of all memory, and the `fsync` before a file
    gets its name has to wait for all of it. These flushes only begin early: the one at the end still comes.
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
        """Ends the thread: on Windows, a file that it holds open could not be renamed or removed.

        Raises what it met, OSError or StorageFailed: the system tells each lost write once, and not again to the
        flush at the end.
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
