"""What LoRA files were made for, from their headers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_resolver import SafetensorsHeader, TensorInfo, detect_architecture, family_name, read_header
from lora_resolver.model_file.architecture.families import FAMILY_NAMES, family_index
from tests.conftest import ROOT
from tests.header_samples import Sample, samples, verdict_on

REAL_WITH_SHAPES = [sample for sample in samples() if not sample.synthetic and sample.has_shapes]
WHOLE = [sample for sample in REAL_WITH_SHAPES if sample.is_whole and sample.is_settled]
FLUX_LIKE = ("flux1", "chroma", "hunyuan_video")
HUNYUAN = ("hunyuan_video", "hunyuan_image", "hunyuan_image_refiner")
FLUX_BY_NAME = ("flux1", "chroma", "longcat_image", "ovis_image", "flux2", "hunyuan3d2")
CUT_FLUX = ("longcat_image", "ovis_image")  # FLUX.1's blocks, fewer of them
QWEN = ("qwen_image", "mage_flow")  # likewise

# The headers that nothing tells apart, by what they may be; every other is of its own family alone.
SEVERAL: dict[str, tuple[str, ...]] = {
    "invoke_anima_lora_kohya_format": ("anima", "cosmos_predict2"),
    "invoke_anima_lora_lokr_format": ("anima", "cosmos_predict2"),
    "invoke_anima_lora_peft_format": ("anima", "cosmos_predict2"),
    "invoke_flux_lokr_bfl_format": (*FLUX_BY_NAME, *HUNYUAN),
    "invoke_flux_lora_aitoolkit_format": ("flux1", "chroma"),
    "invoke_flux_lora_diffusers_base_model_format": ("flux1", "chroma"),
    "invoke_qwen_image_lora_diffusers_format": (
        "flux1",
        "chroma",
        *CUT_FLUX,
        "flux2",
        "hunyuan_video",
        *QWEN,
    ),
    "invoke_qwen_image_lora_kohya_format": QWEN,
    "invoke_sdxl_dramatic_slider": ("sdxl", "kolors"),
    "issue_anima_te_qwen3": ("lumina2", "anima"),
    "issue_auraflow_simpletuner": (*FLUX_LIKE, *CUT_FLUX, *HUNYUAN[1:], "auraflow"),
    "issue_flux2_klein9b_lokr": (*FLUX_BY_NAME, *HUNYUAN, "hunyuan_video_1_5"),
    "issue_flux2_klein_lokr2": (*FLUX_BY_NAME, *HUNYUAN, "hunyuan_video_1_5"),
    "issue_flux_aitoolkit_full": ("flux1", *HUNYUAN),
    "issue_flux_proj_out_only": ("flux1", "chroma", *CUT_FLUX, "hunyuan_video"),
    "issue_flux_simpletuner_dora": ("flux1", "chroma", "longcat_image", "hunyuan_video", *QWEN),
    "issue_flux_simpletuner_lokr": ("flux1", "chroma", *CUT_FLUX, "hunyuan_video", "auraflow"),
    "issue_flux_te1_only_excerpt": ("sdxl", "sd3", "flux1", "hunyuan_video", "hidream"),
    "issue_hunyuanvideo_comfy_diffb": ("flux1", *HUNYUAN),
    "issue_hunyuanvideo_diffusionpipe": HUNYUAN,
    "issue_hunyuanvideo_replicate": HUNYUAN,
    "issue_hunyuanvideo_tencent_i2v": (*HUNYUAN, "hunyuan_video_1_5"),
    "issue_lumina2_diffusers": ("lumina2", "newbie", "omnigen2"),
    "issue_pixart_sigma_onetrainer": (
        "cosmos_predict2",
        "cosmos1",
        "ltxv",
        "ltx2",
        "pixart",
        "sana",
        "stable_audio",
    ),
    "issue_sd1_animatediff_adapter": ("sd1", "sd2", "sdxl_refiner"),
    "issue_sd1_kohya_noalpha": ("sd1", "sd2", "sdxl", "kolors", "sdxl_refiner"),
    "issue_sd1_kohya_te_only": ("sd1", "sd2"),
    "issue_sd3m_onetrainer": ("sd3", *FLUX_LIKE, *HUNYUAN[1:], "hunyuan_video_1_5", "qwen_image"),
    "issue_sd_attnprocs_positional": ("sd1", "sd2"),
    "issue_sd_unet_peft_lokr": ("sd1", "sd2", "sdxl", "kolors", "sdxl_refiner"),
    "issue_sdxl_diffusers_procs_bare": ("sdxl", "kolors"),
    "issue_sdxl_kohya_te2": ("sdxl", "sdxl_refiner"),
    "issue_sdxl_lcm_shapes": ("sdxl", "kolors"),
    "issue_sdxl_photomaker_shapes": ("sdxl", "kolors"),
    "issue_wan21_i2v_dotted_img": ("wan_14b", "wan_1_3b"),
    "issue_wan21_i2v_lightx2v": ("wan_14b", "wan_1_3b"),
    "issue_wan_mixed_dots": ("wan_14b", "wan_5b", "wan_1_3b"),
    "mosael_anima_lora_kohya": ("anima", "cosmos_predict2"),
    "mosael_flux_lora_kohya": ("flux1", "longcat_image"),
    "mosael_qwen_image_lokr": QWEN,
    "mosael_qwen_image_lora": QWEN,
    "mosael_qwen_image_lora_peft": QWEN,
    "mosael_sdxl_lora_self_attention_slider": ("sdxl", "kolors"),
    "rockerboo_flux_peft": ("flux1", "chroma"),
    "rockerboo_sd1_locon_updown": ("sd1", "sd2", "sdxl_refiner"),
    "sdxl_diffusers_procs_hackathon": ("sdxl", "kolors"),
    "sdxl_muchai_sdxl": ("sdxl", "kolors"),
    "synth_chroma_aitoolkit": ("flux1", "chroma"),
    "synth_chroma_diffusers": ("flux1", "chroma"),
    "synth_chroma_kohya": ("flux1", "chroma"),
    "synth_hunyuanvideo_singleblocks_only": FLUX_LIKE,
    "synth_kolors_diffusers": ("sdxl", "kolors"),
    "synth_ltxv_13b_comfy": ("ltxv", "ltx2"),
    "synth_qwen_image_attn_first19": (*FLUX_LIKE, "qwen_image"),
    # names alone: the diffusers class of Ideogram 4 has these too
    "issue_zimage_aitoolkit": ("z_image", "ideogram4"),
    "issue_zimage_aitoolkit_loader": ("z_image", "ideogram4"),
    "issue_zimage_musubi_comfy2": ("z_image", "ideogram4"),
}


def header(metadata: dict[str, str] | None = None, /, **shapes: tuple[int, ...]) -> SafetensorsHeader:
    tensors = {name: TensorInfo("F16", shape, 0, 0) for name, shape in shapes.items()}
    return SafetensorsHeader(tensors, metadata or {}, 0, 0)


def lora(*modules: tuple[str, int, int], metadata: dict[str, str] | None = None) -> SafetensorsHeader:
    """A LoRA of rank 8 on modules of (name with prefix, inputs, outputs), in PEFT's form."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, inputs, outputs in modules:
        shapes[f"{name}.lora_A.weight"] = (8, inputs)
        shapes[f"{name}.lora_B.weight"] = (outputs, 8)
    return header(metadata, **shapes)


