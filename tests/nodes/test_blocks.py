"""Block weights on loaded models: each factor applies to the model's own weights, whatever the file's names are."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import comfy.lora
import pytest
import torch
from air_lora_pack.nodes.patching.application import WeightedLora, apply_loras, patches_of
from air_lora_pack.nodes.patching.blocks import block_factors

from lora_resolver import BlockWeights, InvalidInput, block_rows
from tests import lora_files
from tests.nodes.checkpoints import load

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("as_comfyui_runs_nodes")]

WORDS = ["clip_l.transformer.text_model.encoder.layers.0.mlp.fc1.weight"]


def names(rows: dict[str, int], *others: str) -> list[str]:
    made = [
        f"diffusion_model.{row}.{number}.{layer}.weight"
        for row, count in rows.items()
        for number in range(count)
        for layer in ("attn1.to_q", "ff.net.0.proj")
    ]
    return [*made, *(f"diffusion_model.{each}.weight" for each in others)]


SD15 = names({"input_blocks": 12, "middle_block": 3, "output_blocks": 12}, "time_embed.0")
SDXL = names({"input_blocks": 9, "middle_block": 3, "output_blocks": 9}, "time_embed.0")
FLUX = names({"double_blocks": 19, "single_blocks": 38}, "img_in", "final_layer.linear")
WAN = names({"blocks": 30}, "head.head")


def factors(blocks: BlockWeights, model: list[str]) -> dict[str, float]:
    """The factors of each block's first weight and of the other weights, as a complete table."""
    found = block_factors(blocks, model, WORDS)
    return {name: found.get(name, 1.0) for name in (*model, *WORDS)}


def at(found: dict[str, float], part: str) -> set[float]:
    return {factor for name, factor in found.items() if part in name}


@pytest.mark.parametrize(
    ("vector", "model", "expected"),
    [
        (
            [0.1, *range(2, 13)],
            SDXL,
            {"clip_l": 0.1, "input_blocks.4.": 2, "input_blocks.8.": 5, "middle_block": 6},
        ),
        ([0.1, *range(2, 13)], SDXL, {"output_blocks.0.": 7, "output_blocks.5.": 12, "input_blocks.3.": 0}),
        ([0.1, *range(2, 18)], SD15, {"input_blocks.1.": 2, "input_blocks.8.": 7, "middle_block": 8}),
        ([0.1, *range(2, 18)], SD15, {"output_blocks.3.": 9, "output_blocks.11.": 17, "time_embed": 0}),
        ([0.1, *range(2, 21)], SDXL, {"input_blocks.0.": 2, "output_blocks.8.": 20}),
        ([0.1, *range(2, 27)], SD15, {"input_blocks.0.": 2, "output_blocks.11.": 26}),
        ([0.1, *range(2, 22)], SDXL, {"time_embed": 0.1, "input_blocks.0.": 0.1, "middle_block.2.": 12}),
        ([0.1, *range(2, 28)], SD15, {"input_blocks.1.": 2, "middle_block.0.": 13, "output_blocks.11.": 27}),
        ([*range(1, 58)], FLUX, {"double_blocks.0.": 1, "single_blocks.37.": 57, "img_in": 1, "clip_l": 1}),
        ([0.1, *range(2, 59)], FLUX, {"double_blocks.0.": 2, "single_blocks.37.": 58, "img_in": 0.1}),
        ([0.1, 0.2, 0.3, *range(4, 62)], FLUX, {"clip_l": 0.1, "img_in": 0.3, "double_blocks.0.": 4}),
        ([0.1, 0.2, 0.3, *range(4, 62)], FLUX, {"single_blocks.37.": 60, "final_layer": 61}),
    ],
)
def test_each_number_of_a_vector_is_for_its_block(
    vector: list[float], model: list[str], expected: dict[str, float]
) -> None:
    found = factors(BlockWeights(vector=tuple(vector)), model)
    for part, factor in expected.items():
        assert at(found, part) == {factor}, part


