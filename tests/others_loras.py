"""LoRAs in the format of other programs, and the weights that those programs compute from them.

Each function puts an adapter on the same small UNet, fills it with random values, saves it as users of that program
would, and merges it with that program's own code:

    by_diffusers(weights, folder, "save_lora_adapter")      peft in diffusers, saved in one of diffusers' ways
    by_peft(weights, folder)                                a peft model's own folder
    by_lycoris(weights, folder, "loha")                     LyCORIS, as kohya's trainer calls it
    text_encoder_by_diffusers(weights, folder)              the same for a small CLIP-L

The programs are test requirements (requirements-dev.txt). The pack itself doesn't need them.
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from tools.tiny_checkpoints.text_encoders import clip_l_shapes
from tools.tiny_checkpoints.unet import PREFIX, UNetLayout, unet_shapes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # we can't fix their import warnings
    import diffusers
    import diffusers.utils
    import peft
    import transformers
    from lycoris.kohya import create_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

Weights = dict[str, torch.Tensor]

# SD 1.5 with two levels, as narrow as both programs allow. ComfyUI and diffusers describe it in different ways.
LAYOUT = UNetLayout(768, None, False, levels=2, blocks_per_level=1, down=(1, 0), middle=1, up=(0, 0, 1, 1))
DIFFUSERS_LAYOUT: Mapping[str, Any] = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "block_out_channels": (320, 320),
    "layers_per_block": 1,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
# One module of each kind, because merging whole UNets would take a minute.
ADAPTED = r"conv_in\b|time_embedding\.linear_1\b|down_blocks\.0\.|up_blocks\.0\.(upsamplers|resnets\.0\.conv_shortcut)"

TEXT_LAYERS = 2  # ComfyUI detects a file with one layer as something else

DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
LYCORIS_FILE = "lycoris.safetensors"

RANK = 4
SPREAD = 0.2
"""Standard deviation of the adapters' random numbers, with which a delta is about as large as the weight."""


@dataclass(frozen=True)
class Made:
    """A file, and the weights that its own program computes."""

    path: Path
    merged: Weights
    """The changed weights, by the program's own names."""


def checkpoint(seed: int = 15) -> Weights:
    """Random weights of the small UNet, with the names of an SD 1.5 checkpoint."""
    return _random({PREFIX + name: shape for name, shape in unet_shapes(LAYOUT).items()}, seed)


def by_diffusers(
    weights: Weights,
    folder: Path,
    saved_with: str,
    *,
    alpha: float = RANK,
    dora: bool = False,
    strength: float = 1.0,
    **options: Any,
) -> Made:
    """`weights` have diffusers' names. `saved_with` is a key of `WAYS_OF_DIFFUSERS`. `options` are peft's own."""
    unet = _unet(weights)
    unet.add_adapter(_peft_configuration(unet, alpha, dora, **options))
    _fill(unet.named_parameters())
    WAYS_OF_DIFFUSERS[saved_with](unet, folder)
    unet.fuse_lora(lora_scale=strength)
    unet.unload_lora()
    return Made(folder / DIFFUSERS_FILE, _changed(unet, weights))


def _save_adapter(unet: Any, folder: Path) -> None:
    """Only the model: names without a prefix, and peft's configuration in the file's metadata."""
    unet.save_lora_adapter(folder)


def _save_weights(unet: Any, folder: Path) -> None:
    """The pipeline, as in the training scripts: names begin with `unet.`, and there is no metadata."""
    layers = diffusers.utils.convert_state_dict_to_diffusers(peft.get_peft_model_state_dict(unet))
    diffusers.StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers)


def _save_weights_with_metadata(unet: Any, folder: Path) -> None:
    """The pipeline, as in the newer training scripts: peft's configuration is in the metadata."""
    layers = peft.get_peft_model_state_dict(unet)
    configuration = unet.peft_config["default"].to_dict()
    diffusers.StableDiffusionPipeline.save_lora_weights(
        folder, unet_lora_layers=layers, unet_lora_adapter_metadata=configuration
    )


