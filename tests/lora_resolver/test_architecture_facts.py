"""What else a header tells: kind, rank, parts, and notes."""

from __future__ import annotations

import pytest

from lora_resolver import SafetensorsHeader, detect_architecture
from tests.lora_resolver.made_headers import (
    QKV,
    header,
    lora,
)

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
NOTES: list[tuple[SafetensorsHeader, str]] = [
    (lora(("diffusion_model.double_blocks.0.img_mlp.0", 4096, 24576)), "for FLUX.2 klein 9B"),
    (lora(("diffusion_model.joint_blocks.0.x_block.attn2.qkv", 1536, 4608)), "for SD 3.5 medium"),
    (
        lora(("diffusion_model.joint_blocks.0.x_block.attn.qkv", 1536, 4608)),
        "for SD 3 medium or SD 3.5 medium",
    ),
    (lora(("diffusion_model.blocks.0.cross_attn.k_img", 5120, 5120)), "image to video (Wan 2.1)"),
    (lora(("vace_blocks.0.self_attn.q", 5120, 5120)), "for VACE"),
    (lora(("diffusion_model.joint_blocks.0.x_block.attn.qkv", 192, 576)), "sizes match no published model"),
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
