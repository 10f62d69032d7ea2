"""Our table of architectures compared with ComfyUI's own models: their modules, sizes, and ComfyUI's detection.

Every model is built at its full size without memory (on torch's meta device), so no model has to be left out.
"""

from __future__ import annotations

import re
from typing import Any

import comfy.model_detection
import comfy.utils
import pytest
from air_lora_pack.nodes.patching.loaded_model import FAMILY_OF_CONFIG

from lora_resolver import SafetensorsHeader, TensorInfo, detect_architecture
from lora_resolver.model_file.architecture import detect_checkpoint
from lora_resolver.model_file.architecture.families import family_index
from lora_resolver.model_file.architecture.matching import rows_of
from lora_resolver.model_file.architecture.modules import read_weights
from tests.nodes.full_size_models import MODELS, OTHERS, weights_of

pytestmark = pytest.mark.integration

# Nothing in the weights that a LoRA changes distinguishes these from similar models.
SEVERAL = {"Cosmos-Predict2 2B": {"cosmos_predict2", "anima"}}
FORMS = {
    "kohya": ("lora_unet_", ".lora_down.weight", ".lora_up.weight"),
    "ComfyUI": ("diffusion_model.", ".lora_A.weight", ".lora_B.weight"),
    "PEFT": ("base_model.model.", ".lora_A.default.weight", ".lora_B.default.weight"),
    "bare": ("", ".lora_down.weight", ".lora_up.weight"),
}
# No trainer flattens ComfyUI's names of these models. kohya-style trainers flatten Tencent's names.
NOT_WRITTEN = {("HunyuanVideo", "kohya"), ("HunyuanImage", "kohya")}


_NO_MODULE = re.compile(r"embedding\.|embeddings\.|embs|embed_tokens|cond_type|pos_embed\.weight")


def modules_of(model: str) -> dict[str, tuple[int, ...]]:
    """The weights that a LoRA can change: matrices and convolutions, by module name."""
    return {
        name.removesuffix(".weight"): tuple(weight.shape)
        for name, weight in weights_of(model).items()
        if name.endswith(".weight") and weight.ndim > 1 and not _NO_MODULE.search(name)
    }


def lora(modules: dict[str, tuple[int, ...]], prefix: str, down: str, up: str) -> SafetensorsHeader:
    tensors = {}
    for name, (outputs, inputs, *kernel) in modules.items():
        stem = prefix + (name.replace(".", "_") if prefix.endswith("_") else name)
        tensors[stem + down] = TensorInfo("F16", (8, inputs, *kernel), 0, 0)
        tensors[stem + up] = TensorInfo("F16", (outputs, 8, *[1] * len(kernel)), 0, 0)
    return SafetensorsHeader(tensors, {}, 0, 0)


@pytest.mark.parametrize("model", MODELS | OTHERS)
def test_the_table_has_every_module_of_the_model_at_its_size(model: str) -> None:
    family, variant, _, _ = (MODELS | OTHERS)[model]
    index = family_index()
    rows = {
        number
        for number, row in enumerate(index.rows)
        if row.family == family and (row.variant == variant or not variant or variant == "SSD-1B")
    }
    if not rows:  # a last resort, used only if no other row has all of a file's modules
        index = index.last_resort
        rows = {number for number, row in enumerate(index.rows) if row.family == family}
    groups = read_weights(modules_of(model), index).groups
    every = [(group, rows & rows_of(group, index)[1]) for group in groups]
    assert not [(group.example, group.inputs, group.outputs) for group, found in every if not found]
    assert set.intersection(*(found for _, found in every))


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
@pytest.mark.parametrize("model", MODELS)
def test_the_model_itself_is_known_from_its_header(model: str, prefix: str) -> None:
    family, variant, _, _ = MODELS[model]
    tensors = {
        prefix + name: TensorInfo("BF16", tuple(weight.shape), 0, 8)
        for name, weight in weights_of(model).items()
    }
    if prefix:
        tensors["first_stage_model.decoder.conv_in.weight"] = TensorInfo("F32", (512, 4, 3, 3), 0, 8)
    found = detect_checkpoint(SafetensorsHeader(tensors, {}, 0, 0))
    assert (found.verdict, found.families, found.variant) == ("known", (family,), variant)
    assert found.precision == "BF16"
    assert ("vae" in found.parts) == bool(prefix)


@pytest.mark.parametrize("model", MODELS)
def test_comfyui_detects_the_same(model: str) -> None:
    config = comfy.model_detection.model_config_from_unet(weights_of(model), "")
    families = next(
        FAMILY_OF_CONFIG[cls.__name__] for cls in type(config).__mro__ if cls.__name__ in FAMILY_OF_CONFIG
    )
    assert MODELS[model][0] in families


@pytest.mark.parametrize(
    ("model", "form"),
    [(model, form) for model in MODELS for form in FORMS if (model, form) not in NOT_WRITTEN],
)
def test_a_lora_on_every_module_is_of_the_family(model: str, form: str) -> None:
    found = detect_architecture(lora(modules_of(model), *FORMS[form]))
    assert set(found.families) == SEVERAL.get(model, {MODELS[model][0]})


def diffusers_names(model: str) -> dict[str, Any]:
    settings = MODELS[model][3]
    if "channel_mult" in settings:
        return comfy.utils.unet_to_diffusers(
            settings | {"transformer_depth": list(settings["transformer_depth"])}
        )
    return {
        "SD 3 medium": lambda: comfy.utils.mmdit_to_diffusers(settings, output_prefix=""),
        "SD 3.5 large": lambda: comfy.utils.mmdit_to_diffusers(settings, output_prefix=""),
        "FLUX.1 dev": lambda: comfy.utils.flux_to_diffusers(settings, output_prefix=""),
        "AuraFlow": lambda: comfy.utils.auraflow_to_diffusers(settings, output_prefix=""),
    }[model]()


@pytest.mark.parametrize("model", ["SD 1.5", "SDXL", "SD 3 medium", "SD 3.5 large", "FLUX.1 dev", "AuraFlow"])
def test_diffusers_names_of_every_module(model: str) -> None:
    family, weights = MODELS[model][0], weights_of(model)
    known: dict[str, bool] = {}  # a weight → whether any of its names is detected as the family
    for name, target in diffusers_names(model).items():
        native, part = (target, None) if isinstance(target, str) else target[:2]
        if native not in weights or not name.endswith(".weight") or weights[native].ndim < 2:
            continue
        shape = list(weights[native].shape)
        if part:
            shape[part[0]] = part[2]
        header = lora(
            {name.removesuffix(".weight"): tuple(shape)}, "transformer.", ".lora_A.weight", ".lora_B.weight"
        )
        # ComfyUI also gives FLUX.1's feed-forward layers the names of FLUX.2, which don't occur in files.
        known[native] = known.get(native, False) or family in detect_architecture(header).families
    assert [native for native, found in known.items() if not found] == []
