"""LoRAs written by other programs, compared with the weights that those programs compute from them.

The same random SD 1.5 UNet is loaded in ComfyUI and in diffusers. Each program trains an adapter on it (with random
numbers), saves it, and merges it with its own code. In fp32, our patched weights must be equal. There are three groups:

1. Files where ours, ComfyUI's loader, and the program's own merge agree.
2. Files that ComfyUI's loader doesn't read, or not completely, and the pack does.
3. Kinds whose formula in ComfyUI differs from their program's. The pack gives the same result as ComfyUI's own loader,
   so that a LoRA makes the same picture in both. These tests document the difference, and which side is right.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import comfy.sd
import comfy.utils
import pytest
import torch
from air_lora_pack.nodes.patching.application import WeightedLora, apply_loras
from lycoris.functional.diag_oft import diff_weight as oft_difference
from safetensors.torch import load_file, save_file

from tests.others_loras import (
    RANK,
    Weights,
    by_diffusers,
    by_lycoris,
    by_peft,
    checkpoint,
    computed_by_lycoris,
    text_encoder_by_diffusers,
    text_encoder_weights,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ComfyUI's own warnings during its import
    from comfy_extras.nodes_lora_extract import LORAType, calc_lora_model
    from comfy_extras.nodes_model_merging import ModelSubtract


@dataclass(frozen=True)
class Loaded:
    """The UNet and the text encoder in ComfyUI, and diffusers' names of the UNet's weights."""

    model: Any
    clip: Any
    comfyui_name: dict[str, str]
    """diffusers' name → ComfyUI's."""
    unet: Weights
    """The loaded weights, by diffusers' names."""


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    model = load_unet(checkpoint())
    tensors = model.model.state_dict()
    names = comfy.utils.unet_to_diffusers(model.model.model_config.unet_config)
    names = {name: f"diffusion_model.{own}" for name, own in names.items()}
    names = {name: own for name, own in names.items() if own in tensors}
    assert len(names) == len(tensors) - 2  # all but the noise schedule
    return Loaded(model, load_clip(), names, {name: tensors[own].clone() for name, own in names.items()})


def load_unet(weights: Weights) -> Any:
    return comfy.sd.load_diffusion_model_state_dict(dict(weights), model_options={"dtype": torch.float32})


def load_clip() -> Any:
    return comfy.sd.load_text_encoder_state_dicts(
        [text_encoder_weights()],
        clip_type=comfy.sd.CLIPType.STABLE_DIFFUSION,
        model_options={"model_config": {"num_hidden_layers": 2}, "dtype": torch.float32},
    )


def apply(loaded: Loaded, path: Path, strength: float = 1.0) -> Any:
    """The pack's result. Every key of the file must be matched."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    lora = WeightedLora("lora[0]", path.stem, path, digest, strength, strength)
    result = apply_loras(loaded.model, loaded.clip, [lora], skip_mismatches=False)
    fit = result.entries[0].fit
    # ComfyUI reads OFT's lengths without using them, so they are listed as not loaded.
    assert [key for key in fit.unmatched if not key.endswith(".rescale")] == []
    assert fit.without_clip == 0
    assert fit.matched == len(load_file(path)) - len(fit.unmatched)
    return result


def weights_of(patcher: Any, names: Iterable[str]) -> Weights:
    """These weights while the patcher is in use. It is unpatched afterwards."""
    patcher.unpatch_model(device_to=torch.device("cpu"))
    patcher.patch_model(device_to=torch.device("cpu"))
    try:
        tensors = patcher.model.state_dict()
        return {name: tensors[name].clone() for name in names}
    finally:
        patcher.unpatch_model(device_to=torch.device("cpu"))


def by_diffusers_names(loaded: Loaded, patcher: Any) -> Weights:
    """The UNet's weights that the patcher changes, by diffusers' names."""
    names = {own: name for name, own in loaded.comfyui_name.items()}
    tensors = weights_of(patcher, patcher.patches)
    return {names[own]: tensor for own, tensor in tensors.items()}


def ours(loaded: Loaded, path: Path, strength: float = 1.0) -> Weights:
    return by_diffusers_names(loaded, apply(loaded, path, strength).model)


def by_core(loaded: Loaded, path: Path, strength: float = 1.0) -> Weights:
    """The result of ComfyUI's LoraLoader."""
    model, _clip = comfy.sd.load_lora_for_models(loaded.model, None, load_file(path), strength, 0)
    return by_diffusers_names(loaded, model)


