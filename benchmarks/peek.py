"""The header of a file that lies on the Hub: ours against huggingface_hub's, and against curl that fetches it all.

Ours also asks for commit, SHA-256 and model card, and judges the architecture; huggingface_hub keeps its connections
open from one peek to the next. On this machine that computing is all that is measured; 40 ms are a server on the same
continent, where it is the number of questions in a row.
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

SAMPLE = "sdxl_muchai_sdxl"  # a real one of 2,364 tensors
FAR = 0.04
"""Seconds before each answer."""
OURS, PEER, CURL = "ours", "parse_safetensors_file_metadata", "curl -s -o FILE"
RUNS = {OURS: 15, PEER: 15, CURL: 3}


def run() -> list[BenchmarkResult]:
    """Rows for the bytes of the file that come over the network, and for the seconds."""
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
    """What leads to the header, each tried once."""
    # The Hub's storage has another name than the Hub; on loopback, only names that are configured are gone to.
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