def blocks(pattern: str, count: int, inputs: int, outputs: int) -> list[tuple[str, int, int]]:
    return [(pattern.format(number), inputs, outputs) for number in range(count)]


RECENT = [
    # of the models' own classes, in the names of ComfyUI or of diffusers
    ("boogu", blocks("diffusion_model.double_stream_layers.{}.img_self_attn.to_q", 8, 3360, 3360)),
    ("lens", blocks("diffusion_model.transformer_blocks.{}.attn.img_qkv", 48, 1536, 4608)),
    ("joyimage", blocks("transformer.double_blocks.{}.attn.img_attn_qkv", 20, 3072, 9216)),
    ("ideogram4", blocks("transformer.layers.{}.attention.qkv", 34, 4608, 13824)),
    ("krea2", blocks("transformer.transformer_blocks.{}.ff.gate", 28, 6144, 16384)),
    ("krea2", blocks("lycoris_transformer_blocks_{}_attn_to_qkv", 28, 6144, 9216)),
    ("minimax_music3", blocks("diffusion_transformer.transformer.layers.{}.self_attn.to_qkv", 36, 2048, 6144)),
    ("stable_audio_3", blocks("diffusion_model.transformer.layers.{}.self_attn.to_qkv", 24, 1536, 7680)),
    ("hunyuan_video_1_5", blocks("lora_unet_double_blocks_{}_img_attn_q", 54, 2048, 2048)),
    ("cosmos_predict2", blocks("transformer.transformer_blocks.{}.attn2.to_k", 28, 1024, 2048)),
    ("ace_step", blocks("base_model.model.layers.{}.cross_attn.k_proj", 24, 2048, 1024)),
    ("ace_step", blocks("diffusion_model.decoder.layers.{}.cross_attn.q_proj", 32, 2560, 4096)),
    ("hidream_o1", blocks("lora_unet_language_model_layers_{}_self_attn_q_proj", 36, 4096, 4096)),
    ("hunyuan3d2", blocks("diffusion_model.double_blocks.{}.img_attn.qkv", 16, 1024, 3072)),
    ("hunyuan3d2", blocks("diffusion_model.blocks.{}.attn2.to_k", 21, 1024, 2048)),
    ("hunyuan_image_refiner", blocks("diffusion_model.double_blocks.{}.img_attn.qkv", 20, 3328, 9984)),
    ("pixeldit", blocks("diffusion_model.patch_blocks.{}.attn.qkv_x", 14, 1536, 4608)),
    ("seedvr2", blocks("diffusion_model.blocks.{}.attn.proj_qkv.vid", 10, 2560, 7680)),
    ("cosmos1", [("diffusion_model.blocks.block27.blocks.0.block.attn.to_q.0", 4096, 4096)]),
    ("svd", [("down_blocks.1.attentions.0.temporal_transformer_blocks.0.attn1.to_q", 640, 640)]),
    ("svd", [("lora_unet_input_blocks_4_1_time_stack_0_attn2_to_k", 1024, 640)]),
    ("cascade_b", [("diffusion_model.down_blocks.2.2.attention.attn.to_q", 1280, 1280)]),
    ("minimax_h3", blocks("transformer.transformer_blocks.{}.attn.to_q", 50, 5376, 7168)),
    ("wan_14b", blocks("transformer.blocks.{}.cross_attn.add_k_proj", 40, 5120, 5120)),
    ("stable_audio_3", blocks("transformer.transformer_blocks.{}.self_attn.to_qkv", 24, 1536, 7680)),
    ("ltx2", [("audio_embeddings_connector.transformer_1d_blocks.0.attn1.to_q", 3840, 3840)]),
    # with text encoders that no row has, in wrappers that training leaves, and beside what is no layer
    ("z_image", [*blocks("diffusion_model.layers.{}.attention.qkv", 30, 3840, 11520),
                 ("text_encoders.qwen3_4b.transformer.model.layers.0.self_attn.q_proj", 2560, 4096)]),
    ("flux2", [*blocks("lora_unet_double_blocks_{}_img_attn_qkv", 8, 6144, 18432),
               *blocks("lora_te1_model_layers_{}_self_attn_q_proj", 40, 5120, 4096)]),
    ("wan_14b", blocks("_orig_mod.blocks.{}.self_attn.q", 40, 5120, 5120)),
    ("wan_14b", blocks("module.diffusion_model.blocks.{}.self_attn.q", 40, 5120, 5120)),
    ("hunyuan_video", blocks("lora_unet__double_blocks_{}_img_mod_lin", 20, 3072, 18432)),
    ("ace_step", blocks("diffusion_model.decoder.layers.{}.self_attn.q_proj", 24, 2048, 2048)),
]  # fmt: skip


