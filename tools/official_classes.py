"""Writes `tests/data/official_classes.json.gz`: the weights of the models' official classes, by name and size.

    python -m tools.official_classes DIFFUSERS

DIFFUSERS is a folder with the package `diffusers` (`pip install --no-deps --target DIFFUSERS diffusers`). ComfyUI is
the one that the tests run with, which should be a recent one. All models are built on PyTorch's meta device. Where a
class's defaults differ from the published model, the settings are those of the published model.
"""

from __future__ import annotations

import gzip
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent.parent / "tests" / "data" / "official_classes.json.gz"

# The family, and which of its models → diffusers' class and its settings.
DIFFUSERS: dict[str, tuple[str, dict[str, Any]]] = {
    "flux1 FLUX.1": ("FluxTransformer2DModel", {"guidance_embeds": True}),
    "flux2 dev": ("Flux2Transformer2DModel", {}),
    "flux2 klein4": (
        "Flux2Transformer2DModel",
        {
            "num_layers": 5,
            "num_single_layers": 20,
            "num_attention_heads": 24,
            "joint_attention_dim": 7680,
            "guidance_embeds": False,
        },
    ),
    "flux2 klein9": (
        "Flux2Transformer2DModel",
        {
            "num_layers": 8,
            "num_single_layers": 24,
            "num_attention_heads": 32,
            "joint_attention_dim": 12288,
            "guidance_embeds": False,
        },
    ),
    "chroma": ("ChromaTransformer2DModel", {}),
    "sd3 medium": (
        "SD3Transformer2DModel",
        {
            "num_layers": 24,
            "num_attention_heads": 24,
            "joint_attention_dim": 4096,
            "caption_projection_dim": 1536,
            "pos_embed_max_size": 192,
        },
    ),
    "sd3 35m": (
        "SD3Transformer2DModel",
        {
            "num_layers": 24,
            "num_attention_heads": 24,
            "joint_attention_dim": 4096,
            "caption_projection_dim": 1536,
            "pos_embed_max_size": 384,
            "dual_attention_layers": tuple(range(13)),
            "qk_norm": "rms_norm",
        },
    ),
    "sd3 35l": (
        "SD3Transformer2DModel",
        {
            "num_layers": 38,
            "num_attention_heads": 38,
            "joint_attention_dim": 4096,
            "caption_projection_dim": 2432,
            "pos_embed_max_size": 192,
            "qk_norm": "rms_norm",
        },
    ),
    "qwen_image": ("QwenImageTransformer2DModel", {}),
    "qwen_image_2": ("QwenImage21Transformer2DModel", {}),
    "z_image": ("ZImageTransformer2DModel", {}),
    "lumina2": ("Lumina2Transformer2DModel", {}),
    "newbie": ("Lumina2Transformer2DModel", {"num_layers": 36, "cap_feat_dim": 2560}),
    "hidream": (
        "HiDreamImageTransformer2DModel",
        {
            "patch_size": 2,
            "in_channels": 16,
            "out_channels": 16,
            "num_layers": 16,
            "num_single_layers": 32,
            "attention_head_dim": 128,
            "num_attention_heads": 20,
            "caption_channels": [4096, 4096],
            "text_emb_dim": 2048,
            "num_routed_experts": 4,
            "num_activated_experts": 2,
            "llama_layers": list(range(48)),
        },
    ),
    "hunyuan_video": ("HunyuanVideoTransformer3DModel", {}),
    "hunyuan_video framepack": (
        "HunyuanVideoFramepackTransformer3DModel",
        {"has_image_proj": True, "has_clean_x_embedder": True, "image_condition_type": None},
    ),
    "hunyuan_image": ("HunyuanImageTransformer2DModel", {}),
    "hunyuan_video_1_5": ("HunyuanVideo15Transformer3DModel", {}),
    "hunyuan_dit": (
        "HunyuanDiT2DModel",
        {
            "num_attention_heads": 16,
            "attention_head_dim": 88,
            "in_channels": 4,
            "patch_size": 2,
            "num_layers": 40,
            "hidden_size": 1408,
            "mlp_ratio": 4.3637,
            "cross_attention_dim": 1024,
            "cross_attention_dim_t5": 2048,
            "pooled_projection_dim": 1024,
        },
    ),
    "wan_14b": ("WanTransformer3DModel", {}),
    "wan_14b i2v": (
        "WanTransformer3DModel",
        {"in_channels": 36, "image_dim": 1280, "added_kv_proj_dim": 5120},
    ),
    "wan_1_3b": ("WanTransformer3DModel", {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30}),
    "wan_5b": (
        "WanTransformer3DModel",
        {
            "num_attention_heads": 24,
            "ffn_dim": 14336,
            "num_layers": 30,
            "in_channels": 48,
            "out_channels": 48,
        },
    ),
    "wan_14b vace": ("WanVACETransformer3DModel", {}),
    "wan_14b animate": ("WanAnimateTransformer3DModel", {}),
    "wan_14b animate2": ("WanAnimate2Transformer3DModel", {}),
    "wan_14b skyreels": (
        "SkyReelsV2Transformer3DModel",
        {"num_attention_heads": 40, "attention_head_dim": 128, "ffn_dim": 13824, "num_layers": 40},
    ),
    "wan_14b chrono": (
        "ChronoEditTransformer3DModel",
        {"image_dim": 1280, "added_kv_proj_dim": 5120, "in_channels": 36},
    ),
    "auraflow": ("AuraFlowTransformer2DModel", {}),
    "cogvideox 2b": ("CogVideoXTransformer3DModel", {"num_attention_heads": 30, "num_layers": 30}),
    "cogvideox 5b": ("CogVideoXTransformer3DModel", {"num_attention_heads": 48, "num_layers": 42}),
    "cosmos1 7b": ("CosmosTransformer3DModel", {}),
    "cosmos1 14b": (
        "CosmosTransformer3DModel",
        {"num_attention_heads": 40, "num_layers": 36, "extra_pos_embed_type": None},
    ),
    "cosmos_predict2 2b": (
        "CosmosTransformer3DModel",
        {"num_attention_heads": 16, "num_layers": 28, "extra_pos_embed_type": None},
    ),
    "cosmos_predict2 14b": (
        "CosmosTransformer3DModel",
        {"num_attention_heads": 40, "num_layers": 36, "extra_pos_embed_type": None},
    ),
    "cosmos_predict2 25": (
        "CosmosTransformer3DModel",
        {
            "num_attention_heads": 16,
            "num_layers": 28,
            "extra_pos_embed_type": None,
            "use_crossattn_projection": True,
        },
    ),
    "ernie_image": (
        "ErnieImageTransformer2DModel",
        {"hidden_size": 4096, "num_attention_heads": 32, "num_layers": 36, "ffn_hidden_size": 12288},
    ),
    "ideogram4": ("Ideogram4Transformer2DModel", {}),
    "joyimage": ("JoyImageEditTransformer3DModel", {}),
    "joyimage plus": ("JoyImageEditPlusTransformer3DModel", {}),
    "kandinsky5 lite": ("Kandinsky5Transformer3DModel", {"model_dim": 1792, "ff_dim": 7168}),
    "kandinsky5 pro": (
        "Kandinsky5Transformer3DModel",
        {"model_dim": 4096, "time_dim": 1024, "ff_dim": 16384, "num_text_blocks": 4, "num_visual_blocks": 60},
    ),
    "krea2": ("Krea2Transformer2DModel", {}),
    "longcat_image": ("LongCatImageTransformer2DModel", {"num_layers": 10, "num_single_layers": 20}),
    "ltxv 2b": ("LTXVideoTransformer3DModel", {}),
    "ltxv 13b": (
        "LTXVideoTransformer3DModel",
        {"num_attention_heads": 32, "attention_head_dim": 128, "cross_attention_dim": 4096, "num_layers": 48},
    ),
    "ltx2": ("LTX2VideoTransformer3DModel", {}),
    "minimax_h3": ("MiniMaxH3Transformer3DModel", {}),
    "minimax_music3": ("MiniMaxMusic3Transformer1DModel", {}),
    "mochi": ("MochiTransformer3DModel", {}),
    "ovis_image": ("OvisImageTransformer2DModel", {}),
    "pixart": ("PixArtTransformer2DModel", {}),
    "sana 1.6": ("SanaTransformer2DModel", {}),
    "sana 0.6": (
        "SanaTransformer2DModel",
        {
            "num_attention_heads": 36,
            "attention_head_dim": 32,
            "num_layers": 28,
            "num_cross_attention_heads": 16,
            "cross_attention_head_dim": 72,
            "cross_attention_dim": 1152,
        },
    ),
    "stable_audio": ("StableAudioDiTModel", {}),
    "stable_audio_3": ("StableAudio3DiTModel", {}),
    "ace_step 1.5": ("AceStepTransformer1DModel", {}),
    "svd": ("UNetSpatioTemporalConditionModel", {}),
    "sd1": ("UNet2DConditionModel", {"cross_attention_dim": 768}),
}
# Models that the table deliberately has no row for: they must not be detected as another family.
STRANGERS = (
    "AllegroTransformer3DModel",
    "AnyFlowTransformer3DModel",
    "BriaFibo2Transformer2DModel",
    "BriaFiboTransformer2DModel",
    "BriaTransformer2DModel",
    "CogView3PlusTransformer2DModel",
    "CogView4Transformer2DModel",
    "ConsisIDTransformer3DModel",
    "Cosmos3OmniTransformer",
    "Flux3Transformer2DModel",
    "GlmImageTransformer2DModel",
    "HeliosTransformer3DModel",
    "Kandinsky6Transformer3DModel",
    "Kandinsky6SRTransformer3DModel",
    "LongCatAudioDiTTransformer",
    "MotifVideoTransformer3DModel",
    "NucleusMoEImageTransformer2DModel",
    "PRXTransformer2DModel",
    "PriorTransformer",
    "SanaVideoTransformer3DModel",
    "SanaWMTransformer3DModel",
    "I2VGenXLUNet",
    "Kandinsky3UNet",
    "DreamLiteUNetModel",
)


