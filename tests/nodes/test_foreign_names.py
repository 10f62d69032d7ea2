"""Names by peft and diffusers."""

from __future__ import annotations

import pytest
import torch
from air_lora_pack.nodes.patching.foreign_names import name_in, read_as_adapters

A = ".lora_A.weight"
NAMES = [
    # in the file, stem in the key map
    ("base_model.model.blocks.0.self_attn.q", "diffusion_model.blocks.0.self_attn.q"),
    ("blocks.0.self_attn.q", "diffusion_model.blocks.0.self_attn.q"),
    ("transformer.blocks.0.self_attn.q", "diffusion_model.blocks.0.self_attn.q"),
    ("transformer_blocks.0.attn.to_q", "transformer.transformer_blocks.0.attn.to_q"),
    ("unet.base_model.model.mid_block.attn1.to_q", "unet.mid_block.attn1.processor.to_q"),
    ("mid_block.attn1.to_out.0", "unet.mid_block.attn1.processor.to_out"),
    ("unet.mid_block.resnets.0.conv1", "unet.mid_block.resnets.0.conv1"),
    ("text_encoder.encoder.layers.0.mlp.fc1", "text_encoder.text_model.encoder.layers.0.mlp.fc1"),
    ("text_encoder_2.encoder.layers.0.mlp.fc1", "text_encoder_2.text_model.encoder.layers.0.mlp.fc1"),
]


@pytest.mark.parametrize(("name", "stem"), NAMES, ids=[name for name, _ in NAMES])
def test_names_are_found_under_another_spelling(name: str, stem: str) -> None:
    for role in (A, ".lora_B.weight", ".alpha", ".dora_scale", ".lora.up.weight"):
        assert name_in({stem}, name + role) == stem + role


def test_what_no_spelling_of_the_key_map_has_stays_unknown() -> None:
    key_map = {"diffusion_model.blocks.0.self_attn.q"}
    for name in ("blocks.0.self_attn.k.lora_A.weight", "blocks.0.self_attn.q.weight", "", ".lora_A.weight"):
        assert name_in(key_map, name) is None


METADATA = {"lora_adapter_metadata": '{"lora_alpha": 8}'}


def test_an_alpha_of_the_metadata_comes_beside_the_factors() -> None:
    read = read_as_adapters({f"a{A}": torch.zeros(4, 8), "a.lora_B.weight": torch.zeros(8, 4)}, METADATA)
    assert read.keys() == {f"a{A}", "a.lora_B.weight", "a.alpha"}
    assert read["a.alpha"] == 8


def test_an_alpha_that_is_there_counts() -> None:
    tensors = {f"a{A}": torch.zeros(4, 8), "a.alpha": torch.tensor(2.0)}
    assert read_as_adapters(tensors, METADATA)["a.alpha"] == 2


@pytest.mark.parametrize(
    ("shape", "read"), [((320,), (320, 1)), ((1, 320, 1, 1), (320, 1, 1, 1)), ((320, 1), (320, 1))]
)
def test_magnitudes_stand_before_the_rows_of_the_weight(
    shape: tuple[int, ...], read: tuple[int, ...]
) -> None:
    for ending in ("", ".weight", ".default.weight"):
        (name, tensor), *_ = read_as_adapters(
            {f"a.lora_magnitude_vector{ending}": torch.ones(shape)}, {}
        ).items()
        assert (name, tuple(tensor.shape)) == ("a.dora_scale", read)
