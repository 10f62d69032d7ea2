"""Indexing 10,000 files with real headers, for the first time, and again without changes.

    look     our scan, which is all that `resolve` needs: names, sizes, times, sidecars; opens no model
    judge    our list of the library: reads every header, detects its architecture, and caches the result

The peers read the metadata of every header each time, or only names and sizes. Ours and the program with safetensors
run in this process. All run with a warm disk cache.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import safetensors

from benchmarks.race import race, room_on_disk
from benchmarks.results import BenchmarkResult, lower_is_better
from benchmarks.sample_files import file_like
from lora_resolver.config import ResolverConfig
from lora_resolver.on_disk.library import Library
from lora_resolver.resolver import Resolver
from lora_resolver.transfer.tasks import CancelToken
from tests.header_samples import samples

FILES = 10_000
FOLDERS = 100
SCAN, JUDGE, OPEN, FIND = "scan", "judge", "safe_open(…).metadata()", "find -printf '%p %s %T@'"


def run() -> list[BenchmarkResult]:
    """Returns two rows for the first time, and two for the second."""
    with tempfile.TemporaryDirectory(dir=room_on_disk(4 << 30)) as name:
        root = Path(name)
        loras = many_files(root / "loras")
        config = ResolverConfig(loras, state_dir=root / "state")
        first = race(
            {SCAN: lambda: _scan(config), OPEN: lambda: _open_all(loras)},
            {SCAN: 3, OPEN: 3},
            lambda: shutil.rmtree(root / "state", ignore_errors=True),
        )
        start = time.perf_counter()
        Resolver(config).library()
        judged = time.perf_counter() - start
        again = {
            SCAN: lambda: _scan(config),
            FIND: lambda: _find(loras),  # GNU find
            JUDGE: lambda: Resolver(config).library(),
            OPEN: lambda: _open_all(loras),
        }
        second = race(again, {SCAN: 7, FIND: 7, JUDGE: 3, OPEN: 3})
    what = f"library of {FILES:,} files"
    return [
        lower_is_better(f"{what}, first time: look", first[SCAN], first[OPEN], OPEN, "s"),
        lower_is_better(f"{what}, first time: judge", [judged], first[OPEN], OPEN, "s"),
        lower_is_better(f"{what}, second time: look", second[SCAN], second[FIND], FIND, "s"),
        lower_is_better(f"{what}, second time: judge", second[JUDGE], second[OPEN], OPEN, "s"),
    ]


def many_files(folder: Path) -> Path:
    """Fills a folder with all kinds of LoRAs."""
    with_shapes = [sample for sample in samples() if sample.has_shapes]
    for number, sample in enumerate(islice(cycle(with_shapes), FILES)):
        path = folder / f"{number % FOLDERS:02}" / f"{number}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        file_like(sample, path)
    return folder


def _scan(config: ResolverConfig) -> None:
    with Library(config, CancelToken()) as library:
        library.scan()


def _open_all(folder: Path) -> None:
    """Opens every file, as a program without an index does each time."""
    for path in folder.rglob("*.safetensors"):
        with safetensors.safe_open(path, "numpy") as file:
            file.metadata()


def _find(folder: Path) -> None:
    subprocess.run(["find", folder, "-printf", "%p %s %T@\n"], stdout=subprocess.DEVNULL, check=True)
