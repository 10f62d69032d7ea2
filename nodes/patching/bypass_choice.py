"""Chooses between patch and bypass: by their cost, and by whether patching would lose part of a LoRA's effect.

A patch costs time once for each weight, or at each forward pass for weights that don't stay on the device. A bypass
costs time at each forward pass. For T tokens and a layer with `in` inputs and `out` outputs, it costs about cρ times as
much as a patch, where ρ = T·(in + out) / (in·out). c depends on the device: how much faster it copies and casts than it
multiplies. The rank is a factor of both costs, so it cancels out.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import comfy.model_management
import comfy.utils
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TOKENS = 4096
"""Tokens of one forward pass. The real number isn't known before the run: this is a picture of one megapixel."""

FORWARDS = 20
"""Forward passes of one run, also assumed: 20 steps, each with both conditions in one pass."""

_TYPICAL = {"cpu float32": 0.9, "cpu bfloat16": 0.37}
"""Device and dtype → c, medians of 167 layers and sizes; others are measured when they are first needed."""


@dataclass
class DeviceCosts:
    """The costs of devices: those from the settings, and those measured since."""

    known: dict[str, float] = field(default_factory=dict)
    keep: Callable[[str, float], None] = lambda _name, _cost: None
    """Called with each measured cost, to save it for later."""

    def of(self, device: torch.device, dtype: torch.dtype) -> float:
        """Returns c. If it isn't known, it is measured, which takes some tenths of a second."""
        name = f"{_name_of(device)} {str(dtype).removeprefix('torch.')}"
        if name not in self.known and name not in _TYPICAL:
            self.known[name] = _measured(device, dtype)
            self.keep(name, self.known[name])
        return self.known.get(name) or _TYPICAL[name]


_QUANTIZED = (torch.float8_e4m3fn, torch.float8_e5m2)


class Choice(NamedTuple):
    """How low-rank deltas are applied, and the reason."""

    bypass: bool
    reason: str


def choose(patcher: Any, keys: Iterable[str], costs: DeviceCosts) -> Choice:
    """Chooses for the weights that an array changes. `patcher` is the ModelPatcher of a MODEL or a CLIP."""
    weights = [comfy.utils.get_attr(patcher.model, key) for key in keys]
    quantized = sum(_is_quantized(weight) for weight in weights)
    if quantized:
        what = f"{quantized} of {len(weights)} weights are quantized"
        return Choice(True, f"{what}, so a patch would be rounded, too")
    size, device = patcher.model_size(), patcher.load_device
    # Free memory isn't used here: the model may be loaded already, and ComfyUI unloads other models for it.
    room = comfy.model_management.get_total_memory(device) - comfy.model_management.minimum_inference_memory()
    if hasattr(
        patcher.model, "memory_required"
    ):  # for the activations of a picture of one megapixel, with CFG
        room -= patcher.model.memory_required([2, 16, 128, 128])
    if comfy.model_management.vram_state == comfy.model_management.VRAMState.NO_VRAM:
        room = 0
    wide = [weight.shape for weight in weights if weight.dim() > 1]
    if not wide:
        return Choice(False, "it changes no linear or convolution layer")
    share = costs.of(device, patcher.model_dtype() or torch.float32) * median(map(_ratio, wide))
    if device.type == "cpu" or size <= room:
        if FORWARDS * share < 1:
            return Choice(True, f"{FORWARDS} steps with a bypass cost less than one patch on this device")
        return Choice(False, "the weights stay in memory, so they're patched only once")
    larger = "the model is larger than the device's memory"
    if share < 1:
        return Choice(True, f"{larger}, so parts of it would be patched at each step")
    return Choice(False, f"{larger}, but its layers are too narrow to benefit from a bypass")


def _is_quantized(weight: torch.Tensor) -> bool:
    return (
        type(weight).__name__ == "QuantizedTensor"
        or weight.dtype in _QUANTIZED
        or not weight.is_floating_point()
    )


def _ratio(shape: torch.Size) -> float:
    inputs = shape[1:].numel()
    return float(TOKENS * (inputs + shape[0]) / (inputs * shape[0]))


def _name_of(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device)).replace(",", " ").replace("=", " ")
    return str(device.type)


def _measured(device: torch.device, dtype: torch.dtype) -> float:
    size, tokens, rank = 2048, 2048, 64
    made = {"device": device, "dtype": dtype}
    weight, x, y = (torch.zeros(rows, size, **made) for rows in (size, tokens, tokens))
    up, down = torch.zeros(size, rank, **made), torch.zeros(rank, size, **made)

    def patch() -> None:
        (weight.float() + up.float() @ down.float()).to(dtype)

    def bypass() -> None:
        y.addmm_(x @ down.T, up.T)

    ratio = tokens * 2 * size / (size * size)
    return float(_seconds(bypass, device) / _seconds(patch, device) / ratio)


def _seconds(work: Any, device: torch.device) -> float:
    times = []
    for _ in range(6):
        _wait_for(device)
        start = time.perf_counter()
        work()
        _wait_for(device)
        times.append(time.perf_counter() - start)
    return median(times[1:])


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
