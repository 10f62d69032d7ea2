"""Bypass LoRAs: the same picture as with patched weights, in every order, and nothing left behind."""

from __future__ import annotations

import gc
import itertools
import weakref
from typing import TYPE_CHECKING, Any

import comfy.hooks
import comfy.model_management
import comfy.utils
import pytest
import torch
from air_lora_pack.nodes.patching.application import WeightedLora, apply_loras
from air_lora_pack.nodes.patching.bypass_choice import Choice
from comfy_api.torch_helpers import set_torch_compile_wrapper
from safetensors.torch import load_file, save_file

from lora_resolver import Mismatch
from tests import lora_files
from tests.nodes.beside import (
    CPU,
    FP32,
    KINDS,
    STEPS,
    applied,
    assert_close,
    calculated,
    core_patch,
    entry,
    make_loras,
    ours_bypass,
    picture,
)
from tests.nodes.checkpoints import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("as_comfyui_runs_nodes")]


@pytest.fixture(scope="module")
def sd15(folder: Path) -> tuple[Any, Any]:
    return load(folder, "sd15", **FP32)


@pytest.fixture(scope="module")
def loras(folder: Path) -> list[WeightedLora]:
    return make_loras(folder)


@pytest.fixture(autouse=True)
def _unloaded() -> Iterator[None]:
    yield
    comfy.model_management.unload_all_models()


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_gives_the_picture_of_the_patched_model(
    sd15: tuple[Any, Any], loras: list[WeightedLora], kind: str
) -> None:
    chosen = [loras[KINDS.index(kind)]] if kind != "loha" else [loras[0], loras[KINDS.index(kind)]]
    if kind == "dora":
        chosen = [loras[0], *chosen]
    plain = picture(sd15[0])
    expected = picture(applied(sd15, chosen, bypass=False).model)
    assert_close(picture(applied(sd15, chosen).model), expected)
    assert not torch.allclose(expected, plain, atol=1e-4)
    assert torch.equal(picture(sd15[0]), plain)  # nothing is left behind


def test_the_text_encoder_too(sd15: tuple[Any, Any], loras: list[WeightedLora]) -> None:
    def words(clip: Any) -> torch.Tensor:
        return clip.encode_from_tokens(clip.tokenize("a red house"))

    before = words(sd15[1])
    expected = words(applied(sd15, loras[:2], bypass=False).clip)
    assert_close(
        words(applied(sd15, loras[:2]).clip), expected, 2e-3
    )  # its fp16 weights are rounded when they are patched
    assert not torch.allclose(expected, before, atol=1e-4)
    assert torch.equal(words(sd15[1]), before)


def test_every_order_gives_the_same_bits(sd15: tuple[Any, Any], loras: list[WeightedLora]) -> None:
    pictures = []
    for order in itertools.islice(itertools.permutations(loras[:3]), 6):
        sd15[0].__dict__.pop("_air_lora_results", None)
        sd15[0].__dict__.pop("_air_lora_bypass_plan", None)
        pictures.append(picture(applied(sd15, list(order)).model))
    assert all(torch.equal(each, pictures[0]) for each in pictures)