def assert_same(mine: Weights, expected: Weights, loaded: Loaded) -> None:
    """Checks that the same weights change to the same values, within fp32's rounding of the weight and its change."""
    assert mine.keys() == expected.keys()
    for name, tensor in expected.items():
        change = (tensor - loaded.unet[name]).abs().max().item()
        torch.testing.assert_close(
            mine[name], tensor, rtol=2e-6, atol=5e-6 * change, msg=lambda text, name=name: f"{name}: {text}"
        )


# --- 1. All agree


def lycoris(algorithm: str, **options: Any) -> Any:
    return lambda weights, folder, strength: by_lycoris(
        weights, folder, algorithm, strength=strength, **options
    )


AGREE: dict[str, tuple[Any, float]] = {
    "diffusers, converted for kohya": (
        lambda weights, folder, strength: by_diffusers(
            weights, folder, "convert_state_dict_to_kohya", strength=strength
        ),
        0.7,
    ),
    "LoCon": (lycoris("locon", alpha=RANK / 2), 0.7),
    "LoCon, rank-stabilised": (lycoris("locon", alpha=RANK / 2, rs_lora=True), -0.4),
    "LoCon with a Tucker core": (lycoris("locon", alpha=RANK / 2, use_tucker=True), 0.7),
    "LoCon with norms": (lycoris("locon", train_norm=True), 0.7),
    "LoHa": (lycoris("loha"), 0.7),
    "LoHa with a Tucker core": (lycoris("loha", use_tucker=True), 0.7),
    "LoKr": (lycoris("lokr"), 0.7),
    "LoKr, factor 8, both factors low rank": (lycoris("lokr", factor=8, decompose_both=True), 0.7),
    "LoKr, whole factors": (lycoris("lokr", factor=8, full_matrix=True), 0.7),
    "GLoRA": (lycoris("glora", alpha=RANK / 2), 0.7),
    "whole differences": (lycoris("full"), 0.7),
    # At other strengths, the programs differ: LyCORIS only scales the lengths, so its strength 0 is not the base
    # model. ComfyUI interpolates from the base to the merge.
    "DoRA over inputs": (lycoris("locon", alpha=RANK / 2, dora_wd=True, wd_on_output=False), 1.0),
    "DoRA over inputs, of a LoHa": (lycoris("loha", dora_wd=True, wd_on_output=False), 1.0),
    "DoRA over inputs, of a LoKr": (lycoris("lokr", dora_wd=True, wd_on_output=False), 1.0),
    "OFT": (lycoris("diag-oft"), 1.0),
    "BOFT": (lycoris("boft", rank=16), 1.0),
    "BOFT with lengths": (lycoris("boft", rank=16, rescaled=True), 1.0),
}


@pytest.mark.parametrize("name", AGREE)
def test_the_weights_are_those_of_its_own_merge(name: str, loaded: Loaded, tmp_path: Path) -> None:
    make, strength = AGREE[name]
    made = make(loaded.unet, tmp_path, strength)
    assert len(made.merged) >= 20
    assert_same(ours(loaded, made.path, strength), made.merged, loaded)


@pytest.mark.parametrize("algorithm", ["loha", "lokr"])
def test_an_alpha_other_than_the_rank_counts_once(algorithm: str, loaded: Loaded, tmp_path: Path) -> None:
    """LyCORIS 4.1.3 multiplies by alpha/rank once when it trains and computes, but twice when it merges a LoHa or a
    LoKr (`get_diff_weight` scales what `get_weight` has scaled). The training is right, and ComfyUI does the same."""
    made = computed_by_lycoris(loaded.unet, tmp_path / "computed", algorithm, alpha=RANK / 2)
    mine = ours(loaded, made.path)
    assert len(made.merged) >= 10
    assert_same({name: mine[name] for name in made.merged}, made.merged, loaded)
    merged = by_lycoris(loaded.unet, tmp_path / "merged", algorithm, alpha=RANK / 2).merged
    half = {name: loaded.unet[name] + (mine[name] - loaded.unet[name]) / 2 for name in merged}
    assert_same(half, merged, loaded)


def test_the_whole_difference_that_comfyui_saves(loaded: Loaded, tmp_path: Path) -> None:
    """LoraSave with type "full_diff" and ModelSubtract: weights and biases, including norms."""
    tuned = load_unet(checkpoint(seed=99))
    prefix = "diffusion_model.input_blocks."
    names = {name: own for name, own in loaded.comfyui_name.items() if own.startswith(prefix)}
    expected = {name: tuned.model.state_dict()[own].clone() for name, own in names.items()}
    mine = ours(loaded, save_difference(loaded, tuned, LORAType.FULL_DIFF, [prefix], tmp_path))
    assert mine.keys() == expected.keys()
    for name, tensor in expected.items():
        largest = (tensor - loaded.unet[name]).abs().max().item()
        # The file holds the difference in fp16.
        torch.testing.assert_close(mine[name], tensor, rtol=0, atol=torch.finfo(torch.float16).eps * largest)


