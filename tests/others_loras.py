"""LoRAs as other people's programs write them, and what those programs make of the weights themselves.

Each function puts an adapter on the same small UNet, gives it random values, saves it as that program's users would,
and merges it with that program's own code:

    by_diffusers(weights, folder, "save_lora_adapter")      peft inside diffusers, saved in one of diffusers' ways
    by_peft(weights, folder)                                a peft model's own folder
    by_lycoris(weights, folder, "loha")                     LyCORIS for kohya's trainer

The programs are test requirements (requirements-dev.txt); the pack itself needs none of them.
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from tools.tiny_checkpoints.unet import PREFIX, UNetLayout, unet_shapes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what they say while they are imported is not ours to mend
    import diffusers
    import diffusers.utils
    import peft
    from lycoris.kohya import create_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

Weights = dict[str, torch.Tensor]

# SD 1.5 with two levels and as narrow as both sides can hold it. ComfyUI and diffusers describe it in their own ways.
LAYOUT = UNetLayout(768, None, False, levels=2, blocks_per_level=1, down=(1, 0), middle=1, up=(0, 0, 1, 1))
DIFFUSERS_LAYOUT: Mapping[str, Any] = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "block_out_channels": (320, 320),
    "layers_per_block": 1,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
# One module of each kind: whole UNets would take the merges a minute.
ADAPTED = r"conv_in$|time_embedding\.linear_1$|down_blocks\.0\.|up_blocks\.0\.(upsamplers|resnets\.0\.conv_shortcut)"

RANK = 4
SPREAD = 0.2
"""Standard deviation of the adapters' random numbers; a delta is then about as large as the weight that it changes."""


@dataclass(frozen=True)
class Made:
    """A file, and the weights that its own program makes of it, by diffusers' names."""

    path: Path
    merged: Weights


def checkpoint(seed: int = 15) -> Weights:
    """Random weights of the small UNet, named as in an SD 1.5 checkpoint."""
    generator = torch.Generator().manual_seed(seed)
    return {
        PREFIX + name: torch.randn(shape, generator=generator) / math.sqrt(math.prod(shape[1:]))
        for name, shape in unet_shapes(LAYOUT).items()
    }


def by_diffusers(
    weights: Weights,
    folder: Path,
    saved_with: str,
    *,
    alpha: float = RANK,
    dora: bool = False,
    strength: float = 1.0,
) -> Made:
    """`weights` by diffusers' names; `saved_with` is a key of `WAYS_OF_DIFFUSERS`."""
    unet = _unet(weights)
    unet.add_adapter(_peft_configuration(unet, alpha, dora))
    _fill(unet.named_parameters())
    WAYS_OF_DIFFUSERS[saved_with](unet, folder)
    unet.fuse_lora(lora_scale=strength)
    unet.unload_lora()
    return Made(folder / "pytorch_lora_weights.safetensors", unet.state_dict())


def _save_adapter(unet: Any, folder: Path) -> None:
    """The model alone: names without a prefix, and peft's configuration in the file's metadata."""
    unet.save_lora_adapter(folder)


def _save_weights(unet: Any, folder: Path) -> None:
    """The pipeline, as the training scripts do it: names begin with `unet.`, nothing in the metadata."""
    layers = diffusers.utils.convert_state_dict_to_diffusers(peft.get_peft_model_state_dict(unet))
    diffusers.StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers)


def _save_weights_with_metadata(unet: Any, folder: Path) -> None:
    """The pipeline, as the newer training scripts do it: peft's configuration is in the metadata."""
    layers = peft.get_peft_model_state_dict(unet)
    configuration = unet.peft_config["default"].to_dict()
    diffusers.StableDiffusionPipeline.save_lora_weights(
        folder, unet_lora_layers=layers, unet_lora_adapter_metadata=configuration
    )


def _save_for_kohya(unet: Any, folder: Path) -> None:
    """diffusers' own converter, made for "AUTOMATIC1111, ComfyUI, SD.Next, InvokeAI, etc."."""
    from safetensors.torch import save_file

    layers = {f"unet.{name}": tensor for name, tensor in peft.get_peft_model_state_dict(unet).items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        diffusers.utils.convert_state_dict_to_kohya(layers), folder / "pytorch_lora_weights.safetensors"
    )


WAYS_OF_DIFFUSERS: Mapping[str, Callable[[Any, Path], None]] = {
    "save_lora_adapter": _save_adapter,
    "save_lora_weights": _save_weights,
    "save_lora_weights with metadata": _save_weights_with_metadata,
    "convert_state_dict_to_kohya": _save_for_kohya,
}


def by_peft(weights: Weights, folder: Path, *, alpha: float = RANK, dora: bool = False) -> Made:
    """The alpha lies in adapter_config.json beside the file, which no loader of single files sees."""
    unet = _unet(weights)
    model = peft.get_peft_model(unet, _peft_configuration(unet, alpha, dora))
    _fill(model.named_parameters())
    model.save_pretrained(folder)
    return Made(folder / "adapter_model.safetensors", model.merge_and_unload().state_dict())


def by_lycoris(
    weights: Weights,
    folder: Path,
    algorithm: str,
    *,
    alpha: float = RANK,
    strength: float = 1.0,
    **options: Any,
) -> Made:
    """`algorithm` and `options` are those of LyCORIS' `network_args`."""
    unet = _unet(weights)
    folder.mkdir(parents=True, exist_ok=True)
    preset = folder / "preset.toml"
    names = ", ".join(f'"{re.escape(name)}$"' for name in _adapted(unet)).replace("\\", "\\\\")
    preset.write_text(f"unet_target_module = []\nunet_target_name = [{names}]\n")
    network = create_network(
        1.0, RANK, alpha, None, None, unet, False, preset=str(preset), algo=algorithm, **options
    )
    network.apply_to(None, unet, False, True)
    _fill(network.named_parameters())
    path = folder / f"{algorithm}.safetensors"
    network.save_weights(str(path), torch.float32, {})
    with torch.no_grad():
        for module in network.unet_loras:
            module.merge_to(strength)
    network.restore()
    merged = {name: tensor for name, tensor in unet.state_dict().items() if name in weights}
    return Made(path, merged)


def _unet(weights: Weights) -> Any:
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(**DIFFUSERS_LAYOUT)
    # Clones: a merge writes into the weights.
    unet.load_state_dict({name: tensor.clone() for name, tensor in weights.items()}, assign=True)
    return unet.requires_grad_(False)


def _adapted(unet: Any) -> list[str]:
    return [
        name
        for name, module in unet.named_modules()
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)) and re.match(ADAPTED, name)
    ]


def _peft_configuration(unet: Any, alpha: float, dora: bool) -> Any:
    return peft.LoraConfig(r=RANK, lora_alpha=alpha, target_modules=_adapted(unet), use_dora=dora)


def _fill(parameters: Iterable[tuple[str, torch.nn.Parameter]]) -> None:
    """Random numbers in an adapter, as if it had been trained. Trained lengths stay near those of the weights."""
    generator = torch.Generator().manual_seed(7)
    for name, parameter in parameters:
        if not parameter.requires_grad:
            continue
        values = torch.randn(parameter.shape, generator=generator) * SPREAD
        if re.search(r"lora_magnitude_vector|dora_scale|rescale", name):
            values = parameter.data * (1 + values)
        parameter.data = values
