"""The accuracy of detection for the collected headers, as a table, and the time from a file to its verdict."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.results import BenchmarkResult, lower_is_better
from benchmarks.sample_files import file_like
from lora_resolver import SafetensorsHeader, TensorInfo, detect_architecture, read_header
from lora_resolver.model_file.architecture import detect_checkpoint
from tests.header_samples import Sample, samples, verdict_on
from tests.official_classes import OfficialClass, official_classes

COLUMNS = ("right", "right among several", "unknown", "wrong")
RUNS = 7
LARGE = "synth_qwen_image_musubi"  # 2,520 tensors, the most of all samples
VERDICT_LIMIT_MS = 10.0
FILES = 1000
FILES_LIMIT_S = 5.0


def run() -> list[BenchmarkResult]:
    """Prints the table. Returns rows for the time of one large header, and for a library of files."""
    for group in sorted({sample.group for sample in samples()}):
        _print_group(group, [sample for sample in samples() if sample.group == group])
    _print_classes()
    with tempfile.TemporaryDirectory() as folder:
        return [*_one_large_header(Path(folder)), _many_files(Path(folder))]


def _one_large_header(folder: Path) -> list[BenchmarkResult]:
    """Measures the time from header to verdict, without and with reading the file."""
    large = next(sample for sample in samples() if sample.name == LARGE)
    path = file_like(large, folder / "large.safetensors")
    wholes, verdicts = [], []
    for _ in range(RUNS):
        start = time.perf_counter()
        header = read_header(path)
        read = time.perf_counter()
        detect_architecture(header)
        end = time.perf_counter()
        wholes.append((end - start) * 1000)
        verdicts.append((end - read) * 1000)
    limits = [VERDICT_LIMIT_MS] * RUNS
    count = f"{len(large.header.tensors):,} tensors"
    return [
        lower_is_better(f"architecture: header of {count} to verdict", verdicts, limits, "limit", "ms"),
        lower_is_better(f"architecture: file of {count} to verdict", wholes, limits, "limit", "ms"),
    ]


def _many_files(folder: Path) -> BenchmarkResult:
    """Reads each file once, as the first scan of a library does."""
    with_shapes = [sample for sample in samples() if sample.has_shapes]
    paths = [
        file_like(with_shapes[number % len(with_shapes)], folder / f"{number}.safetensors")
        for number in range(FILES)
    ]
    start = time.perf_counter()
    for path in paths:
        detect_architecture(read_header(path))
    seconds = time.perf_counter() - start
    return lower_is_better(
        f"architecture: {FILES:,} files to verdicts", [seconds], [FILES_LIMIT_S], "limit", "s"
    )


def _print_group(group: str, members: list[Sample]) -> None:
    print(f"\n{group:24}" + "".join(f"{column:>22}" for column in COLUMNS))
    families = sorted({sample.arch for sample in members})
    total: Counter[str] = Counter()
    for family in families:
        counts = Counter(verdict_on(sample) for sample in members if sample.arch == family)
        total += counts
        print(f"  {family:22}" + "".join(f"{counts[column] or '':>22}" for column in COLUMNS))
    print(f"  {'all':22}" + "".join(f"{total[column]:>22}" for column in COLUMNS))


def _print_classes() -> None:
    """Prints the verdicts on complete models of each official class, in ComfyUI's layout and in diffusers'."""
    print(f"\n{'checkpoints':24}" + "".join(f"{column:>22}" for column in COLUMNS))
    total: Counter[str] = Counter()
    for source in ("ComfyUI", "diffusers"):
        counts = Counter(
            _verdict_on_class(model)
            for model in official_classes()
            if model.source == source and model.family
        )
        total += counts
        print(f"  {source:22}" + "".join(f"{counts[column] or '':>22}" for column in COLUMNS))
    print(f"  {'all':22}" + "".join(f"{total[column]:>22}" for column in COLUMNS))


def _verdict_on_class(model: OfficialClass) -> str:
    tensors = {f"{name}.weight": TensorInfo("BF16", shape, 0, 2) for name, shape in model.weights.items()}
    families = detect_checkpoint(SafetensorsHeader(tensors, {}, 0, 0)).families
    if not families:
        return "unknown"
    if model.family not in families:
        return "wrong"
    return "right" if len(families) == 1 else "right among several"
