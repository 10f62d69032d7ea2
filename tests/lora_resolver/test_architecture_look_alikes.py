"""Similar models, and files that aren't LoRAs for diffusion models: what their headers tell."""

from __future__ import annotations

import pytest

from lora_resolver import SafetensorsHeader, detect_architecture
from tests.lora_resolver.made_headers import (
    CUT_FLUX,
    blocks,
    header,
    lora,
)

# Similar models that differ in one respect each: the difference must be detected.
LOOK_ALIKES: list[tuple[str, list[tuple[str, int, int]], tuple[str, ...]]] = [
    (
        "SD 1.x by the width of its text",
        [("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k", 768, 1280)],
        ("sd1",),
    ),
    (
        "SD 2.x by the width of its text",
        [("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k", 1024, 1280)],
        ("sd2",),
    ),
    (
        "SDXL, or Kolors, by the width of its text",
        [("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k", 2048, 1280)],
        ("sdxl", "kolors"),
    ),
    (
        "SDXL by its original names, which nobody trains Kolors under",
        [("lora_unet_middle_block_1_transformer_blocks_9_attn1_to_q", 1280, 1280)],
        ("sdxl",),
    ),
    (
        "SDXL by depth",
        [("unet.down_blocks.2.attentions.0.transformer_blocks.7.attn1.to_q", 1280, 1280)],
        ("sdxl", "kolors"),
    ),
    (
        "SDXL refiner by width",
        [("lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q", 1536, 1536)],
        ("sdxl_refiner",),
    ),
    ("FLUX.1 by modulation", [("lora_unet_double_blocks_18_img_mod_lin", 3072, 18432)], ("flux1",)),
    (
        "FLUX.1 in dotted names, or HunyuanVideo",
        [("diffusion_model.double_blocks.0.img_mod.lin", 3072, 18432)],
        ("flux1", *CUT_FLUX, "hunyuan_video"),
    ),
    (
        "FLUX.1 by its last block",
        blocks("diffusion_model.double_blocks.{}.img_mod.lin", 19, 3072, 18432)
        + blocks("diffusion_model.single_blocks.{}.modulation.lin", 38, 3072, 9216),
        ("flux1",),
    ),
    (
        "HunyuanVideo by its last block",
        [("diffusion_model.double_blocks.19.img_mod.lin", 3072, 18432)],
        ("hunyuan_video",),
    ),
    (
        "HunyuanVideo by Tencent's names",
        [("lora_unet_double_blocks_0_img_mlp_fc1", 3072, 12288)],
        ("hunyuan_video",),
    ),
    (
        "FLUX.2 klein 4B by its feed-forward",
        [("diffusion_model.double_blocks.0.img_mlp.0", 3072, 18432)],
        ("flux2",),
    ),
    (
        "FLUX.2 klein 4B's attention, which is FLUX.1's",
        [("diffusion_model.double_blocks.0.img_attn.qkv", 3072, 9216)],
        ("flux1", "chroma", *CUT_FLUX, "flux2", "hunyuan_video"),
    ),
    ("FLUX.2 dev by width", [("diffusion_model.double_blocks.0.img_attn.qkv", 6144, 18432)], ("flux2",)),
    (
        "Chroma by its guidance",
        [("diffusion_model.distilled_guidance_layer.layers.0.in_layer", 5120, 5120)],
        ("chroma",),
    ),
    (
        "Qwen-Image by its 20th block",
        [("transformer.transformer_blocks.20.attn.add_k_proj", 3072, 3072)],
        ("qwen_image",),
    ),
    ("SD 3 by width", [("transformer.transformer_blocks.13.attn.add_k_proj", 1536, 1536)], ("sd3",)),
    (
        "AuraFlow by its joint blocks",
        [("transformer.joint_transformer_blocks.0.attn.to_q", 3072, 3072)],
        ("auraflow",),
    ),
    (
        "Lumina 2 by what goes in, though its qkv gives Z-Image's width",
        [("lora_unet_layers_0_attention_qkv", 2304, 3840)],
        ("lumina2", "newbie"),
    ),
    ("Z-Image by what goes in", [("lora_unet_layers_0_attention_qkv", 3840, 11520)], ("z_image",)),
    (
        "ERNIE-Image, which is named like a language model",
        [("transformer.layers.0.mlp.gate_proj", 4096, 12288)],
        ("ernie_image",),
    ),
    ("Wan 14B by width", [("diffusion_model.blocks.0.self_attn.q", 5120, 5120)], ("wan_14b",)),
    ("Wan 2.2 5B by width", [("diffusion_model.blocks.0.self_attn.q", 3072, 3072)], ("wan_5b",)),
    ("Wan 2.1 1.3B by width", [("diffusion_model.blocks.0.self_attn.q", 1536, 1536)], ("wan_1_3b",)),
    (
        "Cosmos 14B, as wide as Wan, by name",
        [("diffusion_model.blocks.0.self_attn.q_proj", 5120, 5120)],
        ("cosmos_predict2",),
    ),
    (
        "Anima by its adapter",
        [("diffusion_model.llm_adapter.blocks.0.cross_attn.q_proj", 1024, 1024)],
        ("anima",),
    ),
    ("LTX-Video 2B by width", [("transformer.transformer_blocks.0.attn2.to_k", 2048, 2048)], ("ltxv",)),
    (
        "LTX-2 by its sound",
        [("diffusion_model.transformer_blocks.0.audio_attn1.to_q", 2048, 2048)],
        ("ltx2",),
    ),
    (
        "Mochi by its text stream",
        [("transformer.transformer_blocks.0.attn1.add_q_proj", 1536, 3072)],
        ("mochi",),
    ),
    (
        "CogVideoX, as wide as Mochi",
        blocks("transformer.transformer_blocks.{}.attn1.to_q", 42, 3072, 3072),
        ("cogvideox",),
    ),
    ("Kolors by its text's projection", [("unet.encoder_hid_proj", 4096, 2048)], ("kolors",)),
    (
        "Stable Cascade by its prefix",
        [("lora_prior_unet_down_blocks_0_2_attention_to_q", 2048, 2048)],
        ("cascade",),
    ),
    (
        "the first text encoder of several families",
        blocks("lora_te1_text_model_encoder_layers_{}_mlp_fc1", 12, 768, 3072),
        ("sdxl", "sd3", "flux1", "hunyuan_video", "hidream"),
    ),
    (
        "the second as SDXL has it",
        blocks("lora_te2_text_model_encoder_layers_{}_mlp_fc1", 32, 1280, 5120),
        ("sdxl", "sdxl_refiner", "sd3", "hidream"),
    ),
    ("T5 as FLUX.1's second", [("lora_te2_encoder_block_0_layer_0_SelfAttention_q", 4096, 4096)], ("flux1",)),
    (
        "CLIP tells FLUX.1 from Chroma",
        [
            ("lora_unet_double_blocks_0_img_attn_qkv", 3072, 9216),
            ("lora_te1_text_model_encoder_layers_0_mlp_fc1", 768, 3072),
        ],
        ("flux1", "hunyuan_video"),
    ),
    (
        "a new model with names that others have too",
        blocks("transformer.transformer_blocks.{}.attn.to_q", 4, 4321, 4321),
        (),
    ),
    (
        "a model with a width of nobody's, but unmistakable names",
        [("diffusion_model.joint_blocks.0.x_block.attn.qkv", 192, 576)],
        ("sd3",),
    ),
    ("a small Wan", [("diffusion_model.blocks.0.self_attn.q", 128, 128)], ("wan_14b", "wan_5b", "wan_1_3b")),
    (
        "a cut-down SDXL",
        [("lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_k", 2048, 320)],
        ("sdxl",),
    ),
]


