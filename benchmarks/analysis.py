"""The analysis of five SDXL-size LoRAs: our low-rank method compared with computing the full deltas.

No other program shows these figures, so the peer is the direct computation: each weight's deltas as matrices, then
their norms and inner products. The checkpoint's norms, which are cached, aren't known yet, as in the first run after
it is loaded.
"""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.full_models import make_model, write_lora
from benchmarks.race import race, room_on_disk
from benchmarks.results import BenchmarkResult, lower_is_better
from lora_resolver import file_state

# isort: split
import torch
from air_lora_pack.nodes.patching import analysis
from air_lora_pack.nodes.patching.application import loaded_checkpoint
from air_lora_pack.nodes.patching.fit import check_fit
from air_lora_pack.nodes.patching.lora_file import open_lora
from air_lora_pack.nodes.patching.stack import WeightedPatches, stack_patches

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNT = 5
OURS, PEER = "analyse", "the same from full deltas"
RUNS = {OURS: 5, PEER: 1}


@torch.inference_mode()
def run() -> list[BenchmarkResult]:
    """Returns one row: files in memory, the checkpoint's norms not yet known."""
    model = make_model("SDXL")
    with tempfile.TemporaryDirectory(dir=room_on_disk(1 << 31)) as name:
        entries = [
            _entry(model, write_lora(Path(name) / f"{number}.safetensors", model, number), number)
            for number in range(COUNT)
        ]
        gc.collect()
        found = analysis.analyse(model, entries)  # reads the files' bytes now
        ours = race({OURS: lambda: analysis.analyse(model, entries)}, {OURS: RUNS[OURS]}, _forget)
        expected: list[list[float]] = []
        peer = race({PEER: lambda: expected.append(_from_full_deltas(model, entries))}, {PEER: RUNS[PEER]})
    worst = max(abs(mine / theirs - 1) for mine, theirs in zip(found.strengths, expected[0]))
    print(f"furthest from the strengths of the full deltas: {worst:.1e}")
    return [lower_is_better(f"analyse {COUNT} LoRAs on SDXL", ours[OURS], peer[PEER], PEER, "s")]


def _entry(model: Any, path: Path, number: int) -> WeightedPatches:
    fit = check_fit(
        open_lora(path, f"{number:064x}", file_state(path)), path.stem, loaded_checkpoint(model, None)
    )
    return WeightedPatches(f"lora[{number}]", path.stem, f"{number:064x}", 0.7, fit.diffusion.patches)


def _from_full_deltas(model: Any, entries: Sequence[WeightedPatches]) -> list[float]:
    """Computes strengths and all inner products from the full deltas of one weight at a time."""
    state = model.model.state_dict()
    patches = [stack_patches([each]) for each in entries]
    gram = torch.zeros(len(entries), len(entries), dtype=torch.float64)
    norm = 0.0
    for key in {key for each in patches for key in each}:
        weight = state[key].float()
        norm += float(weight.square().sum(dtype=torch.float64))
        present = [number for number, each in enumerate(patches) if key in each]
        deltas = torch.stack(
            [
                patches[number][key].calculate_weight(torch.zeros_like(weight), key, 1.0, 1.0, None, None)
                for number in present
            ]
        ).flatten(1)
        there = torch.tensor(present)
        gram[there.unsqueeze(1), there] += (deltas @ deltas.T).double()
    return (gram.diagonal() / norm).sqrt().tolist()


def _forget() -> None:
    analysis._norms.clear()
