"""A server in a process of its own that offers one file, as CivitAI does and under a plain address.

    python -m benchmarks.file_server FILE [--rate BYTES_PER_SECOND]

The bytes go from the page cache into the socket by sendfile, so that the server is never what is measured.
Benchmarks start it with `serving(…)`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.civitai_server import CatalogueEntry, CivitaiServer, Exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Served", "serving"]

ROOT = Path(__file__).resolve().parent.parent
_BURST = 1 << 18
"""Bytes that a slowed connection gets at once: 80 times a second at 20 MB/s, which is smooth for every client."""


@dataclass(frozen=True)
class Served:
    """The file that a server process offers."""

    civitai_url: str
    """For AIR_LORA_CIVITAI_URL."""
    identifier: str
    file_url: str
    """The bytes, without a redirect before them."""
    sha256: str
    size: int


@contextlib.contextmanager
def serving(file: Path, *, rate: int | None = None) -> Iterator[Served]:
    """Serves `file` from another process while the block runs, each connection at `rate` bytes a second at most."""
    command = [sys.executable, "-m", "benchmarks.file_server", str(file)]
    command += [] if rate is None else ["--rate", str(rate)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield Served(**json.loads(process.stdout.readline()))
        # Popen's own `with` closes the standard input, which ends the server, and waits for that.


class _FileServer(CivitaiServer):
    def __init__(self, entry: CatalogueEntry, rate: int | None) -> None:
        super().__init__([entry])
        self._rate = rate

    def answer(self, exchange: Exchange) -> None:
        self.requests.clear()  # nobody looks at them here
        if self._rate is not None:
            exchange.send_range = self._slow_range(exchange, self._rate)  # type: ignore[method-assign]  # this one only
        super().answer(exchange)

    @staticmethod
    def _slow_range(exchange: Exchange, rate: int) -> Any:
        def send_range(file: Any, start: int, end: int) -> None:
            exchange.handler.wfile.flush()
            began = time.perf_counter()
            for position in range(start, end, _BURST):
                exchange.handler.connection.sendfile(file, position, min(_BURST, end - position))
                due = began + (min(position + _BURST, end) - start) / rate
                time.sleep(max(0.0, due - time.perf_counter()))

        return send_range


def main() -> int:
    """Prints a `Served` as JSON and serves until standard input ends."""
    parser = argparse.ArgumentParser(description="Serve one file for the benchmarks.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--rate", type=int, help="bytes a second for each connection")
    options = parser.parse_args()
    entry = CatalogueEntry(model_id=1, version_id=11, name="Benchmark", file=options.file)
    with _FileServer(entry, options.rate) as server:
        served = Served(
            civitai_url=server.url,
            identifier=f"civitai:{entry.model_id}@{entry.version_id}",
            file_url=server.signed_address(entry),
            sha256=entry.sha256,
            size=options.file.stat().st_size,
        )
        print(json.dumps(asdict(served)), flush=True)
        sys.stdin.read()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
