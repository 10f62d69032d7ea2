"""A line that counts the seconds of a long step, to show that it is still running."""

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
    """A context manager that shows `label` and the elapsed seconds in the terminal's last line.

    If standard output is not a terminal, only the text passed to `say` is printed.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._terminal = sys.stdout.isatty()
        self._printing = threading.Lock()
        self._over = threading.Event()
        self._counter = threading.Thread(target=self._count, daemon=True)

    def say(self, text: str) -> None:
        """Prints a separate line above the one that counts."""
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
