"""The tiny checkpoints as files. The integration tests, which draw with them, show that ComfyUI accepts them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from tests.lora_files import KINDS, SPELLINGS, clashing_lora, language_model_lora, unmatched_lora, write_lora
from tests.lora_modules import TEXT_ENCODERS, TRANSFORMERS, UNETS, modules_of
from tools.tiny_checkpoints import CHECKPOINTS, DEFAULT, make_checkpoints
from tools.tiny_checkpoints.__main__ import main


def state_dict(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    return torch.load(path, weights_only=True)["state_dict"]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_checkpoints(folder)
    return folder


# What ComfyUI's `model_detection` reads, and one layer of each part that the file must contain.
SHAPES = {
    "sd15": {
        "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
        "model.diffusion_model.input_blocks.1.1.proj_in.weight": (320, 320, 1, 1),
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
        "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_v.weight": (320, 768),
        "model.diffusion_model.output_blocks.1.0.skip_connection.weight": (320, 640, 1, 1),
        "cond_stage_model.transformer.text_model.encoder.layers.11.self_attn.q_proj.weight": (768, 768),
        "first_stage_model.taesd_decoder.1.weight": (64, 4, 3, 3),
    },
    "sdxl": {
        "model.diffusion_model.label_emb.0.0.weight": (1280, 2816),
        "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (320, 2048),
        "model.diffusion_model.input_blocks.8.1.transformer_blocks.1.attn1.to_q.weight": (320, 320),
        "model.diffusion_model.output_blocks.2.2.conv.weight": (320, 320, 3, 3),
        "conditioner.embedders.0.transformer.text_model.final_layer_norm.weight": (768,),
        "conditioner.embedders.1.model.transformer.resblocks.31.attn.in_proj_weight": (3840, 1280),
        "conditioner.embedders.1.model.text_projection": (1280, 1280),
        "first_stage_model.taesd_encoder.14.weight": (4, 64, 3, 3),
    },
    "sd3": {
        "model.diffusion_model.joint_blocks.1.context_block.adaLN_modulation.1.weight": (256, 128),
        "text_encoders.clip_l.transformer.text_model.embeddings.token_embedding.weight": (49408, 768),
        "first_stage_model.taesd_decoder.1.weight": (64, 16, 3, 3),
    },
    "wan": {"head.modulation": (1, 2, 128), "blocks.1.cross_attn.k.weight": (128, 128)},
    "wan_low": {"head.modulation": (1, 2, 128), "blocks.1.cross_attn.k.weight": (128, 128)},
    "wan_1_3b": {"blocks.0.ffn.0.weight": (8960, 1536), "text_embedding.0.weight": (1536, 4096)},
    "hunyuan_video": {"txt_in.individual_token_refiner.blocks.0.norm1.weight": (128,)},
    "ltxv": {"adaln_single.linear.weight": (768, 128), "transformer_blocks.1.attn2.to_k.weight": (128, 128)},
    "clip_l": {
        "text_model.encoder.layers.0.mlp.fc1.weight": (3072, 768),
        "text_projection.weight": (768, 768),
    },
    "vae": {"taesd_decoder.1.weight": (64, 16, 3, 3)},
    "video_vae": {"decoder.1.weight": (256, 16, 3, 3), "decoder.22.bias": (3,)},
    "ltxv_vae": {"decoder.1.weight": (256, 128, 3, 3)},
}


def test_every_light_checkpoint_is_listed_here():
    assert set(SHAPES) == set(DEFAULT)
    assert {name for name, checkpoint in CHECKPOINTS.items() if checkpoint.heavy} == {"sdxl_full", "flux"}


@pytest.mark.parametrize("name", DEFAULT)
def test_the_file_has_the_layers_of_its_architecture(models, name):
    tensors = state_dict(models / CHECKPOINTS[name].file)
    for tensor, shape in SHAPES[name].items():
        assert tuple(tensors[tensor].shape) == shape, tensor


@pytest.mark.parametrize("name", ["sd15", "wan", "hunyuan_video"])
def test_norms_are_one_biases_zero_and_the_rest_lively(models, name):
    for key, tensor in state_dict(models / CHECKPOINTS[name].file).items():
        if "first_stage_model" in key or "token_embedding" in key:  # hand-written, and slow to measure
            continue
        values = tensor.float()
        if tensor.ndim > 1:
            assert 0.001 < values.std() < 2, key
        else:
            assert (values == (0 if key.endswith("bias") else 1)).all(), key


def test_no_file_is_larger_than_a_repository_may_hold(models):
    sizes = {path.name: path.stat().st_size / 1e6 for path in models.rglob("*.*")}
    assert len(sizes) == len(DEFAULT)
    assert max(sizes.values()) < 12, sizes


def test_the_same_call_gives_the_same_bytes(models, tmp_path):
    names = ["sd15", "wan", "video_vae"]
    for name, path in make_checkpoints(tmp_path, names).items():
        assert sha256(path) == sha256(models / CHECKPOINTS[name].file), name


def test_the_two_wan_experts_differ_in_their_numbers_alone(models):
    high, low = (state_dict(models / CHECKPOINTS[name].file) for name in ("wan", "wan_low"))
    assert {key: value.shape for key, value in high.items()} == {
        key: value.shape for key, value in low.items()
    }
    assert not torch.equal(high["blocks.0.ffn.0.weight"], low["blocks.0.ffn.0.weight"])


def test_a_file_that_is_there_is_left_alone(tmp_path):
    kept = tmp_path / CHECKPOINTS["wan"].file
    kept.parent.mkdir()
    kept.write_text("mine")
    assert make_checkpoints(tmp_path, ["wan"]) == {"wan": kept}
    assert kept.read_text() == "mine"


def test_nothing_half_written_stays_when_the_disk_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        make_checkpoints(tmp_path, ["wan"])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_unknown_name_is_an_error(tmp_path):
    with pytest.raises(KeyError, match="sd99"):
        make_checkpoints(tmp_path, ["sd99"])


def test_the_command_makes_what_is_named_and_says_where_it_lies(tmp_path, capsys):
    main([str(tmp_path), "ltxv"])
    path = tmp_path / "diffusion_models" / "tiny_ltxv.safetensors"
    assert capsys.readouterr().out.startswith(f"{path}  1.7 MB")
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["config"])["transformer"]["num_attention_heads"] == 2


@pytest.mark.parametrize(
    ("checkpoint", "naming", "module", "shape"),
    [
        ("sd15", "", "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", (320, 320)),
        ("sd15", "", "lora_unet_mid_block_attentions_0_proj_in", (320, 320, 1, 1)),
        ("sd15", "", "lora_te_text_model_encoder_layers_11_mlp_fc1", (3072, 768)),
        ("sd15", "diffusers", "unet.up_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.to_out", (320, 320)),
        ("sdxl", "", "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", (320, 2048)),
        ("sdxl", "", "lora_te2_text_model_encoder_layers_31_self_attn_out_proj", (1280, 1280)),
        ("sdxl", "kohya_diffusers", "lora_unet_up_blocks_1_attentions_2_proj_out", (320, 320)),
        ("sdxl", "generic", "diffusion_model.middle_block.1.proj_in", (320, 320)),
        ("wan", "", "diffusion_model.blocks.0.self_attn.q", (128, 128)),
        ("wan", "kohya", "lora_unet_blocks_1_ffn_2", (128, 256)),
        ("sd3", "diffusers", "transformer.transformer_blocks.1.attn.add_k_proj", (128, 128)),
        ("flux", "diffusers", "transformer.single_transformer_blocks.0.proj_mlp", (12288, 3072)),
    ],
)  # fmt: skip
def test_lora_modules_are_named_as_trainers_name_them(checkpoint, naming, module, shape):
    assert modules_of(checkpoint, naming=naming)[module].shape == shape


@pytest.mark.parametrize("checkpoint", [*UNETS, *TRANSFORMERS])
def test_every_linear_and_convolution_of_a_checkpoint_has_a_lora_name(checkpoint):
    shapes = modules_of(checkpoint, only="all", parts=("unet",))
    assert len(shapes) > 10
    assert all(len(module.shape) >= 2 for module in shapes.values())
    encoders = TEXT_ENCODERS.get(checkpoint, {})
    for part in encoders:
        assert len(modules_of(checkpoint, parts=(part,))) in (72, 192)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lora_file_of_each_kind_is_finite_and_the_same_every_time(kind, tmp_path):
    only = {"norm": "norms", "tucker": r"in_layers\.2"}.get(kind, "attn2|proj_in")
    modules = modules_of("sd15", parts=("unet",), only=only)
    first = write_lora(tmp_path / "a" / "one.safetensors", modules, kind=kind, seed=5)
    again = write_lora(tmp_path / "b" / "two.safetensors", modules, kind=kind, seed=5)
    other = write_lora(tmp_path / "c" / "three.safetensors", modules, kind=kind, seed=6)
    assert sha256(first) == sha256(again) != sha256(other)
    assert all(tensor.isfinite().all() for tensor in state_dict(first).values())


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_delta_has_the_promised_size_in_every_spelling(spelling, tmp_path):
    name = "diffusion_model.blocks.0.self_attn.q"
    path = write_lora(
        tmp_path / "x.safetensors", modules_of("wan"), rank=8, alpha=2, spelling=spelling, dtype="float32"
    )
    tensors, (down, up) = state_dict(path), SPELLINGS[spelling]
    delta = tensors[name + up] @ tensors[name + down] * tensors[f"{name}.alpha"] / 8
    assert delta.std() * 128**0.5 == pytest.approx(0.5, rel=0.15)


def test_hostile_files_are_what_they_say(tmp_path):
    clashing = state_dict(clashing_lora(tmp_path / "clash.safetensors"))
    sound = modules_of("sd15")
    wrong = [name for name in sound if clashing[f"{name}.lora_down.weight"].shape[1] != sound[name].shape[1]]
    assert len(wrong) == 1
    for path in (
        unmatched_lora(tmp_path / "none.safetensors"),
        language_model_lora(tmp_path / "llm.safetensors"),
    ):
        names = {name.split(".lora_")[0] for name in state_dict(path)}
        for checkpoint in (*UNETS, *TRANSFORMERS):
            assert names.isdisjoint(modules_of(checkpoint, only="all"))
