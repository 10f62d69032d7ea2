"""LoRA files from public reports. `tests/data/field_lora_files.json` has their headers; the numbers are random."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from air_lora_pack.nodes.patching.application import WeightedLora, apply_loras
from air_lora_pack.nodes.patching.fit import Checkpoint, Fit, check_fit
from air_lora_pack.nodes.patching.loaded_model import LoadedWeights
from air_lora_pack.nodes.patching.lora_file import open_lora, outline
from safetensors.torch import save_file

from lora_resolver import Mismatch, detect_architecture, read_header
from tests.header_samples import samples
from tests.nodes.test_every_class import EVERY, loaded

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.integration

FILES: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "data" / "field_lora_files.json").read_text()
)
DTYPES = {"F32": torch.float32, "F16": torch.float16, "I64": torch.int64}
MODEL = {
    "musubi_847_zimage_split": "Z-Image",
    "zimage_lokr_13221": "Z-Image",
    "wan_control_7180": "Wan 1.3B",
    "dora_1d": "Wan 1.3B",
}


def checkpoint_for(name: str) -> Checkpoint:
    if "FLUX.1 dev" not in EVERY:
        pytest.fail("this ComfyUI has no FLUX.1")
    return loaded(MODEL.get(name, "FLUX.1 dev"))


def fill(name: str, tensor: tuple[str, list[int]]) -> torch.Tensor:
    dtype, shape = tensor
    if name.endswith("alpha"):
        return torch.full(shape, 2.0)
    return (torch.rand(shape) * 0.1).to(DTYPES[dtype])


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, **changed: torch.Tensor) -> Path:
        header = FILES[name]
        tensors = {key: fill(key, each) for key, each in header["tensors"].items()}
        for key, tensor in changed.items():
            tensors[next(each for each in tensors if each.endswith(key.replace("__", ".")))] = tensor
        path = tmp_path / f"{name}.safetensors"
        save_file(tensors, path, metadata=header["metadata"] or None)
        return path

    return write


def fit_of(path: Path, checkpoint: Checkpoint) -> Fit:
    return check_fit(open_lora(path, hashlib.sha256(path.read_bytes()).hexdigest()), path.stem, checkpoint)


def both_checks(path: Path, checkpoint: Checkpoint) -> list[str]:
    """The verdicts on the file, and on only its header, as before a download."""
    ways = (
        lambda: fit_of(path, checkpoint),
        lambda: check_fit(outline(read_header(path), path.name, ""), path.stem, checkpoint),
    )
    return [verdict(way) for way in ways]


def verdict(check: Callable[[], Fit]) -> str:
    try:
        return check().verdict
    except Mismatch as error:
        return error.code


WHOLE = [
    "musubi_847_zimage_split", "zimage_lokr_13221", "dora_1d", "meta_flat_alpha", "meta_nested_prefixed_none",
    "peft_lora_bias", "flux_bundle_emb", "diff_b_on_slice",
]  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_they_fit_with_every_key(name: str, write: Callable[..., Path]) -> None:
    path = write(name)
    fit = fit_of(path, checkpoint_for(name))
    assert both_checks(path, checkpoint_for(name)) == ["fits", "fits"]
    assert fit.unmatched == ()
    keys = [key for key in FILES[name]["tensors"] if not key.startswith("bundle_emb")]
    assert fit.matched == len(keys)


def test_a_file_that_widens_a_weight_is_judged_alike_before_and_after_the_download(
    write: Callable[..., Path],
) -> None:
    path = write("wan_control_7180", reshape_weight=torch.tensor([1536, 32, 1, 2, 2]))
    assert both_checks(path, loaded("Wan 1.3B")) == ["fits", "fits"]
    more = write("wan_control_7180", reshape_weight=torch.tensor([60000, 60000, 1, 2, 2]))
    with pytest.raises(Mismatch) as caught:
        fit_of(more, loaded("Wan 1.3B"))
    assert caught.value.code == "shapeClash"


def test_q_k_and_v_apart_land_in_their_thirds(write: Callable[..., Path]) -> None:
    patches = fit_of(write("musubi_847_zimage_split"), loaded("Z-Image")).diffusion.patches
    parts = {
        target.offset: value.weights[0].data_ptr()
        for target, value in patches.items()
        if target.key == "diffusion_model.layers.0.attention.qkv.weight"
    }
    assert sorted(parts) == [(0, 0, 3840), (0, 3840, 3840), (0, 7680, 3840)]
    assert len(set(parts.values())) == 3


def test_a_lokr_s_slice_is_the_kronecker_product_of_its_factors(write: Callable[..., Path]) -> None:
    path = write("zimage_lokr_13221")
    file = open_lora(path, hashlib.sha256(path.read_bytes()).hexdigest())
    patches = check_fit(file, "lokr", loaded("Z-Image")).diffusion.patches
    for start, letter in ((0, "q"), (3840, "k"), (7680, "v")):
        (value,) = (each for target, each in patches.items() if target.offset == (0, start, 3840))
        weight = torch.zeros(3840, 3840)
        value.calculate_weight(weight, "w", 1.0, 1.0, None, lambda delta: delta, torch.float32)
        w1, w2 = (file.tensors[f"layers.0.attention.to_{letter}.lokr_w{number}"] for number in (1, 2))
        assert torch.allclose(weight, torch.kron(w1, w2))


@pytest.mark.parametrize(
    ("name", "alpha", "scale"),
    [
        ("meta_flat_alpha", 64, "alpha / rank from the metadata (alpha)"),
        ("meta_nested_prefixed_none", 64, "alpha / rank from the metadata (lora_adapter_metadata)"),
        ("peft_lora_bias", 32, "alpha / rank from the metadata (lora_adapter_metadata)"),
        ("dora_1d", 2, "alpha tensors"),
        ("diff_b_on_slice", None, "no alpha given, 1 assumed"),
    ],
)
def test_the_scale_is_read_from_where_it_is_and_told(
    name: str, alpha: float | None, scale: str, write: Callable[..., Path]
) -> None:
    path = write(name)
    patches = fit_of(path, checkpoint_for(name)).diffusion.patches
    assert {value.weights[2] for value in patches.values() if not isinstance(value, tuple)} == {alpha}
    assert detect_architecture(read_header(path)).scale == scale


def test_a_factor_s_own_bias_is_added_to_the_bias_with_the_same_scale(write: Callable[..., Path]) -> None:
    path = write("peft_lora_bias")
    file = open_lora(path, hashlib.sha256(path.read_bytes()).hexdigest())
    patches = check_fit(file, "bias", loaded("FLUX.1 dev")).diffusion.patches
    biases = {target: value for target, value in patches.items() if target.key.endswith(".bias")}
    stem = "transformer.transformer_blocks.0.attn"
    expected = {
        ("diffusion_model.double_blocks.0.img_attn.qkv.bias", (0, 3072 * at, 3072)): f"{stem}.to_{letter}"
        for at, letter in enumerate("qkv")
        if f"{stem}.to_{letter}.lora_B.bias" in file.tensors
    } | {("diffusion_model.double_blocks.0.img_attn.proj.bias", None): f"{stem}.to_out.0"}
    assert {(target.key, target.offset) for target in biases} == set(expected)
    for target, (kind, (difference,)) in biases.items():
        own = file.tensors[f"{expected[target.key, target.offset]}.lora_B.bias"]
        assert kind == "diff"
        assert torch.allclose(difference, own * 32 / 16)
    notes = " ".join(detect_architecture(file.header).notes)
    assert "control LoRA" not in notes


def test_magnitudes_of_one_axis_are_those_of_the_rows(write: Callable[..., Path]) -> None:
    (value,) = fit_of(write("dora_1d"), loaded("Wan 1.3B")).diffusion.patches.values()
    assert tuple(value.weights[4].shape) == (1536, 1)
    for shape in ((), (7,)):
        with pytest.raises(Mismatch) as caught:
            fit_of(write("dora_1d", dora_scale=torch.ones(shape)), loaded("Wan 1.3B"))
        assert caught.value.code == "shapeClash"


def test_a_bias_difference_lands_in_its_part_or_is_told(write: Callable[..., Path]) -> None:
    path = write("diff_b_on_slice")
    patches = fit_of(path, loaded("FLUX.1 dev")).diffusion.patches
    assert [target.offset for target in patches if target.key.endswith("qkv.bias")] == [(0, 0, 3072)]
    flux = loaded("FLUX.1 dev")
    without = {key: shape for key, shape in flux.diffusion.shapes.items() if not key.endswith("qkv.bias")}
    fit = fit_of(path, replace(flux, diffusion=LoadedWeights(flux.diffusion.key_map, without)))
    assert fit.verdict == "fits partly"
    assert fit.unmatched == ("transformer.transformer_blocks.0.attn.to_q.diff_b",)
    assert [each.keys for each in fit.left_over] == [1]


def test_an_embedding_beside_is_named(write: Callable[..., Path]) -> None:
    path = write("flux_bundle_emb")
    (left,) = fit_of(path, loaded("FLUX.1 dev")).left_over
    assert (left.kind, left.keys) == ("embedding", 2)
    assert any("my word" in note for note in detect_architecture(read_header(path)).notes)


def test_the_input_layer_of_flux_fill_gets_zeros_behind_the_latents(write: Callable[..., Path]) -> None:
    flux = loaded("FLUX.1 dev")
    shapes = flux.diffusion.shapes | {"diffusion_model.img_in.weight": torch.Size((3072, 384))}
    fill_model = replace(flux, diffusion=LoadedWeights(flux.diffusion.key_map, shapes))
    path = write("flux_dev_lora_with_img_in")
    assert both_checks(path, fill_model) == ["fits", "fits"]
    fit = fit_of(path, fill_model)
    assert fit.widened == ("diffusion_model.img_in.weight",)
    (value,) = (each for target, each in fit.diffusion.patches.items() if "img_in" in target.key)
    up, down = value.weights[:2]
    own = fit_of(path, flux).diffusion.patches
    (narrow,) = (each for target, each in own.items() if "img_in" in target.key)
    delta = up @ down
    assert delta.shape == (3072, 384)
    assert torch.equal(delta[:, :64], up @ narrow.weights[1])
    assert not delta[:, 64:].any()


BROKEN = [
    ("only_up", {}, "incompleteModule"),
    ("rank0_alpha", {}, "badFactor"),
    ("alpha_vec", {}, "badAlpha"),
    ("nan", {"lora_down__weight": torch.full((4, 3072), float("nan"))}, "notFinite"),
    ("nan", {"lora_up__weight": torch.full((9216, 4), float("inf"))}, "notFinite"),
    ("flux_bundle_emb", {"qkv__alpha": torch.tensor(float("nan"))}, "badAlpha"),
]


@pytest.mark.parametrize(("name", "changed", "code"), BROKEN)
def test_what_is_broken_is_refused_by_name_and_can_be_skipped(
    name: str, changed: dict[str, Any], code: str, write: Callable[..., Path]
) -> None:
    path = write(name, **changed)
    with pytest.raises(Mismatch) as caught:
        fit_of(path, loaded("FLUX.1 dev"))
    assert caught.value.code == code
    assert name in caught.value.message
    assert "img_attn_qkv" in caught.value.message
    assert caught.value.remedy
    model = _Model(loaded("FLUX.1 dev"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    entry = WeightedLora("lora[3]", name, path, digest, 1.0, 1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "air_lora_pack.nodes.patching.application.loaded_checkpoint", lambda *_: loaded("FLUX.1 dev")
        )
        (applied,) = apply_loras(model, None, [entry], skip_mismatches=True).entries
    assert applied.skipped is not None
    assert (applied.skipped.code, applied.skipped.parameter) == (code, "lora[3]")


class _Model:
    """The model that is cloned when there is nothing to patch."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint


