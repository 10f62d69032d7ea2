"""What LoRA files were made for, from their headers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_resolver import SafetensorsHeader, TensorInfo, detect_architecture, family_name, read_header
from tests.conftest import ROOT
from tests.header_samples import Sample, samples, verdict_on

REAL_WITH_SHAPES = [sample for sample in samples() if not sample.synthetic and sample.has_shapes]
WHOLE = [sample for sample in REAL_WITH_SHAPES if sample.is_whole and sample.is_settled]


def header(**shapes: tuple[int, ...]) -> SafetensorsHeader:
    return SafetensorsHeader(
        {name: TensorInfo("F16", shape, 0, 0) for name, shape in shapes.items()}, {}, 0, 0
    )


@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample.name)
def test_no_file_is_given_to_a_wrong_family(sample: Sample) -> None:
    assert verdict_on(sample) != "wrong", detect_architecture(sample.header)


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
    assert not found.families or sample.arch in found.families


NO_DIFFUSION_LORA = {
    "language model": header(**{"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": (8, 4096)}),
    "textual inversion": header(emb_params=(4, 768)),
    "SAM": header(w_a_000=(4, 768), w_b_000=(768, 4)),
    "checkpoint": header(**{"first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3)}),
    "ControlNet": header(**{"control_model.zero_convs.0.0.weight": (320, 320, 1, 1)}),
    "nothing of a LoRA's": header(**{"something.else": (3, 3)}),
}


@pytest.mark.parametrize("name", NO_DIFFUSION_LORA)
def test_what_is_no_diffusion_lora_is_said_so_in_a_sentence(name: str) -> None:
    found = detect_architecture(NO_DIFFUSION_LORA[name])
    assert found.verdict == "not_a_diffusion_lora"
    assert found.sentence.endswith(".")


KINDS = {
    "lora": {"lora_down.weight": (8, 320), "lora_up.weight": (320, 8)},
    "dora": {"lora_down.weight": (8, 320), "lora_up.weight": (320, 8), "dora_scale": (320, 1)},
    "loha": {"hada_w1_a": (320, 8), "hada_w1_b": (8, 320), "hada_w2_a": (320, 8), "hada_w2_b": (8, 320)},
    "lokr": {"lokr_w1": (16, 16), "lokr_w2_a": (20, 8), "lokr_w2_b": (8, 20)},
    "oft": {"oft_blocks": (4, 80, 80)},
    "diff": {"diff": (320, 320)},
    "glora": {"a1.weight": (8, 320), "a2.weight": (320, 8), "b1.weight": (320, 8), "b2.weight": (8, 320)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_kind_rank_and_parts(kind: str) -> None:
    module = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    found = detect_architecture(header(**{f"{module}.{role}": shape for role, shape in KINDS[kind].items()}))
    assert found.kind == kind
    assert found.rank == (8 if kind in ("lora", "dora", "loha", "lokr", "glora") else None)
    assert found.parts == ("unet",)
    assert set(found.families) <= {"sd1", "sd2"}


def test_metadata_never_decides_but_is_noted() -> None:
    tensors = {
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (8, 768),
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight": (320, 8),
    }
    lying = SafetensorsHeader(
        {name: TensorInfo("F16", shape, 0, 0) for name, shape in tensors.items()},
        {"ss_base_model_version": "flux1"},
        0,
        0,
    )
    found = detect_architecture(lying)
    assert found.families == ("sd1",)
    assert "flux1" in found.notes[0]


@pytest.mark.parametrize(
    "file", sorted((ROOT / "tools/showcase/loras").glob("*.safetensors")), ids=lambda f: f.stem
)
def test_the_showcase_s_styles_are_of_sd3_s_layout(file) -> None:
    assert detect_architecture(read_header(file)).families == ("sd3",)


def test_a_family_s_name_is_what_people_call_it() -> None:
    assert family_name("sd1") == "SD 1.x"
    assert family_name("of_the_future") == "of_the_future"
