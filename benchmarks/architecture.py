"""Accuracy over the collected headers, as a table, and the time from header to verdict."""

from __future__ import annotations

import time
from collections import Counter

from benchmarks.results import BenchmarkResult, lower_is_better
from lora_resolver import SafetensorsHeader, TensorInfo, detect_architecture
from tests.header_samples import Sample, samples, verdict_on

COLUMNS = ("right", "right among several", "unknown", "wrong")
RUNS = 7
TENSORS = 2400
VERDICT_LIMIT_MS = 10.0


def run() -> list[BenchmarkResult]:
    """Prints the table; one row for the speed."""
    for group in sorted({sample.group for sample in samples()}):
        _print_group(group, [sample for sample in samples() if sample.group == group])
    header = _large_header()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        detect_architecture(header)
        times.append((time.perf_counter() - start) * 1000)
    name = f"architecture: header of {TENSORS} tensors to verdict"
    return [lower_is_better(name, times, [VERDICT_LIMIT_MS], "limit", "ms")]


def _print_group(group: str, members: list[Sample]) -> None:
    print(f"\n{group:24}" + "".join(f"{column:>22}" for column in COLUMNS))
    families = sorted({sample.arch for sample in members})
    total: Counter[str] = Counter()
    for family in families:
        counts = Counter(verdict_on(sample) for sample in members if sample.arch == family)
        total += counts
        print(f"  {family:22}" + "".join(f"{counts[column] or '':>22}" for column in COLUMNS))
    print(f"  {'all':22}" + "".join(f"{total[column]:>22}" for column in COLUMNS))


def _large_header() -> SafetensorsHeader:
    """SDXL's whole UNet, repeated factors and alphas, as the largest LoRAs of today have them."""
    whole = next(sample for sample in samples() if sample.name == "sdxl_muchai_sdxl")
    tensors: dict[str, TensorInfo] = dict(list(whole.header.tensors.items())[:TENSORS])
    return SafetensorsHeader(tensors, {}, 0, 0)
