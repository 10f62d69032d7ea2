"""Strengths over the steps: the same picture as separate runs on split sigmas, one strength each, for any sampler."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import comfy.hooks
import comfy.model_management
import comfy.model_patcher
import comfy.samplers
import comfy.sd
import comfy.utils
import comfy.weight_adapter
import pytest
import torch
from air_lora_pack.nodes.patching.application import WeightedLora, apply_loras
from air_lora_pack.nodes.patching.key_mapping import Target
from air_lora_pack.nodes.patching.results import patched
from air_lora_pack.nodes.patching.run_position import RunPosition
from air_lora_pack.nodes.patching.stack import WeightedPatches
from comfy.k_diffusion import sampling as k_diffusion

from lora_resolver import BlockWeights, Mismatch, Schedule
from tests import lora_files
from tests.nodes.checkpoints import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("as_comfyui_runs_nodes")]

FP32 = {"model_options": {"dtype": torch.float32}}
CLOSE = 1e-5
STEPS = 6
KINDS = ("lora", "loha", "dora", "lora")


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load(folder, "sd15", **FP32)[0]


@pytest.fixture(scope="module")
def files(folder: Path) -> list[Path]:
    modules = lora_files.modules_of("sd15")
    return [
        lora_files.write_lora(folder / f"{n}-{kind}.safetensors", modules, kind=kind, seed=n)
        for n, kind in enumerate(KINDS)
    ]


@pytest.fixture(autouse=True)
def _unloaded() -> Iterator[None]:
    yield
    comfy.model_management.unload_all_models()


def entry(path: Path, weight: float | Schedule, number: int = 0) -> WeightedLora:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    schedule = weight if isinstance(weight, Schedule) else None
    strength = weight.strongest if isinstance(weight, Schedule) else weight
    return WeightedLora(f"lora[{number}]", path.stem, path, digest, strength, 0.0, schedule=schedule)


def applied(model: Any, *entries: WeightedLora, **options: Any) -> Any:
    return apply_loras(model, None, list(entries), skip_mismatches=False, **options).model


def between(start: float, end: float, weight: float = 0.8, **options: Any) -> Schedule:
    return Schedule(((0.0, weight),), start, end, **options)


def words(model: Any, seed: int) -> list[Any]:
    width = model.model.model_config.unet_config["context_dim"]
    return [[torch.randn(1, 8, width, generator=torch.Generator().manual_seed(seed)), {}]]


def noise(model: Any) -> torch.Tensor:
    channels = model.model.latent_format.latent_channels
    return torch.randn(1, channels, 8, 8, generator=torch.Generator().manual_seed(3))


def sigmas_of(model: Any, scheduler: str = "normal", steps: int = STEPS) -> torch.Tensor:
    return comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, steps)


def run(
    model: Any,
    sigmas: torch.Tensor,
    latent: torch.Tensor | None = None,
    sampler: str = "euler",
    cfg: float = 1.0,
    **options: Any,
) -> torch.Tensor:
    """Does what SamplerCustom does with these sigmas. If a latent is given, no noise is added."""
    start = noise(model)
    return comfy.samplers.sample(
        *(model, torch.zeros_like(start) if latent is not None else start),
        *(words(model, 4), words(model, 5), cfg, model.load_device),
        comfy.samplers.ksampler(sampler, options),
        sigmas,
        model_options=model.model_options,
        latent_image=torch.zeros_like(start) if latent is None else latent,
        seed=5,
    )


def split(parts: list[tuple[Any, int]], sigmas: torch.Tensor, **options: Any) -> torch.Tensor:
    """Runs each model for its number of steps, one after the other."""
    latent, begin = None, 0
    for own, count in parts:
        latent = run(own, sigmas[begin : begin + count + 1], latent, **options)
        begin += count
    assert latent is not None
    return latent


def assert_close(first: torch.Tensor, second: torch.Tensor, tolerance: float = CLOSE) -> None:
    assert float((first - second).abs().max() / second.abs().max()) < tolerance


@pytest.mark.parametrize("kind", range(3), ids=KINDS[:3])
@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm_2"])
def test_a_span_is_what_runs_on_split_sigmas_give(
    model: Any, files: list[Path], kind: int, sampler: str
) -> None:
    sigmas = sigmas_of(model)
    plain = run(model, sigmas, sampler=sampler)
    with_lora = applied(model, entry(files[kind], 0.8))
    expected = split([(model, 2), (with_lora, 3), (model, 1)], sigmas, sampler=sampler)
    scheduled = applied(model, entry(files[kind], between(2 / 6, 5 / 6)))
    for _ in range(2):
        assert_close(run(scheduled, sigmas, sampler=sampler), expected, 2e-6)
    assert not torch.allclose(plain, expected, atol=1e-3)
    assert torch.equal(run(model, sigmas, sampler=sampler), plain)


def test_two_schedules_of_each_kind_and_a_constant_entry(model: Any, files: list[Path]) -> None:
    sigmas = sigmas_of(model)
    entries = [
        entry(files[0], between(0, 0.5), 0),
        entry(files[1], between(0.5, 1, 0.6), 1),
        entry(files[2], between(0, 0.5, -0.5), 2),
        entry(files[3], 0.4, 3),
    ]
    early = applied(model, entry(files[0], 0.8), entry(files[2], -0.5, 2), entry(files[3], 0.4, 3))
    late = applied(model, entry(files[1], 0.6, 1), entry(files[3], 0.4, 3))
    expected = split([(early, 3), (late, 3)], sigmas, cfg=2.0)
    ours = run(applied(model, *entries), sigmas, cfg=2.0)
    assert_close(ours, expected, 1e-4)
    assert torch.equal(run(applied(model.clone(), *reversed(entries)), sigmas, cfg=2.0), ours)


def test_points_are_joined_by_lines_or_hold(model: Any, files: list[Path]) -> None:
    sigmas = sigmas_of(model, steps=4)
    points = ((0.0, 0.2), (0.5, 1.0))
    for hold, weights in ((False, (0.2, 0.6, 1.0, 1.0)), (True, (0.2, 0.2, 1.0, 1.0))):
        parts = [(applied(model, entry(files[0], weight)), 1) for weight in weights]
        expected = split(parts, sigmas)
        assert_close(run(applied(model, entry(files[0], Schedule(points, hold=hold))), sigmas), expected)


@pytest.mark.parametrize("scheduler", ["normal", "karras", "exponential"])
def test_percent_counts_as_comfyui_s_own_hooks(model: Any, files: list[Path], scheduler: str) -> None:
    sigmas = sigmas_of(model, scheduler)
    level = model.get_model_object("model_sampling").percent_to_sigma(0.5)
    before = sum(float(each) > level for each in sigmas[:-1])
    with_lora = applied(model, entry(files[0], 0.8))
    expected = split([(model, before), (with_lora, STEPS - before)], sigmas)
    assert_close(run(applied(model, entry(files[0], between(0.5, 1, count="percent"))), sigmas), expected)


@pytest.mark.parametrize("kind", range(3), ids=KINDS[:3])
def test_percent_gives_what_comfyui_s_hooks_with_keyframes_give(
    model: Any, files: list[Path], kind: int
) -> None:
    """`Create Hook LoRA` with a keyframe at 0 and one at 0.4. The first one also applies before it is reached."""
    hooks = comfy.hooks.create_hook_lora(comfy.utils.load_torch_file(str(files[kind])), 0.8, 0.0)
    keyframes = comfy.hooks.HookKeyframeGroup()
    keyframes.add(comfy.hooks.HookKeyframe(0.25, 0.0))
    keyframes.add(comfy.hooks.HookKeyframe(1.0, 0.4))
    hooks.set_keyframes_on_hooks(keyframes)
    sigmas = sigmas_of(model)
    start = noise(model)
    hooked = [[each[0], {"hooks": hooks}] for each in words(model, 4)]
    expected = comfy.samplers.sample(
        *(
            model.clone(),
            start,
            hooked,
            hooked,
            1.0,
            model.load_device,
            comfy.samplers.ksampler("euler"),
            sigmas,
        ),
        model_options=model.model_options,
        latent_image=torch.zeros_like(start),
        seed=5,
    )
    points = Schedule(((0.0, 0.2), (0.4, 0.8)), hold=True, count="percent")
    assert_close(run(applied(model, entry(files[kind], points)), sigmas), expected, 1e-4)


def test_a_part_of_a_schedule_of_noise_counts_its_own_steps(model: Any, files: list[Path]) -> None:
    """As with denoise below 1, or in the second of two samplers."""
    sigmas = sigmas_of(model)[2:]
    latent = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(8))
    with_lora = applied(model, entry(files[0], 0.8))
    expected = run(with_lora, sigmas[2:], run(model, sigmas[:3], latent))
    assert_close(run(applied(model, entry(files[0], between(0.5, 1))), sigmas, latent), expected)


def test_no_weight_is_switched_for_low_rank(
    model: Any, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    switched = []
    switch = comfy.model_patcher.ModelPatcher.patch_hook_weight_to_device

    def counted(*arguments: Any, **options: Any) -> Any:
        switched.append(1)
        return switch(*arguments, **options)

    monkeypatch.setattr(comfy.model_patcher.ModelPatcher, "patch_hook_weight_to_device", counted)
    run(applied(model, entry(files[0], between(0, 0.5))), sigmas_of(model))
    assert not switched
    run(applied(model, entry(files[1], between(0, 0.5))), sigmas_of(model))
    weights = len(switched)
    assert weights
    switched.clear()
    run(applied(model, entry(files[1], between(0.2, 0.5))), sigmas_of(model))
    assert len(switched) <= 3 * weights  # off, on, and off, instead of at each of six steps


def test_a_span_without_a_step_is_said(
    model: Any, files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    run(applied(model, entry(files[0], between(0.9, 1))), sigmas_of(model, steps=3))
    assert "lora[0]" in caplog.text
    caplog.clear()
    run(applied(model, entry(files[0], between(0.6, 1))), sigmas_of(model, steps=3))
    assert "lora[0]" not in caplog.text


def test_a_model_that_no_sampler_runs_has_no_steps_to_count() -> None:
    with pytest.raises(Mismatch) as raised:
        _ = RunPosition().share_of_steps
    assert raised.value.code == "unknownSteps"


@pytest.mark.parametrize(("kind", "leaves"), [(0, False), (2, True)], ids=["lora", "dora"])
def test_dynamic_memory_is_left_only_for_what_has_no_factors_and_never_in_silence(
    model: Any, files: list[Path], kind: int, leaves: bool
) -> None:
    """On a CPU, ComfyUI creates an ordinary patcher, so the decision is tested on one that claims to be dynamic."""
    dynamic = model.clone()
    dynamic.is_dynamic = lambda: True
    delegates = []

    def delegate() -> Any:
        delegates.append(model.clone())
        return delegates[-1]

    dynamic.get_non_dynamic_delegate = delegate
    made = apply_loras(dynamic, None, [entry(files[kind], between(0, 0.5))], skip_mismatches=False)
    assert made.lost_dynamic is leaves
    assert bool(made.hooked) is leaves
    assert len(delegates) == leaves


def test_the_same_array_twice_is_the_same_object(model: Any, files: list[Path]) -> None:
    entries = [entry(files[0], between(0, 0.5)), entry(files[1], 0.5, 1)]
    first = applied(model, *entries)
    assert applied(model, *entries) is first
    assert applied(model, entry(files[0], between(0, 0.6)), entries[1]) is not first


def test_a_schedule_has_no_place_in_a_merged_model(model: Any, files: list[Path]) -> None:
    scheduled = applied(model, entry(files[0], between(0, 0.5)))
    with pytest.raises(Mismatch) as raised:
        scheduled.get_key_patches("diffusion_model.")
    assert raised.value.code == "scheduleInWeights"


def test_a_refused_save_takes_nothing_out(model: Any, files: list[Path], tmp_path: Path) -> None:
    for number in (0, 1):  # one is a bypass, the other uses only hooks
        scheduled = applied(model, entry(files[number], between(0, 0.5)))
        before = run(scheduled, sigmas_of(model))
        with pytest.raises(Mismatch) as raised:
            comfy.sd.save_checkpoint(str(tmp_path / "saved.safetensors"), scheduled)
        assert raised.value.code == "scheduleInWeights"
        assert torch.equal(run(scheduled, sigmas_of(model)), before)


def test_what_widens_the_model_cannot_change_over_the_steps(model: Any) -> None:
    """BFL's control LoRAs do this: they have the shape of the widened weight in addition to the factors."""
    key = "diffusion_model.input_blocks.1.1.proj_in.weight"
    outputs, inputs = model.model.state_dict()[key].shape[:2]
    factors = torch.randn(outputs, 2), torch.randn(2, 2 * inputs)
    adapter = comfy.weight_adapter.LoRAAdapter(set(), (*factors, None, None, None, [outputs, 2 * inputs]))
    wide = WeightedPatches("lora[0]", "control", "0", 0.8, {Target(key): adapter}, between(0, 0.5))
    with pytest.raises(Mismatch) as raised:
        patched(model, [wide], {key: (outputs, inputs)})
    assert raised.value.code == "cannotSchedule"
    assert raised.value.parameter == "lora[0]"


