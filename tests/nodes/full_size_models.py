"""ComfyUI's model classes with the settings of the published models, to build them at full size without memory."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from importlib import import_module
from inspect import signature
from typing import Any

import comfy.ldm.ace.model
import comfy.ldm.aura.mmdit
import comfy.ldm.cascade.stage_c
import comfy.ldm.chroma.model
import comfy.ldm.cosmos.predict2
import comfy.ldm.flux.model
import comfy.ldm.genmo.joint_model.asymm_models_joint
import comfy.ldm.hidream.model
import comfy.ldm.hunyuan_video.model
import comfy.ldm.lightricks.model
import comfy.ldm.lumina.model
import comfy.ldm.modules.diffusionmodules.mmdit
import comfy.ldm.modules.diffusionmodules.openaimodel
import comfy.ldm.omnigen.omnigen2
import comfy.ldm.qwen_image.model
import comfy.ldm.wan.model
import comfy.ops
import torch

OPENAI = comfy.ldm.modules.diffusionmodules.openaimodel.UNetModel
MMDIT = comfy.ldm.modules.diffusionmodules.mmdit.OpenAISignatureMMDITWrapper
FLUX = comfy.ldm.flux.model.Flux
HUNYUAN = comfy.ldm.hunyuan_video.model.HunyuanVideo
WAN = comfy.ldm.wan.model.WanModel
VACE = comfy.ldm.wan.model.VaceWanModel
LUMINA = comfy.ldm.lumina.model.NextDiT
LTXV = comfy.ldm.lightricks.model.LTXVModel
COSMOS = comfy.ldm.cosmos.predict2.MiniTrainDIT

UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "use_spatial_transformer": True,
    "legacy": False,
}
FOUR = {"num_res_blocks": [2, 2, 2, 2], "channel_mult": [1, 2, 4, 4], "transformer_depth_middle": 1}
SD = UNET | FOUR | {"model_channels": 320, "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0]}
SD |= {"transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0]}
LINEAR = {"use_linear_in_transformer": True, "num_heads": -1, "num_head_channels": 64}
XL = UNET | LINEAR | {"model_channels": 320, "num_res_blocks": [2, 2, 2], "channel_mult": [1, 2, 4]}
XL |= {"context_dim": 2048, "adm_in_channels": 2816, "num_classes": "sequential"}
SDXL = XL | {"transformer_depth": [0, 0, 2, 2, 10, 10], "transformer_depth_middle": 10}
SDXL |= {"transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10]}
SSD1B = XL | {"transformer_depth": [0, 0, 2, 2, 4, 4], "transformer_depth_middle": -1}
SSD1B |= {"transformer_depth_output": [0, 0, 0, 1, 1, 2, 10, 4, 4]}
REFINER = UNET | FOUR | LINEAR | {"model_channels": 384, "context_dim": 1280, "adm_in_channels": 2560}
REFINER |= {
    "transformer_depth": [0, 0, 4, 4, 4, 4, 0, 0],
    "num_classes": "sequential",
    "transformer_depth_middle": 4,
}
REFINER |= {"transformer_depth_output": [0, 0, 0, 4, 4, 4, 4, 4, 4, 0, 0, 0]}
BFL = {"in_channels": 16, "out_channels": 16, "vec_in_dim": 768, "context_in_dim": 4096, "hidden_size": 3072}
BFL |= {"mlp_ratio": 4.0, "num_heads": 24, "depth": 19, "depth_single_blocks": 38, "axes_dim": [16, 56, 56]}
BFL |= {"theta": 10000, "patch_size": 2, "qkv_bias": True, "guidance_embed": True}
BFL2 = BFL | {
    "vec_in_dim": None,
    "global_modulation": True,
    "mlp_silu_act": True,
    "mlp_ratio": 3.0,
    "patch_size": 1,
}
BFL2 |= {
    "qkv_bias": False,
    "ops_bias": False,
    "in_channels": 128,
    "out_channels": 128,
    "axes_dim": [32, 32, 32, 32],
}
CHROMA = {
    "in_channels": 64,
    "out_channels": 64,
    "in_dim": 64,
    "out_dim": 3072,
    "hidden_dim": 5120,
    "n_layers": 5,
}
TENCENT = BFL | {"patch_size": [1, 2, 2], "theta": 256, "depth": 20, "depth_single_blocks": 40, "byt5": False}
TENCENT |= {"meanflow": False, "use_cond_type_embedding": False, "vision_in_dim": None}
IMAGE = TENCENT | {
    "patch_size": [1, 1],
    "axes_dim": [64, 64],
    "vec_in_dim": None,
    "in_channels": 64,
    "byt5": True,
}
IMAGE |= {"out_channels": 64, "context_in_dim": 3584, "hidden_size": 3584, "num_heads": 28, "meanflow": True}
WANS = {"patch_size": (1, 2, 2), "freq_dim": 256, "in_dim": 16, "out_dim": 16, "window_size": (-1, -1)}
WANS |= {"qk_norm": True, "cross_attn_norm": True, "model_type": "t2v", "image_model": "wan2.1"}
WAN14 = WANS | {"dim": 5120, "ffn_dim": 13824, "num_heads": 40, "num_layers": 40}
WAN1 = WANS | {"dim": 1536, "ffn_dim": 8960, "num_heads": 12, "num_layers": 30}
WAN5 = WANS | {"dim": 3072, "ffn_dim": 14336, "num_heads": 24, "num_layers": 30, "in_dim": 48, "out_dim": 48}
DIT = {"patch_size": 2, "in_channels": 16, "qk_norm": True, "image_model": "lumina2"}
LUMINA2 = DIT | {"dim": 2304, "cap_feat_dim": 2304, "n_layers": 26, "n_heads": 24, "n_kv_heads": 8}
LUMINA2 |= {"axes_dims": [32, 32, 32], "axes_lens": [300, 512, 512], "ffn_dim_multiplier": 4.0}
Z_IMAGE = DIT | {"dim": 3840, "cap_feat_dim": 2560, "n_layers": 30, "n_heads": 30, "n_kv_heads": 30}
Z_IMAGE |= {"axes_dims": [32, 48, 48], "axes_lens": [1536, 512, 512], "ffn_dim_multiplier": 8 / 3}
Z_IMAGE |= {"z_image_modulation": True, "time_scale": 1000.0}
PREDICT2 = {"max_img_h": 240, "max_img_w": 240, "max_frames": 128, "in_channels": 16, "out_channels": 16}
PREDICT2 |= {
    "patch_spatial": 2,
    "patch_temporal": 1,
    "concat_padding_mask": True,
    "crossattn_emb_channels": 1024,
}
PREDICT2 |= {
    "pos_emb_cls": "rope3d",
    "pos_emb_learnable": True,
    "pos_emb_interpolation": "crop",
    "min_fps": 1,
}
PREDICT2 |= {
    "max_fps": 30,
    "use_adaln_lora": True,
    "adaln_lora_dim": 256,
    "extra_per_block_abs_pos_emb": False,
}
PREDICT2 |= {f"{kind}_{axis}_extrapolation_ratio": 1 for kind in ("rope", "extra") for axis in "hwt"}
PREDICT2 |= {"rope_enable_fps_modulation": False, "image_model": "cosmos_predict2"}
HIDREAM = {"attention_head_dim": 128, "axes_dims_rope": [64, 32, 32], "caption_channels": [4096, 4096]}
HIDREAM |= {
    "max_resolution": [128, 128],
    "in_channels": 16,
    "llama_layers": [0] * 48,
    "num_attention_heads": 20,
}
HIDREAM |= {"num_routed_experts": 4, "num_activated_experts": 2, "num_layers": 16, "num_single_layers": 32}
HIDREAM |= {"out_channels": 16, "patch_size": 2, "text_emb_dim": 2048, "image_model": "hidream"}
OMNIGEN2 = {
    "axes_dim_rope": [40, 40, 40],
    "axes_lens": [1024, 1664, 1664],
    "hidden_size": 2520,
    "in_channels": 16,
}
OMNIGEN2 |= {
    "multiple_of": 256,
    "num_attention_heads": 21,
    "num_kv_heads": 7,
    "num_layers": 32,
    "patch_size": 2,
}
OMNIGEN2 |= {"num_refiner_layers": 2, "text_feat_dim": 2048, "timestep_scale": 1000.0}
MOCHI = {
    "depth": 48,
    "patch_size": 2,
    "num_heads": 24,
    "hidden_size_x": 3072,
    "hidden_size_y": 1536,
    "use_t5": True,
}
MOCHI |= {"mlp_ratio_x": 4.0, "mlp_ratio_y": 4.0, "in_channels": 12, "qk_norm": True, "qkv_bias": False}
MOCHI |= {"out_bias": True, "patch_embed_bias": True, "posenc_preserve_area": True, "timestep_mlp_bias": True}
MOCHI |= {"t5_feat_dim": 4096, "t5_token_length": 256, "rope_theta": 10000.0, "learn_sigma": False}
ACE = {
    "attention_head_dim": 128,
    "in_channels": 8,
    "inner_dim": 2560,
    "max_height": 16,
    "max_position": 32768,
}
ACE |= {"max_width": 32768, "mlp_ratio": 2.5, "num_attention_heads": 20, "num_layers": 24, "out_channels": 8}
ACE |= {
    "patch_size": [16, 1],
    "rope_theta": 1000000.0,
    "speaker_embedding_dim": 512,
    "text_embedding_dim": 768,
}
ACE |= {"ssl_encoder_depths": [8, 8], "ssl_latent_dims": [1024, 768], "ssl_names": ["mert", "m-hubert"]}
ACE |= {"lyric_encoder_vocab_size": 6693, "lyric_hidden_size": 1024}


def mmdit(depth: int, **more: Any) -> dict[str, Any]:
    text = {"in_features": 4096, "out_features": depth * 64}
    embedder = {"target": "torch.nn.Linear", "params": text}
    shape = {"in_channels": 16, "patch_size": 2, "out_channels": 16, "input_size": None, "num_patches": 36864}
    shape |= {"pos_embed_max_size": 192, "pos_embed_scaling_factor": None, "adm_in_channels": 2048}
    return shape | {"depth": depth, "context_embedder_config": embedder} | more


# Model → (family, variant in our table, ComfyUI's class, its settings).
MODELS: dict[str, tuple[str, str, Any, dict[str, Any]]] = {
    "SD 1.5": (
        "sd1",
        "",
        OPENAI,
        SD | {"context_dim": 768, "use_linear_in_transformer": False, "num_heads": 8},
    ),
    "SD 2.1": ("sd2", "", OPENAI, SD | LINEAR | {"context_dim": 1024}),
    "SDXL": ("sdxl", "", OPENAI, SDXL),
    "SSD-1B": ("sdxl", "SSD-1B", OPENAI, SSD1B),
    "SDXL refiner": ("sdxl_refiner", "", OPENAI, REFINER),
    "SD 3 medium": ("sd3", "SD 3 medium", MMDIT, mmdit(24)),
    "SD 3.5 medium": (
        "sd3",
        "SD 3.5 medium",
        MMDIT,
        mmdit(24, qk_norm="rms", x_block_self_attn_layers=[*range(13)]),
    ),
    "SD 3.5 large": ("sd3", "SD 3.5 large", MMDIT, mmdit(38, qk_norm="rms")),
    "FLUX.1 dev": ("flux1", "", FLUX, BFL),
    "FLUX.1 schnell": ("flux1", "", FLUX, BFL | {"guidance_embed": False}),
    "FLUX.2 dev": (
        "flux2",
        "FLUX.2 dev",
        FLUX,
        BFL2
        | {
            "hidden_size": 6144,
            "num_heads": 48,
            "depth": 8,
            "depth_single_blocks": 48,
            "context_in_dim": 15360,
        },
    ),
    "FLUX.2 klein 9B": (
        "flux2",
        "FLUX.2 klein 9B",
        FLUX,
        BFL2
        | {
            "hidden_size": 4096,
            "num_heads": 32,
            "depth": 8,
            "depth_single_blocks": 24,
            "context_in_dim": 12288,
        },
    ),
    "FLUX.2 klein 4B": (
        "flux2",
        "FLUX.2 klein 4B",
        FLUX,
        BFL2 | {"depth": 5, "depth_single_blocks": 20, "context_in_dim": 7680},
    ),
    "Chroma": (
        "chroma",
        "",
        comfy.ldm.chroma.model.Chroma,
        {key: value for key, value in (BFL | CHROMA).items() if key not in ("vec_in_dim", "guidance_embed")},
    ),
    "HunyuanVideo": ("hunyuan_video", "", HUNYUAN, TENCENT),
    "HunyuanImage": ("hunyuan_image", "", HUNYUAN, IMAGE),
    "Wan 14B": ("wan_14b", "", WAN, WAN14),
    "Wan 14B i2v": ("wan_14b", "", WAN, WAN14 | {"model_type": "i2v", "in_dim": 36}),
    "Wan 14B VACE": (
        "wan_14b",
        "",
        VACE,
        WAN14 | {"model_type": "vace", "vace_layers": 8, "vace_in_dim": 96},
    ),
    "Wan 2.2 5B": ("wan_5b", "", WAN, WAN5),
    "Wan 1.3B": ("wan_1_3b", "", WAN, WAN1),
    "Qwen-Image": (
        "qwen_image",
        "",
        comfy.ldm.qwen_image.model.QwenImageTransformer2DModel,
        {"in_channels": 64, "num_layers": 60},
    ),
    "Lumina 2": ("lumina2", "", LUMINA, LUMINA2),
    "Z-Image": ("z_image", "", LUMINA, Z_IMAGE),
    "LTX-Video 2B": (
        "ltxv",
        "LTX-Video 2B",
        LTXV,
        {"in_channels": 128, "num_layers": 28, "attention_head_dim": 64, "cross_attention_dim": 2048},
    ),
    "LTX-Video 13B": (
        "ltxv",
        "LTX-Video 13B",
        LTXV,
        {"in_channels": 128, "num_layers": 48, "attention_head_dim": 128, "cross_attention_dim": 4096},
    ),
    "HiDream": ("hidream", "", comfy.ldm.hidream.model.HiDreamImageTransformer2DModel, HIDREAM),
    "AuraFlow": (
        "auraflow",
        "",
        comfy.ldm.aura.mmdit.MMDiT,
        {"max_seq": 4096, "cond_seq_dim": 2048, "n_double_layers": 4, "n_layers": 36},
    ),
    "Stable Cascade": ("cascade", "", comfy.ldm.cascade.stage_c.StageC, {}),
    "Cosmos-Predict2 2B": (
        "cosmos_predict2",
        "Cosmos-Predict2 2B",
        COSMOS,
        PREDICT2 | {"model_channels": 2048, "num_blocks": 28, "num_heads": 16},
    ),
    "Cosmos-Predict2 14B": (
        "cosmos_predict2",
        "Cosmos-Predict2 14B",
        COSMOS,
        PREDICT2 | {"model_channels": 5120, "num_blocks": 36, "num_heads": 40},
    ),
    "OmniGen2": ("omnigen2", "", comfy.ldm.omnigen.omnigen2.OmniGen2Transformer2DModel, OMNIGEN2),
    "Mochi": ("mochi", "", comfy.ldm.genmo.joint_model.asymm_models_joint.AsymmDiTJoint, MOCHI),
    "ACE-Step": ("ace_step", "ACE-Step 1", comfy.ldm.ace.model.ACEStepTransformer2DModel, ACE),
}


# Models that aren't in `MODELS`, because our table has no row of this size or not every ComfyUI has their class.
OTHERS: dict[str, tuple[str, str, Any, dict[str, Any]]] = {}


def _add(name: str, family: str, module: str, cls: str, settings: dict[str, Any], variant: str = "") -> None:
    """Adds a model whose class not every ComfyUI has. The class's defaults are the published size."""
    try:
        made = getattr(import_module(f"comfy.ldm.{module}"), cls)
    except (ImportError, AttributeError):
        return
    OTHERS[name] = (family, variant, made, settings)