def test_the_lora_that_comfyui_extracts(loaded: Loaded, tmp_path: Path) -> None:
    """LoraSave with type "standard": up and down factors by singular values. It clips the largest hundredth of their
    numbers, so the result is compared with its own product, not with the difference itself."""
    path = by_lycoris(loaded.unet, tmp_path, "locon").path
    tuned, _clip = comfy.sd.load_lora_for_models(load_unet(checkpoint()), None, load_file(path), 1.0, 0)
    # Attention, a 3×3 convolution, and a linear layer: singular values of all weights would take minutes.
    parts = [
        f"diffusion_model.input_blocks.{part}"
        for part in ("0.", "1.0.emb_layers.", "1.1.transformer_blocks.0.attn2.")
    ]
    saved = save_difference(loaded, tuned, LORAType.STANDARD, parts, tmp_path)
    file = load_file(saved)
    names = {own: name for name, own in loaded.comfyui_name.items()}
    expected = {}
    for key, up in file.items():
        if key.endswith(".lora_up.weight"):
            stem = key.removesuffix(".lora_up.weight")
            name = names[f"{stem}.weight"]
            down = file[f"{stem}.lora_down.weight"]
            product = up.float().flatten(1) @ down.float().flatten(1)
            expected[name] = loaded.unet[name] + product.reshape(loaded.unet[name].shape)
    mine = ours(loaded, saved)
    assert len(expected) == 6
    assert_same({name: mine[name] for name in expected}, expected, loaded)


def save_difference(loaded: Loaded, tuned: Any, kind: LORAType, parts: Iterable[str], folder: Path) -> Path:
    """Does what the nodes ModelSubtract and LoraSave do, for the weights whose names begin with `parts`."""
    difference = ModelSubtract().merge(tuned, loaded.model, 1.0)[0]
    tensors: Weights = {}
    for part in parts:
        calc_lora_model(difference, RANK, part, part, tensors, kind, bias_diff=True)
    path = folder / "ComfyUI_extracted_lora.safetensors"
    save_file(tensors, path)
    return path


# --- 2. What ComfyUI's loader doesn't read, or not completely

# Its key map has diffusers' attention layers only as …attn1.processor.to_q (ComfyUI issue 9753).
WITH_NAMES_OF_DIFFUSERS = [
    ("save_lora_adapter", RANK),
    ("save_lora_weights", RANK),
    ("save_lora_weights with metadata", RANK),
    ("save_lora_adapter", 2 * RANK),
    ("save_lora_weights with metadata", 2 * RANK),
]


@pytest.mark.parametrize(("way", "alpha"), WITH_NAMES_OF_DIFFUSERS)
def test_files_with_diffusers_names(way: str, alpha: float, loaded: Loaded, tmp_path: Path) -> None:
    """diffusers doesn't write alpha tensors: alpha and rank are in the metadata `lora_adapter_metadata`, or nowhere."""
    made = by_diffusers(loaded.unet, tmp_path, way, alpha=alpha)
    assert_same(ours(loaded, made.path), made.merged, loaded)


def test_alphas_and_ranks_that_differ_from_module_to_module(loaded: Loaded, tmp_path: Path) -> None:
    """Rank-stabilised, so a module's scale is alpha / √rank."""
    options = {
        "rank_pattern": {"to_q": 2},
        "alpha_pattern": {"to_q": 3, "down_blocks.0.resnets.0.conv1": 6},
        "use_rslora": True,
    }
    made = by_diffusers(loaded.unet, tmp_path, "save_lora_weights with metadata", alpha=5, **options)
    assert_same(ours(loaded, made.path), made.merged, loaded)


def test_a_peft_model_s_folder(loaded: Loaded, tmp_path: Path) -> None:
    """Its alpha is only in adapter_config.json. Here it is the rank, which a file without an alpha also means."""
    made = by_peft(loaded.unet, tmp_path)
    assert_same(ours(loaded, made.path), made.merged, loaded)


@pytest.mark.parametrize(
    "make",
    [by_peft, lambda *place, **dora: by_diffusers(*place, "save_lora_adapter", **dora)],
    ids=["peft", "diffusers"],
)
def test_every_key_of_peft_s_dora_is_used(make: Any, loaded: Loaded, tmp_path: Path) -> None:
    """Its magnitudes are LyCORIS's `dora_scale` over outputs with another name. For the weights, see part 3."""
    apply(loaded, make(loaded.unet, tmp_path, dora=True).path)