def _save_for_kohya(unet: Any, folder: Path) -> None:
    """diffusers' own converter for "AUTOMATIC1111, ComfyUI, SD.Next, InvokeAI, etc."."""
    from safetensors.torch import save_file

    layers = {f"unet.{name}": tensor for name, tensor in peft.get_peft_model_state_dict(unet).items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(diffusers.utils.convert_state_dict_to_kohya(layers), folder / DIFFUSERS_FILE)


WAYS_OF_DIFFUSERS: Mapping[str, Callable[[Any, Path], None]] = {
    "save_lora_adapter": _save_adapter,
    "save_lora_weights": _save_weights,
    "save_lora_weights with metadata": _save_weights_with_metadata,
    "convert_state_dict_to_kohya": _save_for_kohya,
}


def by_peft(weights: Weights, folder: Path, *, alpha: float = RANK, dora: bool = False) -> Made:
    """The alpha is in adapter_config.json, which loaders of single files don't read."""
    unet = _unet(weights)
    model = peft.get_peft_model(unet, _peft_configuration(unet, alpha, dora))
    _fill(model.named_parameters())
    model.save_pretrained(folder)
    return Made(folder / "adapter_model.safetensors", _changed(model.merge_and_unload(), weights))


def by_lycoris(
    weights: Weights,
    folder: Path,
    algorithm: str,
    *,
    rank: int = RANK,
    alpha: float | None = None,
    strength: float = 1.0,
    **options: Any,
) -> Made:
    """`algorithm` and `options` are as in its `network_args`. If alpha is None, it is the rank."""
    unet, network = _lycoris_network(weights, folder, algorithm, rank, alpha, options)
    network.restore()
    with torch.no_grad():
        for module in network.unet_loras:
            module.merge_to(strength)
    return Made(folder / LYCORIS_FILE, _changed(unet, weights))


def computed_by_lycoris(
    weights: Weights, folder: Path, algorithm: str, *, alpha: float, **options: Any
) -> Made:
    """Not merged: the weights of the linear layers, as the network computes with them during training."""
    unet, network = _lycoris_network(weights, folder, algorithm, RANK, alpha, options)
    computed = {}
    for name, layer in unet.named_modules():
        if isinstance(layer, torch.nn.Linear) and hasattr(layer, "_lycoris_wrappers"):
            with torch.no_grad():
                columns = layer(torch.eye(layer.in_features)) - (0 if layer.bias is None else layer.bias)
            computed[f"{name}.weight"] = columns.T
    network.restore()
    return Made(folder / LYCORIS_FILE, computed)


def _lycoris_network(
    weights: Weights, folder: Path, algorithm: str, rank: int, alpha: float | None, options: dict[str, Any]
) -> tuple[Any, Any]:
    unet = _unet(weights)
    names = _adapted(unet, norms=options.get("train_norm", False))
    folder.mkdir(parents=True, exist_ok=True)
    preset = folder / "preset.toml"
    preset.write_text(f"unet_target_module = []\nunet_target_name = {[f'{name}$' for name in names]}\n")
    network = create_network(
        1.0, rank, alpha or rank, None, None, unet, False, preset=str(preset), algo=algorithm, **options
    )
    network.apply_to(None, unet, False, True)
    _fill(network.named_parameters())
    network.save_weights(str(folder / LYCORIS_FILE), torch.float32, {})
    return unet, network


def text_encoder_by_diffusers(weights: Weights, folder: Path) -> Made:
    """A CLIP-L with `TEXT_LAYERS` layers. `weights` have the names in CLIP-L's own files, `text_model.…`."""
    with torch.device("meta"):
        encoder = transformers.CLIPTextModel(
            transformers.CLIPTextConfig(
                hidden_size=768,
                intermediate_size=3072,
                num_attention_heads=12,
                num_hidden_layers=TEXT_LAYERS,
                vocab_size=49408,
            )
        )
    # transformers 5 removed the prefix from its own names.
    prefix = "" if hasattr(encoder, "text_model") else "text_model."
    own = {name.removeprefix(prefix): tensor.clone() for name, tensor in weights.items()}
    encoder.load_state_dict(own, assign=True)
    targets = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft uses a deprecated name of transformers
        model = peft.get_peft_model(encoder, peft.LoraConfig(r=RANK, lora_alpha=RANK, target_modules=targets))
    _fill(model.named_parameters())
    layers = {
        name.removeprefix("base_model.model."): tensor
        for name, tensor in peft.get_peft_model_state_dict(model).items()
    }
    diffusers.StableDiffusionPipeline.save_lora_weights(folder, text_encoder_lora_layers=layers)
    merged = {prefix + name: tensor for name, tensor in model.merge_and_unload().state_dict().items()}
    return Made(folder / DIFFUSERS_FILE, {name: merged[name] for name in _differing(merged, weights)})


def text_encoder_weights(seed: int = 16) -> Weights:
    """Random weights of a CLIP-L with `TEXT_LAYERS` layers, with the names in its own files."""
    shapes = {
        name: shape
        for name, shape in clip_l_shapes().items()
        if not (match := re.search(r"layers\.(\d+)\.", name)) or int(match[1]) < TEXT_LAYERS
    }
    return _random(shapes, seed)


def _random(shapes: Mapping[str, tuple[int, ...]], seed: int) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) / math.sqrt(math.prod(shape[1:]))
        for name, shape in shapes.items()
    }


def _changed(model: Any, weights: Weights) -> Weights:
    merged = model.state_dict()
    return {name: merged[name] for name in _differing(merged, weights)}


def _differing(first: Weights, second: Weights) -> list[str]:
    return [name for name, tensor in second.items() if not torch.equal(first[name], tensor)]


def _unet(weights: Weights) -> Any:
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(**DIFFUSERS_LAYOUT)
    # Merging changes the weights in place.
    own = {name: tensor.clone() if re.match(ADAPTED, name) else tensor for name, tensor in weights.items()}
    unet.load_state_dict(own, assign=True)
    return unet.requires_grad_(False)


def _adapted(unet: Any, *, norms: bool = False) -> list[str]:
    kinds: tuple[type, ...] = (torch.nn.Linear, torch.nn.Conv2d)
    if norms:
        kinds += (torch.nn.GroupNorm, torch.nn.LayerNorm)
    return [
        name for name, module in unet.named_modules() if isinstance(module, kinds) and re.match(ADAPTED, name)
    ]


def _peft_configuration(unet: Any, alpha: float, dora: bool, **options: Any) -> Any:
    return peft.LoraConfig(r=RANK, lora_alpha=alpha, target_modules=_adapted(unet), use_dora=dora, **options)


def _fill(parameters: Iterable[tuple[str, torch.nn.Parameter]]) -> None:
    """Fills an adapter with random numbers, as if trained. Trained lengths stay near those of the weights."""
    generator = torch.Generator().manual_seed(7)
    for name, parameter in parameters:
        if not parameter.requires_grad:
            continue
        values = torch.randn(parameter.shape, generator=generator) * SPREAD
        if re.search(r"lora_magnitude_vector|dora_scale|rescale", name):
            values = parameter.data * (1 + values)
        parameter.data = values
