"""What a loaded MODEL or CLIP is: its architecture, the LoRA keys that it understands, the shapes of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import comfy.lora
import comfy.model_patcher
import comfy.utils
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

Slot = Any
"""A key map's target: a weight's name, or (name, (dimension, start, length)[, function]) for a part of one."""

# ComfyUI's own detection (comfy/supported_models.py) → our family ids. A class that is not here has the family of the
# first base class that is. What has no entry at all is left to the tensor check.
FAMILY_OF_CONFIG = {
    "SD15": ("sd1",),
    "SD20": ("sd2",),
    "SDXLRefiner": ("sdxl_refiner",),
    "SDXL": ("sdxl",),
    "Stable_Cascade_C": ("cascade",),
    "SD3": ("sd3",),
    "StableAudio": ("stable_audio",),
    "AuraFlow": ("auraflow",),
    "PixArtAlpha": ("pixart",),
    "Flux": ("flux1",),
    "Flux2": ("flux2",),
    "GenmoMochi": ("mochi",),
    "LTXV": ("ltxv",),
    "LTXAV": ("ltx2",),
    "HunyuanVideo": ("hunyuan_video",),
    "HunyuanVideo15": ("hunyuan_video_1_5",),
    "HunyuanVideo15_SR_Distilled": ("hunyuan_video_1_5",),
    "HunyuanImage21": ("hunyuan_image",),
    "HunyuanDiT": ("hunyuan_dit",),
    "Kandinsky5": ("kandinsky5",),
    "CosmosT2IPredict2": ("cosmos_predict2",),
    "Anima": ("anima",),
    "Lumina2": ("lumina2",),
    "ZImage": ("z_image",),
    "WAN21_T2V": ("wan_14b", "wan_5b", "wan_1_3b"),
    "HiDream": ("hidream",),
    "Chroma": ("chroma",),
    "ACEStep": ("ace_step",),
    "Omnigen2": ("omnigen2",),
    "QwenImage": ("qwen_image",),
}
# One configuration class serves several sizes of these; the width tells which.
FAMILY_OF_WAN_WIDTH = {5120: "wan_14b", 3072: "wan_5b", 1536: "wan_1_3b"}


@dataclass(frozen=True)
class LoadedWeights:
    """One side of a checkpoint, diffusion model or text encoder, as LoRA files address it."""

    key_map: dict[str, Slot]
    """Name stem in a LoRA file → the weight that it changes."""
    shapes: dict[str, torch.Size]
    """Weight name → shape."""


# Kept per model: clones of a patcher share the model, and its names and shapes never change.
_kept: WeakKeyDictionary[torch.nn.Module, LoadedWeights] = WeakKeyDictionary()


def diffusion_weights(model: Any) -> LoadedWeights:
    """The diffusion model's weights, for a ComfyUI MODEL."""
    return _weights(model, comfy.lora.model_lora_keys_unet)


def text_encoder_weights(clip: Any) -> LoadedWeights:
    """The text encoders' weights, for a ComfyUI CLIP."""
    return _weights(clip.patcher, comfy.lora.model_lora_keys_clip)


def _weights(patcher: Any, key_map_of: Callable[..., dict[str, Slot]]) -> LoadedWeights:
    module = patcher.model
    weights = _kept.get(module)
    if weights is None:
        weights = LoadedWeights(key_map=key_map_of(module, {}), shapes=_shapes(patcher))
        _kept[module] = weights
    return weights


def _shapes(patcher: Any) -> dict[str, torch.Size]:
    """As the checkpoint has them, whatever is done to them right now.

    Quantized weights tell their own shape, while the state dict has the bytes; one that a LoRA has widened for the run
    before lies in the backup.
    """
    shapes = {name: tensor.shape for name, tensor in patcher.model.state_dict().items()}
    for name, parameter in patcher.model.named_parameters(remove_duplicate=False):
        if name in shapes:
            shapes[name] = torch.Size(parameter.shape)
    for name, kept in patcher.backup.items():
        shapes[name] = torch.Size(kept.weight.shape)
    return shapes


def arriving_weight(patcher: Any, key: str) -> tuple[Any, Callable[..., torch.Tensor]]:
    """A weight of a MODEL or of a CLIP's patcher before any patch, and the function that gives its numbers.

    `get_key_patches` says it of all weights, and fails in newer ComfyUI where a single one is quantized. GGUF packs
    keep bytes in the parameter, and their layers have `get_weight(parameter, dtype)` in place of `convert_weight`.
    """
    weight, _write, convert = comfy.model_patcher.get_key_weight(patcher.model, key)
    for backup in (patcher.backup.get(key), patcher.hook_backup.get(key)):
        if backup is not None:
            weight = backup[0]
    layer = comfy.utils.get_attr(patcher.model, key.rpartition(".")[0])
    if not weight.is_floating_point() and hasattr(layer, "get_weight"):
        return weight, lambda packed, **_: layer.get_weight(packed, torch.float32)
    return weight, convert or (lambda values, **_: values)


def model_families(model: Any) -> tuple[str, ...]:
    """The families that the loaded MODEL may be, by ComfyUI's own detection; empty where we have no name for it."""
    config = getattr(model.model, "model_config", None)
    for cls in type(config).__mro__:
        families = FAMILY_OF_CONFIG.get(cls.__name__)
        if families is not None:
            width = (getattr(config, "unet_config", None) or {}).get("dim")
            if cls.__name__ == "WAN21_T2V" and width in FAMILY_OF_WAN_WIDTH:
                return (FAMILY_OF_WAN_WIDTH[width],)
            return families
    return ()
