"""Spellings missing from ComfyUI's key maps (diffusers' of HunyuanVideo, OMI's, XLabs'), on the models' own weights."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import comfy.ldm.flux.layers
import pytest
import torch
from air_lora_pack.nodes.patching.application import WeightedLora, apply_loras
from air_lora_pack.nodes.patching.other_names import has_joint_attention
from safetensors.torch import save_file

from lora_resolver import SafetensorsHeader, TensorInfo, detect_architecture
from lora_resolver.model_file.scale import alphas_of_metadata
from tests.nodes.checkpoints import load
from tests.nodes.full_size_models import OTHERS
from tests.nodes.test_every_class import loaded
from tests.nodes.test_odd_files import LINEAR, both, low_rank, patched, r, roles
from tests.official_classes import official_classes

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

WIDTHS = {"FLUX.1 dev": 3072, "HunyuanVideo": 3072, "HunyuanImage": 3584, "SD 3.5 large": 2432}


def part(weight: str, width: int, number: int, length: int = 0) -> tuple[str, tuple[int, int, int]]:
    return f"diffusion_model.{weight}.weight", (0, number * width, length or width)


def in_diffusers(width: int) -> dict[str, object]:
    return {
        "transformer.transformer_blocks.3.attn.to_k": part("double_blocks.3.img_attn.qkv", width, 1),
        "transformer.transformer_blocks.3.attn.add_v_proj": part("double_blocks.3.txt_attn.qkv", width, 2),
        "transformer.transformer_blocks.3.ff.net.2": "diffusion_model.double_blocks.3.img_mlp.2.weight",
        "transformer.single_transformer_blocks.4.attn.to_q": part("single_blocks.4.linear1", width, 0),
        "transformer.single_transformer_blocks.4.proj_mlp": part(
            "single_blocks.4.linear1", width, 3, 4 * width
        ),
        "transformer.single_transformer_blocks.4.norm.linear": "diffusion_model.single_blocks.4.modulation.lin.weight",
    }


# ComfyUI has used both names for FLUX.1's norms.
NORM = (
    "scale" if hasattr(comfy.ldm.flux.layers.QKNorm(8, operations=torch.nn).query_norm, "scale") else "weight"
)
NAMES = [
    *(("HunyuanVideo", name, slot) for name, slot in in_diffusers(3072).items()),
    *(("HunyuanImage", name, slot) for name, slot in in_diffusers(3584).items()),
    ("FLUX.1 dev", "transformer.double_blocks.0.img_attn.qkv.1", part("double_blocks.0.img_attn.qkv", 3072, 1)),
    ("FLUX.1 dev", "transformer.single_blocks.7.linear1.2", part("single_blocks.7.linear1", 3072, 2)),
    ("FLUX.1 dev", "transformer.single_blocks.7.linear1.3", part("single_blocks.7.linear1", 3072, 3, 12288)),
    ("FLUX.1 dev", "transformer_blocks.2.attn.to_added_qkv", "diffusion_model.double_blocks.2.txt_attn.qkv.weight"),
    ("FLUX.1 dev", "single_transformer_blocks.2.attn.to_qkv", part("single_blocks.2.linear1", 3072, 0, 9216)),
    ("FLUX.1 dev", "single_blocks.1.processor.qkv_lora", part("single_blocks.1.linear1", 3072, 0, 9216)),
    *(
        ("FLUX.1 dev", name, f"diffusion_model.double_blocks.0.img_attn.norm.query_norm.{NORM}")
        for name in (
            "diffusion_model.double_blocks.0.img_attn.norm.query_norm",
            "lora_unet_double_blocks_0_img_attn_norm_query_norm",
        )
    ),
    ("Wan 14B", "transformer.proj_out", "diffusion_model.head.head.weight"),
    ("HunyuanVideo", "transformer.proj_out", "diffusion_model.final_layer.linear.weight"),
    ("HunyuanVideo", "transformer.context_embedder.proj_in", "diffusion_model.txt_in.input_embedder.weight"),
    (
        "HunyuanVideo", "transformer.time_text_embed.timestep_embedder.linear_1",
        "diffusion_model.time_in.in_layer.weight",
    ),
    (
        "HunyuanVideo", "transformer.time_text_embed.text_embedder.linear_2",
        "diffusion_model.vector_in.out_layer.weight",
    ),
    (
        "FLUX.2 dev", "transformer.time_guidance_embed.timestep_embedder.linear_1",
        "diffusion_model.time_in.in_layer.weight",
    ),
    (
        "Chroma", "transformer.distilled_guidance_layer.layers.0.linear_2",
        "diffusion_model.distilled_guidance_layer.layers.0.out_layer.weight",
    ),
    ("Wan 14B", "transformer.blocks.3.attn2.norm_k", "diffusion_model.blocks.3.cross_attn.norm_k.weight"),
    ("SD 3.5 large", "transformer.joint_blocks.5.x_block.attn.qkv.0", part("joint_blocks.5.x_block.attn.qkv", 2432, 0)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "name", "slot"), NAMES, ids=[f"{model}-{name}" for model, name, _ in NAMES]
)
def test_a_name_finds_its_weight_or_its_part_of_one(model: str, name: str, slot: object) -> None:
    assert loaded(model).diffusion.names.slot_of(name, joint=True) == slot


def test_the_feed_forward_of_another_kind_of_transformer_is_not_hunyuanvideo_s() -> None:
    """LTX-Video, Cosmos, and CogVideoX use the same name for theirs, together with `attn1`."""
    name = "transformer.transformer_blocks.0.ff.net.2"
    assert loaded("HunyuanVideo").diffusion.names.slot_of(name) is None
    assert not has_joint_attention([name, "transformer.transformer_blocks.0.attn1.to_q"])
    assert has_joint_attention([name, "transformer.transformer_blocks.0.attn.to_q"])


@pytest.mark.parametrize(
    ("model", "official"), [("HunyuanVideo", "hunyuan_video"), ("HunyuanImage", "hunyuan_image")]
)
def test_every_module_of_the_blocks_of_diffusers_class_has_a_weight_of_its_size(
    model: str, official: str
) -> None:
    (diffusers,) = [each for each in official_classes() if each.name == f"diffusers: {official}"]
    names, shapes = loaded(model).diffusion.names, loaded(model).diffusion.shapes
    checked = 0
    for name, shape in diffusers.weights.items():
        if ".norm" in name.replace("norm1", "") or not name.startswith(
            ("transformer_blocks", "single_transformer")
        ):
            continue
        slot = names.slot_of(f"transformer.{name}", joint=True)
        assert slot is not None, name
        weight, offset = (slot, None) if isinstance(slot, str) else slot[:2]
        assert (offset[2] if offset else shapes[weight][0]) == shape[0], name
        assert shapes[weight][1] == shape[1], name
        checked += 1
    assert checked > 400


# Fused in the file, separate in the model: where the model has them, and their outputs.
FUSED = [
    ("SDXL", "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_qkv", ["q", "k", "v"], [640] * 3, 640),
    ("SDXL", "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_kv", ["k", "v"], [640] * 2, 2048),
    ("SDXL", "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_qkv", ["q", "k", "v"], [640] * 3, 640),
    *(
        ("Krea 2", f"transformer.{block}.attn.to_qkv", ["q", "k", "v"], lengths, lengths[0])
        for block, lengths in [
            ("transformer_blocks.3", [6144, 1536, 1536]),
            ("text_fusion.refiner_blocks.1", [2560] * 3),
        ]
        if "Krea 2" in OTHERS
    ),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["factors", "magnitudes", "differences"])
@pytest.mark.parametrize(("model", "stem", "letters", "lengths", "inputs"), FUSED)
def test_projections_that_are_fused_in_the_file_alone(
    model: str, stem: str, letters: list[str], lengths: list[int], inputs: int, kind: str, tmp_path: Path
) -> None:
    rows, base = sum(lengths), torch.randn(sum(lengths), inputs)
    up, down, whole, magnitude = r(rows, 4), r(4, inputs), r(rows, inputs), torch.rand(rows, 1) + 0.5
    tensors = {
        f"{stem}.lora_up.weight": up,
        f"{stem}.lora_down.weight": down,
        f"{stem}.alpha": torch.tensor(2.0),
    }
    expected = base + 0.7 * (up @ down) * 2 / 4
    if kind == "magnitudes":
        tensors[f"{stem}.dora_scale"] = magnitude
        merged = base + (up @ down) * 2 / 4
        expected = base + 0.7 * (merged * magnitude / base.norm(dim=1, keepdim=True) - base)
    if kind == "differences":
        tensors, expected = {f"{stem}.diff": whole}, base + 0.7 * whole
    before, after = both(tensors, tmp_path, model)
    assert (before.verdict, after.verdict) == ("fits", "fits")
    assert not after.diffusion.unused
    weights = {}
    for letter, part in zip(letters, base.split(lengths)):
        (key,) = [
            target.key
            for target in after.diffusion.patches
            if target.key.endswith((f"to_{letter}.weight", f"w{letter}.weight"))
        ]
        weights[key] = part
    result = patched(after, weights)
    assert torch.allclose(torch.cat(list(result.values())), expected, atol=1e-4)


def test_a_fused_projection_of_another_size_is_told_of(tmp_path: Path) -> None:
    stem = FUSED[0][1]
    tensors = low_rank() | {f"{stem}.lora_up.weight": r(1900, 4), f"{stem}.lora_down.weight": r(4, 640)}
    for fit in both(tensors, tmp_path, "SDXL"):
        assert fit.verdict == "fits partly"
        assert set(fit.diffusion.unused) == {f"{stem}.lora_up.weight", f"{stem}.lora_down.weight"}


def test_t5_in_omi_is_a_text_encoder() -> None:
    names = ["t5.encoder.block.0.layer.0.SelfAttention.q", "transformer.double_blocks.0.img_attn.qkv.0"]
    tensors = {
        f"{name}.lora_{half}.weight": TensorInfo("F16", shape, 0, 0)
        for name in names
        for half, shape in (
            ("down", (8, 4096 if "t5" in name else 3072)),
            ("up", (4096 if "t5" in name else 3072, 8)),
        )
    }
    found = detect_architecture(SafetensorsHeader(tensors, {}, 0, 0))
    assert found.verdict != "not_a_diffusion_lora"


@pytest.mark.parametrize("first", ["transformer.", ""])
def test_the_second_expert_of_a_file_for_two(first: str, tmp_path: Path) -> None:
    name = "blocks.0.attn1.to_q"
    factors = {"lora_A__weight": r(4, 5120), "lora_B__weight": r(5120, 4)}
    tensors = roles(f"transformer_2.{name}", **factors)
    if first:
        tensors |= roles(first + name, **factors)
    for fit in both(tensors, tmp_path, "Wan 14B"):
        assert len(fit.diffusion.patches) == 1
        assert fit.verdict == ("fits partly" if first else "fits")
        assert all("transformer_2" in name for name in fit.diffusion.unused)


# ---- numbers stored in another way


def test_the_scale_of_the_magnitudes_counts(tmp_path: Path) -> None:
    magnitudes = torch.rand(640, 1) + 1
    plain, scaled = (
        both(low_rank(dora_scale=given) | more, tmp_path, "SDXL")[1]
        for given, more in (
            (magnitudes, {}),
            (magnitudes * 4, roles(LINEAR, dora_scale__scale_weight=torch.tensor(0.25))),
        )
    )
    magnitude = [next(iter(fit.diffusion.patches.values())).weights[4] for fit in (plain, scaled)]
    assert torch.allclose(magnitude[0], magnitude[1])
    assert scaled.verdict == "fits"


@pytest.mark.parametrize("mark", ["lora_A__input_scale", "lora_A__comfy_quant", "lora_A__zero_point"])
def test_what_stands_beside_a_factor_is_not_taken_for_it(mark: str, tmp_path: Path) -> None:
    tensors = roles(
        LINEAR, **{mark: torch.ones(()), "lora_A__weight": r(4, 640), "lora_B__weight": r(640, 4)}
    )
    for fit in both(tensors, tmp_path, "SDXL"):
        assert len(fit.diffusion.patches) == 1


@pytest.mark.parametrize(
    "ending", ["weight_scale", "scale_weight", "weight_scale_inv", "scale", "weight__scale"]
)
def test_a_factors_scale_counts_whatever_it_is_called(ending: str, tmp_path: Path) -> None:
    up, down = r(640, 4), r(4, 640)
    tensors = roles(
        LINEAR, lora_A__weight=down, lora_B__weight=up, **{f"lora_A__{ending}": torch.tensor(0.5)}
    )
    fit, key = both(tensors, tmp_path, "SDXL")[1], f"{LINEAR}.weight"
    found = patched(fit, {key: torch.zeros(640, 640)})[key].double()
    assert torch.allclose(found, 0.7 * 0.5 * (up.double() @ down.double()), rtol=1e-4)


def test_two_adapters_in_one_file_are_never_mixed(tmp_path: Path) -> None:
    """The widest numbers come first in a file, so halves of both would be combined."""
    tensors = roles(
        LINEAR,
        lora_A__a__weight=r(4, 640).half(), lora_B__a__weight=r(640, 4),
        lora_A__b__weight=r(4, 640), lora_B__b__weight=r(640, 4).half(), alpha=torch.tensor(2.0),
    )  # fmt: skip
    for fit in both(tensors, tmp_path, "SDXL"):
        (adapter,) = fit.diffusion.patches.values()
        names = {name.split(".")[-2] for name in fit.diffusion.matched if name.endswith(".weight")}
        assert len(names) == 1
        assert f"{LINEAR}.alpha" in fit.diffusion.matched
        assert len(fit.diffusion.unused) == 2
        assert adapter.weights[0].shape == (640, 4)


def test_whole_numbers_without_a_scale_are_refused(tmp_path: Path) -> None:
    numbers = torch.randint(-100, 100, (4, 640), dtype=torch.int8)
    tensors = roles(LINEAR, lora_A__weight=numbers, lora_B__weight=r(640, 4))
    assert both(tensors, tmp_path, "SDXL") == ["badFactor", "badFactor"]


@pytest.mark.parametrize("of_a_factor", [True, False])
def test_a_dtype_that_nobody_reads(folder: Path, tmp_path: Path, of_a_factor: bool) -> None:
    """In a factor, it leads to a rejection that the array can skip. In any other tensor, it has no effect."""
    stem = "lora_unet_down_blocks_1_attentions_0_proj_in"
    name = f"{stem}.lora_mid.weight" if of_a_factor else "something_else"
    path = tmp_path / "odd.safetensors"
    tensors = {f"{stem}.lora_up.weight": r(8, 4), f"{stem}.lora_down.weight": r(4, 8)}
    save_file(tensors | {name: torch.zeros(2, 2, dtype=torch.uint32)}, path)
    entry = WeightedLora("lora[0]", "odd", path, hashlib.sha256(path.read_bytes()).hexdigest(), 1.0, 1.0)
    (applied,) = apply_loras(*load(folder, "sd15"), [entry], skip_mismatches=True).entries
    assert applied.skipped is not None
    assert (applied.skipped.code == "unsupportedDtype") == of_a_factor


def test_patterns_alone_give_the_alphas() -> None:
    for metadata in (
        {"transformer.alpha_pattern": '{"to_q": 6}'},
        {
            "lora_adapter_metadata": '{"transformer.alpha_pattern": {"transformer\\\\.blocks\\\\.0\\\\.to_q": 6}}'
        },
        {"alpha_pattern": "{'to_q': 6}"},
    ):
        assert alphas_of_metadata(metadata).alpha_of("transformer.blocks.0.to_q", 8) == 6, metadata