def test_low_rank_patches_no_weight_and_a_changed_strength_none_either(
    sd15: tuple[Any, Any], loras: list[WeightedLora], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = calculated(monkeypatch)
    first = picture(applied(sd15, loras[:2]).model)
    changed = [entry(loras[0].path, 0.3, 0), loras[1]]
    second = picture(applied(sd15, changed).model)
    assert keys == []
    assert not torch.allclose(first, second, atol=1e-4)
    assert_close(second, picture(applied(sd15, changed, bypass=False).model))


def test_the_report_says_what_was_patched_and_why(sd15: tuple[Any, Any], loras: list[WeightedLora]) -> None:
    application = applied(sd15, loras)
    of = dict(zip(KINDS, application.bypassed))
    assert of["lora"].patched == {}
    assert of["tucker"].patched == {}
    assert of["lora"].bypassed == application.entries[0].weights
    lokr = of["lokr"]  # for layers where it is cheap as a bypass
    assert lokr.patched == {}
    assert lokr.bypassed > 0
    for kind in ("dora", "loha"):
        assert of[kind].bypassed == 0
        assert sum(of[kind].patched.values()) == application.entries[KINDS.index(kind)].weights
    assert application.bypass_bytes > 0


def test_nothing_to_bypass_is_an_error(sd15: tuple[Any, Any], loras: list[WeightedLora]) -> None:
    with pytest.raises(Mismatch) as raised:
        applied(sd15, [loras[KINDS.index("dora")]])
    assert raised.value.code == "nothingToBypass"


# ---- with other nodes


@pytest.mark.parametrize("run_between", [False, True], ids=["one run", "a run after each"])
@pytest.mark.parametrize("names", [*itertools.permutations(STEPS, 2), ("ours", "ours")], ids=" then ".join)
def test_with_another_loader_before_or_after(
    sd15: tuple[Any, Any], loras: list[WeightedLora], names: tuple[str, str], run_between: bool
) -> None:
    """The next node clones a model that is in use, and the clone ends its use."""
    plain = picture(sd15[0])
    model, expected = sd15[0], sd15[0]
    for name, lora in zip(names, loras):
        made = STEPS[name](model, lora)
        if made is None:  # this ComfyUI has no such loader
            made = core_patch(model, lora)
        model, expected = made, core_patch(expected, lora)
        if run_between:
            assert_close(picture(model), picture(expected))
    for _ in range(2):
        assert_close(picture(model), picture(expected))
    assert torch.equal(picture(sd15[0]), plain)


def test_a_clone_that_was_made_while_it_was_in_use_and_is_let_go(
    sd15: tuple[Any, Any], loras: list[WeightedLora]
) -> None:
    """The clone is marked as in use, and is ejected when it is deleted."""
    plain = picture(sd15[0])
    model = applied(sd15, loras[:1]).model
    expected = picture(model)

    def clones(*_: Any) -> None:
        clone = model.clone()
        clone.add_patches({}, 1.0)
        del clone
        gc.collect()

    assert torch.equal(picture(model, callback=clones), expected)
    clones()
    assert torch.equal(picture(model), expected)
    used = model.clone()
    assert torch.equal(picture(used), expected)
    assert torch.equal(picture(sd15[0]), plain)
    assert torch.equal(picture(model), expected)


def test_factors_of_arrays_that_nobody_uses_are_let_go(
    sd15: tuple[Any, Any], loras: list[WeightedLora]
) -> None:
    """They are as large as the files, and a sweep makes many arrays."""

    def factors(entries: list[WeightedLora]) -> weakref.ref[Any]:
        (injection,) = next(iter(applied(sd15, entries).model.injections.values()))
        return weakref.ref(next(iter(injection.layers.values())).parts[0])

    first, second = factors(loras[:1]), factors(loras[:2])
    gc.collect()
    assert first() is None
    assert second() is not None  # those of the latest array stay, for when a weight changes


def test_a_load_that_fails_leaves_nothing(
    sd15: tuple[Any, Any], loras: list[WeightedLora], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ComfyUI unloads the model, and then still requests its injections."""
    plain, model = picture(sd15[0]), applied(sd15, loras[:1]).model

    def fails(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("as on a device that is full")

    comfy.model_management.unload_all_models()
    model.detach()
    with monkeypatch.context() as patch:
        patch.setattr(type(model), "load", fails)
        with pytest.raises(torch.OutOfMemoryError):
            picture(model)
    assert torch.equal(picture(sd15[0]), plain)


def test_a_clone_outlives_what_it_was_cloned_from(sd15: tuple[Any, Any], loras: list[WeightedLora]) -> None:
    plain, model = picture(sd15[0]), applied(sd15, loras[:1]).model
    expected = picture(core_patch(core_patch(sd15[0], loras[0]), loras[1]))
    picture(model)
    clone = model.clone()  # clones a model in use
    assert torch.equal(picture(sd15[0]), plain)
    later = core_patch(clone, loras[1])
    clone.get_key_patches()
    assert torch.equal(picture(sd15[0]), plain)
    assert_close(picture(later), expected)


def test_a_changed_strength_patches_nothing_of_what_is_patched_beside_it(
    sd15: tuple[Any, Any], loras: list[WeightedLora], monkeypatch: pytest.MonkeyPatch
) -> None:
    dora = loras[KINDS.index("dora")]
    picture(applied(sd15, [loras[0], dora]).model)
    keys = calculated(monkeypatch)
    changed = [entry(loras[0].path, 0.3, 0), dora]
    second = picture(applied(sd15, changed).model)
    assert keys == []
    monkeypatch.undo()
    assert_close(second, picture(applied(sd15, changed, bypass=False).model))


def test_patched_first_and_bypassed_then(sd15: tuple[Any, Any], folder: Path) -> None:
    """A file with biases is always patched in part, and the two arrays patch different parts."""
    modules = lora_files.modules_of("sd15")
    low_rank, whole = (
        load_file(lora_files.write_lora(folder / f"part-{kind}.safetensors", modules, kind=kind, seed=9))
        for kind in ("lora", "diff_b")
    )
    biases = {name: tensor for name, tensor in whole.items() if name.endswith(".diff_b")}
    assert biases
    save_file({**low_rank, **biases}, folder / "biases.safetensors")
    lora = entry(folder / "biases.safetensors", 0.7)
    expected = applied(sd15, [lora], bypass=False).model
    beside = applied(sd15, [lora]).model
    assert beside.patches
    assert set(beside.patches) < set(expected.patches)
    assert_close(picture(beside), picture(expected))


def test_each_side_s_choice_is_in_the_report(
    sd15: tuple[Any, Any], loras: list[WeightedLora], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If MODEL is quantized and CLIP isn't, `auto` patches only one of them."""
    from air_lora_pack.nodes.patching import application as module

    choices = iter([Choice(True, "it is quantized"), Choice(False, "it stays in memory")])
    monkeypatch.setattr(module, "choose", lambda *_: next(choices))
    made = apply_loras(*sd15, loras[:1], skip_mismatches=False, apply_as="auto")
    (found,) = made.bypassed
    assert found.bypassed > 0
    assert set(found.patched) == {"it stays in memory"}
    assert found.bypassed + found.patched["it stays in memory"] == made.entries[0].weights


def test_a_weight_hook_beside_it(sd15: tuple[Any, Any], loras: list[WeightedLora]) -> None:
    def hooked(model: Any) -> torch.Tensor:
        file = comfy.utils.load_torch_file(str(loras[1].path))
        hooks = comfy.hooks.create_hook_lora(file, 0.5, 0)
        return picture(model, hooks=hooks)

    expected = hooked(core_patch(sd15[0], loras[0]))
    assert_close(hooked(ours_bypass(sd15[0], loras[0])), expected)
    assert not torch.allclose(expected, picture(core_patch(sd15[0], loras[0])), atol=1e-4)


def test_a_compiled_model(folder: Path, loras: list[WeightedLora]) -> None:
    """A changed `forward` is compiled again. A compiled model ignores torch's hooks that are added later."""
    model = load(folder, "sd15", **FP32)[0]
    compiled = ours_bypass(model, loras[0]).clone()
    set_torch_compile_wrapper(model=compiled, backend="eager")
    assert_close(picture(compiled, steps=1), picture(ours_bypass(model, loras[0]), steps=1))


def test_what_does_not_fit_into_memory(sd15: tuple[Any, Any], loras: list[WeightedLora]) -> None:
    """Half of the weights stay where they are, and are loaded for each forward."""
    plain, model = picture(sd15[0]), applied(sd15, [loras[0], loras[2]]).model
    expected = picture(model)
    comfy.model_management.unload_all_models()
    model.patch_model(device_to=CPU, lowvram_model_memory=model.model_size() // 2)
    try:
        assert_close(picture(model), expected)
    finally:
        model.unpatch_model(device_to=CPU)
    assert torch.equal(picture(sd15[0]), plain)


def test_what_is_reserved_has_room_for_the_factors(sd15: tuple[Any, Any], loras: list[WeightedLora]) -> None:
    application = applied(sd15, loras[:1])
    numbers = sum(
        2 * up.numel() + down.numel()  # once as they are, once at the current strengths
        for up, down in _factors_of(application.entries[0].fit.diffusion.patches)
    )
    assert application.model.model_size() - sd15[0].model_size() == 4 * numbers


def _factors_of(patches: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for value in patches.values():
        yield value.weights[0], value.weights[1]


def test_two_arrays_on_one_checkpoint_in_turns(sd15: tuple[Any, Any], loras: list[WeightedLora]) -> None:
    first, second = (applied(sd15, [each]).model for each in loras[:2])
    pictures = [picture(each) for each in (first, second, sd15[0], first, second)]
    assert torch.equal(pictures[0], pictures[3])
    assert torch.equal(pictures[1], pictures[4])
    assert not torch.allclose(pictures[0], pictures[1], atol=1e-4)


def test_an_interrupted_run_leaves_nothing(sd15: tuple[Any, Any], loras: list[WeightedLora]) -> None:
    plain = picture(sd15[0])
    model = applied(sd15, loras[:2]).model
    expected = picture(model)

    def interrupt(*_: Any) -> None:
        raise comfy.model_management.InterruptProcessingException

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        picture(model, callback=interrupt)
    assert torch.equal(picture(model), expected)
    assert torch.equal(picture(sd15[0]), plain)


def test_what_is_kept_for_the_device_is_given_back(sd15: tuple[Any, Any], loras: list[WeightedLora]) -> None:
    model = applied(sd15, loras[:2]).model
    (injection,) = next(iter(model.injections.values()))

    def kept() -> bool:
        return any(part._copies for layer in injection.layers.values() for part in layer.parts)

    seen: list[bool] = []
    picture(model, callback=lambda *_: seen.append(kept()))
    assert all(seen)
    model.detach()  # as ComfyUI does when it unloads a model; newer ones don't unload on a CPU
    assert not kept()
    layers = [comfy.utils.get_attr(model.model, path) for path in injection.layers]
    assert not [layer for layer in layers if hasattr(layer.forward, "dispatcher")]


@pytest.mark.parametrize(
    ("checkpoint", "naming"), [("flux", ""), ("flux", "diffusers"), ("wan", ""), ("sd15", "diffusers")]
)
def test_every_layer_gives_what_it_gives_with_the_patched_weight(
    folder: Path, checkpoint: str, naming: str
) -> None:
    """Diffusers' names are for projections that the model has fused, so they are slices of its layers."""
    options = {"model_options": {"dtype": torch.float32}}
    model = load(folder, checkpoint, **options)[0]
    path = folder / f"layers_{checkpoint}_{naming}.safetensors"
    peft = naming == "diffusers"
    lora_files.write_lora(
        path,
        lora_files.modules_of(checkpoint, naming=naming),
        seed=3,
        **({"spelling": "peft"} if peft else {}),
    )
    one = entry(path, 0.7)
    pair = (model, None)
    beside = apply_loras(*pair, [one], skip_mismatches=False, apply_as="bypass")
    assert beside.bypassed[0].patched == {}
    (injection,) = next(iter(beside.model.injections.values()))
    inputs = {name: _input_of(comfy.utils.get_attr(model.model, name)) for name in injection.layers}

    def outputs() -> dict[str, torch.Tensor]:
        return {name: comfy.utils.get_attr(model.model, name)(x).clone() for name, x in inputs.items()}

    plain = outputs()
    beside.model.patch_model(device_to=CPU)
    ours = outputs()
    beside.model.unpatch_model(device_to=CPU)
    patched = apply_loras(*pair, [one], skip_mismatches=False).model
    patched.patch_model(device_to=CPU)
    expected = outputs()
    patched.unpatch_model(device_to=CPU)
    for name, y in expected.items():
        assert_close(ours[name], y)
        assert not torch.equal(plain[name], y)


def _input_of(layer: Any) -> torch.Tensor:
    torch.manual_seed(7)
    if hasattr(layer, "kernel_size"):
        return torch.randn(1, layer.in_channels, *[6] * len(layer.kernel_size))
    return torch.randn(2, 5, layer.in_features)