def test_one_motion_module_among_many_of_a_unet_makes_no_motion_lora() -> None:
    found = detect_architecture(
        lora(
            ("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k", 768, 1280),
            ("unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_k", 1280, 1280),
            ("unet.mid_block.motion_modules.0.transformer_blocks.0.attn1.to_k", 1280, 1280),
        )
    )
    assert found.verdict == "unknown"


def test_a_token_that_is_replaced_is_no_evidence() -> None:
    shapes = {
        "diffusion_model.layers.0.attention.qkv.lora_A.weight": (8, 3840),
        "diffusion_model.layers.0.attention.qkv.lora_B.weight": (11520, 8),
        "diffusion_model.x_pad_token.diff": (1, 3840),
    }
    assert detect_architecture(header(**shapes)).families == ("z_image",)


def test_a_name_that_a_language_model_has_too_is_of_no_other_family_alone() -> None:
    found = detect_architecture(lora(("transformer.time_embed.linear_1", 256, 2048)))
    assert set(found.families) == {"ace_step", "minimax_music3"}


@pytest.mark.parametrize(
    ("family", "modules"), RECENT, ids=[f"{family}-{modules[0][0]}" for family, modules in RECENT]
)
def test_models_of_2026(family: str, modules: list[tuple[str, int, int]]) -> None:
    found = detect_architecture(lora(*modules))
    assert (found.verdict, found.families) == ("known", (family,))


