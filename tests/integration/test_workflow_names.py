"""What we read from a workflow in the page's format, compared with comfy-cli's conversion to API format."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lora_resolver import loras_in
from tests.integration.api_format import convert_ui_to_api

if TYPE_CHECKING:
    from tests.integration.conftest import Studio

pytestmark = pytest.mark.integration

SUBGRAPH = "5f0c2a0e-7d0c-4a51-9b1c-3a4f8f0c9d11"
WHERE = "import comfyui_workflow_templates as templates; print(*templates.__path__, sep='\\n')"


@pytest.fixture(scope="module")
def templates(python_of_comfyui: Path) -> list[dict[str, Any]]:
    """The workflows in ComfyUI's own template browser."""
    run = subprocess.run([str(python_of_comfyui), "-c", WHERE], capture_output=True, text=True, check=True)
    packages = Path(run.stdout.splitlines()[0]).parent.glob("comfyui_workflow_templates*")
    files = sorted(file for package in packages for file in package.rglob("*.json"))
    documents = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return [each for each in documents if isinstance(each, dict) and "nodes" in each]


def names(document: dict[str, Any]) -> list[str]:
    return sorted({str(lora.identifier) for lora in loras_in(json.dumps(document)).loras})


def test_comfyuis_own_templates(studio: Studio, templates: list[dict[str, Any]]) -> None:
    info = studio.client.get("/object_info")
    with_loras = [each for each in templates if '"LoraLoader' in json.dumps(each)]
    assert len(with_loras) > 10
    for document in with_loras:
        api = names(
            convert_ui_to_api(document, info)
        )  # the conversion drops the page's notes about where files come from
        found = loras_in(json.dumps(document)).loras
        assert sorted({f"local:{each.file}" if each.file else str(each.identifier) for each in found}) == api


def test_our_node_in_a_subgraph_with_its_text_from_outside(studio: Studio) -> None:
    array = '[{"model": "civitai:1@2"}]'
    text = {
        "id": 2,
        "type": "PrimitiveStringMultiline",
        "mode": 0,
        "inputs": [{"name": "value", "type": "STRING", "widget": {"name": "value"}, "link": None}],
        "outputs": [{"name": "STRING", "type": "STRING", "links": [1]}],
        "widgets_values": [array],
    }
    apply = {
        "id": 7,
        "type": "AirLoraApply",
        "mode": 0,
        "inputs": [{"name": "lora", "type": "STRING", "widget": {"name": "lora"}, "link": 9}],
        "outputs": [{"name": "MODEL", "type": "MODEL", "links": []}],
        "widgets_values": ['[{"model": "civitai:9@9"}]', "error", "both"],
    }
    style = {"id": "a", "name": "style", "type": "STRING", "linkIds": [9]}
    link = {
        "id": 9,
        "origin_id": -10,
        "origin_slot": 0,
        "target_id": 7,
        "target_slot": 0,
        "type": "STRING",
    }
    subgraph = {
        "id": SUBGRAPH,
        "name": "Styled",
        "nodes": [apply],
        "links": [link],
        "inputs": [style],
        "outputs": [],
    }
    for mode, expected in ((0, ["civitai:1@2"]), (4, [])):
        stands_for_it = {
            "id": 12,
            "type": SUBGRAPH,
            "mode": mode,
            "inputs": [{"name": "style", "type": "STRING", "link": 1}],
            "outputs": [],
        }
        document = {
            "nodes": [text, stands_for_it],
            "links": [[1, 2, 0, 12, 0, "STRING"]],
            "definitions": {"subgraphs": [subgraph]},
        }
        assert names(document) == expected
        assert names(convert_ui_to_api(document, studio.client.get("/object_info"))) == expected
