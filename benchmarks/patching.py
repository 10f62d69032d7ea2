"""From LoRA files on disk to patched weights: a chain of ComfyUI's own LoRA loaders compared with one array of ours.

Both patch the same fp16 UNet of the published size on the CPU. The chain does what N LoraLoader nodes do: it reads the
file, maps its keys, and clones and adds for each, and then every weight gets N separate products. Ours starts as the
node does, with the resolver, whose index knows the files, as from the second run on. Nothing else is cached unless the
row says so.
Ours is also compared with peft's `fuse_lora`, and with the machine's limit: the time for the product, the casts, and
the new memory at the speeds measured in the same run. In addition to the elapsed time, it measures CPU seconds and
pages of new memory, which don't vary between runs. Each model has a separate process.
If CUDA has a device, chain and array are also compared there. The model comes from main memory, as ComfyUI loads it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import tests.nodes.conftest  # noqa: F401 - imports ComfyUI and the pack, as the node tests do

# isort: split
import comfy.sd
import comfy.utils
import torch
from air_lora_pack.nodes.patching import application, loaded_model, lora_file, results
from safetensors import safe_open
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile

from benchmarks.full_models import CPU, make_model, write_lora, write_peft_lora
from benchmarks.machine_limit import MachineLimit, measure
from benchmarks.own_process import run_apart
from benchmarks.race import race, race_efforts, room_on_disk
from benchmarks.results import BenchmarkResult, lower_is_better
from lora_resolver import Resolver, ResolverConfig, parse_identifier

if TYPE_CHECKING:
    from collections.abc import Callable

CHAIN = "chain of LoraLoader"
STACKS = {"SD1.5": {1: 5, 2: 5, 5: 5, 10: 3}, "SDXL": {1: 3, 5: 3}}
"""Model → number of LoRAs → runs of each contestant."""


def run() -> list[BenchmarkResult]:
    """Returns rows for each model and stack length. Prints the phases."""
    return [row for name in STACKS for row in run_apart("benchmarks.patching", name)]


def run_part(name: str) -> list[BenchmarkResult]:
    """Returns the rows of one model."""
    logging.getLogger().setLevel(logging.ERROR)
    stacks = STACKS[name]
    rows: list[BenchmarkResult] = []
    with tempfile.TemporaryDirectory(dir=room_on_disk(4 << 30)) as folder, torch.inference_mode():
        bench = _Bench(name, Path(folder), max(stacks))
        for count, runs in stacks.items():
            rows += bench.stack(count, runs)
        rows += bench.again(5, stacks[5])
        if name == "SD1.5":
            for count in (1, 5):
                rows += bench.against_peft(count, 3)
        if torch.cuda.is_available():
            rows += bench.on_gpu(torch.device("cuda"))
    return rows


class _Bench:
    """One model and the LoRA files for it."""

    def __init__(self, name: str, folder: Path, count: int) -> None:
        self.name, self.device = name, CPU
        self.model = make_model(name)
        self.files = [
            write_lora(folder / f"{number}.safetensors", self.model, number) for number in range(count)
        ]
        self.peft_files = [
            write_peft_lora(folder / f"peft_{number}.safetensors", self.model, number) for number in range(5)
        ]
        state = folder / "state"
        self.config = ResolverConfig.from_environment(
            {}, download_dir=folder, search_dirs=(folder,), state_dir=state
        )
        Resolver(self.config).resolve_all([parse_identifier(f"local:{file.name}") for file in self.files])
        self.phases: dict[str, list[float]] = defaultdict(list)
        self.patched: Any = None

    # ---- from the files

    def stack(self, count: int, runs: int) -> list[BenchmarkResult]:
        ways = {
            "stock": lambda: self._stock(self._read(count), count),
            "ours": lambda: self._ours(self.files[:count]),
        }
        race(ways, dict.fromkeys(ways, 1), self._forget)  # lets the process grow to its size
        self._forget()
        self.phases.clear()
        limit = measure()
        efforts = race_efforts(ways, dict.fromkeys(ways, runs), self._forget)
        self._show(count)
        print(f"  the machine's limit: {limit}", flush=True)
        what = f"patch {self.name}, N={count}"
        patch, stock_patch = self.phases["ours patch"], self.phases["stock patch"]
        seconds, cpu_seconds, faults = (
            {name: [effort[which] for effort in own] for name, own in efforts.items()} for which in range(3)
        )
        return [
            lower_is_better(
                f"{what}: files to patched weights", seconds["ours"], seconds["stock"], CHAIN, "s"
            ),
            lower_is_better(
                f"{what}: files to patched weights, CPU",
                cpu_seconds["ours"],
                cpu_seconds["stock"],
                CHAIN,
                "CPU s",
            ),
            lower_is_better(f"{what}: page faults", faults["ours"], faults["stock"], CHAIN, "pages"),
            lower_is_better(f"{what}: patch step", patch, stock_patch, CHAIN, "s"),
            lower_is_better(
                f"{what}: patch step against the limit", patch, [self._least(limit, count)], "limit", "s"
            ),
            *self.memory(count),
        ]

    def _least(self, limit: MachineLimit, count: int) -> float:
        """The seconds for the products, a cast and back, and the memory for the weights that remain."""
        key_map = comfy.lora.model_lora_keys_unet(self.model.model, {})
        ranks: dict[str, int] = defaultdict(int)
        for file in self.files[:count]:
            with safe_open(file, "pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - not a dict
                    stem = name.removesuffix(".lora_down.weight")
                    if stem != name:
                        ranks[key_map[stem]] += tensors.get_slice(name).get_shape()[0]
        weights = self.model.model.state_dict()
        return limit.seconds(
            operations=sum(2 * rank * weights[name].numel() for name, rank in ranks.items()),
            casts=sum(weights[name].numel() for name in ranks),
            fresh_bytes=sum(weights[name].numel() * weights[name].element_size() for name in ranks),
        )

    def memory(self, count: int) -> list[BenchmarkResult]:
        """Measures the peak memory separately, because profiling would slow down the race."""
        ways = {
            "stock": lambda: self._stock(self._read(count), count),
            "ours": lambda: self._ours(self.files[:count]),
        }
        peaks = {name: [self._peak(way)] for name, way in ways.items()}
        what = f"patch {self.name}, N={count}: peak extra memory"
        return [lower_is_better(what, peaks["ours"], peaks["stock"], CHAIN, "MB")]

    # ---- run again

    def again(self, count: int, runs: int) -> list[BenchmarkResult]:
        """Measures with the caches of the previous run: the chain's are its files, ours are its factors."""
        files = self._read(count)
        weights = [1.0] * count
        turn = [0]

        def change() -> list[float]:
            turn[0] += 1
            return [*weights[:2], 0.5 + turn[0] / 64, *weights[3:]]

        self._forget()
        self._ours(self.files[:count], weights)
        ways = {
            # ComfyUI doesn't run the loaders before the changed one again.
            "stock changed": lambda: self._stock(files, count, change(), kept=2),
            "ours changed": lambda: self._ours(self.files[:count], change()),
        }
        changed = race(ways, dict.fromkeys(ways, runs), self._unpatch)
        self._unpatch()
        self._ours(self.files[:count], weights)
        kept = self.patched
        same = race({"ours": lambda: self._ours(self.files[:count], weights)}, {"ours": 9})["ours"]
        self.patched = kept
        stock = race({"stock": lambda: self._stock(files, count, weights)}, {"stock": runs}, self._unpatch)[
            "stock"
        ]
        what = f"patch {self.name}, N={count}"
        return [
            lower_is_better(
                f"{what}: one weight changed", changed["ours changed"], changed["stock changed"], CHAIN, "s"
            ),
            lower_is_better(f"{what}: executed again, nothing changed", same, stock, CHAIN, "s"),
        ]

    # ---- peft

    def against_peft(self, count: int, runs: int) -> list[BenchmarkResult]:
        """Measures the same layers in diffusers' UNet of the same size: reading, adapters, fuse_lora."""
        from diffusers import UNet2DConditionModel
        from safetensors.torch import load_file

        unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8).to(torch.float16)
        names = [f"lora{number}" for number in range(count)]
        fuse_times: list[float] = []
        dirty = [False]

        def prepare() -> None:
            self._forget()
            if dirty[0]:
                unet.unfuse_lora()
                unet.unload_lora()
                dirty[0] = False

        def peft() -> None:
            dirty[0] = True
            for name, file in zip(names, self.peft_files):
                unet.load_lora_adapter(load_file(file), prefix=None, adapter_name=name)
            unet.set_adapters(names, [1.0] * count)
            start = time.perf_counter()
            unet.fuse_lora()
            fuse_times.append(time.perf_counter() - start)

        self.phases.clear()
        Resolver(self.config).resolve_all(
            [parse_identifier(f"local:{file.name}") for file in self.peft_files]
        )
        with torch.inference_mode(False):
            ways = {"peft": peft, "ours": lambda: self._ours(self.peft_files[:count])}
            times = race(ways, dict.fromkeys(ways, runs), prepare)
            prepare()
        what, peer = f"patch {self.name}, N={count}", "peft fuse_lora"
        return [
            lower_is_better(
                f"{what}: files to patched weights, peft", times["ours"], times["peft"], peer, "s"
            ),
            lower_is_better(f"{what}: patch step, peft", self.phases["ours patch"], fuse_times, peer, "s"),
        ]

    # ---- on a GPU

    def on_gpu(self, device: torch.device) -> list[BenchmarkResult]:
        """Measures one LoRA and five, with the weights back in main memory before each run."""
        self._forget()
        self.device, self.model.load_device = device, device
        rows = []
        for count in (1, 5):
            ways = {
                "stock": lambda count=count: self._stock(self._read(count), count),
                "ours": lambda count=count: self._ours(self.files[:count]),
            }
            race(ways, dict.fromkeys(ways, 1), self._forget)
            self.phases.clear()
            times = race(ways, dict.fromkeys(ways, 5), self._forget)
            what = f"patch {self.name} on {_called(device)}, N={count}"
            print(f"  {what}")
            self._show(count)
            patch, stock_patch = self.phases["ours patch"], self.phases["stock patch"]
            rows += [
                lower_is_better(
                    f"{what}: files to patched weights", times["ours"], times["stock"], CHAIN, "s"
                ),
                lower_is_better(f"{what}: patch step", patch, stock_patch, CHAIN, "s"),
            ]
        self._forget()
        self.device, self.model.load_device = CPU, CPU
        return rows

    # ---- the contestants

    def _read(self, count: int) -> list[Any]:
        start = time.perf_counter()
        files = [comfy.utils.load_torch_file(str(file), safe_load=True) for file in self.files[:count]]
        self.phases["stock read"].append(time.perf_counter() - start)
        return files

    def _stock(self, files: list[Any], count: int, weights: list[float] | None = None, kept: int = 0) -> None:
        start = time.perf_counter()
        model = self.model
        for number in range(count):
            if number == kept:
                start = time.perf_counter()
            weight = weights[number] if weights else 1.0
            model, _ = comfy.sd.load_lora_for_models(model, None, files[number], weight, 0)
        self.phases["stock map, match, add"].append(time.perf_counter() - start)
        self._patch(model, "stock patch")

    def _ours(self, files: list[Path], weights: list[float] | None = None) -> None:
        start = time.perf_counter()
        found = Resolver(self.config).resolve_all([parse_identifier(f"local:{file.name}") for file in files])
        self.phases["ours resolve"].append(time.perf_counter() - start)
        start = time.perf_counter()
        loras = [
            application.WeightedLora(
                f"lora[{number}]", file.path.name, file.path, file.sha256, weight, weight, file.state
            )
            for number, (file, weight) in enumerate(zip(found, weights or [1.0] * len(found)))
        ]
        applied = application.apply_loras(self.model, None, loras, skip_mismatches=False)
        self.phases["ours read, check, add"].append(time.perf_counter() - start)
        self._patch(applied.model, "ours patch")

    def _patch(self, model: Any, phase: str) -> None:
        start = time.perf_counter()
        # Like ComfyUI's loader: a model that is already patched with this set stays as it is.
        if self.patched is None or self.patched.patches_uuid != model.patches_uuid:
            if self.patched is not None:
                self.patched.unpatch_model(CPU)
            model.patch_model(self.device)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self.patched = model
            self.phases[phase].append(time.perf_counter() - start)

    # ---- between two runs

    def _unpatch(self) -> None:
        if self.patched is not None:
            self.patched.unpatch_model(CPU)
            self.patched = None
        gc.collect()

    def _forget(self) -> None:
        """Restores the state of a new process, except the resolver's index. Freed memory goes back to the system."""
        self._unpatch()
        lora_file._files._items.clear()
        application._fits._items.clear()
        loaded_model._kept.clear()
        self.model.__dict__.pop(results._ATTRIBUTE, None)
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):  # only glibc has it
            ctypes.CDLL(None).malloc_trim(0)

    def _peak(self, way: Callable[[], None]) -> float:
        """The peak memory of torch's tensors in MB, without those that remain afterwards (the patched weights).

        The figures are from torch's allocator, because the process's size also includes freed memory that is reused.
        Mapped files aren't included: the system can drop their pages at any time.
        """
        self._forget()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True, with_stack=False) as profiler:
            way()
        return _peak_of_passing(_allocations(profiler)) / 1e6

    def _show(self, count: int) -> None:
        print(f"  {self.name}, N={count}:", end=" ")
        print("; ".join(f"{phase} {median(times):.3f} s" for phase, times in self.phases.items()), flush=True)


def _called(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()


def _allocations(profiler: Any) -> list[tuple[int, int]]:
    """(address, bytes allocated or, if negative, freed), in order of time."""
    waiting = list(profiler.profiler.kineto_results.experimental_event_tree())
    found = []
    while waiting:
        event = waiting.pop()
        waiting += event.children
        if event.tag == _EventType.Allocation:
            found.append((event.start_time_ns, event.extra_fields.ptr, event.extra_fields.alloc_size))
    return [(pointer, size) for _time, pointer, size in sorted(found)]


def _peak_of_passing(allocations: list[tuple[int, int]]) -> int:
    """The peak in bytes of the memory that is freed later."""
    later: dict[int, int] = defaultdict(int)  # address → how often it will still be freed
    for pointer, size in allocations:
        later[pointer] += size < 0
    live: set[int] = set()
    now = peak = 0
    for pointer, size in allocations:
        if size > 0 and later[pointer]:
            live.add(pointer)
            now += size
            peak = max(peak, now)
        elif size < 0:
            later[pointer] -= 1
            if pointer in live:
                live.remove(pointer)
                now += size
    return peak
