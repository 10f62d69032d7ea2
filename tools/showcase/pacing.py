"""Shared by both trainings: they stop after a fixed time, and their learning rate depends on the elapsed time."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch


class Clock:
    """Limits a training to a fixed time."""

    def __init__(self, minutes: float) -> None:
        self._start, self._seconds = time.monotonic(), minutes * 60

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def progress(self) -> Iterator[float]:
        """Yields the elapsed part of the time, from 0 to below 1. Ends when the time is over."""
        while (part := self.elapsed / self._seconds) < 1:
            yield part


def cosine_after_hold(progress: float, hold: float, floor: float) -> float:
    """A factor for the learning rate: 1 while progress is below `hold`, then half a cosine down to `floor`."""
    if progress < hold:
        return 1.0
    descent = 0.5 + 0.5 * math.cos(math.pi * (progress - hold) / (1 - hold))
    return floor + (1 - floor) * descent


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def running_mean(mean: float | None, value: float, memory: float) -> float:
    """Moves the mean slightly towards a new value. `memory`, 0 to 1, is the weight of the old mean."""
    return value if mean is None else mean * memory + value * (1 - memory)
