"""A local TCP proxy whose connections can be reset midway, as a failing network does."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


class CuttingProxy:
    """Forwards bytes to `target` ("127.0.0.1:8188"). `address` is the proxy's own address."""

    def __init__(self, target: str) -> None:
        host, port = target.split(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        # A thread that waits in accept() would take one more connection after close(), so it looks up now and then.
        self._listener.settimeout(0.1)
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._ends = threading.Event()
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> CuttingProxy:
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.set()
        self._accepting.join()
        self._listener.close()
        self.cut()

    def cut(self) -> int:
        """Resets all open connections and returns their number."""
        with self._lock:
            ends, self._open = self._open, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RD)
            end.close()
        return len(ends) // 2

    def _accept(self) -> None:
        while not self._ends.is_set():
            try:
                asking, _ = self._listener.accept()
            except OSError:  # nobody asked in this time, or one who asked went away
                continue
            try:
                answering = socket.create_connection(self._target)
            except OSError:
                asking.close()
                continue
            with self._lock:
                self._open += [asking, answering]
            for source, sink in ((asking, answering), (answering, asking)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                sink.sendall(content)
            sink.shutdown(socket.SHUT_WR)
