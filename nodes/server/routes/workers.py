"""Threads for what would hold up ComfyUI's event loop: disks and networks."""

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
    """At most `threads` pieces of work at once, and at most `waiting` more in line.

    The threads are daemons, and start with the first work: ComfyUI's start and its end wait for none of them.
    """

    def __init__(self, name: str, threads: int, waiting: int = 1000) -> None:
        self._name = name
        self._most = threads
        self._threads = 0
        self._idle = 0
        self._lock = threading.Lock()
        self._queue: queue.Queue[tuple[Future[Any], Callable[[], Any]]] = queue.Queue(waiting)

    def submit(self, work: Callable[[], _T]) -> Future[_T]:
        """Has the work done. Raises Refused where too much is in line already."""
        future: Future[_T] = Future()
        try:
            self._queue.put_nowait((future, work))
        except queue.Full:
            raise Refused(
                429, "busy", "there is too much to do at the moment", "Try again in a minute."
            ) from None
        with self._lock:
            if self._idle < self._queue.qsize() and self._threads < self._most:
                self._threads += 1
                threading.Thread(target=self._run, name=f"air-lora-{self._name}", daemon=True).start()
        return future

    async def do(self, work: Callable[[], _T]) -> _T:
        """Has the work done and waits for it. Raises what it raises, or Refused."""
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
"""For what takes milliseconds."""

library = Workers("library", 2)
"""For the whole of the loras folders, which takes minutes when thousands of files are read for the first time."""

lookups = Workers("lookups", 8)
"""For looks at LoRAs that are not on this disk; a page may need a hundred."""

network = Workers("network", 4)
"""For searches, which somebody is waiting for."""

downloads = Workers("downloads", 6)
"""For jobs of downloads, each of which has eight files at work already."""

pictures = Workers("pictures", 4)
"""For previews: a page asks for fifty at once, and its other questions must not wait behind them."""