@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample.name)
def test_every_collected_header(sample: Sample) -> None:
    found = detect_architecture(sample.header)
    if not sample.is_lora:
        assert (found.verdict, found.families) == ("not_a_diffusion_lora", ())
        return
    expected = SEVERAL.get(sample.name, (sample.arch,))
    assert set(found.families) == set(expected)
    assert found.verdict == ("known" if len(expected) == 1 else "ambiguous")
    assert set(found.evidence) == set(expected)
    assert found.sentence.startswith("It is a")
    assert verdict_on(sample) != "wrong"


def test_nearly_all_real_files_with_shapes_are_told() -> None:
    verdicts = [verdict_on(sample) for sample in REAL_WITH_SHAPES]
    assert sum(verdict.startswith("right") for verdict in verdicts) >= 0.95 * len(verdicts)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_part_of_a_real_file_is_never_given_to_a_wrong_family_alone(data: st.DataObject) -> None:
    sample = data.draw(st.sampled_from(WHOLE), label="file")
    modules: dict[str, list[str]] = {}
    for name in sample.header.tensors:
        modules.setdefault(name.split(".lora")[0].split("_lora.")[0].split(".alpha")[0], []).append(name)
    some = data.draw(
        st.lists(st.sampled_from(sorted(modules)), min_size=4, max_size=12, unique=True), label="modules"
    )
    tensors = {name: sample.header.tensors[name] for module in some for name in modules[module]}
    found = detect_architecture(SafetensorsHeader(tensors, {}, 0, 0))
    assert found.verdict != "not_a_diffusion_lora"
    assert sample.arch in found.families or not any(".lora" in name or "_lora" in name for name in tensors)


@given(names=st.lists(st.text(max_size=60), max_size=30), shape=st.lists(st.integers(0, 9), max_size=5))
@settings(deadline=None)
def test_no_header_makes_it_raise(names: list[str], shape: list[int]) -> None:
    tails = (
        "",
        ".lora_down.weight",
        ".hada_w1_a",
        ".lokr_w1",
        ".diff",
        ".oft_blocks",
        ".alpha",
        ".a1.weight",
    )
    shapes = {name + tail: tuple(shape) for name in names for tail in tails}
    found = detect_architecture(header({"modelspec.architecture": "x"}, **shapes))
    assert found.verdict in ("unknown", "not_a_diffusion_lora")


# Look-alikes that differ in one respect each: what tells them, and that it does.
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
    """T-LoRA's, beside an alpha, which a model's own weights don't have."""
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


