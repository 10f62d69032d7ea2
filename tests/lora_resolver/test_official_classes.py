"""The family of a LoRA or checkpoint, tested with what trainers would write for each official class.

The families that may be reported together are computed from the classes: those that have every module of the file.
"""

from __future__ import annotations

import re
from functools import cache

import pytest

from lora_resolver import SafetensorsHeader, TensorInfo, detect_architecture
from lora_resolver.model_file.architecture import detect_checkpoint
from tests.official_classes import OfficialClass, official_classes

_DOTTED = (".lora_A.weight", ".lora_B.weight")
_FLAT = (".lora_down.weight", ".lora_up.weight")
SPELLINGS = {
    "ComfyUI": {
        "ComfyUI's own": ("diffusion_model.", _DOTTED),
        "kohya": ("lora_unet_", _FLAT),
        "LyCORIS": ("lycoris_", _FLAT),
    },
    "diffusers": {
        "diffusers": ("transformer.", _DOTTED),
        "peft": ("base_model.model.", _DOTTED),
        "bare": ("", _DOTTED),
        "OneTrainer": ("lora_transformer_", _FLAT),
    },
}
_ATTENTION = re.compile(r"attn|attention|\.qkv|\.w[qkvo]\b|to_[qkv]|to_out", re.IGNORECASE)
_FEED_FORWARD = re.compile(r"mlp|\bff|ffn|feed_forward|\.net\.|linear[12]", re.IGNORECASE)
_IN_BLOCK = re.compile(r"\.\d+\.")
CHOICES = {
    "attention": lambda name: _IN_BLOCK.search(name) and _ATTENTION.search(name),
    "feed-forward": lambda name: (
        _IN_BLOCK.search(name) and _FEED_FORWARD.search(name) and not _ATTENTION.search(name)
    ),
    "blocks": _IN_BLOCK.search,
    "everything": bool,
}
# Names and sizes as in a language model's layers. They indicate a diffusion model only together with cross-attention.
TOO_LITTLE = {("diffusers: ace_step 1.5", "feed-forward")}
KNOWN = [model for model in official_classes() if model.family]
STRANGERS = [model for model in official_classes() if not model.family]
# Reported together by rule, although no class in the file has all modules: for Stable Audio 3, only diffusers' class is
# included, and a pruned UNet is recognized only by its text width.
BEYOND = {
    ("ComfyUI: Stable Audio", "feed-forward"): {"stable_audio_3"},
    ("diffusers: DreamLiteUNetModel", "attention"): {"sdxl"},
}


def lora(modules: dict[str, tuple[int, ...]], prefix: str, ends: tuple[str, str]) -> SafetensorsHeader:
    """A LoRA of rank 8 on these modules."""
    tensors = {}
    for name, (outputs, inputs, *kernel) in modules.items():
        stem = prefix + (name.replace(".", "_") if prefix.endswith("_") else name)
        tensors[stem + ends[0]] = TensorInfo("BF16", (8, inputs, *kernel), 0, 0)
        tensors[stem + ends[1]] = TensorInfo("BF16", (outputs, 8, *[1] * len(kernel)), 0, 0)
    return SafetensorsHeader(tensors, {}, 0, 0)


def chosen(model: OfficialClass, choice: str) -> dict[str, tuple[int, ...]]:
    return {name: shape for name, shape in model.weights.items() if CHOICES[choice](name)}


@cache
def flat_weights() -> tuple[tuple[str, dict[str, tuple[int, ...]]], ...]:
    return tuple(
        (model.family, {name.replace(".", "_"): shape for name, shape in model.weights.items()})
        for model in KNOWN
    )


def families_with(modules: dict[str, tuple[int, ...]]) -> set[str]:
    """The families that have a class with all of these modules in these sizes."""
    flat = {name.replace(".", "_"): shape for name, shape in modules.items()}
    return {
        family
        for family, weights in flat_weights()
        if all(weights.get(name, ())[:2] == shape[:2] for name, shape in flat.items())
    }


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("model", KNOWN, ids=[model.name for model in KNOWN])
def test_a_lora_of_an_official_class_is_told(model: OfficialClass, choice: str) -> None:
    modules = chosen(model, choice)
    if not modules:
        return
    alike = families_with(modules)
    for spelling, (prefix, ends) in SPELLINGS[model.source].items():
        found = set(detect_architecture(lora(modules, prefix, ends)).families)
        if (model.name, choice) in TOO_LITTLE:
            assert not found, spelling
            continue
        assert model.family in found, spelling
        assert found <= alike | BEYOND.get((model.name, choice), set()), spelling


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("model", STRANGERS, ids=[model.name for model in STRANGERS])
def test_a_lora_of_another_model_is_named_only_for_what_has_all_of_it(
    model: OfficialClass, choice: str
) -> None:
    modules = chosen(model, choice)
    for prefix, ends in SPELLINGS[model.source].values():
        found = set(detect_architecture(lora(modules, prefix, ends)).families)
        assert found <= families_with(modules) | BEYOND.get((model.name, choice), set())


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "net."])
@pytest.mark.parametrize("model", KNOWN, ids=[model.name for model in KNOWN])
def test_the_class_itself_is_told_from_a_checkpoint(model: OfficialClass, prefix: str) -> None:
    tensors = {
        f"{prefix}{name}.weight": TensorInfo("BF16", shape, 0, 2) for name, shape in model.weights.items()
    }
    found = detect_checkpoint(SafetensorsHeader(tensors, {}, 0, 0))
    assert model.family in found.families
    assert set(found.families) <= families_with(model.weights)


@pytest.mark.parametrize("model", KNOWN, ids=[model.name for model in KNOWN])
def test_the_class_in_nvfp4_is_told(model: OfficialClass) -> None:
    """Two numbers in a byte, with two scales, so its matrices look half as wide."""
    tensors = {}
    for name, shape in model.weights.items():
        packed = len(shape) == 2 and shape[1] % 16 == 0 and _IN_BLOCK.search(name)
        tensors[f"{name}.weight"] = (
            TensorInfo("U8", (shape[0], shape[1] // 2), 0, 2) if packed else TensorInfo("BF16", shape, 0, 2)
        )
        if packed:
            tensors[f"{name}.weight_scale"] = TensorInfo("F8_E4M3", (shape[0], shape[1] // 16), 0, 2)
            tensors[f"{name}.weight_scale_2"] = TensorInfo("F32", (), 0, 2)
    found = detect_checkpoint(SafetensorsHeader(tensors, {}, 0, 0))
    assert model.family in found.families
    assert set(found.families) <= families_with(model.weights)


@pytest.mark.parametrize("model", KNOWN, ids=[model.name for model in KNOWN])
def test_the_class_in_four_bits_of_bitsandbytes_is_never_another(model: OfficialClass) -> None:
    """Each matrix is stored as a column, so only the names and the unpacked tensors identify the class."""
    tensors = {}
    for name, shape in model.weights.items():
        packed = len(shape) == 2 and _IN_BLOCK.search(name)
        tensors[f"{name}.weight"] = (
            TensorInfo("U8", (shape[0] * shape[1] // 2, 1), 0, 2)
            if packed
            else TensorInfo("BF16", shape, 0, 2)
        )
        if packed:
            tensors[f"{name}.weight.absmax"] = TensorInfo("F32", (8,), 0, 2)
    assert model.family in detect_checkpoint(SafetensorsHeader(tensors, {}, 0, 0)).families
