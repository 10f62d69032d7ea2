"""The cost of an incompatible LoRA: bytes and requests until it is rejected, compared with downloading it first.

No other program checks before it downloads, so the peer is the download of the whole file.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.results import BenchmarkResult, lower_is_better
from benchmarks.sample_files import file_like
from lora_resolver import Mismatch, PeekedLora, ResolverConfig
from lora_resolver.resolver import Resolver
from tests.header_samples import samples
from tools.civitai_server import CatalogueEntry, CivitaiServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lora_resolver import LoraResolverError
    from lora_resolver.identifiers import Identifier

SAMPLE = "sdxl_muchai_sdxl"  # a real one with 2,364 tensors
LOADED = "sd1"
PEER = "download, then look"


def run() -> list[BenchmarkResult]:
    """Returns rows for the bytes of the file and for the requests."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sample = next(each for each in samples() if each.name == SAMPLE)
        entry = CatalogueEntry(1, 10, "Large", file_like(sample, folder / "large.safetensors"))
        size = entry.file.stat().st_size
        assert entry.sha256
        with CivitaiServer([entry]) as server:
            config = ResolverConfig(folder / "loras", civitai_url=server.url)
            refused = _cost(server, config, size)
            assert not list((folder / "loras").rglob("*.safetensors*"))
            Resolver(config).resolve("civitai:1@10")
    what = f"a {size / 1e6:.0f} MB LoRA of the wrong architecture is refused"
    return [
        lower_is_better(f"{what}: traffic", [refused[0] / 1000], [size / 1000], PEER, "KB"),
        # The peer needs at least the record, the redirect, and the file.
        lower_is_better(f"{what}: requests", [refused[1]], [3], PEER, ""),
    ]


def _cost(server: CivitaiServer, config: ResolverConfig, size: int) -> tuple[int, int]:
    """(bytes of the file, requests) until it is rejected."""

    def refuse(looked: Mapping[Identifier, PeekedLora | LoraResolverError]) -> dict[Identifier, Mismatch]:
        return {
            name: Mismatch("it does not fit", code="wrongArchitecture")
            for name, lora in looked.items()
            if isinstance(lora, PeekedLora) and lora.architecture and LOADED not in lora.architecture.families
        }

    try:
        Resolver(config).resolve_all(["civitai:1@10"], before_downloads=refuse)
    except Mismatch:
        sent = 0
        for request in server.requests:
            if request.path.startswith("/delivery/"):
                start, _, end = request.headers.get("range", f"bytes=0-{size - 1}")[6:].partition("-")
                sent += int(end) - int(start) + 1
        return sent, len(server.requests)
    raise AssertionError("it was not refused")