@pytest.mark.parametrize(
    ("modules", "families"), [case[1:] for case in LOOK_ALIKES], ids=[case[0] for case in LOOK_ALIKES]
)
def test_look_alikes(modules: list[tuple[str, int, int]], families: tuple[str, ...]) -> None:
    found = detect_architecture(lora(*modules))
    assert set(found.families) == set(families)
    assert found.verdict == ("unknown" if not families else "known" if len(families) == 1 else "ambiguous")


def test_a_rank_as_large_as_a_text_s_width_is_no_width() -> None:
    module = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_q"
    shapes = {f"{module}.lora_down.weight": (768, 1280), f"{module}.lora_up.weight": (1280, 768)}
    assert {"sd1", "sd2", "sdxl"} <= set(detect_architecture(header(**shapes)).families)


PEFT = "base_model.model."
NO_DIFFUSION_LORA: dict[str, SafetensorsHeader] = {
    "Llama": lora(*blocks(PEFT + "model.layers.{}.self_attn.q_proj", 4, 4096, 4096)),
    "Llama's feed-forward": lora(*blocks(PEFT + "model.layers.{}.mlp.down_proj", 4, 11008, 4096)),
    "Phi": lora(*blocks(PEFT + "model.layers.{}.self_attn.qkv_proj", 4, 3072, 9216)),
    "Mixtral": lora(*blocks(PEFT + "model.layers.0.block_sparse_moe.experts.{}.w1", 4, 4096, 14336)),
    "GPT-2": lora(*blocks(PEFT + "transformer.h.{}.attn.c_attn", 4, 768, 2304)),
    "GPT-NeoX": lora(*blocks(PEFT + "gpt_neox.layers.{}.attention.query_key_value", 4, 2048, 6144)),
    "Falcon": lora(*blocks(PEFT + "transformer.h.{}.self_attention.query_key_value", 4, 4544, 4672)),
    "ChatGLM alone": lora(
        *blocks(PEFT + "transformer.encoder.layers.{}.self_attention.query_key_value", 4, 4096, 4608)
    ),
    "BERT": lora(*blocks(PEFT + "bert.encoder.layer.{}.attention.self.query", 4, 768, 768)),
    "T5 with a decoder": lora(*blocks(PEFT + "decoder.block.{}.layer.0.SelfAttention.q", 4, 512, 512)),
    "Whisper": lora(*blocks(PEFT + "model.decoder.layers.{}.encoder_attn.q_proj", 4, 1280, 1280)),
    "ViT": lora(*blocks(PEFT + "vit.encoder.layer.{}.attention.attention.query", 4, 768, 768)),
    "Mamba": lora(*blocks(PEFT + "backbone.layers.{}.mixer.in_proj", 4, 2560, 10240)),
    "a model that sees": lora(
        *blocks(PEFT + "model.language_model.layers.{}.self_attn.q_proj", 4, 2560, 2048)
    ),
    "Qwen 3 1.7B, as large as ACE-Step 1.5": lora(
        *blocks(PEFT + "model.layers.{}.self_attn.q_proj", 24, 2048, 2048),
        *blocks(PEFT + "model.layers.{}.self_attn.k_proj", 24, 2048, 1024),
    ),
    "Qwen 3 VL's eyes": lora(*blocks(PEFT + "model.visual.blocks.{}.attn.qkv", 27, 1152, 3456)),
    "a decoder beside an encoder": lora(
        *blocks(PEFT + "model.decoder.layers.{}.self_attn.q_proj", 24, 2048, 2048)
    ),
    "control-lora-v3": lora(
        *blocks(PEFT + "down_blocks.0.attentions.{}.transformer_blocks.0.attn1.to_q", 2, 320, 320),
        (PEFT + "controlnet_cond_embedding.conv_in", 3, 16),
    ),
    "control-lora-v3 with whole layers": header(
        **{
            PEFT + "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight": (8, 768),
            PEFT + "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.lora_B.weight": (1280, 8),
            PEFT + "controlnet_down_blocks.0.weight": (320, 320, 1, 1),
        }
    ),
    "a motion LoRA": lora(
        *blocks("down_blocks.0.motion_modules.{}.temporal_transformer.attention_blocks.0.to_q", 4, 320, 320)
    ),
    "a motion LoRA of diffusers": lora(
        *blocks("unet.mid_block.motion_modules.{}.transformer_blocks.0.attn1.to_q", 1, 1280, 1280)
    ),
    "T2I adapter": header(**{"body.0.block1.weight": (320, 320, 3, 3), "conv_in.weight": (320, 192, 3, 3)}),
    "T2I adapter of diffusers": header(**{"adapter.body.0.resnets.0.block1.weight": (320, 320, 3, 3)}),
    "SAM's encoder in transformers' names": lora(
        *blocks(PEFT + "vision_encoder.layers.{}.attn.qkv", 12, 768, 2304)
    ),
    "ControlNet of FLUX.1": lora(*blocks("controlnet.transformer_blocks.{}.attn.to_q", 5, 3072, 3072)),
    "ControlNet in its original names": lora(
        *blocks("control_model.input_blocks.{}.1.transformer_blocks.0.attn1.to_q", 2, 320, 320)
    ),
    "IP-Adapter with factors of a LoRA": header(
        **{
            "image_proj.proj.weight": (3072, 1024),
            "ip_adapter.0.to_q_lora.down.weight": (8, 320),
            "ip_adapter.0.to_q_lora.up.weight": (320, 8),
        }
    ),
    "SAM's decoder": lora(*blocks(PEFT + "mask_decoder.transformer.layers.{}.self_attn.q_proj", 2, 256, 256)),
    "SAM": header(w_a_000=(4, 768), w_b_000=(768, 4)),
    "SAM by PEFT": lora(*blocks(PEFT + "image_encoder.blocks.{}.attn.qkv", 4, 768, 2304)),
    "textual inversion": header(emb_params=(4, 768)),
    "textual inversion for SDXL": header(clip_l=(4, 768), clip_g=(4, 1280)),
    "textual inversion of diffusers": header(**{"<cat-toy>": (768,)}),
    "checkpoint": header(
        **{
            "model.diffusion_model.out.2.weight": (4, 320, 3, 3),
            "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
        }
    ),
    "diffusion model": header(**{"double_blocks.0.img_attn.qkv.weight": (9216, 3072)}),
    "diffusion model with layers called up and down": header(
        **{"blocks.0.mlp.up.weight": (16384, 6144), "blocks.0.mlp.down.weight": (6144, 16384)}
    ),
    "VAE": header(**{"decoder.conv_in.weight": (512, 4, 3, 3)}),
    "VAE of sound, with alphas": header(
        **{"vae.decoder.conv_in.weight": (8, 4, 3), "vocoder.resblocks.0.act.alpha": (128,)}
    ),
    "ControlNet": header(**{"control_model.zero_convs.0.0.weight": (320, 320, 1, 1)}),
    "control-LoRA": header(
        **{
            "lora_controlnet": (1,),
            "input_blocks.1.0.in_layers.2.up": (320, 64),
            "input_blocks.1.0.in_layers.2.down": (64, 320, 3, 3),
        }
    ),
    "CLIP": header(**{"text_model.encoder.layers.0.self_attn.q_proj.weight": (768, 768)}),
    "T5": header(**{"encoder.block.0.layer.0.SelfAttention.q.weight": (4096, 4096)}),
    "IP-Adapter": header(**{"image_proj.proj.weight": (3072, 1024)}),
    "AnimateDiff": header(
        **{"down_blocks.0.motion_modules.0.temporal_transformer.proj_in.weight": (320, 320)}
    ),
    "upscaler": header(**{"conv_first.weight": (64, 3, 3, 3)}),
    "nothing of a LoRA's": header(**{"something.else": (3, 3)}),
    "nothing": header(),
}


