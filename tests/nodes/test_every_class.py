"""Every family's LoRA on every model class of this ComfyUI, at the published sizes: none is accepted by mistake.

The models are built without memory (on torch's meta device), with ComfyUI's own detection and classes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import comfy.lora
import comfy.model_detection
import comfy.model_management
import comfy.supported_models
import comfyui_version
import pytest
import torch
from air_lora_pack.nodes.patching.fit import Checkpoint, check_fit
from air_lora_pack.nodes.patching.loaded_model import (
    FAMILY_OF_CONFIG,
    FAMILY_OF_WAN_WIDTH,
    LoadedWeights,
    model_families,
)
from air_lora_pack.nodes.patching.lora_file import LoraFile, outline

from lora_resolver import Mismatch, SafetensorsHeader, TensorInfo
from tests.nodes.full_size_models import MODELS, OTHERS, weights_of
from tools.runtime import COMFYUI_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

# ComfyUI 0.3.75 detects these as a FLUX of another size, and can't build them.
NOT_LOADED = {"FLUX.2 klein 9B", "FLUX.2 klein 4B", "LongCat-Image"}
if comfyui_version.__version__ != COMFYUI_VERSION:
    NOT_LOADED = set()
NOT_LOADED |= {
    "SD 2.1",  # ComfyUI reads its weights' values to detect the prediction type, and these have no values
    "PixelDiT",  # ComfyUI detects it by a name in its checkpoint that its class doesn't have
    "Stable Audio",  # ComfyUI reads the embedders of its checkpoint separately from the class
}
EVERY = {name: made for name, made in (MODELS | OTHERS).items() if name not in NOT_LOADED}
LOOK_ALIKE = {
    frozenset(("cosmos_predict2", "anima")),  # Anima is Cosmos-Predict2 2B with another text encoder
    frozenset(("ltxv", "ltx2")),  # the additional parts of LTX-2 compared with LTX-Video 13B are for sound
    frozenset(("flux1", "chroma")),  # Chroma has FLUX.1's blocks
}
"""Families that the weights of a common LoRA can't distinguish."""


@cache
def loaded(model: str) -> Checkpoint:
    """The checkpoint as Apply LoRA Array reads it from this model."""
    weights = weights_of(model)
    config = comfy.model_detection.model_config_from_unet(weights, "")
    config.set_inference_dtype(torch.float16, None)
    try:
        base = config.get_model(weights, "", device=torch.device("meta"))
    except (
        RuntimeError
    ):  # it reads a value that it computes, which meta tensors don't have; unwritten memory takes no space
        base = config.get_model(weights, "", device=torch.device("cpu"))
    shapes = {name: tensor.shape for name, tensor in base.state_dict().items()}
    diffusion = LoadedWeights(comfy.lora.model_lora_keys_unet(base, {}), shapes)
    return Checkpoint(model_families(type("Patcher", (), {"model": base})), diffusion, None)


def unknown(checkpoint: Checkpoint) -> Checkpoint:
    """The same checkpoint with an unknown ComfyUI class."""
    return replace(checkpoint, families=())


@cache
def lora(model: str) -> LoraFile:
    """A LoRA on every matrix and convolution of a model's blocks, in the format of most trainers for ComfyUI."""
    tensors = {}
    for name, weight in weights_of(model).items():
        stem = f"diffusion_model.{name.removesuffix('.weight')}"
        if (
            not name.endswith(".weight")
            or weight.ndim < 2
            or not any(part.isdigit() for part in name.split("."))
        ):
            continue
        outputs, inputs, *kernel = weight.shape
        tensors[f"{stem}.lora_A.weight"] = TensorInfo("F16", (8, inputs, *kernel), 0, 0)
        tensors[f"{stem}.lora_B.weight"] = TensorInfo("F16", (outputs, 8, *[1] * len(kernel)), 0, 0)
    return outline(SafetensorsHeader(tensors, {}, 0, 0), model, model)


def fit(made_for: str, on: Checkpoint) -> str:
    """Returns the verdict, or the error code of the rejection."""
    file = lora(made_for)
    if not any(name.partition(".lora_")[0] in on.diffusion.key_map for name in file.tensors):
        return "noKeysMatch"  # as it would report after trying other spellings
    try:
        return check_fit(file, made_for, on).verdict
    except Mismatch as error:
        return error.code


def strangers(loaded_model: str) -> Iterator[str]:
    family = EVERY[loaded_model][0]
    for made_for, (other, *_) in EVERY.items():
        if other != family and frozenset((other, family)) not in LOOK_ALIKE:
            yield made_for


@pytest.mark.parametrize("model", EVERY)
def test_no_other_family_s_lora_is_let_in(model: str) -> None:
    here, others = loaded(model), list(strangers(model))
    found = {made_for: (fit(made_for, here), fit(made_for, unknown(here))) for made_for in others}
    let_in = {
        made_for: each for made_for, each in found.items() if any("fits" in verdict for verdict in each)
    }
    print(
        f"{model} ({', '.join(here.families) or 'not known'}): {len(others) - len(let_in)} of {len(others)} refused"
    )
    assert let_in == {}


@pytest.mark.parametrize("model", EVERY)
def test_its_own_is(model: str) -> None:
    assert (fit(model, loaded(model)), fit(model, unknown(loaded(model)))) == ("fits", "fits")


@pytest.mark.parametrize("model", EVERY)
def test_if_neither_family_is_known_the_weights_decide(model: str) -> None:
    file = replace(lora(model))
    file.__dict__["architecture"] = replace(file.architecture, families=())
    assert check_fit(file, model, unknown(loaded(model))).verdict == "fits"


@pytest.mark.parametrize("model", EVERY)
def test_the_family_of_the_loaded_model_is_known(model: str) -> None:
    families = loaded(model).families
    assert EVERY[model][0] in families
    if EVERY[model][0] in FAMILY_OF_WAN_WIDTH.values():
        assert len(families) == 1, "the width tells the size"


def test_somebody_has_decided_on_every_class_of_this_comfyui() -> None:
    there = {
        cls.__name__
        for cls in vars(comfy.supported_models).values()
        if isinstance(cls, type) and cls.__module__ == comfy.supported_models.__name__
    }
    undecided = sorted(there - set(FAMILY_OF_CONFIG))
    assert undecided == [], (
        "add each to FAMILY_OF_CONFIG in nodes/patching/loaded_model.py: its families, or ()"
    )
