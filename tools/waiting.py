"""A line that counts the seconds of a long step, so that nobody at a terminal wonders whether it stands still."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

LABEL_WIDTH = 44


class Waiting:
    """A context manager: while it lasts, the terminal's last line is `label` and the seconds so far.

    Where standard output is no terminal, nothing is printed but what goes through `say`.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._terminal = sys.stdout.isatty()
        self._printing = threading.Lock()
        self._over = threading.Event()
        self._counter = threading.Thread(target=self._count, daemon=True)

    def say(self, text: str) -> None:
        """A line of its own, above the one that counts."""
        with self._printing:
            self._erase()
            print(text, flush=True)

    def __enter__(self) -> Self:
        if self._terminal:
            self._counter.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._terminal:
            self._counter.join()
            self._erase()

    def _count(self) -> None:
        started = time.monotonic()
        while not self._over.wait(0.5):
            with self._printing:
                seconds = time.monotonic() - started
                print(f"\r{self._label:{LABEL_WIDTH}} {seconds:5.0f} s", end="", flush=True)

    def _erase(self) -> None:
        if self._terminal:
            print(f"\r{' ' * (max(len(self._label), LABEL_WIDTH) + 12)}\r", end="", flush=True)
