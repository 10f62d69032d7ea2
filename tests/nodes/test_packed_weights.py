"""Arrays on models with packed weights, as in GGUF packs: unpacked and patched each time a layer runs."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import comfy.sd
import comfy.utils
import pytest
import torch
from air_lora_pack.nodes.patching.analysis import analyse
from air_lora_pack.nodes.patching.application import WeightedLora, apply_loras, loaded_checkpoint
from air_lora_pack.nodes.patching.fit import check_fit
from air_lora_pack.nodes.patching.loaded_model import diffusion_weights
from air_lora_pack.nodes.patching.lora_file import open_lora
from air_lora_pack.nodes.patching.merging import merge
from air_lora_pack.nodes.patching.stack import WeightedPatches

from lora_resolver import Mismatch
from tests import lora_files
from tests.nodes.checkpoints import load
from tests.packed_weights import PackedPatcher, pack_linear_layers

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("as_comfyui_runs_nodes")]

CPU = torch.device("cpu")
KINDS = ("lora", "dora", "loha", "lokr")


@pytest.fixture(scope="module")
def models(folder: Path) -> tuple[Any, Any]:
    """The packed model, and one with the unpacked weights in fp32."""
    options = {"output_clip": False, "model_options": {"dtype": torch.float32}}
    first, plain = (load(folder, "sd15", **options)[0] for _ in range(2))
    packed, values = pack_linear_layers(first)
    with torch.no_grad():
        for name, value in values.items():
            comfy.utils.get_attr(plain.model, name).copy_(value)
    return packed, plain


@pytest.fixture(scope="module")
def loras(folder: Path) -> list[WeightedLora]:
    modules = lora_files.modules_of("sd15", parts=("unet",))
    entries = []
    for number, kind in enumerate(KINDS):
        path = lora_files.write_lora(folder / f"{kind}.safetensors", modules, kind=kind, seed=number)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        entries.append(WeightedLora(f"lora[{number}]", kind, path, digest, 0.7 - 0.1 * number, 0))
    return entries


def ours(model: Any, entries: list[WeightedLora]) -> Any:
    return apply_loras(model, None, entries, skip_mismatches=False).model


def step(patcher: Any) -> torch.Tensor:
    """The output of one UNet step while the patcher is in use. It is unpatched afterwards."""
    x, timestep = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(1)), torch.tensor([500.0])
    context = torch.randn(1, 77, 768, generator=torch.manual_seed(2))
    patcher.patch_model(device_to=CPU)
    try:
        output: torch.Tensor = patcher.model.diffusion_model(x, timestep, context)
        return output
    finally:
        patcher.unpatch_model(device_to=CPU)


def test_a_stack_of_all_kinds_draws_what_it_draws_on_the_unpacked_model(
    models: tuple[Any, Any], loras: list[WeightedLora]
) -> None:
    packed, plain = models
    assert packed.model.state_dict()["diffusion_model.out.2.weight"].dim() == 4, "a convolution is not packed"
    base = step(packed)
    patched = ours(packed, loras)
    assert type(patched) is PackedPatcher
    drawn = step(patched)
    assert torch.allclose(drawn, step(ours(plain, loras)), rtol=1e-4, atol=1e-5)
    assert (drawn - base).abs().max() > 0.1
    assert torch.equal(step(packed), base), "and the base model is as it was"


def test_it_is_what_core_s_loader_gives(models: tuple[Any, Any], loras: list[WeightedLora]) -> None:
    file = comfy.utils.load_torch_file(str(loras[0].path))
    core, _ = comfy.sd.load_lora_for_models(models[0], None, file, loras[0].model_strength, 0)
    assert torch.allclose(step(ours(models[0], loras[:1])), step(core), rtol=1e-4, atol=1e-5)


def test_a_lora_of_another_size_is_still_refused(models: tuple[Any, Any], folder: Path) -> None:
    path = lora_files.clashing_lora(folder / "clash.safetensors")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(Mismatch) as caught:
        ours(models[0], [WeightedLora("lora[0]", "clash", path, digest, 1.0, 0)])
    with pytest.raises(Mismatch) as on_plain:
        ours(models[1], [WeightedLora("lora[0]", "clash", path, digest, 1.0, 0)])
    assert str(caught.value) == str(on_plain.value)


def patches(model: Any, lora: WeightedLora) -> WeightedPatches:
    fit = check_fit(open_lora(lora.path, lora.sha256), lora.name, loaded_checkpoint(model, None))
    return WeightedPatches(lora.place, lora.name, lora.sha256, lora.model_strength, fit.diffusion.patches)


def test_the_analysis_and_the_merged_file_are_those_of_the_unpacked_model(
    models: tuple[Any, Any], loras: list[WeightedLora]
) -> None:
    found = [analyse(model, [patches(model, lora) for lora in loras]) for model in models]
    assert found[0].strengths == pytest.approx(found[1].strengths, rel=1e-4)
    merged = [
        merge(
            model, diffusion_weights(model), [patches(model, loras[1])], rank=None, dtype=torch.float32
        ).tensors
        for model in models
    ]
    assert merged[0].keys() == merged[1].keys()
    for name, tensor in merged[1].items():
        torch.testing.assert_close(merged[0][name], tensor, rtol=1e-4, atol=1e-6)
