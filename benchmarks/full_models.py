"""Models of the published sizes with random weights, and LoRA files for them, created when a benchmark runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tests.nodes.conftest  # noqa: F401 - imports ComfyUI and the pack, as the node tests do

# isort: split
import comfy.lora
import comfy.model_patcher
import comfy.supported_models
import torch
from safetensors.torch import save_file

from tests.nodes.full_size_models import SD, SDXL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["RANKS", "diffusers_names", "make_model", "write_lora", "write_peft_lora"]

CPU = torch.device("cpu")
RANKS = (32, 64, 16, 32, 16, 64, 32, 16, 32, 16)
"""The ranks of the LoRAs in a stack, in order."""

_CONFIGS = {
    "SD1.5": (
        comfy.supported_models.SD15,
        SD | {"context_dim": 768, "num_heads": 8, "num_head_channels": -1},
    ),
    "SDXL": (comfy.supported_models.SDXL, SDXL),
}
_LAYERS = ("attn1", "attn2", ".ff.net.", "proj_in", "proj_out")
_CONVOLUTIONS = ("in_layers.2", "out_layers.3", "skip_connection")


def make_model(name: str, device: torch.device = CPU) -> Any:
    """A MODEL in fp16, "SD1.5" or "SDXL", in main memory, that is loaded to `device`. Its weights are random."""
    config_class, unet_config = _CONFIGS[name]
    config = config_class(dict(unet_config, use_temporal_attention=False, dtype=torch.float16))
    config.unet_config.pop("use_temporal_attention")
    model = config.get_model({}, "", device=CPU)
    block = torch.randn(1 << 20, generator=torch.Generator().manual_seed(1)).mul_(0.02).half()
    with torch.no_grad():
        for parameter in model.parameters():
            for piece in parameter.data.view(-1).split(len(block)):
                piece.copy_(block[: len(piece)])
    return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=CPU)


def write_lora(
    path: Path, model: Any, number: int, *, convolutions: bool | None = None, rank: int | None = None
) -> Path:
    """Writes the `number`-th LoRA of a stack in the format of kohya's trainer: attention and feed-forward layers, and
    the convolutions in every second file or as `convolutions` says. fp16, with alphas."""
    stems = {
        weight: stem  # if a weight has several names, the last is the diffusers name, which kohya's trainer uses
        for stem, weight in comfy.lora.model_lora_keys_unet(model.model, {}).items()
        if stem.startswith("lora_unet_") and isinstance(weight, str)
    }
    rank = RANKS[number] if rank is None else rank
    tensors = {}
    for weight, shape in _covered(
        model, convolutions=number % 2 == 0 if convolutions is None else convolutions
    ):
        down, up = _factors(shape, rank, f"{number}{weight}")
        stem = stems[weight]
        tensors[f"{stem}.lora_down.weight"], tensors[f"{stem}.lora_up.weight"] = down, up
        tensors[f"{stem}.alpha"] = torch.tensor(rank / 2)
    save_file(tensors, path)
    return path


def write_peft_lora(path: Path, model: Any, number: int) -> Path:
    """Writes the same deltas without the convolutions, with the names of diffusers' own UNet. Alpha is the rank."""
    names = diffusers_names(model)
    rank = RANKS[number]
    tensors = {}
    for weight, shape in _covered(model, convolutions=False):
        down, up = _factors(shape, rank, f"{number}{weight}")
        stem = names[weight].removesuffix(".weight")
        tensors[f"{stem}.lora_A.weight"], tensors[f"{stem}.lora_B.weight"] = down, up
    save_file(tensors, path)
    return path


def diffusers_names(model: Any) -> dict[str, str]:
    """ComfyUI's name of a weight → diffusers' name."""
    names = comfy.utils.unet_to_diffusers(model.model.model_config.unet_config)
    return {f"diffusion_model.{ours}": theirs for theirs, ours in names.items()}


def _covered(model: Any, *, convolutions: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    wanted = _LAYERS + (_CONVOLUTIONS if convolutions else ())
    for name, tensor in model.model.state_dict().items():
        if name.endswith(".weight") and tensor.dim() >= 2 and any(part in name for part in wanted):
            yield name, tuple(tensor.shape)


def _factors(shape: tuple[int, ...], rank: int, seed: str) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(hash_of(seed))
    down = torch.randn((rank, *shape[1:]), generator=generator) * 0.05
    up = torch.randn((shape[0], rank, *[1] * len(shape[2:])), generator=generator) * 0.05
    return down.half(), up.half()


def hash_of(text: str) -> int:
    """A hash that is the same in every process, unlike hash()."""
    return sum((index + 1) * ord(character) for index, character in enumerate(text))