def test_entries_of_one_file_that_differ_in_nothing_here_have_no_order(model: Any, files: list[Path]) -> None:
    """Two different block settings that have the same effect on this model."""
    same = BlockWeights(patterns=(("*", 1.0),))
    first, second = entry(files[0], 0.5, 0), replace(entry(files[0], 0.3, 1), blocks=same)
    sigmas = sigmas_of(model)
    one = run(applied(model, first, second), sigmas)
    assert torch.equal(run(applied(model.clone(), second, first), sigmas), one)


def test_noise_that_comes_goes_through_the_steps_too(model: Any, files: list[Path]) -> None:
    """With FlipSigmas, a picture becomes noise."""
    sigmas = sigmas_of(model).flip(0)
    sigmas[0] = 0.001
    latent = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(8))
    with_lora = applied(model, entry(files[0], 0.8))
    first = run(model, sigmas[:4], latent)
    expected = run(with_lora, sigmas[3:], first)
    assert_close(run(applied(model, entry(files[0], between(0.5, 1))), sigmas, latent), expected)


def every_step(name: str, churn: float = 0.0) -> list[tuple[float, int]]:
    """(noise level, counted step) of each evaluation by one of ComfyUI's samplers."""
    levels = torch.tensor([14.6, 8.0, 4.0, 2.0, 1.0, 0.5, 0.0])
    position = RunPosition()
    position.begin(levels.tolist(), name, {"s_churn": churn})
    seen: list[tuple[float, int]] = []

    def model(x: torch.Tensor, sigma: torch.Tensor, **_: Any) -> torch.Tensor:
        position.evaluate(float(sigma[0]))
        seen.append((float(sigma[0]), position.step))
        return x * 0.5

    options = {"s_churn": churn} if churn else {}
    sampler = getattr(k_diffusion, name)
    x = torch.randn(1, 4, 8, 8)
    sampler(model, x, levels, {}, lambda info: position.announce(info["i"]), True, **options)
    return seen


