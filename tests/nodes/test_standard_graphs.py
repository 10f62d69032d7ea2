"""The endpoint's standard graphs use only nodes that ComfyUI has, with the inputs that they accept."""

from __future__ import annotations

from typing import Any

import pytest
from air_lora_pack.nodes.endpoint.graphs import FAMILIES, TEXT_ENCODERS, Parts, standard_graph
from air_lora_pack.nodes.request.files import FoundFile
from comfy_extras import nodes_flux, nodes_mask, nodes_sd3

import nodes as core
from lora_resolver import InvalidInput, parse_identifier, parse_image_request

pytestmark = pytest.mark.integration

CLASSES: dict[str, Any] = {
    **core.NODE_CLASS_MAPPINGS,
    **{
        name: getattr(module, name)
        for module, names in (
            (nodes_flux, ("FluxGuidance",)),
            (nodes_mask, ("ImageToMask",)),
            (nodes_sd3, ("EmptySD3LatentImage", "TripleCLIPLoader")),
        )
        for name in names
    },
}
REQUEST = parse_image_request(
    {"taskType": "imageInference", "positivePrompt": "x", "clipSkip": 1, "seedImage": "a", "CFGScale": 3.5}
)


def parts(family: str, **members: Any) -> Parts:
    alone = FoundFile("", "diffusion_models", "model.safetensors", (family,))
    return Parts(
        REQUEST, alone, family, seed=1, result="r", seed_image="a.png", mask_image="b.png", **members
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("is_whole", [True, False])
def test_every_node_and_every_input_is_one_of_comfyui_s(family: str, is_whole: bool) -> None:
    encoders = TEXT_ENCODERS.get(family)
    files = {} if is_whole or encoders is None else {name: "t.safetensors" for name, _ in encoders.files}
    graph = standard_graph(parts(family, vae="" if is_whole else "v.safetensors", text_encoders=files))
    for name, node in graph.items():
        if node["class_type"] == "AirLoraApply":
            continue
        taken = CLASSES[node["class_type"]].INPUT_TYPES()
        known = {**taken.get("required", {}), **taken.get("optional", {})}
        assert set(node["inputs"]) <= set(known), name
        assert set(taken.get("required", {})) <= set(node["inputs"]), name
        for value in node["inputs"].values():
            if isinstance(value, list):
                assert value[0] in graph
    assert ("guidance" in graph) == (family == "flux1")


def test_a_family_without_one_says_what_to_do() -> None:
    with pytest.raises(InvalidInput) as raised:
        standard_graph(parts("wan_14b"))
    assert raised.value.code == "unsupportedModel"
    assert "wan_14b.json" in raised.value.remedy


def test_the_table_of_text_encoders_has_names_that_can_be_read() -> None:
    for encoders in TEXT_ENCODERS.values():
        for _, identifier in encoders.files:
            assert parse_identifier(identifier).source == "huggingface"
        if encoders.vae:
            assert parse_identifier(encoders.vae).source == "huggingface"