@pytest.mark.parametrize("name", NO_DIFFUSION_LORA)
def test_what_is_no_diffusion_lora_is_said_so_in_a_sentence(name: str) -> None:
    found = detect_architecture(NO_DIFFUSION_LORA[name])
    assert (found.verdict, found.families) == ("not_a_diffusion_lora", ())
    assert found.sentence.startswith("It ")
    assert found.sentence.endswith(".")


def test_of_a_whole_model_it_says_which() -> None:
    names = [
        f"double_blocks.{number}.{half}_mod.lin.weight" for number in range(19) for half in ("img", "txt")
    ]
    found = detect_architecture(header(**dict.fromkeys(names, (18432, 3072))))
    assert found.verdict == "not_a_diffusion_lora"
    assert found.sentence == "It is a whole diffusion model. It is FLUX.1 or HunyuanVideo (transformer; F16)."


def test_factors_of_a_form_that_nobody_knows_are_no_whole_model() -> None:
    """T-LoRA's factors, with an alpha, which a model's own weights don't have."""
    stem = "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_q"
    shapes = {"q_layer.weight": (4, 640), "p_layer.weight": (640, 4), "lambda_layer": (1, 4), "alpha": ()}
    found = detect_architecture(header(**{f"{stem}.{name}": shape for name, shape in shapes.items()}))
    assert (found.verdict, found.kind) == ("unknown", "")
    assert "whole diffusion model" not in found.sentence


