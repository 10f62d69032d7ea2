"""Accuracy over the collected headers, as a table, and the time from a file to the verdict on it."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.results import BenchmarkResult, lower_is_better
from lora_resolver import detect_architecture, read_header
from lora_resolver.safetensors_header import DTYPE_BITS
from tests.header_samples import Sample, samples, verdict_on

COLUMNS = ("right", "right among several", "unknown", "wrong")
RUNS = 7
LARGE = "synth_qwen_image_musubi"  # 2,520 tensors, the most of all samples
VERDICT_LIMIT_MS = 10.0
FILES = 1000
FILES_LIMIT_S = 5.0


def run() -> list[BenchmarkResult]:
    """Prints the table; a row for the speed of one large header, and one for a library of files."""
    for group in sorted({sample.group for sample in samples()}):
        _print_group(group, [sample for sample in samples() if sample.group == group])
    with tempfile.TemporaryDirectory() as folder:
        return [_one_large_header(Path(folder)), _many_files(Path(folder))]


def _one_large_header(folder: Path) -> BenchmarkResult:
    large = next(sample for sample in samples() if sample.name == LARGE)
    path = _write(large, folder / "large.safetensors")
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        detect_architecture(read_header(path))
        times.append((time.perf_counter() - start) * 1000)
    name = f"architecture: file of {len(large.header.tensors):,} tensors to verdict"
    return lower_is_better(name, times, [VERDICT_LIMIT_MS] * RUNS, "limit", "ms")


def _many_files(folder: Path) -> BenchmarkResult:
    """Each file is read once, as in the first look at a library."""
    with_shapes = [sample for sample in samples() if sample.has_shapes]
    paths = [
        _write(with_shapes[number % len(with_shapes)], folder / f"{number}.safetensors")
        for number in range(FILES)
    ]
    start = time.perf_counter()
    for path in paths:
        detect_architecture(read_header(path))
    seconds = time.perf_counter() - start
    return lower_is_better(
        f"architecture: {FILES:,} files to verdicts", [seconds], [FILES_LIMIT_S], "limit", "s"
    )


def _write(sample: Sample, path: Path) -> Path:
    """A file with this header, whose data are a hole that takes no room on the disk."""
    header: dict[str, object] = {"__metadata__": dict(sample.header.metadata)}
    end = 0
    for name, info in sample.header.tensors.items():
        dtype = info.dtype if info.dtype in DTYPE_BITS else "F16"
        size = DTYPE_BITS[dtype] // 8
        for length in info.shape:
            size *= length
        header[name] = {"dtype": dtype, "shape": list(info.shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header, separators=(",", ":")).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return path


def _print_group(group: str, members: list[Sample]) -> None:
    print(f"\n{group:24}" + "".join(f"{column:>22}" for column in COLUMNS))
    families = sorted({sample.arch for sample in members})
    total: Counter[str] = Counter()
    for family in families:
        counts = Counter(verdict_on(sample) for sample in members if sample.arch == family)
        total += counts
        print(f"  {family:22}" + "".join(f"{counts[column] or '':>22}" for column in COLUMNS))
    print(f"  {'all':22}" + "".join(f"{total[column]:>22}" for column in COLUMNS))
