"""Threads for disk and network access, which would block ComfyUI's event loop."""

from __future__ import annotations

import asyncio
import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from .guard import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


class Workers:
    """Runs at most `threads` jobs at once, and queues at most `waiting` more.

    The threads are daemons and start with the first job, so that neither ComfyUI's start nor its end waits for them.
    """

    def __init__(self, name: str, threads: int, waiting: int = 1000) -> None:
        self._name = name
        self._most = threads
        self._threads = 0
        self._idle = 0
        self._lock = threading.Lock()
        self._queue: queue.Queue[tuple[Future[Any], Callable[[], Any]]] = queue.Queue(waiting)

    def submit(self, work: Callable[[], _T]) -> Future[_T]:
        """Queues the job. Raises Refused if the queue is full."""
        future: Future[_T] = Future()
        try:
            self._queue.put_nowait((future, work))
        except queue.Full:
            raise Refused(429, "busy", "The server is busy", "Try again in a minute.") from None
        with self._lock:
            if self._idle < self._queue.qsize() and self._threads < self._most:
                self._threads += 1
                threading.Thread(target=self._run, name=f"air-lora-{self._name}", daemon=True).start()
        return future

    async def do(self, work: Callable[[], _T]) -> _T:
        """Runs the job and waits for its result. Raises what the job raises, or Refused."""
        return await asyncio.wrap_future(self.submit(work))

    def _run(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            future, work = self._queue.get()
            with self._lock:
                self._idle -= 1
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)


disk = Workers("disk", 4)
"""For work that takes milliseconds."""

library = Workers("library", 2)
"""For scans of the loras folders, which take minutes when thousands of files are read for the first time."""

lookups = Workers("lookups", 8)
"""For lookups of LoRAs that aren't on this disk. A page may need a hundred."""

network = Workers("network", 4)
"""For searches, which a user waits for."""

details = Workers("details", 3)
"""For the details of one LoRA, which a user reads."""

versions = Workers("versions", 2)
"""For checks for newer versions, which can wait."""

tasks = Workers("tasks", 32)
"""For preparing the endpoint's tasks: a task may wait here for the download of its checkpoint, and must not delay
the others."""

downloads = Workers("downloads", 6)
"""For download jobs, each of which already downloads eight files at once."""

pictures = Workers("pictures", 4)
"""For previews: a page requests fifty at once, and its other requests must not wait for them."""
