"""The example workflows: listed, sound in both formats, and taken by ComfyUI."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from comfy_cli.workflow_to_api import convert_ui_to_api

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Studio

pytestmark = pytest.mark.integration

FOLDER = ROOT / "example_workflows"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_template_browser_lists_them(studio: Studio) -> None:
    listed = studio.client.get("/workflow_templates")["air-lora"]
    assert sorted(listed) == NAMES
    served = studio.client.get("/api/workflow_templates/air-lora/sdxl-mixed-loras.json")
    assert served == read(FOLDER / "sdxl-mixed-loras.json")


@pytest.mark.parametrize("name", NAMES)
def test_the_ui_format_converts_to_the_api_format_beside_it(studio: Studio, name: str) -> None:
    converted = convert_ui_to_api(read(FOLDER / f"{name}.json"), studio.client.get("/object_info"))
    expected = read(FOLDER / "api" / f"{name}.json")
    assert {node: (facts["class_type"], facts["inputs"]) for node, facts in converted.items()} == {
        node: (facts["class_type"], facts["inputs"]) for node, facts in expected.items()
    }


MODEL_FILES = {
    "ckpt_name": "checkpoints",
    "unet_name": "diffusion_models",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "vae_name": "vae",
}


@pytest.mark.parametrize("name", NAMES)
def test_comfyui_takes_the_api_format(studio: Studio, name: str) -> None:
    workflow = read(FOLDER / "api" / f"{name}.json")
    tiny = next((studio.process.base / "models" / "checkpoints").glob("tiny_sd15*"))
    placed = []
    for node in workflow.values():
        for field, folder in MODEL_FILES.items():
            if field in node["inputs"]:
                file = studio.process.base / "models" / folder / node["inputs"][field]
                file.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(tiny, file)
                placed.append(file)
    try:
        prompt = studio.client.queue(workflow)
    finally:
        studio.client.post("/queue", {"clear": True})
        studio.client.post("/interrupt", {})
    assert prompt
    for file in placed:
        file.unlink()


def test_the_documentation_s_samples_are_in_them() -> None:
    single = read(FOLDER / "api" / "sdxl-single-lora.json")
    mixed = read(FOLDER / "api" / "sdxl-mixed-loras.json")
    arrays = [
        json.loads(node["inputs"]["lora"])
        for workflow in (single, mixed)
        for node in workflow.values()
        if node["class_type"] == "AirLoraApply"
    ]
    assert arrays == [
        [{"model": "civitai:120096@135931", "weight": 1.0}],
        [
            {"model": "civitai:120096@135931", "weight": 0.7},
            {"model": "civitai:245889@277389", "weight": 0.5},
        ],
    ]
