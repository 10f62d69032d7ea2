"""Pictures with bypass LoRAs, ours and ComfyUI's own, for the tests of bypass."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import comfy.lora
import comfy.sample
import comfy.sd
import comfy.utils
import torch
from air_lora_pack.nodes.patching.application import WeightedLora, apply_loras

from tests import lora_files

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CPU = torch.device("cpu")
FP32 = {"model_options": {"dtype": torch.float32}}
CLOSE = 2e-5
"""The tolerance relative to the largest number, in fp32, because products are computed in another order."""
KINDS = ("lora", "tucker", "dora", "loha", "lokr")


def entry(path: Path, strength: float, number: int = 0) -> WeightedLora:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return WeightedLora(f"lora[{number}]", path.stem, path, digest, strength, strength)


def noise(model: Any) -> torch.Tensor:
    channels = model.model.latent_format.latent_channels
    return torch.randn(1, channels, 8, 8, generator=torch.Generator().manual_seed(3))


def picture(model: Any, hooks: Any = None, **options: Any) -> torch.Tensor:
    """Samples a picture with a KSampler. ComfyUI's own memory management loads the model."""
    width = model.model.model_config.unet_config["context_dim"]
    words = [
        [
            torch.randn(1, 8, width, generator=torch.Generator().manual_seed(4)),
            {"hooks": hooks} if hooks else {},
        ]
    ]
    start = noise(model)
    options = {"steps": 2, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", **options}
    return comfy.sample.sample(
        model, start, positive=words, negative=words, latent_image=torch.zeros_like(start), seed=5, **options
    )


def applied(pair: tuple[Any, Any], entries: list[WeightedLora], *, bypass: bool = True) -> Any:
    return apply_loras(*pair, entries, skip_mismatches=False, apply_as="bypass" if bypass else "patch")


def assert_close(first: torch.Tensor, second: torch.Tensor, tolerance: float = CLOSE) -> None:
    assert float((first - second).abs().max() / second.abs().max()) < tolerance


def calculated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records the weights that are patched from now on."""
    keys: list[str] = []
    calculate = comfy.lora.calculate_weight

    def counted(patches: Any, weight: Any, key: str, *rest: Any, **options: Any) -> Any:
        keys.append(key)
        return calculate(patches, weight, key, *rest, **options)

    monkeypatch.setattr(comfy.lora, "calculate_weight", counted)
    return keys


def core_bypass(model: Any, lora: WeightedLora) -> Any:
    """ComfyUI's own bypass loader, or None if this ComfyUI has none."""
    if not hasattr(comfy.sd, "load_bypass_lora_for_models"):
        return None
    file = comfy.utils.load_torch_file(str(lora.path))
    return comfy.sd.load_bypass_lora_for_models(model, None, file, lora.model_strength, 0)[0]


def core_patch(model: Any, lora: WeightedLora) -> Any:
    file = comfy.utils.load_torch_file(str(lora.path))
    return comfy.sd.load_lora_for_models(model, None, file, lora.model_strength, 0)[0]


def ours_bypass(model: Any, lora: WeightedLora) -> Any:
    return apply_loras(model, None, [lora], skip_mismatches=False, apply_as="bypass").model


def ours_patch(model: Any, lora: WeightedLora) -> Any:
    return apply_loras(model, None, [lora], skip_mismatches=False).model


STEPS = {"ours": ours_bypass, "ours patched": ours_patch, "core": core_patch, "core beside": core_bypass}


def make_loras(folder: Path) -> list[WeightedLora]:
    """Creates one LoRA of each kind, with convolutions, text encoders, and alphas where the kind has them."""
    modules = lora_files.modules_of("sd15")
    convolutions = {name: module for name, module in modules.items() if len(module.shape) == 4}
    strengths = (0.8, -0.5, 0.4, 0.3, 0.6)
    return [
        entry(
            lora_files.write_lora(
                folder / f"{kind}.safetensors",
                convolutions if kind == "tucker" else modules,
                kind=kind,
                seed=n,
            ),
            strength,
            n,
        )
        for n, (kind, strength) in enumerate(zip(KINDS, strengths))
    ]
