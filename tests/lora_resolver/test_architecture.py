"""The model families of LoRA files, detected from their headers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_resolver import SafetensorsHeader, detect_architecture, family_name, read_header
from lora_resolver.model_file.architecture.families import FAMILY_NAMES, family_index
from tests.conftest import ROOT
from tests.header_samples import Sample, samples, verdict_on
from tests.lora_resolver.made_headers import (
    CUT_FLUX,
    FLUX_BY_NAME,
    FLUX_LIKE,
    HUNYUAN,
    QKV,
    QWEN,
    blocks,
    header,
    lora,
)

REAL_WITH_SHAPES = [sample for sample in samples() if not sample.synthetic and sample.has_shapes]
WHOLE = [sample for sample in REAL_WITH_SHAPES if sample.is_whole and sample.is_settled]

# The headers that match several families, and which. Every other one matches only its own family.
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
    # only the names are known, and the diffusers class of Ideogram 4 has them too
    "issue_zimage_aitoolkit": ("z_image", "ideogram4"),
    "issue_zimage_aitoolkit_loader": ("z_image", "ideogram4"),
    "issue_zimage_musubi_comfy2": ("z_image", "ideogram4"),
}


RECENT = [
    # of the models' own classes, with ComfyUI's or diffusers' names
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
    # with text encoders that aren't in the table, in wrappers from training, and with tensors that aren't layers
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
