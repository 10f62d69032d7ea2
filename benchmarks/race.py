"""Programs against one another: taken in turns, so that whatever else the machine does meets all of them alike."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from tools.runtime import RUNTIME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["race", "room_on_disk"]


def race(
    contestants: Mapping[str, Callable[[], object]],
    runs: Mapping[str, int],
    prepare: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Seconds of each run of each contestant; `prepare` comes before every one and is not counted.

    Those with fewer runs than others leave out the last rounds.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for round_number in range(max(runs.values())):
        for name, contestant in contestants.items():
            if round_number < runs[name]:
                prepare()
                start = time.perf_counter()
                contestant()
                times[name].append(time.perf_counter() - start)
    return times


def room_on_disk(needed: int) -> Path | None:
    """A folder on the disk of this repository if `needed` bytes fit there, else None: where temporary files go."""
    RUNTIME.mkdir(exist_ok=True)
    return RUNTIME if shutil.disk_usage(RUNTIME).free > needed else None