def test_a_text_encoder(loaded: Loaded, tmp_path: Path) -> None:
    """With peft, saved with diffusers' pipeline. With transformers 4, the names were `text_encoder.text_model.…`."""
    made = text_encoder_by_diffusers(text_encoder_weights(), tmp_path)
    patcher = apply(loaded, made.path).clip.patcher
    prefix = "clip_l.transformer."
    mine = {
        name.removeprefix(prefix): tensor for name, tensor in weights_of(patcher, patcher.patches).items()
    }
    assert mine.keys() == made.merged.keys()
    for name, tensor in made.merged.items():
        torch.testing.assert_close(mine[name], tensor)


def test_lokr_with_a_tucker_core(loaded: Loaded, tmp_path: Path) -> None:
    """ComfyUI's loader logs an error of torch.kron and leaves those weights unchanged (its issue 11245)."""
    made = by_lycoris(loaded.unet, tmp_path, "lokr", use_tucker=True)
    assert_same(ours(loaded, made.path), made.merged, loaded)


# --- 3. Where ComfyUI's formula differs


def assert_as_core(loaded: Loaded, path: Path, strength: float = 1.0) -> Weights:
    mine, core = ours(loaded, path, strength), by_core(loaded, path, strength)
    assert mine.keys() == core.keys()
    assert all(torch.equal(mine[name], core[name]) for name in core)
    return mine


@pytest.mark.parametrize("algorithm", ["locon", "loha", "lokr"])
def test_dora_over_outputs(algorithm: str, loaded: Loaded, tmp_path: Path) -> None:
    """The default of LyCORIS 4, and peft's only mode. DoRA is m·(W0+Δ)/‖W0+Δ‖ (arXiv 2402.09353): each row gets the
    trained length m. ComfyUI divides by ‖W0‖ instead (open as its pull request 15458): the rows have the same
    direction, but are too long by ‖W0+Δ‖/‖W0‖. LyCORIS is right. If a LoRA changes the lengths little, the difference
    is small."""
    made = by_lycoris(loaded.unet, tmp_path, algorithm, dora_wd=True)
    mine = assert_as_core(loaded, made.path)
    file = load_file(made.path)
    for name, merged in made.merged.items():
        rows, expected = mine[name].flatten(1), merged.flatten(1)
        length = file[f"{file_stem(name)}.dora_scale"].flatten()
        torch.testing.assert_close(expected.norm(dim=1), length.abs(), rtol=1e-5, atol=1e-6)
        assert not torch.allclose(rows.norm(dim=1), length.abs(), rtol=1e-2)
        normalize = torch.nn.functional.normalize
        torch.testing.assert_close(normalize(rows), normalize(expected), rtol=1e-4, atol=1e-5)


def test_oft_at_another_strength_than_one(loaded: Loaded, tmp_path: Path) -> None:
    """LyCORIS: W0 + s·(R − 1)·W0. ComfyUI multiplies by s twice, so that its 0.7 is 0.49 here. LyCORIS is right."""
    made = by_lycoris(loaded.unet, tmp_path, "diag-oft", strength=0.7**2)
    assert_same(assert_as_core(loaded, made.path, 0.7), made.merged, loaded)


@pytest.mark.parametrize("option", [{"constraint": 1e-3}, {"rescaled": True}], ids=["constraint", "lengths"])
def test_oft_with_a_constraint_or_lengths(option: dict[str, Any], loaded: Loaded, tmp_path: Path) -> None:
    """The file's alpha times the number of outputs limits the rotation of OFT in LyCORIS and in kohya's trainer.
    ComfyUI uses the alpha itself (open as its pull request 15093), and reads `rescale`, the rows' trained lengths,
    without using it. LyCORIS is right."""
    made = by_lycoris(loaded.unet, tmp_path, "diag-oft", **option)
    mine = assert_as_core(loaded, made.path)
    file = load_file(made.path)
    for name in made.merged:
        stem, weight = file_stem(name), loaded.unet[name]
        bound = file[f"{stem}.alpha"].item()
        turned = weight + oft_difference(weight, file[f"{stem}.oft_blocks"], None, constraint=bound)
        torch.testing.assert_close(mine[name], turned, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(mine[name], made.merged[name], rtol=1e-3, atol=1e-4)


def file_stem(name: str) -> str:
    """The name that kohya's trainer gives to a weight's module."""
    return "lora_unet_" + name.removesuffix(".weight").replace(".", "_")