def main(diffusers: str) -> None:
    """Builds every class and writes the file."""
    found = {f"ComfyUI: {name}": entry for name, entry in _comfyui().items()}
    sys.path.insert(0, diffusers)
    for name, (cls, settings) in DIFFUSERS.items():
        found[f"diffusers: {name}"] = (name.partition(" ")[0], _diffusers(cls, settings))
    for cls in STRANGERS:
        found[f"diffusers: {cls}"] = ("", _diffusers(cls, {}))
    packed = {
        name: {"family": family, "weights": _pack(weights)} for name, (family, weights) in found.items()
    }
    FILE.write_bytes(gzip.compress(json.dumps(packed, separators=(",", ":")).encode(), 9, mtime=0))
    print(f"{len(packed)} classes, {FILE.stat().st_size:,} bytes")


def _comfyui() -> dict[str, tuple[str, dict[str, tuple[int, ...]]]]:
    import_module("tests.nodes.conftest")  # imports ComfyUI
    models = import_module("tests.nodes.full_size_models")
    return {
        name: (
            made[0],
            {
                weight.removesuffix(".weight"): tuple(tensor.shape)
                for weight, tensor in models.weights_of(name).items()
                if weight.endswith(".weight") and tensor.ndim > 1
            },
        )
        for name, made in (models.MODELS | models.OTHERS).items()
    }


def _diffusers(cls: str, settings: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    torch = import_module("torch")
    modules = (import_module("diffusers.models.transformers"), import_module("diffusers.models.unets"))
    make = next(getattr(module, cls) for module in modules if hasattr(module, cls))
    with torch.device("meta"):
        model = make(**settings)
    weights = {name: getattr(module, "weight", None) for name, module in model.named_modules()}
    return {
        name: tuple(weight.shape)
        for name, weight in weights.items()
        if weight is not None and hasattr(weight, "shape") and len(weight.shape) > 1
    }


def _pack(weights: dict[str, tuple[int, ...]]) -> list[list[Any]]:
    packed, last = [], ""
    for name, shape in weights.items():
        differs = (place for place, (a, b) in enumerate(zip(last, name)) if a != b)
        shared = next(differs, min(len(last), len(name)))
        packed.append([shared, name[shared:], list(shape)])
        last = name
    return packed


if __name__ == "__main__":
    main(sys.argv[1])