GENERAL = PREDICT2 | {"block_config": "FA-CA-MLP", "model_channels": 4096, "num_blocks": 28, "num_heads": 32}
GENERAL |= {"max_img_h": 240, "affline_emb_norm": True, "extra_per_block_abs_pos_emb": True}
GENERAL |= {
    "block_x_format": "THWBD",
    "extra_per_block_abs_pos_emb_type": "learnable",
    "image_model": "cosmos",
}
GENERAL = {
    key: value
    for key, value in GENERAL.items()
    if key not in ("min_fps", "max_fps", "rope_enable_fps_modulation")
}
LONGCAT = BFL | {
    "vec_in_dim": None,
    "context_in_dim": 3584,
    "guidance_embed": False,
    "depth": 10,
    "depth_single_blocks": 20,
}
OVIS = BFL | {
    "vec_in_dim": None,
    "context_in_dim": 2048,
    "guidance_embed": False,
    "depth": 6,
    "depth_single_blocks": 27,
}
HYV15 = TENCENT | {
    "hidden_size": 2048,
    "num_heads": 16,
    "depth": 54,
    "depth_single_blocks": 0,
    "context_in_dim": 3584,
}
HYV15 |= {
    "in_channels": 65,
    "out_channels": 32,
    "patch_size": [1, 1, 1],
    "vec_in_dim": None,
    "guidance_embed": False,
}
HYV15 |= {"byt5": True, "use_cond_type_embedding": True, "vision_in_dim": 1152}
REFINE = TENCENT | {
    "patch_size": [1, 1, 1],
    "vec_in_dim": None,
    "in_channels": 128,
    "out_channels": 64,
    "context_in_dim": 3584,
}
RADIANCE = BFL | CHROMA | {"in_channels": 3, "out_channels": 3, "patch_size": 16, "nerf_hidden_size": 64}
RADIANCE |= {
    "nerf_mlp_ratio": 4,
    "nerf_depth": 4,
    "nerf_max_freqs": 8,
    "nerf_tile_size": 512,
    "nerf_final_head_type": "conv",
}
RADIANCE |= {"nerf_embedder_dtype": torch.float32}
RADIANCE = {key: value for key, value in RADIANCE.items() if key not in ("vec_in_dim", "guidance_embed")}
NEWBIE = LUMINA2 | {"n_layers": 36, "cap_feat_dim": 2560, "clip_text_dim": 1024}