def test_kohya_s_oft_for_flux_is_called_by_its_kind_and_refused(write: Callable[..., Path]) -> None:
    path = write("flux_oft_5230")
    assert detect_architecture(read_header(path)).kind == "oft"
    with pytest.raises(Mismatch):
        fit_of(path, loaded("FLUX.1 dev"))


def test_a_file_of_alphas_alone_is_no_lora(tmp_path: Path) -> None:
    path = tmp_path / "alphas.safetensors"
    save_file({"lora_unet_double_blocks_0_img_attn_qkv.alpha": torch.tensor(4.0)}, path)
    found = detect_architecture(read_header(path))
    assert (found.kind, found.families) == ("", ())


SHAPED = [each for each in samples() if each.has_shapes and each.is_settled and each.is_lora]


@pytest.mark.parametrize("sample", SHAPED, ids=[each.name for each in SHAPED])
def test_the_check_before_the_download_says_what_the_file_on_disk_says(sample: Any, tmp_path: Path) -> None:
    models = [model for model, (family, *_) in EVERY.items() if family == sample.arch]
    some = dict(list(sample.header.tensors.items())[:60])
    tensors = {
        name: torch.full(info.shape, 1.0 / 64).to(
            {"F32": torch.float32, "F16": torch.float16}.get(info.dtype, torch.bfloat16)
        )
        for name, info in some.items()
    }
    for name, info in some.items():
        if name.endswith("reshape_weight") or not info.dtype:
            tensors[name] = torch.zeros(info.shape, dtype=torch.int64)
    path = tmp_path / "file.safetensors"
    save_file(tensors, path, metadata=sample.header.metadata or None)
    for model in [*models[:2], "SDXL", "FLUX.1 dev"]:
        after, before = both_checks(path, loaded(model))
        assert after == before, model