@pytest.mark.parametrize(
    ("preset", "model", "only"),
    [
        ("early", WAN, {f"blocks.{n}" for n in range(10)}),
        ("middle", WAN, {f"blocks.{n}" for n in range(10, 20)}),
        ("late", SDXL, {f"output_blocks.{n}" for n in range(2, 9)}),
        ("input", SD15, {f"input_blocks.{n}" for n in range(12)}),
        ("single", FLUX, {f"single_blocks.{n}" for n in range(38)}),
        ("double", FLUX, {f"double_blocks.{n}" for n in range(19)}),
        ("OUTALL", SDXL, {f"output_blocks.{n}" for n in range(6)}),
        ("OUTALL", SD15, {f"output_blocks.{n}" for n in range(3, 12)}),
        ("FACE", SD15, {f"output_blocks.{n}" for n in range(3, 6)}),
        ("MIDD", SDXL, {"input_blocks.7", "input_blocks.8", "output_blocks.0", "output_blocks.1", "output_blocks.2"}
         | {f"middle_block.{n}" for n in range(3)}),
    ],
)  # fmt: skip
def test_a_preset_counts_in_its_blocks_alone(preset: str, model: list[str], only: set[str]) -> None:
    found = factors(BlockWeights(preset=preset), model)
    counting = {".".join(name.split(".")[1:3]) for name in model if found[name] == 1}
    assert counting == only
    assert at(found, "clip_l") == {1}