OTHERS["HunyuanVideo 1.5"] = ("hunyuan_video_1_5", "", HUNYUAN, HYV15)
OTHERS["LongCat-Image"] = ("longcat_image", "", FLUX, LONGCAT)
if "yak_mlp" in {field.name for field in fields(comfy.ldm.flux.model.FluxParams)}:
    OTHERS["Ovis-Image"] = ("ovis_image", "", FLUX, OVIS | {"yak_mlp": True, "txt_norm": True})
if "clip_text_dim" in signature(LUMINA.__init__).parameters:
    OTHERS["NewBie"] = ("newbie", "", LUMINA, NEWBIE)
_add("Chroma Radiance", "chroma", "chroma_radiance.model", "ChromaRadiance", RADIANCE)
_add("Cosmos 1 7B", "cosmos1", "cosmos.model", "GeneralDIT", GENERAL)
_add("Krea 2", "krea2", "krea2.model", "SingleStreamDiT", {})
_add("Mage-Flow", "mage_flow", "mage_flow.model", "MageFlowTransformer2DModel", {})
_add("Boogu", "boogu", "boogu.model", "BooguTransformer2DModel", {})
_add("Lens", "lens", "lens.model", "LensTransformer2DModel", {})
_add("JoyImage", "joyimage", "joyimage.model", "JoyImageTransformer3DModel", {})
_add("Ideogram 4", "ideogram4", "ideogram4.model", "Ideogram4Transformer2DModel", {})
_add("MiniMax H3", "minimax_h3", "minimax.model", "MiniMaxH3Model", {})
_add("ERNIE-Image", "ernie_image", "ernie.model", "ErnieImageModel", {})
_add("CogVideoX 2B", "cogvideox", "cogvideo.model", "CogVideoXTransformer3DModel", {}, "CogVideoX 2B")
_add("Hunyuan3D 2", "hunyuan3d2", "hunyuan3d.model", "Hunyuan3Dv2", {})
_add("Hunyuan3D 2.1", "hunyuan3d2", "hunyuan3dv2_1.hunyuandit", "HunYuanDiTPlain", {})
_add("ACE-Step 1.5", "ace_step", "ace.ace_step15", "AceStepConditionGenerationModel", {})
_add("Stable Cascade B", "cascade_b", "cascade.stage_b", "StageB", {})
_add(
    "Anima",
    "anima",
    "anima.model",
    "Anima",
    PREDICT2 | {"model_channels": 2048, "num_blocks": 28, "num_heads": 16},
)
_add("LTX-2", "ltx2", "lightricks.av_model", "LTXAVModel", {"num_layers": 48})
_add(
    "PixArt",
    "pixart",
    "pixart.pixartms",
    "PixArtMS",
    {"micro_condition": False, "model_max_length": 300, "input_size": 64},
)
_add(
    "Hunyuan-DiT",
    "hunyuan_dit",
    "hydit.models",
    "HunYuanDiT",
    {"hidden_size": 1408, "depth": 40, "mlp_ratio": 4.3637},
)

