"""Files that are unusual or broken in one place: they are used as intended, or rejected with a code."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import comfy.lora
import pytest
import torch
from air_lora_pack.nodes.patching.fit import Fit, check_fit
from air_lora_pack.nodes.patching.lora_file import open_lora, outline
from air_lora_pack.nodes.patching.stack import WeightedPatches, stack_patches
from safetensors.torch import save_file

from lora_resolver import Mismatch, detect_architecture, read_header
from tests.nodes.test_every_class import loaded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

LINEAR = "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_q"  # 640 → 640
CONVOLUTION = "diffusion_model.input_blocks.1.0.in_layers.2"  # 320 → 320, 3×3
STRENGTH = 0.7
Tensors = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def _as_comfyui_runs_nodes() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


def r(*shape: int) -> torch.Tensor:
    return torch.rand(shape) * 0.1 + 0.01


def low_rank(stem: str = LINEAR, size: int = 640, **more: torch.Tensor) -> Tensors:
    own = {f"{stem}.{role.replace('__', '.')}": tensor for role, tensor in more.items()}
    return {f"{stem}.lora_up.weight": r(size, 4), f"{stem}.lora_down.weight": r(4, size)} | own


def roles(stem: str, **tensors: torch.Tensor) -> Tensors:
    return {f"{stem}.{role.replace('__', '.')}": tensor for role, tensor in tensors.items()}


def both(
    tensors: Tensors, folder: Path, model: str, metadata: dict[str, str] | None = None
) -> list[Fit | str]:
    """The results of the checks before a download and of the file: the fit, or the code of the rejection."""
    path = folder / "file.safetensors"
    save_file(
        {name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path, metadata=metadata
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    files = outline(read_header(path), path.name, ""), open_lora(path, digest)
    return [verdict(file, model) for file in files]


def verdict(file: Any, model: str) -> Fit | str:
    try:
        return check_fit(file, "file", loaded(model))
    except Mismatch as error:
        assert error.remedy
        return error.code


def patched(fit: Fit, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    stacked = stack_patches([WeightedPatches("lora[0]", "", "0" * 64, STRENGTH, fit.diffusion.patches)])
    return {
        key: comfy.lora.calculate_weight([(1.0, stacked[key], 1.0, None, None)], weight.clone(), key)
        for key, weight in weights.items()
    }


CORE = (r(4, 4, 3, 3), r(4, 4, 3, 3))
REFUSED: dict[str, tuple[str, str, Tensors]] = {
    # name: code, model, tensors
    "a core alone": ("incompleteModule", "SDXL", roles(CONVOLUTION, lora_mid__weight=CORE[0])),
    "a Tucker core alone": ("incompleteModule", "SDXL", roles(LINEAR, lokr_t2=CORE[0])),
    "two Tucker cores alone": ("incompleteModule", "SDXL", roles(CONVOLUTION, hada_t1=CORE[0], hada_t2=CORE[1])),
    "magnitudes alone": ("incompleteModule", "SDXL", low_rank() | roles(CONVOLUTION, dora_scale=r(320, 1))),
    "a factor's bias alone": ("incompleteModule", "SDXL", roles(LINEAR, lora_B__bias=r(640))),
    "half a LoHa": ("incompleteModule", "SDXL", roles(LINEAR, hada_w1_a=r(640, 4), hada_w1_b=r(4, 640))),
    "half a LoKr": ("incompleteModule", "SDXL", roles(LINEAR, lokr_w1=r(2, 2), lokr_w2_a=r(320, 4))),
    "half a GLoRA": ("incompleteModule", "SDXL", roles(LINEAR, a1__weight=r(640, 4), a2__weight=r(4, 640))),
    "half a control LoRA": (
        "incompleteModule", "FLUX.1 dev",
        {"img_in.lora_A.weight": r(4, 128), "single_blocks.0.norm.key_norm.scale": r(128)},
    ),
    "ranks that differ": ("shapeClash", "SDXL", roles(LINEAR, lora_up__weight=r(640, 5), lora_down__weight=r(4, 640))),
    "ranks of a LoHa that differ": (
        "shapeClash", "SDXL",
        roles(LINEAR, hada_w1_a=r(640, 5), hada_w1_b=r(4, 640), hada_w2_a=r(640, 4), hada_w2_b=r(4, 640)),
    ),
    "halves of a LoHa that differ": (
        "shapeClash", "SDXL",
        roles(LINEAR, hada_w1_a=r(640, 4), hada_w1_b=r(4, 640), hada_w2_a=r(642, 4), hada_w2_b=r(4, 640)),
    ),
    "ranks of a LoKr that differ": (
        "shapeClash", "SDXL", roles(LINEAR, lokr_w1=r(2, 2), lokr_w2_a=r(320, 5), lokr_w2_b=r(4, 320))
    ),
    "a GLoRA of two sizes": (
        "shapeClash", "SDXL",
        roles(LINEAR, a1__weight=r(642, 4), a2__weight=r(4, 640), b1__weight=r(640, 4), b2__weight=r(4, 640)),
    ),
    "a core of another rank": (
        "shapeClash", "SDXL",
        roles(CONVOLUTION, lora_up__weight=r(320, 4, 1, 1), lora_down__weight=r(4, 320, 1, 1))
        | roles(CONVOLUTION, lora_mid__weight=r(5, 5, 3, 3)),
    ),
    "a core of another rank on one side": (
        "shapeClash", "SDXL",
        roles(CONVOLUTION, lora_up__weight=r(320, 4, 1, 1), lora_down__weight=r(4, 320, 1, 1))
        | roles(CONVOLUTION, lora_mid__weight=r(5, 4, 3, 3)),
    ),
    "a Tucker LoRA of another size": (
        "shapeClash", "SDXL",
        roles(CONVOLUTION, lora_up__weight=r(320, 4, 1, 1), lora_down__weight=r(4, 640, 1, 1))
        | roles(CONVOLUTION, lora_mid__weight=CORE[0]),
    ),
    "a Tucker LoRA of another kernel": (
        "shapeClash", "SDXL",
        roles(CONVOLUTION, lora_up__weight=r(320, 4, 1, 1), lora_down__weight=r(4, 320, 1, 1))
        | roles(CONVOLUTION, lora_mid__weight=r(4, 4, 5, 5)),
    ),
    "a Tucker LoHa of another size": (
        "shapeClash", "SDXL",
        roles(CONVOLUTION, hada_t1=CORE[0], hada_w1_a=r(4, 320), hada_w1_b=r(4, 640))
        | roles(CONVOLUTION, hada_t2=CORE[1], hada_w2_a=r(4, 320), hada_w2_b=r(4, 640)),
    ),
    "a Tucker LoKr of another size": (
        "shapeClash", "SDXL",
        roles(CONVOLUTION, lokr_w1=r(2, 4), lokr_t2=CORE[0], lokr_w2_a=r(4, 160), lokr_w2_b=r(4, 160)),
    ),
    "a core for a matrix": ("shapeClash", "SDXL", low_rank(lora_mid__weight=r(4, 4))),
    "magnitudes of no axis": ("shapeClash", "SDXL", low_rank(dora_scale=r(7, 1))),
    "a LoKr's magnitudes of no axis": (
        "shapeClash", "SDXL", roles(LINEAR, lokr_w1=r(2, 2), lokr_w2=r(320, 320), dora_scale=r(7))
    ),
    "more stages than outputs": ("badFactor", "SDXL", roles(LINEAR, oft_blocks=r(9, 80, 8, 8))),
    "a scale of no axis": ("shapeClash", "SDXL", low_rank(lora_up__scale_weight=r(3))),
    "a part that widens its weight": (
        "shapeClash", "Z-Image",
        low_rank("diffusion_model.layers.0.attention.to_k", 3840, reshape_weight=torch.tensor([3840, 3840])),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_broken_is_refused_alike_by_both_checks(name: str, tmp_path: Path) -> None:
    code, model, tensors = REFUSED[name]
    before, after = both(tensors, tmp_path, model)
    assert after == code
    # A header doesn't tell how many numbers a scale needs for the values that it scales.
    assert before == code or name == "a scale of no axis"


@pytest.mark.parametrize("shape", [(320,), (320, 1), (320, 1, 1, 1)])
@pytest.mark.parametrize("kind", ["lora", "loha", "lokr"])
def test_magnitudes_of_a_convolution_in_every_shape(
    kind: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    tensors = {
        "lora": roles(CONVOLUTION, lora_up__weight=r(320, 4, 1, 1), lora_down__weight=r(4, 320, 3, 3)),
        "loha": roles(
            CONVOLUTION, hada_w1_a=r(320, 4), hada_w1_b=r(4, 2880), hada_w2_a=r(320, 4), hada_w2_b=r(4, 2880)
        ),
        "lokr": roles(CONVOLUTION, lokr_w1=r(2, 2), lokr_w2=r(160, 160, 3, 3)),
    }[kind]
    magnitudes = 1 + r(320)
    _outline, fit = both(tensors | roles(CONVOLUTION, dora_scale=magnitudes.reshape(shape)), tmp_path, "SDXL")
    _outline, plain = both(tensors, tmp_path, "SDXL")
    assert isinstance(fit, Fit)
    assert isinstance(plain, Fit)
    key, weight = f"{CONVOLUTION}.weight", torch.randn(320, 320, 3, 3)
    delta = (patched(plain, {key: weight})[key].double() - weight.double()) / STRENGTH
    scale = magnitudes.double().reshape(-1, 1, 1, 1) / weight.double().flatten(1).norm(dim=1).reshape(
        -1, 1, 1, 1
    )
    wanted = weight.double() + STRENGTH * ((weight.double() + delta) * scale - weight.double())
    assert torch.allclose(patched(fit, {key: weight})[key].double(), wanted, rtol=1e-4, atol=1e-5)


def test_a_kronecker_product_over_video_is_read_in_its_order(tmp_path: Path) -> None:
    stem = "diffusion_model.patch_embedding"  # 16 → 1536, 1×2×2
    w1, w2 = r(2, 2), r(768, 8, 1, 2, 2)
    _outline, fit = both(roles(stem, lokr_w1=w1, lokr_w2=w2), tmp_path, "Wan 1.3B")
    assert isinstance(fit, Fit)
    key, weight = f"{stem}.weight", torch.randn(1536, 16, 1, 2, 2)
    delta = torch.kron(w1.double().reshape(2, 2, 1, 1, 1), w2.double())
    assert torch.allclose(
        patched(fit, {key: weight})[key].double(), weight.double() + STRENGTH * delta, atol=1e-5
    )


def test_a_bias_is_sorted_as_the_weight_is(tmp_path: Path) -> None:
    stem, bias = "transformer.norm_out.linear", r(6144)
    _outline, fit = both(roles(stem, diff_b=bias), tmp_path, "FLUX.1 dev")
    assert isinstance(fit, Fit)
    key = "diffusion_model.final_layer.adaLN_modulation.1.bias"
    swapped = torch.cat(bias.chunk(2)[::-1])  # diffusers has scale and shift in the opposite order
    assert torch.allclose(patched(fit, {key: torch.zeros(6144)})[key], STRENGTH * swapped)


def test_an_old_glora_of_a_square_weight(tmp_path: Path) -> None:
    a2, a1, b2, b1 = r(640, 4), r(4, 640), r(640, 4), r(4, 640)
    _outline, fit = both(
        roles(LINEAR, a1__weight=a1, a2__weight=a2, b1__weight=b1, b2__weight=b2), tmp_path, "SDXL"
    )
    assert isinstance(fit, Fit)
    key, weight = f"{LINEAR}.weight", torch.randn(640, 640)
    delta = b2.double() @ b1.double() + weight.double() @ a2.double() @ a1.double()
    assert torch.allclose(
        patched(fit, {key: weight})[key].double(), weight.double() + STRENGTH * delta, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    "name",
    [
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.alpha",
        f"{LINEAR}.lora.alpha",
        f"{LINEAR}.lora_alpha",
        f"{LINEAR}.network_alpha",
    ],
)
def test_an_alpha_in_another_spelling_than_its_factors(name: str, tmp_path: Path) -> None:
    before, after = both(low_rank() | {name: torch.tensor(2.0)}, tmp_path, "SDXL")
    assert isinstance(after, Fit)
    assert isinstance(before, Fit)
    (value,) = after.diffusion.patches.values()
    assert value.weights[2] == 2.0
    assert after.left_over == ()


@pytest.mark.parametrize(
    ("metadata", "alpha"),
    [
        ('{"unet": {"lora_alpha": 8, "r": 4}}', 8),
        ('{"default": {"lora_alpha": 8}}', 8),
        ('{"lora_alpha": 8, "alpha_pattern": {"to_q": 3}}', 3),
    ],
)
def test_metadata_with_levels_and_patterns_for_flattened_names(
    metadata: str, alpha: float, tmp_path: Path
) -> None:
    stem = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
    _outline, fit = both(low_rank(stem), tmp_path, "SDXL", {"lora_adapter_metadata": metadata})
    assert isinstance(fit, Fit)
    (value,) = fit.diffusion.patches.values()
    assert value.weights[2] == alpha


def test_the_scales_of_other_kinds_factors_are_applied(tmp_path: Path) -> None:
    narrow = torch.randint(-9, 9, (320, 320)).to(torch.float8_e4m3fn)
    _outline, fit = both(
        roles(LINEAR, lokr_w1=r(2, 2), lokr_w2=narrow, lokr_w2__scale_weight=torch.tensor(0.25)),
        tmp_path,
        "SDXL",
    )
    assert isinstance(fit, Fit)
    (value,) = fit.diffusion.patches.values()
    assert torch.equal(value.weights[1], narrow.float() * 0.25)


@pytest.mark.parametrize(
    "tensors",
    [
        low_rank(lora_A__bias=torch.ones(4)),
        roles(LINEAR, oft_blocks=torch.zeros(80, 8, 8), rescale=torch.ones(640, 1)),
    ],
    ids=["a bias of the first factor", "lengths of OFT"],
)
def test_what_no_formula_has_is_told(tensors: Tensors, tmp_path: Path) -> None:
    for fit in both(tensors, tmp_path, "SDXL"):
        assert isinstance(fit, Fit)
        assert fit.verdict == "fits partly"
        assert len(fit.left_over) == 1


def test_what_metadata_is_told_cannot_move_the_cursor(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    save_file(low_rank(), path, metadata={"ss_network_alpha": "\x1b[31m\nfake"})
    scale = detect_architecture(read_header(path)).scale
    assert "ss_network_alpha" in scale
    assert scale.isprintable()


def test_a_full_lokr_s_alpha_is_infinite_in_fp16_and_counts_for_nothing(tmp_path: Path) -> None:
    """ai-toolkit writes 9999999999 for full rank."""
    w1, w2 = r(4, 4), r(160, 160)
    tensors = roles(LINEAR, lokr_w1=w1, lokr_w2=w2, alpha=torch.tensor(9999999999.0).half())
    before, after = both(tensors, tmp_path, "SDXL")
    assert (before.verdict, after.verdict) == ("fits", "fits")
    assert not after.diffusion.unused
    (target,) = after.diffusion.patches
    result = patched(after, {target.key: torch.zeros(640, 640)})[target.key]
    assert torch.allclose(result, STRENGTH * torch.kron(w1, w2), atol=1e-5)


@pytest.mark.parametrize(
    "noted", ["bias_scale", "weight_scale_2", "quant_state__bitsandbytes__nf4", "absmax"]
)
def test_what_is_noted_of_a_factor_does_not_take_its_place(noted: str, tmp_path: Path) -> None:
    tensors = roles(LINEAR, **{f"lora_B__{noted}": torch.tensor(1.0)})
    tensors |= roles(LINEAR, lora_A__weight=r(4, 640), lora_B__weight=r(640, 4))
    for fit in both(tensors, tmp_path, "SDXL"):
        assert len(fit.diffusion.patches) == 1
        assert all(noted.partition("__")[0] in name for name in fit.diffusion.unused)
