"""The results of benchmarks, and how they are shown and stored."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RESULTS_FILE = Path(__file__).parent / "results.json"


@cache
def machine() -> str:
    """The processor and its number of cores, as text. Doesn't identify the computer."""
    import os

    model = ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else ""
    return (
        f"{model or platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    )


@dataclass(frozen=True)
class BenchmarkResult:
    """Our figure and the peer's, from the same interleaved run. If `ratio` is above 1, ours is better."""

    name: str
    ours: float
    peer: float
    peer_name: str
    unit: str
    ratio: float
    runs: int
    machine: str = field(default_factory=machine)


def lower_is_better(
    name: str, ours: Sequence[float], peer: Sequence[float], peer_name: str, unit: str
) -> BenchmarkResult:
    """Makes a result from the measurements of several runs each: their medians, and peer ÷ ours."""
    mine, theirs = median(ours), median(peer)
    ratio = theirs / mine if mine else float("inf")
    return BenchmarkResult(
        name, round(mine, 4), round(theirs, 4), peer_name, unit, round(ratio, 3), min(len(ours), len(peer))
    )


def show(results: Iterable[BenchmarkResult]) -> None:
    """Prints a table."""
    print(f"\n{'benchmark':66} {'ours':>12} {'peer':>12} {'unit':6} {'ratio':>7}  peer (runs)")
    for row in results:
        print(
            f"{row.name:66} {row.ours:12.4g} {row.peer:12.4g} {row.unit:6} {row.ratio:7.2f}"
            f"  {row.peer_name} ({row.runs})"
        )


def save(results: Iterable[BenchmarkResult], *, keep_others: bool) -> None:
    """Writes the file. With `keep_others`, it keeps the rows of benchmarks that did not run this time."""
    rows: dict[str, dict[str, Any]] = {}
    if keep_others and RESULTS_FILE.exists():
        rows = {row["name"]: row for row in json.loads(RESULTS_FILE.read_text())}
    rows |= {result.name: asdict(result) for result in results}
    RESULTS_FILE.write_text(json.dumps(list(rows.values()), indent=2) + "\n")
