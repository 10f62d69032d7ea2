"""The local CivitAI with one file that never arrives completely and one slow file, to test Cancel and progress."""

from __future__ import annotations

import contextlib
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from tools.civitai_server import CivitaiServer, Exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

STALLED_VERSION = 1901
SLOW_VERSION = 1501
SLOW_SECONDS = 2.0
FIRST_BYTES = 20_000


def _send_slowly(exchange: Exchange, file: Any, start: int, end: int) -> None:
    """Sends two halves with a pause between them."""
    file.seek(start)
    content = file.read(end - start)
    for half in (content[: len(content) // 2], content[len(content) // 2 :]):
        exchange.handler.wfile.write(half)
        exchange.handler.wfile.flush()
        time.sleep(SLOW_SECONDS / 2)


class StallingCivitai(CivitaiServer):
    """Sends the first bytes of `STALLED_VERSION` and then nothing, until `go_on` is set."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.go_on = threading.Event()
        self.stalled = threading.Event()
        self._answering = threading.Event()
        self._answering.set()
        self.asked_for_version = threading.Event()
        self.asked_for_bytes = threading.Event()
        self._delivering = threading.Event()
        self._delivering.set()

    @contextlib.contextmanager
    def version_documents_stalled(self) -> Iterator[None]:
        """Delays all requests for a version until the block ends."""
        self._answering.clear()
        try:
            yield
        finally:
            self._answering.set()

    @contextlib.contextmanager
    def deliveries_stalled(self) -> Iterator[threading.Event]:
        """Delays all requests for a file's bytes until the block ends. The event is set when there is one."""
        self._delivering.clear()
        self.asked_for_bytes.clear()
        try:
            yield self.asked_for_bytes
        finally:
            self._delivering.set()

    def version(self, exchange: Exchange, version_id: str) -> None:
        """Responds as the server does, after the delay."""
        self.asked_for_version.set()
        self._answering.wait(300)
        super().version(exchange, version_id)

    def deliver(self, exchange: Exchange, file_id: str) -> None:
        """Responds as the server does, except for those two files."""
        self.asked_for_bytes.set()
        self._delivering.wait(300)
        if int(file_id) == SLOW_VERSION * 10 + 1:
            exchange.send_range = partial(_send_slowly, exchange)
        if int(file_id) != STALLED_VERSION * 10 + 1 or self.go_on.is_set():
            super().deliver(exchange, file_id)
            return
        lora = next(entry for entry in self.catalogue if entry.version_id == STALLED_VERSION)
        exchange.send_head(
            200, {"Content-Length": lora.file.stat().st_size, "Content-Type": "application/octet-stream"}
        )
        exchange.handler.wfile.write(lora.file.read_bytes()[:FIRST_BYTES])
        exchange.handler.wfile.flush()
        self.stalled.set()
        self.go_on.wait(300)
        exchange.handler.close_connection = True
