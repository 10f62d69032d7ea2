"""From LoRA files on the disk to patched weights: a chain of ComfyUI's own LoRA loaders against one array of ours.

Both patch the same fp16 UNet of the published size on the CPU. The chain is what N LoraLoader nodes do: read the file,
map its keys, clone and add for each, then every weight gets N separate products. Ours starts as the node does, with
the resolver (its index knows the files, as it does from the second run on); nothing is kept in memory unless the row
says so. Also against peft's `fuse_lora` and against the floor: casts and the one fp32 product, with no bookkeeping.
Where CUDA has a device, chain and array are raced there too: the model comes from main memory, as ComfyUI loads it.
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

import tests.nodes.conftest  # noqa: F401 - imports ComfyUI and the pack, as the tests of nodes do

# isort: split
import comfy.sd
import comfy.utils
import torch
from air_lora_pack.nodes.patching import application, loaded_model, lora_file
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile

from benchmarks.full_models import CPU, make_model, write_lora, write_peft_lora
from benchmarks.race import race, room_on_disk
from benchmarks.results import BenchmarkResult, lower_is_better
from lora_resolver import Resolver, ResolverConfig, parse_identifier

if TYPE_CHECKING:
    from collections.abc import Callable

CHAIN = "chain of LoraLoader"
STACKS = {"SD1.5": {1: 5, 2: 5, 5: 5, 10: 3}, "SDXL": {1: 3, 5: 3}}
"""Model → how many LoRAs → runs of each contestant."""


def run() -> list[BenchmarkResult]:
    """Rows for each model and length of the stack; prints the phases."""
    logging.getLogger().setLevel(logging.ERROR)
    rows: list[BenchmarkResult] = []
    for name, stacks in STACKS.items():
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
        self.floor_weights: list[torch.Tensor] = []

    # ---- one after the other from the files

    def stack(self, count: int, runs: int) -> list[BenchmarkResult]:
        self.phases.clear()
        self._stacks[count]  # read before the clock runs
        ways = {
            "stock": lambda: self._stock(self._read(count), count),
            "ours": lambda: self._ours(self.files[:count]),
            "floor": lambda: self._floor(count),
        }
        race(ways, dict.fromkeys(ways, 1), self._forget)  # the process has grown to its size
        self.phases.clear()
        times = race(ways, dict.fromkeys(ways, runs), self._forget)
        self._show(count)
        what = f"patch {self.name}, N={count}"
        patch, stock_patch = self.phases["ours patch"], self.phases["stock patch"]
        return [
            lower_is_better(f"{what}: files to patched weights", times["ours"], times["stock"], CHAIN, "s"),
            lower_is_better(f"{what}: patch step", patch, stock_patch, CHAIN, "s"),
            lower_is_better(
                f"{what}: patch step against the floor", patch, times["floor"], "one product and casts", "s"
            ),
            *self.memory(count),
        ]

    def memory(self, count: int) -> list[BenchmarkResult]:
        """Not in the race: telling the peak takes a pass of its own."""
        ways = {
            "stock": lambda: self._stock(self._read(count), count),
            "ours": lambda: self._ours(self.files[:count]),
        }
        peaks = {name: [self._peak(way)] for name, way in ways.items()}
        what = f"patch {self.name}, N={count}: peak extra memory"
        return [lower_is_better(what, peaks["ours"], peaks["stock"], CHAIN, "MB")]

    # ---- run again

    def again(self, count: int, runs: int) -> list[BenchmarkResult]:
        """With what both keep from the run before: the chain its files, ours its factors."""
        files = self._read(count)
        weights = [1.0] * count
        turn = [0]

        def change() -> list[float]:
            turn[0] += 1
            return [*weights[:2], 0.5 + turn[0] / 64, *weights[3:]]

        self._forget()
        self._ours(self.files[:count], weights)
        ways = {
            # Loaders before the changed one are not executed again.
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
        """The same layers on diffusers' UNet of the same size: reading, adapters, fuse_lora."""
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
        """For one LoRA and for five, with the weights back in main memory before each."""
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
                f"lora[{number}]", file.path.name, file.path, file.sha256, weight, weight
            )
            for number, (file, weight) in enumerate(zip(found, weights or [1.0] * len(found)))
        ]
        applied = application.apply_loras(self.model, None, loras, skip_mismatches=False)
        self.phases["ours read, map, check, add"].append(time.perf_counter() - start)
        self._patch(applied.model, "ours patch")

    def _patch(self, model: Any, phase: str) -> None:
        start = time.perf_counter()
        # As ComfyUI's loader does: what is patched with this very set already stays as it is.
        if self.patched is None or self.patched.patches_uuid != model.patches_uuid:
            if self.patched is not None:
                self.patched.unpatch_model(CPU)
            model.patch_model(self.device)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self.patched = model
            self.phases[phase].append(time.perf_counter() - start)

    def _floor(self, count: int) -> None:
        stacks = self._stacks[count]
        for name, parameter in self.model.model.named_parameters():
            if name in stacks:
                weight = parameter.detach().to(torch.float32, copy=True)
                up = torch.cat([factor.flatten(1).float() * 0.5 for factor, _ in stacks[name]], dim=1)
                down = torch.cat([factor.flatten(1).float() for _, factor in stacks[name]], dim=0)
                weight.view(weight.shape[0], -1).addmm_(up, down)
                # Kept, as a patched model keeps its weights: a freed one's memory would serve the next at no cost.
                self.floor_weights.append(weight.to(torch.float16))

    @property
    def _stacks(self) -> dict[int, dict[str, list[tuple[torch.Tensor, torch.Tensor]]]]:
        """Count → weight → factors as they lie in the files' views."""
        if not hasattr(self, "_kept_stacks"):
            self._kept_stacks = _StacksByCount(self.model, self.files)
        return self._kept_stacks

    # ---- between two runs

    def _unpatch(self) -> None:
        if self.patched is not None:
            self.patched.unpatch_model(CPU)
            self.patched = None
        self.floor_weights.clear()
        gc.collect()

    def _forget(self) -> None:
        """As in a process that has just started, but for the resolver's index; no freed memory serves again either."""
        self._unpatch()
        lora_file._files._items.clear()
        application._fits._items.clear()
        loaded_model._kept.clear()
        self.model.__dict__.pop(application._ATTRIBUTE, None)
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):  # glibc's only
            ctypes.CDLL(None).malloc_trim(0)

    def _peak(self, way: Callable[[], None]) -> float:
        """The most that torch's tensors take at one moment, in MB, not counting those that stay: the patched weights.

        Told by torch's allocator; the size of the process would also tell of freed memory that serves again. Mapped
        files count for neither: the system drops their pages as it likes.
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


class _StacksByCount(dict[int, dict[str, list[tuple[torch.Tensor, torch.Tensor]]]]):
    def __init__(self, model: Any, files: list[Path]) -> None:
        super().__init__()
        self._key_map = comfy.lora.model_lora_keys_unet(model.model, {})
        self._files = files

    def __missing__(self, count: int) -> dict[str, list[tuple[torch.Tensor, torch.Tensor]]]:
        stacks: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = defaultdict(list)
        for file in self._files[:count]:
            tensors = comfy.utils.load_torch_file(str(file))
            for name, up in tensors.items():
                stem = name.removesuffix(".lora_up.weight")
                if stem != name:
                    stacks[self._key_map[stem]].append((up, tensors[f"{stem}.lora_down.weight"]))
        self.clear()
        self[count] = stacks
        return stacks


def _allocations(profiler: Any) -> list[tuple[int, int]]:
    """(address, bytes taken or, below 0, given back), as they happened."""
    waiting = list(profiler.profiler.kineto_results.experimental_event_tree())
    found = []
    while waiting:
        event = waiting.pop()
        waiting += event.children
        if event.tag == _EventType.Allocation:
            found.append((event.start_time_ns, event.extra_fields.ptr, event.extra_fields.alloc_size))
    return [(pointer, size) for _time, pointer, size in sorted(found)]


def _peak_of_passing(allocations: list[tuple[int, int]]) -> int:
    """The highest sum, in bytes, of what is given back later on."""
    later: dict[int, int] = defaultdict(int)  # address → how often it is still to be given back
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
