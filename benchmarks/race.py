"""Compares programs by running them in turns, so that other load on the machine affects all of them equally."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, NamedTuple

from tools.runtime import RUNTIME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["Effort", "race", "race_efforts", "room_on_disk"]


class Effort(NamedTuple):
    """The resources that one run used."""

    seconds: float
    cpu_seconds: float
    """Of all threads, in the program and in the kernel."""
    page_faults: float
    """Pages of memory, mostly 4 KB, that the system had to map (minor faults). NaN if not reported."""


def race(
    contestants: Mapping[str, Callable[[], object]],
    runs: Mapping[str, int],
    prepare: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Returns the seconds of each run of each contestant, as `race_efforts` measures them."""
    efforts = race_efforts(contestants, runs, prepare)
    return {name: [effort.seconds for effort in own] for name, own in efforts.items()}


def race_efforts(
    contestants: Mapping[str, Callable[[], object]],
    runs: Mapping[str, int],
    prepare: Callable[[], object] = lambda: None,
) -> dict[str, list[Effort]]:
    """Returns what each run of each contestant used. `prepare` runs before each of them and isn't measured.

    Contestants with fewer runs leave out the last rounds.
    """
    efforts: dict[str, list[Effort]] = {name: [] for name in contestants}
    for round_number in range(max(runs.values())):
        for name, contestant in contestants.items():
            if round_number < runs[name]:
                prepare()
                before = now()
                contestant()
                efforts[name].append(Effort(*(end - start for start, end in zip(before, now()))))
    return efforts


def now() -> Effort:
    """What this process has used so far. Subtract two of them to measure the time between."""
    try:
        import resource
    except ImportError:  # Windows
        faults = float("nan")
    else:
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    return Effort(time.perf_counter(), time.process_time(), faults)


def room_on_disk(needed: int) -> Path | None:
    """Where temporary files go: a folder on the disk of this repository if `needed` bytes are free there, or None."""
    RUNTIME.mkdir(exist_ok=True)
    return RUNTIME if shutil.disk_usage(RUNTIME).free > needed else None