UNKNOWN: dict[str, SafetensorsHeader] = {
    "a language model's layers without its beginning": lora(
        *blocks(PEFT + "layers.{}.self_attn.q_proj", 4, 2048, 2048),
        *blocks(PEFT + "layers.{}.mlp.gate_proj", 4, 2048, 6144),
    ),
    "Qwen 3 VL 8B or HiDream-O1, in the names of either's class": lora(
        *blocks(PEFT + "model.language_model.layers.{}.self_attn.q_proj", 36, 4096, 4096)
    ),
    "Qwen 3 VL 8B without its head, or HiDream-O1": lora(
        *blocks(PEFT + "language_model.layers.{}.self_attn.q_proj", 36, 4096, 4096)
    ),
    "a transformer of tomorrow with a language model's names for its layers": lora(
        *blocks("transformer.blocks.{}.attn.q_proj", 4, 2816, 2816),
        *blocks("transformer.blocks.{}.mlp.fc1", 4, 2816, 11264),
    ),
    "the names of Qwen-Image at sizes that are not its": lora(
        *blocks("transformer.transformer_blocks.{}.img_mlp.net.0.proj", 30, 2560, 10240)
    ),
    "the names of Z-Image at sizes that are not its": lora(
        *blocks("transformer.noise_refiner.{}.attention.to_q", 2, 3584, 3584)
    ),
    "a part that is called language_model": lora(
        *blocks("diffusion_model.language_model.layers.{}.self_attn.q_proj", 4, 2560, 2560)
    ),
    "norms that somebody kept of a LoRA": header(**{"double_blocks.0.img_attn.norm.key_norm.scale": (128,)}),
    "a form of tomorrow": header(**{"unet.down_blocks.0.attentions.0.to_q.vera_lambda_b": (320,)}),
    "a model of tomorrow": lora(*blocks("transformer.dit_layers.{}.attn.to_q", 4, 1234, 1234)),
    "one module of another among many of FLUX.1": lora(
        *blocks("lora_unet_double_blocks_{}_img_mod_lin", 19, 3072, 18432),
        ("lora_unet_something_new", 7, 7),
    ),
    "one module of FLUX.1 among many of another": lora(
        ("lora_unet_double_blocks_0_img_mod_lin", 3072, 18432),
        *blocks("lora_unet_dit_layers_{}_attn_to_q", 4, 1234, 1234),
    ),
    "SD 1.x and FLUX.1 in one file": lora(
        ("lora_unet_double_blocks_0_img_mod_lin", 3072, 18432),
        ("lora_unet_down_blocks_0_attentions_0_proj_in", 320, 320),
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_may_be_a_diffusion_lora_is_never_called_something_else(name: str) -> None:
    found = detect_architecture(UNKNOWN[name])
    assert (found.verdict, found.families) == ("unknown", ())
    assert found.sentence.endswith(".")