# Each preset as a vector: of 17 numbers as in the presets of LoRA Block Weight, and of 12 for the same parts of SDXL.
PRESETS = {
    "INS": ("1,1,1,1,0,0,0,0,0,0,0,0,0,0,0,0,0", "1,1,1,0,0,0,0,0,0,0,0,0"),
    "IND": ("1,0,0,0,1,1,1,0,0,0,0,0,0,0,0,0,0", "1,0,0,1,1,0,0,0,0,0,0,0"),
    "INALL": ("1,1,1,1,1,1,1,0,0,0,0,0,0,0,0,0,0", "1,1,1,1,1,0,0,0,0,0,0,0"),
    "MIDD": ("1,0,0,0,1,1,1,1,1,1,1,1,0,0,0,0,0", "1,0,0,1,1,1,1,1,1,0,0,0"),
    "OUTD": ("1,0,0,0,0,0,0,0,1,1,1,1,0,0,0,0,0", "1,0,0,0,0,0,1,1,1,0,0,0"),
    "OUTS": ("1,0,0,0,0,0,0,0,0,0,0,0,1,1,1,1,1", "1,0,0,0,0,0,0,0,0,1,1,1"),
    "OUTALL": ("1,0,0,0,0,0,0,0,1,1,1,1,1,1,1,1,1", "1,0,0,0,0,0,1,1,1,1,1,1"),
    "FACE": ("1,0,0,0,0,0,0,0,1,1,1,0,0,0,0,0,0", ""),
    "PALETTE": ("1,0,0,0,0,0,0,0,0,0,0,0.8,1,1,1,1,1", ""),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_community_preset_is_its_vector(preset: str) -> None:
    for model, text in zip((SD15, SDXL), PRESETS[preset]):
        if text:
            vector = BlockWeights(vector=tuple(float(each) for each in text.split(",")))
            assert factors(BlockWeights(preset=preset), model) == factors(vector, model)


def test_presets_by_layer() -> None:
    assert at(factors(BlockWeights(preset="attention"), WAN), "attn1") == {1}
    assert at(factors(BlockWeights(preset="attention"), WAN), ".ff.") == {0}
    assert at(factors(BlockWeights(preset="mlp"), WAN), ".ff.") == {1}
    assert at(factors(BlockWeights(preset="mlp"), WAN), "attn1") == {0}
    found = factors(BlockWeights(preset="no text encoder"), WAN)
    assert at(found, "clip_l") == {0}
    assert at(found, "diffusion_model") == {1}


def test_names_with_ranges_and_stars_of_which_the_last_counts() -> None:
    patterns = (("*", 0.5), ("output_blocks.3-5", 0.0), ("output_blocks.4.attn1", 2.0), ("text_encoder", 0.3))
    found = factors(BlockWeights(patterns=patterns), SDXL)
    assert at(found, "output_blocks.3.") == {0}
    assert at(found, "output_blocks.4.attn1") == {2}
    assert at(found, "output_blocks.4.ff") == {0}
    assert at(found, "output_blocks.6.") == {0.5}
    assert at(found, "clip_l") == {0.3}
    assert at(factors(BlockWeights(patterns=(("*", 0.0),)), SDXL), "clip_l") == {1}, (
        "it has a name of its own"
    )


@pytest.mark.parametrize(
    ("blocks", "model", "says"),
    [
        (BlockWeights(vector=(1.0,) * 17), SDXL, "12"),
        (BlockWeights(vector=(1.0,) * 12), WAN, "blocks.0-29"),
        (BlockWeights(preset="FACE"), SDXL, "SD 1.5"),
        (BlockWeights(preset="OUTALL"), FLUX, "double_blocks.0-18"),
        (BlockWeights(preset="single"), WAN, "blocks.0-29"),
        (BlockWeights(patterns=(("double_blocks.*", 0.0),)), SDXL, "input_blocks.0-8"),
        (BlockWeights(patterns=(("output_blocks.30-40", 0.0),)), SDXL, "output_blocks.0-8"),
        (BlockWeights(patterns=(("output_blocks.5-3", 0.0),)), SDXL, "output_blocks.0-8"),
    ],
)
def test_what_is_for_another_model_says_what_there_is(
    blocks: BlockWeights, model: list[str], says: str
) -> None:
    with pytest.raises(InvalidInput) as raised:
        block_factors(blocks, model, WORDS)
    assert says in f"{raised.value.message} {raised.value.remedy}"


def test_the_rows_of_a_checkpoint_s_header() -> None:
    header = [name.replace("diffusion_model.", "model.diffusion_model.") for name in SDXL] + [
        "first_stage_model.x"
    ]
    assert block_rows(header) == {
        "input_blocks": tuple(range(9)),
        "middle_block": (0, 1, 2),
        "output_blocks": tuple(range(9)),
    }
    assert list(block_rows(name.replace("diffusion_model.", "") for name in FLUX)) == [
        "double_blocks",
        "single_blocks",
    ]


@pytest.mark.parametrize(
    ("kind", "apply_as"),
    [("lora", "patch"), ("lora", "bypass"), ("lokr", "patch"), ("lokr", "bypass"), ("loha", "patch")],
)
def test_a_block_s_weights_change_by_its_factor(folder: Path, kind: str, apply_as: str) -> None:
    """For every kind, patched and bypassed: a whole array of one entry compared with its parts at their own weights."""
    model = load(folder, "sd15", model_options={"dtype": torch.float32})[0]
    path = lora_files.write_lora(
        folder / f"blocks-{kind}.safetensors", lora_files.modules_of("sd15"), kind=kind
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()

    def changed(blocks: BlockWeights | None, strength: float) -> dict[str, torch.Tensor]:
        lora = WeightedLora("lora[0]", "", path, digest, strength, 0.0, blocks=blocks)
        made = apply_loras(model, None, [lora], skip_mismatches=False, apply_as=apply_as).model
        return weights_of(made)

    plain = weights_of(model)
    half, whole = changed(None, 0.4), changed(None, 0.8)
    ours = changed(BlockWeights(patterns=(("output_blocks.*", 0.5), ("middle_block", 0.0))), 0.8)
    for name, weight in ours.items():
        expected = half if "output_blocks" in name else plain if "middle_block" in name else whole
        torch.testing.assert_close(weight, expected[name], rtol=1e-5, atol=1e-6, msg=name)


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    """The weights as merging nodes read them, with all patches and bypass LoRAs."""
    found = {}
    for name, patches in model.get_key_patches("diffusion_model.").items():
        weight, convert = patches[0]
        value = convert(weight.float().clone(), inplace=False)
        found[name] = comfy.lora.calculate_weight(patches[1:], value, name) if len(patches) > 1 else value
    return found


def test_a_block_at_zero_is_no_patch(folder: Path) -> None:
    model = load(folder, "sd15")[0]
    path = lora_files.write_lora(folder / "blocks-zero.safetensors", lora_files.modules_of("sd15"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    blocks = BlockWeights(preset="early")
    lora = WeightedLora("lora[0]", "", path, digest, 0.8, 0.0, blocks=blocks)
    application = apply_loras(model, None, [lora], skip_mismatches=False)
    patched = {name for name in application.model.patches if name.startswith("diffusion_model.")}
    assert patched
    assert application.weights == len(patched)
    targets = {target.key for target in patches_of(application.entries[0], text_encoder=False).patches}
    assert targets == patched
    assert not any("output_blocks" in name for name in patched)