KINDS: dict[str, tuple[dict[str, tuple[int, ...]], int | None]] = {
    "lora": ({"lora_down.weight": (8, 320), "lora_up.weight": (320, 8), "alpha": ()}, 8),
    "dora": ({"lora_down.weight": (8, 320), "lora_up.weight": (320, 8), "dora_scale": (320, 1)}, 8),
    "loha": ({"hada_w1_a": (320, 8), "hada_w1_b": (8, 320), "hada_w2_a": (320, 8), "hada_w2_b": (8, 320)}, 8),
    "lokr": ({"lokr_w1": (16, 16), "lokr_w2_a": (20, 8), "lokr_w2_b": (8, 20)}, 8),
    "oft": ({"oft_blocks": (4, 80, 80)}, None),
    "boft": ({"oft_blocks": (3, 4, 80, 80)}, None),
    "diff": ({"diff": (320, 320)}, None),
    "glora": (
        {"a1.weight": (8, 320), "a2.weight": (320, 8), "b1.weight": (320, 8), "b2.weight": (8, 320)},
        8,
    ),
    "ia3": ({"weight": (320, 1), "on_input": ()}, None),
}
SELF_ATTENTION = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"


@pytest.mark.parametrize("kind", KINDS)
def test_kind_rank_parts_and_sizes(kind: str) -> None:
    shapes, rank = KINDS[kind]
    found = detect_architecture(
        header(**{f"{SELF_ATTENTION}.{role}": shape for role, shape in shapes.items()})
    )
    assert (found.kind, found.rank, found.parts) == (kind, rank, ("unet",))
    assert set(found.families) <= {"sd1", "sd2"}


CONVOLUTIONS: dict[str, dict[str, tuple[int, ...]]] = {
    "LoCon": {"lora_down.weight": (8, 320, 3, 3), "lora_up.weight": (320, 8, 1, 1)},
    "LoCon with a core": {
        "lora_down.weight": (8, 320, 1, 1),
        "lora_mid.weight": (8, 8, 3, 3),
        "lora_up.weight": (320, 8, 1, 1),
    },
    "LoHa": {"hada_w1_a": (320, 8), "hada_w1_b": (8, 2880), "hada_w2_a": (320, 8), "hada_w2_b": (8, 2880)},
    "LoHa with a core": {
        "hada_w1_a": (8, 320),
        "hada_w1_b": (8, 320),
        "hada_t1": (8, 8, 3, 3),
        "hada_t2": (8, 8, 3, 3),
    },
    "LoKr": {"lokr_w1": (16, 16), "lokr_w2": (20, 20, 3, 3)},
    "LoKr with a core": {
        "lokr_w1": (16, 16),
        "lokr_w2_a": (8, 20),
        "lokr_w2_b": (8, 20),
        "lokr_t2": (8, 8, 3, 3),
    },
    "difference": {"diff": (320, 320, 3, 3)},
}


@pytest.mark.parametrize("form", CONVOLUTIONS)
def test_convolutions_in_every_form(form: str) -> None:
    module = "lora_unet_down_blocks_0_resnets_0_conv1"
    found = detect_architecture(
        header(**{f"{module}.{role}": shape for role, shape in CONVOLUTIONS[form].items()})
    )
    assert set(found.families) == {"sd1", "sd2", "sdxl", "kolors"}


FORMS = [
    "lora_unet_double_blocks_0_img_mod_lin.lora_down.weight",
    "diffusion_model.double_blocks.19.img_mod.lin.lora_A.weight",
    "base_model.model.double_blocks.0.img_mod.lin.lora_A.default.weight",
    "double_blocks.0.img_mod.lin.lora_A.my_adapter",
    "transformer.single_transformer_blocks.0.norm.linear.lora_A.weight",
    "transformer.single_transformer_blocks.0.norm.linear.lora.down.weight",
    "lora_transformer_single_transformer_blocks_0_norm_linear.lora_down.weight",
    "lycoris_single_transformer_blocks_0_norm_linear.lora_down.weight",
    "double_blocks.0.processor.qkv_lora1.down.weight",
    "unet.mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora.down.weight",
    "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.lora_linear_layer.down.weight",
    "lora_unet_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k_lora_down.weight",
    "unet:12:down",
    "lora_unet__blocks_0_self_attn_q.lora_down.weight",
]


