"""A local CivitAI whose downloads can be paused halfway, to examine a download in progress."""

from __future__ import annotations

import threading
from http import HTTPStatus
from typing import TYPE_CHECKING

from tools.civitai_server import CatalogueEntry, CivitaiServer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tools.civitai_server import Exchange

HOLD_SECONDS = 120
"""The longest time that a download is held, so that a forgotten one doesn't block the server."""


class HoldingCivitai(CivitaiServer):
    """While `go_on` is clear, a download stops after half of the file. It continues when `go_on` is set."""

    def __init__(self, catalogue: Iterable[CatalogueEntry]) -> None:
        super().__init__(catalogue)
        self.go_on = threading.Event()
        self.go_on.set()

    def deliver(self, exchange: Exchange, file_id: str) -> None:
        if self.go_on.is_set():
            super().deliver(exchange, file_id)
            return
        content = next(lora.file for lora in self.catalogue if str(lora.file_id) == file_id).read_bytes()
        start, end = exchange.byte_range(len(content)) or (0, len(content))
        exchange.send_head(
            HTTPStatus.PARTIAL_CONTENT if "range" in exchange.request.headers else HTTPStatus.OK,
            {
                "Content-Length": end - start,
                "Content-Range": f"bytes {start}-{end - 1}/{len(content)}",
                "Accept-Ranges": "bytes",
            },
        )
        half = (start + end) // 2
        exchange.handler.wfile.write(content[start:half])
        exchange.handler.wfile.flush()
        self.go_on.wait(HOLD_SECONDS)
        exchange.handler.wfile.write(content[half:end])
