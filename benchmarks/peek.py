"""The header of a file on the Hub: ours compared with huggingface_hub's, and with curl, which downloads the whole file.

Ours also requests commit, SHA-256, and model card, and detects the architecture. huggingface_hub keeps its connections
open between peeks. On this machine, only the computation counts. A server on the same continent takes 40 ms, so there
the number of consecutive requests counts.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import HfApi

from benchmarks.file_server import HUB_FILE, HUB_REPOSITORY, serving
from benchmarks.race import race
from benchmarks.results import BenchmarkResult, lower_is_better
from benchmarks.sample_files import file_like
from lora_resolver.config import ResolverConfig
from lora_resolver.resolver import Resolver
from tests.header_samples import samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.file_server import Served

SAMPLE = "sdxl_muchai_sdxl"  # a real one with 2,364 tensors
FAR = 0.04
"""Seconds before each answer."""
OURS, PEER, CURL = "ours", "parse_safetensors_file_metadata", "curl -s -o FILE"
RUNS = {OURS: 15, PEER: 15, CURL: 3}


def run() -> list[BenchmarkResult]:
    """Returns rows for the bytes of the file that are transferred, and for the seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = file_like(next(each for each in samples() if each.name == SAMPLE), folder / HUB_FILE)
        what = f"peek at a {file.stat().st_size / 1e6:.0f} MB SDXL LoRA"
        with serving(file, hub=True) as served:
            ways = _ways(served, folder)
            kilobytes = {way: [_traffic(served, look) / 1000] for way, look in ways.items()}
            near = race(ways, RUNS)
        with serving(file, hub=True, delay=FAR) as served:
            far = race(_ways(served, folder), RUNS)
    places = {f"{FAR * 1000:.0f} ms to the server": far, "server on this machine": near}
    rows = [
        lower_is_better(f"{what}: traffic", kilobytes[OURS], kilobytes[PEER], PEER, "KB"),
        lower_is_better(f"{what}, or all of it: traffic", kilobytes[OURS], kilobytes[CURL], CURL, "KB"),
    ]
    for place, times in places.items():
        rows += [
            lower_is_better(f"{what}: {place}", times[OURS], times[PEER], PEER, "s"),
            lower_is_better(f"{what}, or all of it: {place}", times[OURS], times[CURL], CURL, "s"),
        ]
    return rows


def _ways(served: Served, folder: Path) -> dict[str, Callable[[], object]]:
    """The ways to get the header. Each is tried once."""
    # The Hub's storage has another host name than the Hub, and on loopback only configured host names are contacted.
    config = ResolverConfig(folder / "loras", hf_endpoint=served.url, civitai_url="http://localhost:9")
    hub = HfApi(endpoint=served.url, token=False)
    curl = ["curl", "-sfL", "-o", str(folder / "whole"), served.file_url]
    ways: dict[str, Callable[[], object]] = {
        OURS: lambda: Resolver(config).peek(served.identifier),
        PEER: lambda: hub.parse_safetensors_file_metadata(HUB_REPOSITORY, HUB_FILE),
        CURL: lambda: subprocess.run(curl, check=True),
    }
    for look in ways.values():
        look()
    return ways


def _traffic(served: Served, look: Callable[[], object]) -> int:
    served.bytes_sent()
    look()
    return served.bytes_sent()
