"""What both trainings share: they stop by the clock, and their learning rate follows it."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch


class Clock:
    """Gives a training a fixed time."""

    def __init__(self, minutes: float) -> None:
        self._start, self._seconds = time.monotonic(), minutes * 60

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def progress(self) -> Iterator[float]:
        """The part of the time that is gone, from 0 up; ends when all of it is."""
        while (part := self.elapsed / self._seconds) < 1:
            yield part


def cosine_after_hold(progress: float, hold: float, floor: float) -> float:
    """A factor for the learning rate: 1 while progress is below `hold`, then a half cosine down to `floor`."""
    if progress < hold:
        return 1.0
    descent = 0.5 + 0.5 * math.cos(math.pi * (progress - hold) / (1 - hold))
    return floor + (1 - floor) * descent


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def running_mean(mean: float | None, value: float, memory: float) -> float:
    """The mean moved a little towards a new value; `memory`, 0 to 1, is how much of the old one stays."""
    return value if mean is None else mean * memory + value * (1 - memory)