@pytest.mark.parametrize("name", FORMS)
def test_every_trainer_s_names(name: str) -> None:
    widths = {"unet": 768, "lora_unet_unet": 768, "lora_unet__blocks": 5120}
    width = next((width for start, width in reversed(widths.items()) if name.startswith(start)), 3072)
    found = detect_architecture(header(**{name: (8, width)}))
    assert found.families, found.sentence
    assert (found.kind, found.rank) == ("lora", 8)


def test_parts_are_the_diffusion_model_and_each_text_encoder() -> None:
    found = detect_architecture(
        lora(
            ("lora_te2_text_model_encoder_layers_0_mlp_fc1", 1280, 5120),
            ("lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q", 640, 640),
            ("lora_te1_text_model_encoder_layers_0_mlp_fc1", 768, 3072),
        )
    )
    assert found.parts == ("unet", "te1", "te2")
    assert found.sentence == "It is a LoRA for SDXL; it changes 3 modules of the UNet and 2 text encoders."
    found = detect_architecture(lora(("diffusion_model.blocks.0.self_attn.q", 5120, 5120)))
    assert found.parts == ("transformer",)
    assert found.sentence == "It is a LoRA for Wan 14B; it changes 1 module of the transformer."
    assert found.evidence == {"wan_14b": '"diffusion_model.blocks.0.self_attn.q" (5120 → 5120)'}


WAN = ("diffusion_model.blocks.0.self_attn.q", 5120, 5120)
XL = ("lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q", 640, 640)
FLUX = ("lora_unet_double_blocks_0_img_mod_lin", 3072, 18432)
QKV = ("lora_unet_double_blocks_6_img_attn_qkv", 3072, 9216)
NOTES: list[tuple[SafetensorsHeader, str]] = [
    (lora(("diffusion_model.double_blocks.0.img_mlp.0", 4096, 24576)), "for FLUX.2 klein 9B"),
    (lora(("diffusion_model.joint_blocks.0.x_block.attn2.qkv", 1536, 4608)), "for SD 3.5 medium"),
    (
        lora(("diffusion_model.joint_blocks.0.x_block.attn.qkv", 1536, 4608)),
        "for SD 3 medium or SD 3.5 medium",
    ),
    (lora(("diffusion_model.blocks.0.cross_attn.k_img", 5120, 5120)), "image to video (Wan 2.1)"),
    (lora(("vace_blocks.0.self_attn.q", 5120, 5120)), "for VACE"),
    (lora(("diffusion_model.joint_blocks.0.x_block.attn.qkv", 192, 576)), "its sizes of no published model"),
    (lora(("lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_k", 2048, 320)), "of a cut-down SDXL"),
    (lora(("Hunyuan_video_I2V_lora_double_blocks_0_img_mlp_fc1", 3072, 12288)), "its names are malformed"),
    (lora(WAN, ("diffusion_model.blocks.0.cross_attn.k.img", 5120, 5120)), "its names are malformed"),
    (lora(("lora_unet_blocks_0.self_attn.q", 5120, 5120)), "its names are malformed"),
    (
        header(
            **{
                "txt_in.lora_A.weight": (8, 4096),
                "txt_in.lora_B.weight": (3072, 8),
                "img_in.lora_A.weight": (8, 128),
                "img_in.lora_B.weight": (3072, 8),
                "txt_in.lora_B.bias": (3072,),
            }
        ),
        "a control LoRA",
    ),
    (
        lora(FLUX, metadata={"ss_base_model_version": "sd_1.5"}),
        'its metadata says otherwise (ss_base_model_version: "sd_1.5")',
    ),
    (
        lora(QKV, metadata={"modelspec.architecture": "chroma/lora"}),
        'its metadata says Chroma (modelspec.architecture: "chroma/lora")',
    ),
    (lora(XL, metadata={"ss_sd_model_name": "ponyDiffusionV6XL.safetensors"}), "its metadata names Pony"),
    (lora(XL, metadata={"modelspec.title": "My Illustrious style"}), "its metadata names Illustrious"),
    (
        lora(FLUX, metadata={"lora_adapter_metadata": '{"transformer.init_lora_weights": "pissa_niter_4"}'}),
        "which changes the checkpoint as well",
    ),
    (
        lora(FLUX, metadata={"lora_adapter_metadata": '{"r": 16, "use_rslora": true}'}),
        "use_rslora without an alpha",
    ),
    (lora(FLUX, metadata={"ss_base_model_version": "flux.1_kontext"}), "its metadata names FLUX.1 Kontext"),
    (
        lora(WAN, metadata={"ss_base_model_version": "wan_2.2_14b", "ss_output_name": "x_high_noise"}),
        "Wan 2.2, the high-noise expert",
    ),
]


