"""A separate server process that offers one file, as CivitAI or Hugging Face does.

    python -m benchmarks.file_server FILE [--hub] [--rate BYTES_PER_SECOND] [--delay SECONDS]

sendfile copies the bytes from the page cache to the socket, so that the server is never the bottleneck.
Benchmarks start it with `serving(…)`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.civitai_server import CatalogueEntry, CivitaiServer
from tools.huggingface_server import HuggingFaceServer, Repository
from tools.local_server import Exchange, LocalServer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HUB_FILE", "HUB_REPOSITORY", "Served", "serving"]

ROOT = Path(__file__).resolve().parent.parent
HUB_REPOSITORY = "bench/lora"
HUB_FILE = "lora.safetensors"
_BURST = 1 << 18
"""Bytes that a throttled connection gets at once: 80 times a second at 20 MB/s, which is smooth for every client."""


@dataclass(frozen=True)
class Served:
    """The file that a server process offers."""

    url: str
    """The value of AIR_LORA_CIVITAI_URL or HF_ENDPOINT."""
    identifier: str
    file_url: str
    """The address of the bytes themselves. For CivitAI, it doesn't redirect."""
    sha256: str
    size: int

    def bytes_sent(self) -> int:
        """The bytes of the file that the server has sent since the last call."""
        with urllib.request.urlopen(f"{self.url}/bytes-sent") as answer:  # noqa: S310 - our own server
            return int(answer.read())


@contextlib.contextmanager
def serving(
    file: Path, *, hub: bool = False, rate: int | None = None, delay: float = 0.0
) -> Iterator[Served]:
    """Serves `file` from another process while the block runs.

    `rate` is the maximum of bytes per second for each connection. `delay` is a pause before each response, in seconds,
    which simulates the network's round trip.
    """
    command = [sys.executable, "-m", "benchmarks.file_server", str(file)]
    command += ["--hub"] if hub else []
    command += [] if rate is None else ["--rate", str(rate)]
    command += ["--delay", str(delay)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield Served(**json.loads(process.stdout.readline()))
        # On exit, Popen closes the standard input, which ends the server, and waits for the process.


class _Metered(LocalServer):
    """Counts the bytes of files, and limits the speed."""

    rate: int | None = None
    delay = 0.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._count_lock = threading.Lock()
        self._count = 0

    def answer(self, exchange: Exchange) -> None:
        self.requests.clear()  # not used here, and would grow
        if exchange.request.path == "/bytes-sent":
            with self._count_lock:
                count, self._count = self._count, 0
            exchange.send_bytes(str(count).encode(), "text/plain")
            return
        time.sleep(self.delay)
        exchange.send_range = self._sender(exchange)  # type: ignore[method-assign]  # only for this request
        super().answer(exchange)

    def _sender(self, exchange: Exchange) -> Any:
        def send_range(file: Any, start: int, end: int) -> None:
            with self._count_lock:
                self._count += end - start
            burst = end - start if self.rate is None else _BURST
            exchange.handler.wfile.flush()
            began = time.perf_counter()
            for position in range(start, end, burst or 1):
                exchange.handler.connection.sendfile(file, position, min(burst, end - position))
                if self.rate is not None:
                    due = began + (min(position + burst, end) - start) / self.rate
                    time.sleep(max(0.0, due - time.perf_counter()))

        return send_range


class _Civitai(_Metered, CivitaiServer):
    """CivitAI with one file."""


class _Hub(_Metered, HuggingFaceServer):
    """The Hub with one file."""


def main() -> int:
    """Prints a `Served` as JSON and serves until standard input ends."""
    parser = argparse.ArgumentParser(description="Serve one file for the benchmarks.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--hub", action="store_true", help="as Hugging Face does; else as CivitAI does")
    parser.add_argument("--rate", type=int, help="bytes a second for each connection")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    options = parser.parse_args()
    _Metered.rate, _Metered.delay = options.rate, options.delay
    entry = CatalogueEntry(model_id=1, version_id=11, name="Benchmark", file=options.file)
    server: LocalServer
    if options.hub:
        server = _Hub([Repository(HUB_REPOSITORY, {HUB_FILE: options.file})])
        identifier = f"huggingface:{HUB_REPOSITORY}@main/{HUB_FILE}"
        file_url = f"{server.url}/{HUB_REPOSITORY}/resolve/main/{HUB_FILE}"
    else:
        server = civitai = _Civitai([entry])
        identifier, file_url = f"civitai:{entry.model_id}@{entry.version_id}", civitai.signed_address(entry)
    with server:
        size = options.file.stat().st_size
        print(json.dumps(asdict(Served(server.url, identifier, file_url, entry.sha256, size))), flush=True)
        sys.stdin.read()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
