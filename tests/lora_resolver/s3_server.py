"""moto's server, which supports S3, as a separate process, and a connection to it that can break."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from tools.comfy_process import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

BUCKET = "workers"
SECRET = "an-access-key-nobody-may-see-0123456789"


class S3Server:
    """Runs while its `with` block does. `environment` is what its clients need."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self) -> S3Server:
        deadline = time.monotonic() + 180
        while True:
            try:
                self.put(f"/{BUCKET}")
                return self
            except (urllib.error.URLError, OSError):  # noqa: PERF203 - waits for a server
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    raise
                time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """Kills the server immediately, as a power failure would."""
        self.process.kill()
        self.process.wait()

    def environment(self, port: int | None = None) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}",
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def put(self, path: str, content: bytes = b"") -> None:
        self._ask("PUT", path, content)

    def get(self, path: str) -> bytes:
        return self._ask("GET", path)

    def objects(self) -> list[str]:
        """The names of all objects in the bucket."""
        listing = self.get(f"/{BUCKET}?list-type=2").decode()
        return [each.partition("</Key>")[0] for each in listing.split("<Key>")[1:]]

    def _ask(self, method: str, path: str, content: bytes | None = None) -> bytes:
        # moto requires a signature, but doesn't check it.
        scope = "AKIAEXAMPLE/20260101/us-east-1/s3/aws4_request"
        headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}
        request = urllib.request.Request(self.url + path, data=content, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return bytes(answer.read())


class Wire:
    """Forwards connections to a port. Calls `cut` when a number of bytes has been received, or sent, since `arm`."""

    def __init__(
        self, to: int, cut: Callable[[], None], *, down: int | None = None, up: int | None = None
    ) -> None:
        self._to = to
        self._cut = cut
        self.arm(down=down, up=up)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.was_cut = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, *, down: int | None = None, up: int | None = None) -> None:
        """Counts from now on. None: never."""
        self._left = {"down": down, "up": up}

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                client.close()
                continue
            for source, sink, way in ((server, client, "down"), (client, server, "up")):
                threading.Thread(target=self._pass_on, args=(source, sink, way), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(8192):
                left = self._left[way]
                if left is not None and not self.was_cut.is_set():
                    if len(chunk) > left:
                        self.was_cut.set()
                        self._cut()
                        break
                    self._left[way] = left - len(chunk)
                sink.sendall(chunk)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
