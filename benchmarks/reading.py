"""From a LoRA file on disk to usable factors: ours compared with ComfyUI's own `load_torch_file`.

Ours checks the header, converts the names, and keeps views of a copy of the file in memory. ComfyUI's maps the file,
and the bytes are read when a weight is patched. So another row also reads every byte. In the cold rows, the system
drops the file from its cache before each run.
"""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
from pathlib import Path

import tests.nodes.conftest  # noqa: F401 - imports ComfyUI and the pack, as the node tests do

# isort: split
import comfy.utils
import torch
from air_lora_pack.nodes.patching import lora_file
from air_lora_pack.nodes.patching.numbers import check_finite

from benchmarks.full_models import make_model, write_lora
from benchmarks.race import race, room_on_disk
from benchmarks.results import BenchmarkResult, lower_is_better
from lora_resolver import file_state

PEER = "comfy.utils.load_torch_file"
OURS, OURS_READ, PEER_READ = "open_lora", "open_lora, every byte", f"{PEER}, every byte"
OURS_CHECKED = "open_lora, every number looked at for NaN"
RUNS = {OURS: 9, PEER: 9, OURS_READ: 9, PEER_READ: 9, OURS_CHECKED: 9}


def run() -> list[BenchmarkResult]:
    """Returns rows for a warm and a cold disk cache."""
    with tempfile.TemporaryDirectory(dir=room_on_disk(1 << 30)) as name:
        path = write_lora(
            Path(name) / "lora.safetensors", make_model("SDXL"), 0, convolutions=False
        )  # about 170 MB
        ways = {
            OURS: lambda: _open(path),
            PEER: lambda: comfy.utils.load_torch_file(str(path)),
            OURS_READ: lambda: _touch(_open(path).tensors),
            OURS_CHECKED: lambda: _check(_open(path)),
            PEER_READ: lambda: _touch(comfy.utils.load_torch_file(str(path))),
        }
        gc.collect()
        race(ways, dict.fromkeys(RUNS, 1))
        warm = race(ways, RUNS)
        cold = race(ways, RUNS, lambda: _forget(path))
        what = f"read a {path.stat().st_size / 1e6:.0f} MB LoRA"
    rows = []
    for state, times in (("warm", warm), ("cold", cold)):
        rows += [
            lower_is_better(f"{what}, {state}: usable factors", times[OURS], times[PEER], PEER, "s"),
            lower_is_better(
                f"{what}, {state}: and every byte", times[OURS_READ], times[PEER_READ], PEER, "s"
            ),
            lower_is_better(
                f"{what}, {state}: and no NaN in it",
                times[OURS_CHECKED],
                times[PEER_READ],
                f"{PEER}, every byte",
                "s",
            ),
        ]
    return rows


def _open(path: Path) -> lora_file.LoraFile:
    """Opens the file without anything cached from the previous run."""
    lora_file._files._items.clear()
    file = lora_file.open_lora(path, "", file_state(path))
    assert file.modules
    return file


def _check(file: lora_file.LoraFile) -> None:
    check_finite(file.tensors, file.tensors)


def _touch(tensors: dict[str, torch.Tensor]) -> None:
    for tensor in tensors.values():
        if tensor.numel():
            tensor.reshape(-1).view(torch.uint8).max()


def _forget(path: Path) -> None:
    lora_file._files._items.clear()  # a mapped file would stay in the disk cache
    gc.collect()
    with path.open("rb") as file, contextlib.suppress(AttributeError):  # only on systems with posix_fadvise
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
