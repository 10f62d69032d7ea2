"""Apply LoRA Array before and after ComfyUI's own LoRA nodes: Load LoRA, its rows, and the loader in bypass mode."""

from __future__ import annotations

import hashlib
from itertools import permutations
from typing import TYPE_CHECKING, Any

import comfy.sd
import comfy.utils
import pytest
import torch
from air_lora_pack.nodes.patching.application import WeightedLora, apply_loras

from tests import lora_files
from tests.nodes.checkpoints import load

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("as_comfyui_runs_nodes")]

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load(folder, "sd15", output_clip=False, model_options={"dtype": torch.float32})[0]


@pytest.fixture(scope="module")
def loras(tmp_path_factory: pytest.TempPathFactory) -> list[WeightedLora]:
    folder, modules = tmp_path_factory.mktemp("loras"), lora_files.modules_of("sd15", parts=("unet",))
    entries = []
    for number in range(3):
        path = lora_files.write_lora(folder / f"{number}.safetensors", modules, seed=number)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        entries.append(WeightedLora(f"lora[{number}]", path.stem, path, digest, 0.6 - 0.2 * number, 0))
    return entries


def ours(model: Any, lora: WeightedLora) -> Any:
    return apply_loras(model, None, [lora], skip_mismatches=False).model


def core(model: Any, lora: WeightedLora) -> Any:
    """Does what Load LoRA does, and what each row of Load LoRA Model does in turn."""
    file = comfy.utils.load_torch_file(str(lora.path))
    return comfy.sd.load_lora_for_models(model, None, file, lora.model_strength, 0)[0]


def bypass(model: Any, lora: WeightedLora) -> Any:
    file = comfy.utils.load_torch_file(str(lora.path))
    return comfy.sd.load_bypass_lora_for_models(model, None, file, lora.model_strength, 0)[0]


def step(patcher: Any) -> torch.Tensor:
    """The output of one UNet step while the patcher is in use. It is unpatched afterwards."""
    x, timestep = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(1)), torch.tensor([500.0])
    context = torch.randn(1, 77, 768, generator=torch.manual_seed(2))
    patcher.patch_model(device_to=CPU)
    inject, eject = (getattr(patcher, name, None) for name in ("inject_model", "eject_model"))
    try:
        if inject:
            inject()
        output: torch.Tensor = patcher.model.diffusion_model(x, timestep, context)
        return output
    finally:
        if eject:
            eject()
        patcher.unpatch_model(device_to=CPU)


def chain(model: Any, loras: list[WeightedLora], loaders: tuple[Any, ...]) -> torch.Tensor:
    for lora, loader in zip(loras, loaders):
        model = loader(model, lora)
    return step(model)


LOADERS: list[tuple[Any, ...]] = [
    (ours, core, core),
    (core, ours, core),
    (core, core, ours),
    (ours, core, ours),
]
if hasattr(comfy.sd, "load_bypass_lora_for_models"):  # ComfyUI 0.3.75 has none
    LOADERS += list(permutations((ours, core, bypass)))
    LOADERS += [(ours, bypass, ours), (bypass, ours, ours)]


@pytest.mark.parametrize("loaders", LOADERS, ids=lambda loaders: "-".join(each.__name__ for each in loaders))
def test_whichever_node_loads_which_the_model_is_the_same(
    model: Any, loras: list[WeightedLora], loaders: tuple[Any, ...]
) -> None:
    plain = step(model)
    wanted = chain(model, loras, (core, core, core))
    found = chain(model, loras, loaders)
    assert (wanted - plain).abs().max() > 0.1
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
    assert torch.equal(step(model), plain), "and the plain model is as it was"
