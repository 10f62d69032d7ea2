"""Facts about a loaded MODEL or CLIP: its architecture, the LoRA keys that match it, and the shapes of its weights."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import comfy.lora
import comfy.model_patcher
import comfy.supported_models
import comfy.utils
import torch

from .name_index import NameIndex

if TYPE_CHECKING:
    from collections.abc import Callable

    from .name_index import Slot

# ComfyUI's class (comfy/supported_models.py) → our family IDs. An entry doesn't apply to classes that ComfyUI derives
# from its class. If a class has no family here, the tensors alone decide whether a LoRA matches.
FAMILY_OF_CONFIG: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("SD15", "SD15_instructpix2pix"), ("sd1",)),
    **dict.fromkeys(("SD20", "SD21UnclipL", "SD21UnclipH", "LotusD"), ("sd2",)),
    "SDXLRefiner": ("sdxl_refiner",),
    **dict.fromkeys(
        ("SDXL", "SSD1B", "Segmind_Vega", "KOALA_700M", "KOALA_1B", "SDXL_instructpix2pix"), ("sdxl",)
    ),
    **dict.fromkeys(("SVD_img2vid", "SV3D_u", "SV3D_p"), ("svd",)),
    "Stable_Cascade_C": ("cascade",),
    "Stable_Cascade_B": ("cascade_b",),
    "SD3": ("sd3",),
    "StableAudio": ("stable_audio",),
    "StableAudio3": ("stable_audio_3",),
    "AuraFlow": ("auraflow",),
    **dict.fromkeys(("PixArtAlpha", "PixArtSigma"), ("pixart",)),
    **dict.fromkeys(("Flux", "FluxInpaint", "FluxSchnell"), ("flux1",)),
    "Flux2": ("flux2",),
    "LongCatImage": ("longcat_image",),
    "Lens": ("lens",),
    "GenmoMochi": ("mochi",),
    "LTXV": ("ltxv",),
    "LTXAV": ("ltx2",),
    **dict.fromkeys(("HunyuanVideo", "HunyuanVideoI2V", "HunyuanVideoSkyreelsI2V"), ("hunyuan_video",)),
    **dict.fromkeys(("HunyuanVideo15", "HunyuanVideo15_SR_Distilled"), ("hunyuan_video_1_5",)),
    "HunyuanImage21": ("hunyuan_image",),
    "HunyuanImage21Refiner": ("hunyuan_image_refiner",),
    **dict.fromkeys(("HunyuanDiT", "HunyuanDiT1"), ("hunyuan_dit",)),
    **dict.fromkeys(("Hunyuan3Dv2", "Hunyuan3Dv2_1", "Hunyuan3Dv2mini"), ("hunyuan3d2",)),
    **dict.fromkeys(("Kandinsky5", "Kandinsky5Image"), ("kandinsky5",)),
    **dict.fromkeys(("CosmosT2V", "CosmosI2V"), ("cosmos1",)),
    **dict.fromkeys(("CosmosT2IPredict2", "CosmosI2VPredict2"), ("cosmos_predict2",)),
    "Anima": ("anima",),
    "Lumina2": ("lumina2",),
    **dict.fromkeys(("ZImage", "ZImagePixelSpace"), ("z_image",)),
    **dict.fromkeys(("PixelDiTT2I", "PiD"), ("pixeldit",)),
    **dict.fromkeys(
        (
            "WAN21_T2V",
            "WAN21_CausalAR_T2V",
            "WAN21_I2V",
            "WAN21_FunControl2V",
            "WAN21_Camera",
            "WAN22_Camera",
            "WAN21_Vace",
            "WAN21_HuMo",
            "WAN22_S2V",
            "WAN22_Animate",
            "WAN_Animate2",
            "WAN22_T2V",
            "WAN21_FlowRVS",
            "WAN21_SCAIL",
            "WAN21_SCAIL2",
            "WAN22_WanDancer",
        ),
        ("wan_14b", "wan_5b", "wan_1_3b"),
    ),
    "HiDream": ("hidream",),
    "HiDreamO1": ("hidream_o1",),
    **dict.fromkeys(("Chroma", "ChromaRadiance"), ("chroma",)),
    "SeedVR2": ("seedvr2",),
    **dict.fromkeys(("ACEStep", "ACEStep15"), ("ace_step",)),
    "Omnigen2": ("omnigen2",),
    "Boogu": ("boogu",),
    "Ideogram4": ("ideogram4",),
    "Krea2": ("krea2",),
    "MageFlow": ("mage_flow",),
    "QwenImage": ("qwen_image",),
    "JoyImage": ("joyimage",),
    "MiniMaxH3": ("minimax_h3",),
    "MiniMaxMusic3": ("minimax_music3",),
    "ErnieImage": ("ernie_image",),
    **dict.fromkeys(("CogVideoX_T2V", "CogVideoX_I2V", "CogVideoX_Inpaint"), ("cogvideox",)),
    # No LoRAs are trained for these.
    **dict.fromkeys(("Stable_Zero123", "SD_X4Upscaler", "Trellis2", "TripoSplat"), ()),
    **dict.fromkeys(("RT_DETR_v4", "DepthAnything3", "SAM3", "SAM31"), ()),
}
# If a class serves several families, one of its settings tells them apart: class → (setting, value, families).
FAMILY_OF_SETTING: dict[str, tuple[tuple[str, Any, tuple[str, ...]], ...]] = {
    "Lumina2": (("n_layers", 36, ("newbie",)),),
    "FluxSchnell": (("context_in_dim", 3584, ("longcat_image",)), ("context_in_dim", 2048, ("ovis_image",))),
}
# One configuration class serves several sizes of Wan; the width tells which size it is.
FAMILY_OF_WAN_WIDTH = {5120: "wan_14b", 3072: "wan_5b", 1536: "wan_1_3b"}


@dataclass(frozen=True)
class LoadedWeights:
    """The weights of one side of a checkpoint (diffusion model or text encoder), by the names that LoRA files use."""

    key_map: dict[str, Slot]
    """Name stem in a LoRA file → the weight that it changes."""
    shapes: dict[str, torch.Size]
    """Weight name → shape."""

    @cached_property
    def names(self) -> NameIndex:
        """An index of the same names in all other spellings."""
        return NameIndex(self.key_map, self.shapes)

    @cached_property
    def blocks(self) -> dict[str, int]:
        """Name of a stack of blocks → number of its blocks: `{"double_blocks": 19, "single_blocks": 38}`."""
        found: dict[str, int] = {}
        for name in self.shapes:
            match = _BLOCK.match(name)
            if match:
                stack = match[1].replace(".", "_")
                found[stack] = max(found.get(stack, 0), int(match[2]) + 1)
        return found


_BLOCK = re.compile(r"diffusion_model\.(.+?)\.(\d+)\.")

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
    """The shapes that the checkpoint's weights have without patches.

    For a quantized weight, the parameter has the real shape; the state dict only has the shape of the bytes. If a LoRA
    widened a weight for the previous run, the original is in the backup.
    """
    shapes = {name: tensor.shape for name, tensor in patcher.model.state_dict().items()}
    for name, parameter in patcher.model.named_parameters(remove_duplicate=False):
        if name in shapes:
            shapes[name] = torch.Size(parameter.shape)
    for name, kept in patcher.backup.items():
        shapes[name] = torch.Size(kept.weight.shape)
    return shapes


def arriving_weight(patcher: Any, key: str) -> tuple[Any, Callable[..., torch.Tensor]]:
    """A weight of a MODEL or of a CLIP's patcher before any patch, and the function that converts it to numbers.

    `get_key_patches` returns the same for all weights, but in newer ComfyUI it fails if any weight is quantized. GGUF
    packs store bytes in the parameter, and their layers have `get_weight(parameter, dtype)` instead of
    `convert_weight`.
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
    """The possible families of the loaded MODEL, by ComfyUI's own detection; empty if it isn't in our table.

    A class that another pack derives from a ComfyUI class has the families of that ComfyUI class.
    """
    config = getattr(model.model, "model_config", None)
    settings = getattr(config, "unet_config", None) or {}
    for cls in type(config).__mro__:
        families = FAMILY_OF_CONFIG.get(cls.__name__)
        if families is None:
            if cls.__module__ == comfy.supported_models.__name__:
                return ()
            continue
        for setting, value, narrowed in FAMILY_OF_SETTING.get(cls.__name__, ()):
            if settings.get(setting) == value:
                return narrowed
        width = FAMILY_OF_WAN_WIDTH.get(settings.get("dim", 0))
        return (width,) if width in families else families
    return ()