@pytest.mark.parametrize(("file", "note"), NOTES, ids=[note for _, note in NOTES])
def test_notes(file: SafetensorsHeader, note: str) -> None:
    found = detect_architecture(file)
    assert any(note in text for text in found.notes), found


def test_the_published_cuts_of_sdxl_are_told_by_depth() -> None:
    depths = {
        "down_blocks_1": (2, 2),
        "down_blocks_2": (4, 4),
        "up_blocks_0": (4, 4, 10),
        "up_blocks_1": (2, 1, 1),
    }
    modules = [
        (f"lora_unet_{block}_attentions_{place}_transformer_blocks_{number}_attn1_to_q", width, width)
        for block, of_block in depths.items()
        for place, depth in enumerate(of_block)
        for number in range(depth)
        for width in [640 if block.endswith("1") else 1280]
    ]
    found = detect_architecture(lora(*modules))
    assert "covers exactly the blocks of SSD-1B, a smaller SDXL" in found.notes
    assert not detect_architecture(lora(*modules[:-1])).notes


LIES = [
    "flux1",
    "sd_1.5",
    "sdxl_base_v1-0",
    "stable-diffusion-xl-v1-base/lora",
    "wan2.1/lora",
    "",
    "None",
    "anything",
]


@pytest.mark.parametrize("claim", LIES)
@pytest.mark.parametrize("sample", WHOLE, ids=lambda sample: sample.name)
def test_no_claim_of_the_metadata_changes_the_verdict(sample: Sample, claim: str) -> None:
    metadata = {"ss_base_model_version": claim, "modelspec.architecture": claim}
    truth = detect_architecture(sample.header)
    found = detect_architecture(SafetensorsHeader(sample.header.tensors, metadata, 0, 0))
    assert (found.verdict, set(found.families)) == (truth.verdict, set(truth.families))


def test_metadata_puts_the_family_that_it_names_first() -> None:
    modules = lora(QKV, metadata={"modelspec.architecture": "chroma/lora"})
    assert detect_architecture(modules).families[0] == "chroma"


@pytest.mark.parametrize(
    "file", sorted((ROOT / "tools/showcase/loras").glob("*.safetensors")), ids=lambda f: f.stem
)
def test_the_showcase_s_styles_are_of_sd3_s_layout(file) -> None:
    found = detect_architecture(read_header(file))
    assert (found.verdict, found.families) == ("known", ("sd3",))
    assert any("no published model" in note for note in found.notes)


def test_a_family_s_name_is_what_people_call_it() -> None:
    assert family_name("sd1") == "SD 1.x"
    assert family_name("of_the_future") == "of_the_future"


def test_every_family_of_the_table_has_a_name() -> None:
    index = family_index()
    assert {row.family for row in index.rows} <= set(FAMILY_NAMES)
    assert {sample.arch for sample in samples() if sample.is_settled} <= set(FAMILY_NAMES)


def test_no_two_rows_are_one() -> None:
    rows = [(row.family, row.variant) for row in family_index().rows]
    assert len(rows) == len(set(rows))
