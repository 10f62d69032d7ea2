"""What whole models are, detected from their headers. tests/nodes compares this with ComfyUI's own models."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_resolver import SafetensorsHeader, TensorInfo
from lora_resolver.model_file.architecture import detect_checkpoint

Shapes = dict[str, tuple[int, ...]]


def header(shapes: Shapes, dtype: str = "BF16", **others: str) -> SafetensorsHeader:
    """`others`: names of tensors of one byte, with their dtypes."""
    tensors = {name: TensorInfo(dtype, shape, 0, 1_000_000) for name, shape in shapes.items()}
    tensors |= {name: TensorInfo(kind, (1,), 0, 1) for name, kind in others.items()}
    return SafetensorsHeader(tensors, {}, 0, 0)


def flux(width: int = 3072, blocks: int = 19) -> Shapes:
    """A transformer with FLUX.1's layout, without its vectors."""
    shapes: Shapes = {"img_in.weight": (width, 64), "txt_in.weight": (width, 4096)}
    for number in range(blocks):
        for half in ("img", "txt"):
            shapes[f"double_blocks.{number}.{half}_attn.qkv.weight"] = (3 * width, width)
            shapes[f"double_blocks.{number}.{half}_mod.lin.weight"] = (6 * width, width)
    for number in range(2 * blocks):
        shapes[f"single_blocks.{number}.modulation.lin.weight"] = (3 * width, width)
    return shapes


def under(prefix: str, shapes: Shapes) -> Shapes:
    return {prefix + name: shape for name, shape in shapes.items()}


VAE: Shapes = {"first_stage_model.decoder.conv_in.weight": (512, 16, 3, 3)}
CLIP: Shapes = {"text_encoders.clip_l.transformer.text_model.encoder.layers.0.mlp.fc1.weight": (3072, 768)}
CASES: list[tuple[str, SafetensorsHeader, str, tuple[str, ...], tuple[str, ...], str]] = [
    # case, header, verdict, families, parts, precision
    ("the model alone", header(flux()), "known", ("flux1",), ("transformer",), "BF16"),
    (
        "as ComfyUI saves it",
        header(under("model.diffusion_model.", flux())),
        "known",
        ("flux1",),
        ("transformer",),
        "BF16",
    ),
    (
        "all in one file",
        header(under("model.diffusion_model.", flux()) | VAE | CLIP),
        "known",
        ("flux1",),
        ("transformer", "text_encoders", "vae"),
        "BF16",
    ),
    (
        "fp8 with scales",
        header(flux(), "F8_E4M3", scaled_fp8="F8_E4M3"),
        "known",
        ("flux1",),
        ("transformer",),
        "F8_E4M3 scaled",
    ),
    ("fp8 without", header(flux(), "F8_E4M3"), "known", ("flux1",), ("transformer",), "F8_E4M3"),
    (
        "a width of nobody's",
        header(flux(width=256)),
        "known",
        ("flux1",),
        ("transformer",),
        "BF16",
    ),
    ("a VAE", header(VAE), "not_a_diffusion_model", (), ("vae",), ""),
    ("text encoders", header(CLIP), "not_a_diffusion_model", (), ("text_encoders",), ""),
    ("nothing", header({}), "not_a_diffusion_model", (), (), ""),
    (
        "an unknown model",
        header({f"trunk.{n}.mix.weight": (777, 777) for n in range(40)}),
        "unknown",
        (),
        (),
        "BF16",
    ),
]


@pytest.mark.parametrize(
    ("file", "verdict", "families", "parts", "precision"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_checkpoints(
    file: SafetensorsHeader, verdict: str, families: tuple[str, ...], parts: tuple[str, ...], precision: str
) -> None:
    found = detect_checkpoint(file)
    assert (found.verdict, found.families, found.parts, found.precision) == (
        verdict,
        families,
        parts,
        precision,
    )
    assert found.sentence.startswith("It ")
    assert found.sentence.endswith(".")


def test_the_sentence_says_what_is_in_the_file() -> None:
    found = detect_checkpoint(header(under("model.diffusion_model.", flux()) | VAE | CLIP))
    assert found.sentence == "It is FLUX.1 (transformer, text encoders, vae; BF16)."


@given(names=st.lists(st.text(max_size=60), max_size=30), shape=st.lists(st.integers(0, 9), max_size=5))
@settings(deadline=None)
def test_no_header_makes_it_raise(names: list[str], shape: list[int]) -> None:
    tails = ("", ".weight", ".bias", ".scale", ".qweight")
    found = detect_checkpoint(header({name + tail: tuple(shape) for name in names for tail in tails}))
    assert found.families == ()
