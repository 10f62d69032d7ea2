"""Two spans of five LoRAs over 20 steps: our bypass layers compared with the same without a schedule, and with hooks.

without a schedule   the ten LoRAs patched once, at the same strengths in all steps
core's hooks         a chain of ComfyUI's Create Hook LoRA nodes, with keyframes

It also measures switching weights: the time in `patch_hooks` during core's run, and ours in choosing factors. And two
regions of five LoRAs each: our one hook for each region compared with core's chain of five.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tests.nodes.conftest  # noqa: F401 - imports ComfyUI and the pack, as the node tests do

# isort: split
import comfy.hooks
import comfy.model_management
import comfy.model_patcher
import comfy.samplers
import comfy.sd
import comfy.utils
import torch
from air_lora_pack.nodes.patching import application
from air_lora_pack.nodes.patching.bypass_layers import Part
from air_lora_pack.nodes.patching.schedules import ScheduledStrengths, hooks_for_conditionings

from benchmarks.full_models import make_model, write_lora
from benchmarks.race import race, room_on_disk
from benchmarks.results import BenchmarkResult, lower_is_better
from lora_resolver import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS, COUNT, STRENGTH = 20, 5, 0.5
REGION_STEPS = 4
"""In each step, both regions' hooks are switched."""
SIZE = 32
"""The size of the latent, for 256 × 256 pixels."""


def run() -> list[BenchmarkResult]:
    """Returns rows for a whole run, for switching the strengths, and for two regions."""
    with torch.inference_mode():
        return [*_race(), *_regions()]


def _model() -> Any:
    model = make_model("SD1.5")
    model.model.diffusion_model.float().dtype = torch.float32
    return model


def _files(folder: Path, model: Any) -> list[Path]:
    return [
        write_lora(folder / f"{n}.safetensors", model, n, convolutions=False, rank=16)
        for n in range(2 * COUNT)
    ]


def _regions() -> list[BenchmarkResult]:
    model = _model()
    with tempfile.TemporaryDirectory(dir=room_on_disk(4 << 30)) as folder:
        files = _files(Path(folder), model)
        halves = files[:COUNT], files[COUNT:]
        made = {
            "ours": [_hooks_of_ours(model, half) for half in halves],
            "core's hooks": [_hooks_of_core(half) for half in halves],
        }
        ways = {way: _two_halves(model.clone(), hooks) for way, hooks in made.items()}
        race(ways, dict.fromkeys(ways, 1))
        seconds = race(ways, dict.fromkeys(ways, 3))
    what = f"two regions of {COUNT} LoRAs, SD1.5 fp32, {REGION_STEPS} steps, core's hooks"
    return [lower_is_better(what, seconds["ours"], seconds["core's hooks"], "core's hooks", "s")]


def _hooks_of_ours(model: Any, files: list[Path]) -> Any:
    loras = [
        application.WeightedLora(
            f"lora[{n}]", file.stem, file, hashlib.sha256(file.read_bytes()).hexdigest(), STRENGTH, 0.0
        )
        for n, file in enumerate(files)
    ]
    applied = application.apply_loras(model, None, loras, skip_mismatches=False, only_entries=True)
    return hooks_for_conditionings(
        [application.patches_of(each, text_encoder=False) for each in applied.entries], []
    )


def _hooks_of_core(files: list[Path]) -> Any:
    group = comfy.hooks.HookGroup()
    for file in files:
        made = comfy.hooks.create_hook_lora(comfy.utils.load_torch_file(str(file)), STRENGTH, 0.0)
        group = group.clone_and_combine(made)
    return group


def _two_halves(model: Any, hooks: list[Any]) -> Callable[[], None]:
    masks = [torch.zeros(1, 8 * SIZE, 8 * SIZE) for _ in hooks]
    masks[0][..., : 4 * SIZE], masks[1][..., 4 * SIZE :] = 1.0, 1.0
    words = [
        [
            torch.zeros(1, 77, 768),
            {"hooks": own, "mask": mask, "mask_strength": 1.0, "set_area_to_bounds": False},
        ]
        for own, mask in zip(hooks, masks)
    ]
    return lambda: _sample_with(model, words, REGION_STEPS)


def _race() -> list[BenchmarkResult]:
    model = _model()
    with tempfile.TemporaryDirectory(dir=room_on_disk(4 << 30)) as folder:
        files = _files(Path(folder), model)
        spent = {"ours": 0.0, "core": 0.0}
        ways = {
            "ours": _ours(model, files, scheduled=True),
            "without a schedule": _ours(model, files, scheduled=False),
            "core's hooks": _core(model, files),
        }
        _timed(comfy.model_patcher.ModelPatcher, "patch_hooks", spent, "core")
        _timed(ScheduledStrengths, "_hand_on", spent, "ours")
        _timed(Part, "at", spent, "ours")
        race(ways, dict.fromkeys(ways, 1))
        spent.update(ours=0.0, core=0.0)
        seconds = race(ways, dict.fromkeys(ways, 5))
    what = f"two spans of {COUNT} LoRAs, SD1.5 fp32, {STEPS} steps"
    return [
        lower_is_better(f"{what}, {way}", seconds["ours"], seconds[way], way, "s")
        for way in ways
        if way != "ours"
    ] + [
        lower_is_better(
            f"{what}: switching",
            [max(spent["ours"], 1e-6) / 5] * 5,
            [spent["core"] / 5] * 5,
            "core's hooks",
            "s",
        )
    ]


def _timed(owner: Any, name: str, spent: dict[str, float], whose: str) -> None:
    method = getattr(owner, name)

    def timed(*arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return method(*arguments, **options)
        finally:
            spent[whose] += time.perf_counter() - start

    setattr(owner, name, timed)


def _sample(model: Any, hooks: Any = None) -> None:
    _sample_with(model, [[torch.zeros(1, 77, 768), {"hooks": hooks} if hooks is not None else {}]], STEPS)


def _sample_with(model: Any, words: list[Any], steps: int) -> None:
    noise = torch.randn(1, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", steps)
    comfy.samplers.sample(
        *(model, noise, words, words, 1.0, model.load_device, comfy.samplers.ksampler("euler"), sigmas),
        model_options=model.model_options,
        latent_image=torch.zeros_like(noise),
        seed=1,
    )


def _ours(model: Any, files: list[Path], *, scheduled: bool) -> Callable[[], None]:
    loras = []
    for number, file in enumerate(files):
        start, end = (0.0, 0.5) if number < COUNT else (0.5, 1.0)
        schedule = Schedule(((0.0, STRENGTH),), start, end) if scheduled else None
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        loras.append(
            application.WeightedLora(
                f"lora[{number}]", file.stem, file, digest, STRENGTH, 0.0, schedule=schedule
            )
        )
    applied = application.apply_loras(model, None, loras, skip_mismatches=False).model
    return lambda: _sample(applied)


def _core(model: Any, files: list[Path]) -> Callable[[], None]:
    group = comfy.hooks.HookGroup()
    for number, file in enumerate(files):
        made = comfy.hooks.create_hook_lora(comfy.utils.load_torch_file(str(file)), STRENGTH, 0.0)
        keyframes = comfy.hooks.HookKeyframeGroup()
        is_first = number < COUNT
        keyframes.add(comfy.hooks.HookKeyframe(float(is_first), 0.0))
        keyframes.add(comfy.hooks.HookKeyframe(float(not is_first), 0.5))
        made.set_keyframes_on_hooks(keyframes)
        group = group.clone_and_combine(made)
    own = model.clone()
    return lambda: _sample(own, group)
