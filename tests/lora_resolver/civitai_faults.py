"""A CivitAI that misbehaves on demand."""

from __future__ import annotations

import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any, BinaryIO

from tools.civitai_server import CivitaiServer, Exchange

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Fault = Callable[["FaultyCivitai", Exchange], bool]
    """Answers the request and returns True, or returns False, and the request is answered as usual."""


class FaultyCivitai(CivitaiServer):
    """`faults["deliver"] = fault` adds a fault to the bytes, "download" to the redirect, "version" to the metadata."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.faults: dict[str, Fault] = {}
        self.free = threading.Event()
        """When it is set, stalled handlers stop waiting."""

    def stop(self) -> None:
        self.free.set()
        super().stop()

    def version(self, exchange: Exchange, version_id: str) -> None:
        if not self._at_fault("version", exchange):
            super().version(exchange, version_id)

    def download(self, exchange: Exchange, version_id: str) -> None:
        if not self._at_fault("download", exchange):
            super().download(exchange, version_id)

    def deliver(self, exchange: Exchange, file_id: str) -> None:
        if not self._at_fault("deliver", exchange):
            super().deliver(exchange, file_id)

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    def _at_fault(self, stage: str, exchange: Exchange) -> bool:
        fault = self.faults.get(stage)
        return fault is not None and fault(self, exchange)


def times(count: int, fault: Fault) -> Fault:
    """Applies the fault to the first `count` requests. Later requests succeed."""
    lock = threading.Lock()
    left = [count]

    def limited(server: FaultyCivitai, exchange: Exchange) -> bool:
        with lock:
            left[0] -= 1
            active = left[0] >= 0
        return active and fault(server, exchange)

    return limited


def after(count: int, fault: Fault) -> Fault:
    """The fault for every request but the first `count`."""
    lock = threading.Lock()
    left = [count]

    def later(server: FaultyCivitai, exchange: Exchange) -> bool:
        with lock:
            left[0] -= 1
            active = left[0] < 0
        return active and fault(server, exchange)

    return later


def status(code: int, body: object = None, **headers: object) -> Fault:
    """Answers with a status and a JSON body."""

    def answer(_: FaultyCivitai, exchange: Exchange) -> bool:
        exchange.send_json(body if body is not None else {"error": "error"}, code, **headers)
        return True

    return answer


def page(text: bytes, kind: str) -> Fault:
    """Answers 200 with something that isn't a model."""

    def answer(_: FaultyCivitai, exchange: Exchange) -> bool:
        exchange.send_bytes(text, kind)
        return True

    return answer


def redirect(address: str) -> Fault:
    """Redirects the client. "{url}" stands for this server."""

    def answer(server: FaultyCivitai, exchange: Exchange) -> bool:
        exchange.redirect(address.format(url=server.url))
        return True

    return answer


def breaks_off_after(count: int) -> Fault:
    """Answers as usual, but resets the connection after this number of bytes of each body."""

    def reset(_: FaultyCivitai, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return _spoiled(count, reset)


def ends_after(count: int) -> Fault:
    """Closes the connection after this number of bytes of each body. Unlike with a reset, all of them arrive."""
    return _spoiled(count, lambda *_: None)


def stalls_after(count: int) -> Fault:
    """Sends this number of bytes and then nothing, without closing the connection."""

    def stall(server: FaultyCivitai, _: socket.socket) -> None:
        server.free.wait(240)

    return _spoiled(count, stall)


def drips(server: FaultyCivitai, exchange: Exchange) -> bool:
    """Sends a byte now and then, so that there is never a time-out."""
    size = _file_size(server, exchange)
    exchange.send_head(200, {"Content-Type": "application/octet-stream", "Content-Length": size})
    while not server.free.wait(0.05):
        exchange.handler.wfile.write(b"x")
    return True


def silent(server: FaultyCivitai, _: Exchange) -> bool:
    """Accepts the request and never answers."""
    server.free.wait(240)
    return True


def without_ranges(_: FaultyCivitai, exchange: Exchange) -> bool:
    """Answers 200 with the whole file, whatever range was requested."""
    exchange.request.headers.pop("range", None)
    return False


def without_length(server: FaultyCivitai, exchange: Exchange) -> bool:
    """Sends the whole file without a length. Only closing the connection marks its end."""
    content = _file(server, exchange).read_bytes()
    exchange.handler.close_connection = True
    exchange.send_head(200, {"Content-Type": "application/octet-stream", "Connection": "close"})
    exchange.handler.wfile.write(content)
    return True


def sends(content: bytes, **headers: object) -> Fault:
    """Answers 200 with other bytes than announced."""

    def answer(_: FaultyCivitai, exchange: Exchange) -> bool:
        exchange.send_bytes(content, "application/octet-stream", 200, **headers)
        return True

    return answer


def announces(size: int) -> Fault:
    """Announces a wrong length and sends the file."""

    def answer(server: FaultyCivitai, exchange: Exchange) -> bool:
        content = _file(server, exchange).read_bytes()
        exchange.handler.close_connection = True
        exchange.send_head(200, {"Content-Type": "application/octet-stream", "Content-Length": size})
        exchange.handler.wfile.write(content)
        return True

    return answer


def slowly(bytes_per_second: int) -> Fault:
    """Answers as usual, but slowly."""

    def answer(server: FaultyCivitai, exchange: Exchange) -> bool:
        file = _file(server, exchange)
        size = file.stat().st_size
        start, end = exchange.byte_range(size) or (0, size)
        exchange.send_head(
            206,
            {
                "Content-Type": "application/octet-stream",
                "Content-Length": end - start,
                "Content-Range": f"bytes {start}-{end - 1}/{size}",
            },
        )
        content = memoryview(file.read_bytes())[start:end]
        step = max(1, bytes_per_second // 20)
        while content and not server.free.is_set():
            exchange.handler.wfile.write(content[:step])
            content = content[step:]
            time.sleep(0.05)
        return True

    return answer


def _spoiled(count: int, afterwards: Callable[[FaultyCivitai, socket.socket], None]) -> Fault:
    def answer(server: FaultyCivitai, exchange: Exchange) -> bool:
        def send_range(file: BinaryIO, start: int, end: int) -> None:
            file.seek(start)
            exchange.handler.wfile.write(file.read(min(count, end - start)))
            if end - start > count:
                exchange.handler.close_connection = True
                afterwards(server, exchange.handler.connection)

        exchange.send_range = send_range  # type: ignore[method-assign]
        return False

    return answer


def _file(server: FaultyCivitai, exchange: Exchange) -> Path:
    file_id = int(exchange.request.path.split("/")[2])
    return next(lora.file for lora in server.catalogue if lora.file_id == file_id)


def _file_size(server: FaultyCivitai, exchange: Exchange) -> int:
    return _file(server, exchange).stat().st_size
