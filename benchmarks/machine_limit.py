"""The maximum speed of this machine, measured in the same run as the figures that are compared with it."""

from __future__ import annotations

import contextlib
import ctypes
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class MachineLimit:
    """The speeds of a product, a cast, a copy, and allocating memory, each on all cores."""

    operations: float
    """fp32 additions and multiplications per second, in a large matrix product."""
    cast: float
    """Numbers per second that are cast from fp16 to fp32 and back, in memory that is already in use."""
    copy: float
    """Bytes per second that are copied in main memory, where source and target are already in use."""
    fresh: float
    """Bytes per second of new memory that are filled. The system first clears and maps every page."""

    def seconds(self, *, operations: float, casts: float, fresh_bytes: float) -> float:
        """The least time for such work, in seconds, if there were no other work."""
        return operations / self.operations + casts / self.cast + fresh_bytes / self.fresh

    def __str__(self) -> str:
        return (
            f"fp32 product {self.operations / 1e9:.0f} GFLOP/s, cast {self.cast / 1e9:.2f} G numbers/s, "
            f"copy {self.copy / 1e9:.1f} GB/s, new memory {self.fresh / 1e9:.1f} GB/s"
        )


def measure() -> MachineLimit:
    """Measures the speeds. Takes about two seconds and 600 MB."""
    size = 2048
    left, right, product = (torch.ones(size, size) for _ in range(3))
    numbers = 32 << 20  # much more than any cache holds
    narrow, wide, other = torch.ones(numbers).half(), torch.ones(numbers), torch.ones(numbers)
    with torch.inference_mode():
        return MachineLimit(
            operations=2 * size**3 / _seconds(lambda: torch.mm(left, right, out=product)),
            cast=numbers / (_seconds(lambda: wide.copy_(narrow)) + _seconds(lambda: narrow.copy_(wide))),
            copy=4 * numbers / _seconds(lambda: other.copy_(wide)),
            fresh=4 * numbers / _seconds(lambda: torch.ones(numbers), before=_trim),
        )


def _seconds(work: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    times = []
    for _ in range(5):
        before()
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return median(times[1:])


def _trim() -> None:
    with contextlib.suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
