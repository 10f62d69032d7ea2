"""The base of the local servers that stand in for services: sockets and HTTP, without the contents."""

from __future__ import annotations

import json
import mimetypes
import re
import threading
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Exchange", "LocalServer", "Request"]

_S = TypeVar("_S", bound="LocalServer")


@dataclass(frozen=True)
class Request:
    """A received request, which tests can examine."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """By name in lower case."""


class LocalServer:
    """Answers on loopback while its `with` block runs. `.url` is the base address, `.requests` all requests so far."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Request] = []
        self._listener = _Listener(("127.0.0.1", port), _handler_for(self))
        self._thread = threading.Thread(
            target=self._listener.serve_forever,
            kwargs={"poll_interval": 0.02},
            name="local-server",
            daemon=True,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.server_port}"

    def __enter__(self: _S) -> _S:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stops the server. From then on, connections are refused."""
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def answer(self, exchange: Exchange) -> None:
        """Answers one request."""
        exchange.send_json({"error": "Not found"}, HTTPStatus.NOT_FOUND)


class Exchange:
    """One request, and the methods to answer it."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self.handler = handler
        parts = urlsplit(handler.path)
        self.request = Request(
            method=handler.command,
            path=unquote(parts.path),
            query={name: values[0] for name, values in parse_qs(parts.query).items()},
            headers={name.lower(): value for name, value in handler.headers.items()},
        )

    def send_head(self, status: int, headers: Mapping[str, object]) -> None:
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name, str(value))
        self.handler.end_headers()

    def send_bytes(self, content: bytes, kind: str, status: int = HTTPStatus.OK, **headers: object) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.send_head(status, {"Content-Type": kind, "Content-Length": len(content), **named})
        if self.request.method != "HEAD":
            self.handler.wfile.write(content)

    def send_json(self, document: object, status: int = HTTPStatus.OK, **headers: object) -> None:
        self.send_bytes(json.dumps(document).encode(), "application/json; charset=utf-8", status, **headers)

    def redirect(self, address: str) -> None:
        self.send_head(HTTPStatus.TEMPORARY_REDIRECT, {"Location": address, "Content-Length": 0})

    def byte_range(self, size: int) -> tuple[int, int] | None:
        """Returns the requested range as (start, end), end excluded, or None if the whole file is requested."""
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.request.headers.get("range", ""))
        if not match:
            return None
        return int(match[1]), min(int(match[2]) + 1, size) if match[2] else size

    def send_file(self, path: Path, *, etag: str = "") -> None:
        """Sends the file, or the requested range of it."""
        size = path.stat().st_size
        part = self.byte_range(size)
        if part is not None and self.request.headers.get("if-range", etag) != etag:
            part = None
        start, end = part or (0, size)
        if start >= end and size:
            self.send_head(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                {"Content-Range": f"bytes */{size}", "Content-Length": 0},
            )
            return
        headers: dict[str, object] = {
            "Content-Type": mimetypes.guess_type(path.name)[0] or "application/octet-stream",
            "Content-Length": end - start,
            "Accept-Ranges": "bytes",
        }
        if etag:
            headers["ETag"] = etag
        if part is not None:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self.send_head(HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK, headers)
        if self.request.method != "HEAD":
            with path.open("rb") as file:
                self.send_range(file, start, end)

    def send_range(self, file: Any, start: int, end: int) -> None:
        self.handler.wfile.flush()
        self.handler.connection.sendfile(file, start, end - start)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # don't wait for a handler whose client has disconnected
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """Prints nothing: clients disconnect on purpose, and the standard library would print a traceback."""


def _handler_for(server: LocalServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            exchange = Exchange(self)
            server.requests.append(exchange.request)
            server.answer(exchange)

        do_HEAD = do_GET  # noqa: N815 - the name that the standard library calls

        def log_message(self, *_: object) -> None:
            """Logs nothing: `server.requests` contains all requests."""

    return Handler
