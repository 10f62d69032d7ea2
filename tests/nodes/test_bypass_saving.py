"""Models with bypass LoRAs that are saved, merged, and subtracted: the results include the LoRAs."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import comfy.model_management
import comfy.sd
import comfy.utils
import pytest
import torch
from comfy_extras.nodes_model_merging import ModelMergeSimple, ModelSubtract

from tests.nodes.beside import (
    CPU,
    FP32,
    applied,
    assert_close,
    calculated,
    core_patch,
    make_loras,
    ours_bypass,
    picture,
)
from tests.nodes.checkpoints import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from air_lora_pack.nodes.patching.application import WeightedLora

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


def test_what_is_saved_has_the_loras_in_it(
    sd15: tuple[Any, Any], loras: list[WeightedLora], tmp_path: Path
) -> None:
    def saved(model: Any) -> dict[str, torch.Tensor]:
        path = tmp_path / "saved.safetensors"
        comfy.sd.save_checkpoint(str(path), model)
        tensors: dict[str, torch.Tensor] = comfy.utils.load_torch_file(str(path))
        path.unlink()
        return tensors

    plain, expected = saved(sd15[0]), saved(core_patch(sd15[0], loras[0]))
    ours = saved(ours_bypass(sd15[0], loras[0]))
    changed = [name for name, tensor in expected.items() if not torch.equal(tensor, plain[name])]
    assert changed
    for name in changed:
        torch.testing.assert_close(ours[name], expected[name], rtol=1e-3, atol=1e-5)


def test_what_is_saved_has_the_text_encoder_s_too(
    sd15: tuple[Any, Any], loras: list[WeightedLora], tmp_path: Path
) -> None:
    def saved(model: Any, clip: Any) -> dict[str, torch.Tensor]:
        path = tmp_path / "saved.safetensors"
        comfy.sd.save_checkpoint(str(path), model, clip)
        tensors: dict[str, torch.Tensor] = comfy.utils.load_torch_file(str(path))
        path.unlink()
        return {name: tensor for name, tensor in tensors.items() if name.startswith("cond_stage_model")}

    plain = saved(*sd15)
    patched, beside = (applied(sd15, loras[:1], bypass=how) for how in (False, True))
    expected = saved(patched.model, patched.clip)
    changed = [name for name, tensor in expected.items() if not torch.equal(tensor, plain[name])]
    assert changed
    ours = saved(beside.model, beside.clip.clone())
    for name in changed:
        torch.testing.assert_close(ours[name], expected[name], rtol=1e-3, atol=1e-4)


def test_a_text_encoder_is_let_go_at_once(sd15: tuple[Any, Any], loras: list[WeightedLora]) -> None:
    """It isn't in a reference cycle, because ComfyUI expects it to be freed immediately when it needs memory."""
    gc.collect()
    gc.disable()
    try:
        clip = weakref.ref(applied(sd15, loras[:1]).clip)
        assert clip() is None
    finally:
        gc.enable()


def test_after_it_was_saved_it_is_beside_the_layers_again(
    sd15: tuple[Any, Any], loras: list[WeightedLora], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = applied(sd15, loras[:2]).model
    before = picture(model)
    comfy.sd.save_checkpoint(str(tmp_path / "saved.safetensors"), model)
    keys = calculated(monkeypatch)
    assert torch.equal(picture(model), before)
    assert keys == []
    assert applied(sd15, loras[:2]).model is model


def test_the_difference_of_two_models(sd15: tuple[Any, Any], loras: list[WeightedLora]) -> None:
    """As for Extract and Save LoRA, with a factor of one, which scales nothing."""
    ours, expected = (
        ModelSubtract().merge(add(sd15[0], loras[0]), sd15[0], 1.0)[0] for add in (ours_bypass, core_patch)
    )
    key = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
    found = []
    for model in (ours, expected):
        model.patch_model(device_to=CPU)
        found.append(comfy.utils.get_attr(model.model, key).clone())
        model.unpatch_model(device_to=CPU)
    assert float(found[1].abs().max()) > 0
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-5)


@pytest.fixture(scope="module")
def other(folder: Path) -> Any:
    model = load(folder, "sd15", **FP32)[0]
    with torch.no_grad():
        for parameter in model.model.diffusion_model.parameters():
            parameter.mul_(1.2)
    return model


@pytest.mark.parametrize("where", ["first", "second", "both", "after"])
def test_merged_with_another_model(
    sd15: tuple[Any, Any], other: Any, loras: list[WeightedLora], where: str
) -> None:
    """A merge scales one model and adds the other, and the same applies to bypass LoRAs."""

    def merged(add: Any) -> Any:
        one, two = sd15[0], other
        if where in ("first", "both"):
            one = add(one, loras[0])
        if where in ("second", "both"):
            two = add(two, loras[1])
        made = ModelMergeSimple().merge(one, two, 0.6)[0]
        return add(made, loras[0]) if where == "after" else made

    expected = picture(merged(core_patch))
    assert_close(picture(merged(ours_bypass)), expected, 1e-4)
    clone = ours_bypass(sd15[0], loras[0]).clone()  # another node in between, such as a changed sampling
    again = ModelMergeSimple().merge(clone, other, 0.6)[0]
    assert_close(
        picture(again), picture(ModelMergeSimple().merge(core_patch(sd15[0], loras[0]), other, 0.6)[0]), 1e-4
    )