REFINE |= {"hidden_size": 3328, "num_heads": 26}
SEEDVR2 = {"norm_eps": 1e-5, "vid_dim": 2560, "heads": 20, "num_layers": 32, "mlp_type": "swiglu"}
SEEDVR2_7B = SEEDVR2 | {"vid_dim": 3072, "heads": 24, "num_layers": 36, "rope_type": "rope3d", "rope_dim": 64}
VIDEO_UNET = SD | {"use_temporal_attention": True, "use_temporal_resblock": True, "adm_in_channels": 768}
VIDEO_UNET |= {"num_classes": "sequential", "context_dim": 1024, "in_channels": 8, "num_head_channels": 64}
VIDEO_UNET |= {
    "num_heads": -1,
    "use_linear_in_transformer": True,
    "extra_ff_mix_layer": True,
    "video_kernel_size": [3, 1, 1],
}
VIDEO_UNET |= {"use_spatial_context": True, "merge_strategy": "learned_with_images", "merge_factor": 0.0}
PRO = {"model_dim": 4096, "time_dim": 1024, "ff_dim": 16384, "num_text_blocks": 4, "num_visual_blocks": 60}
OTHERS["HunyuanImage refiner"] = ("hunyuan_image_refiner", "", HUNYUAN, REFINE)
OTHERS["SVD"] = ("svd", "", OPENAI, VIDEO_UNET)
_add(
    "Hunyuan3D 2 mini",
    "hunyuan3d2",
    "hunyuan3d.model",
    "Hunyuan3Dv2",
    {"depth": 8, "depth_single_blocks": 16},
)
_add("PixelDiT", "pixeldit", "pixeldit.model", "PixDiT_T2I", {})
_add("PiD", "pixeldit", "pixeldit.pid", "PidNet", {})
_add("SeedVR2 3B", "seedvr2", "seedvr.model", "NaDiT", SEEDVR2 | {"vid_out_norm": True}, "SeedVR2 3B")
_add("SeedVR2 7B", "seedvr2", "seedvr.model", "NaDiT", SEEDVR2_7B, "SeedVR2 7B")
_add("HiDream-O1", "hidream_o1", "hidream_o1.model", "HiDreamO1Transformer", {})
_add("MiniMax Music 3", "minimax_music3", "minimax_music.dit", "MiniMaxMusic3DiT", {})
_add("Kandinsky 5 Lite", "kandinsky5", "kandinsky5.model", "Kandinsky5", {})
_add("Kandinsky 5 Pro", "kandinsky5", "kandinsky5.model", "Kandinsky5", PRO)
_add("Stable Audio", "stable_audio", "audio.dit", "AudioDiffusionTransformer", {})
_add("Wan 2.2 Animate", "wan_14b", "wan.model_animate", "AnimateWanModel", WAN14 | {"in_dim": 36})
_add("Wan Animate 2", "wan_14b", "wan.model_animate2", "WanAnimate2Model", WAN14 | {"in_dim": 36})
_add("Wan 2.2 S2V", "wan_14b", "wan.model", "WanModel_S2V", WAN14)
_add("HuMo", "wan_14b", "wan.model", "HumoWanModel", WAN14 | {"in_dim": 36})
_add("SCAIL", "wan_14b", "wan.model", "SCAILWanModel", WAN14 | {"in_dim": 36})

# Further settings that newer ComfyUI requires.
NEWER = {"txt_ids_dims": [], "vec_in_dim": None, "meanflow_sum": False, "use_x0": True}
NEWER |= {"use_sequential_txt_ids": False}


@cache
def weights_of(model: str) -> dict[str, torch.Tensor]:
    """The weights of a model in MODELS or OTHERS, at full size on the meta device."""
    _, _, make, arguments = (MODELS | OTHERS)[model]
    parameters = getattr(import_module(make.__module__), f"{make.__name__}Params", None)
    if parameters is not None:
        asked = {field.name for field in fields(parameters)}
        arguments = {key: value for key, value in NEWER.items() if key in asked} | arguments
    arguments = arguments | {"dtype": torch.float16, "operations": comfy.ops.disable_weight_init}
    try:
        with torch.device("meta"):
            return dict(make(**arguments, device="meta").state_dict())
    except (
        RuntimeError
    ):  # it reads a value that it computes, which meta tensors don't have; unwritten memory takes no space
        built = make(**arguments, device="cpu").state_dict()
        return {name: torch.empty_like(weight, device="meta") for name, weight in built.items()}
