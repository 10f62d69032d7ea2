"""The local CivitAI with one file that never arrives whole and one that takes its time, for Cancel and progress."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any

from tools.civitai_server import CivitaiServer, Exchange

STALLED_VERSION = 1901
SLOW_VERSION = 1104
SLOW_SECONDS = 1.0
FIRST_BYTES = 20_000


def _send_slowly(exchange: Exchange, file: Any, start: int, end: int) -> None:
    """In two halves, with a rest between them."""
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

    def deliver(self, exchange: Exchange, file_id: str) -> None:
        """As the server does, but for those two files."""
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
        self.go_on.wait(60)
        exchange.handler.close_connection = True
