"""The add panel with 10,000 files on this disk: the time that the route takes until the first results.

    the page's first    nothing is in memory; the index is from an earlier day
    a key after a while the folders are walked again, and nothing has changed
    the next key        within three seconds

The limit is the product's: results within a tenth of a second.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import tests.nodes.conftest  # noqa: F401 - imports ComfyUI and the pack, as the node tests do

# isort: split
from air_lora_pack.nodes.server import model_folders as listings
from air_lora_pack.nodes.server.routes.searching import PAGE, items_of_files

from benchmarks.library import FILES, many_files
from benchmarks.race import room_on_disk
from benchmarks.results import BenchmarkResult, lower_is_better
from lora_resolver.config import ResolverConfig

LIMIT_S = 0.1
RUNS = 9


def run() -> list[BenchmarkResult]:
    """Returns a row for each of the three."""
    with tempfile.TemporaryDirectory(dir=room_on_disk(4 << 30)) as name:
        root = Path(name)
        config = ResolverConfig(many_files(root / "loras"), state_dir=root / "state")
        listings.listing(config)  # creates the index
        first, later, following = [], [], []
        for _ in range(RUNS):
            listings.forget_listing()
            first.append(_search(config, ""))
            time.sleep(listings.KEEP_SECONDS)
            later.append(_search(config, "1"))
            following.append(_search(config, "12"))
    return [
        lower_is_better(f"search among {FILES:,} files: {what}", times, [LIMIT_S] * RUNS, "limit", "s")
        for what, times in (
            ("the page's first", first),
            ("a key after a while", later),
            ("the next key", following),
        )
    ]


def _search(config: ResolverConfig, query: str) -> float:
    start = time.perf_counter()
    found = listings.listing(config).search(query, ())
    items = items_of_files(found[:PAGE], None)
    assert len(items) == PAGE
    return time.perf_counter() - start
