"""Weights that are patched at each forward, as ComfyUI does if a model doesn't fit into memory: LowVramPatch.

A layer's weight has its own dtype, and N LoRAs are added to it whenever the layer runs: in N steps by a chain of
ComfyUI's own loaders, in one step by ours. Layer sizes of SD 1.5, SDXL, and FLUX. In addition to the seconds, it shows
the errors of both against float64, as shares of the delta.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

import tests.nodes.conftest  # noqa: F401 - imports ComfyUI and the pack, as the node tests do

# isort: split
import comfy.lora
import comfy.weight_adapter
import torch
from air_lora_pack.nodes.patching.key_mapping import Target
from air_lora_pack.nodes.patching.stack import WeightedPatches, stack_patches

from benchmarks.race import Effort, race, race_efforts
from benchmarks.results import BenchmarkResult, lower_is_better

if TYPE_CHECKING:
    from collections.abc import Iterator

LAYERS = {
    "SD1.5 320×320": (320, 320),
    "SDXL 1280×1280": (1280, 1280),
    "SDXL 10240×1280": (10240, 1280),
    "FLUX 3072×3072": (3072, 3072),
    "FLUX 12288×3072": (12288, 3072),
}
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
STRENGTH, KEY = 0.5, "layer.weight"


def run() -> list[BenchmarkResult]:
    """Returns a row for each layer, dtype, rank, and number of LoRAs. Prints the errors."""
    with torch.inference_mode():
        return [row for cell in _cells() for row in _race(*cell)]


def _cells() -> Iterator[tuple[str, str, int, int]]:
    for layer in LAYERS:
        for dtype in DTYPES:
            for rank, counts in ((16, (1, 5, 10)), (64, (1, 5))):
                for count in counts:
                    yield layer, dtype, rank, count


def _race(layer: str, dtype: str, rank: int, count: int) -> list[BenchmarkResult]:
    outputs, inputs = LAYERS[layer]
    weight = torch.randn(outputs, inputs).to(DTYPES[dtype])
    adapters = [_adapter(outputs, inputs, rank) for _ in range(count)]
    entries = [
        WeightedPatches(f"lora[{number}]", "", f"{number:064}", STRENGTH, {Target(KEY): adapter})
        for number, adapter in enumerate(adapters)
    ]
    chain = [(STRENGTH, adapter, 1.0, None, None) for adapter in adapters]
    ours = [(1.0, stack_patches(entries)[KEY], 1.0, None, None)]
    ways = {"ours": lambda: _forward(ours, weight), "core": lambda: _forward(chain, weight)}
    race(ways, {"ours": 2, "core": 1})  # ours caches from the second run on
    efforts = race_efforts(ways, dict.fromkeys(ways, 5 if outputs * inputs < 5_000_000 else 3))
    times = {name: [effort.seconds for effort in own] for name, own in efforts.items()}
    exact = sum(
        STRENGTH * (adapter.weights[0].double() @ adapter.weights[1].double()) for adapter in adapters
    )
    errors = {
        name: float((way().double() - weight.double() - exact).norm() / exact.norm())
        for name, way in ways.items()
    }
    what = f"each forward, {layer} {dtype}, rank {rank}, N={count}"
    print(
        f"  {what}: {median(times['core']) / median(times['ours']):.1f} times; "
        f"CPU seconds {_middle(efforts, 1)}, page faults {_middle(efforts, 2)}; "
        f"error {errors['ours']:.1e}, core's {errors['core']:.1e}",
        flush=True,
    )
    return [lower_is_better(what, times["ours"], times["core"], "LoraLoader chain, LowVramPatch", "s")]


def _middle(efforts: dict[str, list[Effort]], which: int) -> str:
    ours, core = (median(effort[which] for effort in efforts[name]) for name in ("ours", "core"))
    return f"{ours:.3g} of core's {core:.3g}"


def _adapter(outputs: int, inputs: int, rank: int) -> Any:
    up, down = torch.randn(outputs, rank) * 0.05, torch.randn(rank, inputs) * 0.05
    return comfy.weight_adapter.LoRAAdapter(set(), (up.half(), down.half(), float(rank), None, None, None))


def _forward(patches: list[Any], weight: torch.Tensor) -> torch.Tensor:
    return comfy.lora.calculate_weight(patches, weight.clone(), KEY, intermediate_dtype=weight.dtype)