@pytest.mark.parametrize("shape", [(), (1,), (4, 1)], ids=["no axis", "one number", "each row"])
@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int8])
def test_the_scales_of_narrow_factors_are_applied(
    shape: tuple[int, ...], dtype: torch.dtype, tmp_path: Path
) -> None:
    stem = "lora_unet_double_blocks_0_img_attn_proj"
    narrow = torch.randint(-9, 9, (4, 3072)).to(dtype)
    scale = torch.full(shape, 0.25) if len(shape) < 2 else torch.arange(1.0, 5.0).reshape(4, 1)
    tensors = {
        f"{stem}.lora_down.weight": narrow,
        f"{stem}.lora_down.scale_weight": scale,
        f"{stem}.lora_up.weight": torch.ones(3072, 4),
        f"{stem}.lora_up.weight_scale": torch.tensor(0.5),
    }
    path = tmp_path / "narrow.safetensors"
    save_file(tensors, path)
    assert both_checks(path, loaded("FLUX.1 dev")) == ["fits", "fits"]
    fit = fit_of(path, loaded("FLUX.1 dev"))
    (value,) = fit.diffusion.patches.values()
    assert torch.equal(value.weights[1].float(), narrow.float() * scale)
    assert torch.equal(value.weights[0], torch.full((3072, 4), 0.5))
    assert (fit.matched, fit.left_over) == (4, ())


def test_a_pattern_that_cannot_be_read_is_a_mismatch_which_can_be_skipped(tmp_path: Path) -> None:
    header = FILES["meta_flat_alpha"]
    patterns = json.dumps({"lora_alpha": 8, "alpha_pattern": {"(?=to_q)": 4}})
    path = tmp_path / "patterns.safetensors"
    save_file(
        {key: fill(key, each) for key, each in header["tensors"].items()},
        path,
        metadata={"lora_adapter_metadata": patterns},
    )
    assert both_checks(path, loaded("FLUX.1 dev")) == ["unsupportedAlphaPattern"] * 2