@pytest.mark.parametrize(
    ("name", "churn", "evaluations"),
    [
        ("sample_euler", 0, [0, 1, 2, 3, 4, 5]),
        ("sample_euler", 2, [0, 1, 2, 3, 4, 5]),
        ("sample_heun", 0, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5]),
        ("sample_heun", 2, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5]),
        ("sample_dpm_2", 0, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5]),
        ("sample_dpm_2", 2, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5]),
        ("sample_heunpp2", 0, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5]),
        ("sample_lms", 0, [0, 1, 2, 3, 4, 5]),
        ("sample_dpmpp_2m", 0, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_each_evaluation_of_a_sampler_belongs_to_a_step(
    name: str, churn: float, evaluations: list[int]
) -> None:
    assert [step for _, step in every_step(name, churn)] == evaluations


@pytest.mark.filterwarnings("ignore")  # from ComfyUI's samplers
@pytest.mark.parametrize("name", comfy.samplers.SAMPLER_NAMES)
def test_every_sampler_of_comfyui_takes_a_schedule(
    model: Any, files: list[Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its evaluations follow the order of the steps, and no step is left out."""
    steps: list[int] = []
    evaluate = RunPosition.evaluate

    def noted(position: RunPosition, level: float) -> None:
        evaluate(position, level)
        steps.append(position.step)

    monkeypatch.setattr(RunPosition, "evaluate", noted)
    sampler = comfy.samplers.sampler_object(name)
    start = noise(model)
    scheduled = applied(model, entry(files[0], between(0.5, 1)))
    made = comfy.samplers.sample(
        *(
            scheduled,
            start,
            words(model, 4),
            words(model, 5),
            1.0,
            model.load_device,
            sampler,
            sigmas_of(model),
        ),
        model_options=scheduled.model_options,
        latent_image=torch.zeros_like(start),
        seed=5,
    )
    assert torch.isfinite(made).all()
    assert steps == sorted(steps)
    if name in (
        "dpm_2",
        "dpm_2_ancestral",
        "dpmpp_2s_ancestral",
        "dpmpp_2s_ancestral_cfg_pp",
        "heun",
        "dpmpp_sde",
    ):
        assert steps == [*(step for step in range(STEPS - 1) for _ in range(2)), STEPS - 1]
    if name not in ("dpm_fast", "dpm_adaptive"):  # these choose their own steps
        assert set(steps) == set(range(STEPS))
