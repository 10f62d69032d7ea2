"""The example workflows: they are listed, valid in both formats, and accepted by ComfyUI."""

from __future__ import annotations

import hashlib
import json
import shutil
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests import lora_files
from tests.conftest import ROOT
from tests.integration.api_format import convert_ui_to_api
from tests.integration.conftest import tiny
from tools.civitai_server import CatalogueEntry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Studio
    from tools.comfy_client import Result

pytestmark = pytest.mark.integration

SUPERCAR = "a red supercar in a city at sunset"
FOLDER = ROOT / "example_workflows"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_template_browser_lists_them(studio: Studio) -> None:
    listed = studio.client.get("/workflow_templates")["air-lora"]
    assert sorted(listed) == NAMES
    served = studio.client.get("/api/workflow_templates/air-lora/sdxl-mixed-loras.json")
    assert served == read(FOLDER / "sdxl-mixed-loras.json")
    for name in NAMES:
        address = f"{studio.client.url}/api/workflow_templates/air-lora/{name}.jpg"
        with urllib.request.urlopen(address, timeout=240) as picture:
            assert picture.read(3) == b"\xff\xd8\xff", "the browser shows this picture"


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
            if isinstance(node["inputs"].get(field), str):
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


@pytest.fixture(scope="module")
def documented_loras(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The local CivitAI has LoRAs for the tiny checkpoint, with the IDs in the documentation's examples."""
    folder = tmp_path_factory.mktemp("documented")
    before = studio.civitai.catalogue
    studio.civitai.catalogue = (
        *before,
        *(
            CatalogueEntry(
                model,
                version,
                name,
                lora_files.sd15_lora(folder / f"{name}.safetensors", seed=version),
                trigger_words=(word,),
            )
            for model, version, name, word in (
                (120096, 135931, "pixel-art", "pixel art"),
                (245889, 277389, "vintage", "vntg photo"),
            )
        ),
    )
    yield
    studio.civitai.catalogue = before
    studio.without_downloads("civitai:120096@135931", "civitai:245889@277389")


def run_small(studio: Studio, name: str) -> Result:
    """Runs an example unchanged, except for a tiny checkpoint and a tiny size."""
    workflow = read(FOLDER / "api" / f"{name}.json")
    for node in workflow.values():
        inputs = node["inputs"]
        if node["class_type"] == "AirLoraRequest":
            small = inputs["request"].replace("1024", "64").replace('"steps": 25', '"steps": 2')
            inputs |= {"request": small, "checkpoint": "tiny_sd15.ckpt"}
        elif node["class_type"] == "CheckpointLoaderSimple" and isinstance(inputs["ckpt_name"], str):
            inputs["ckpt_name"] = "tiny_sd15.ckpt"
        elif node["class_type"] == "EmptyLatentImage" and isinstance(inputs["width"], int):
            inputs |= {"width": 64, "height": 64}
        elif node["class_type"] == "KSampler" and isinstance(inputs["steps"], int):
            inputs["steps"] = 2
    return studio.run(workflow)


@pytest.mark.usefixtures("documented_loras")
def test_the_documentation_s_request_runs(studio: Studio) -> None:
    result = run_small(studio, "runware-request")
    loras = [
        {"model": "civitai:120096@135931", "weight": 0.7},
        {"model": "civitai:245889@277389", "weight": 0.5},
    ]
    by_hand = replace(
        tiny("sd15", loras, negative="blurry", cfg=7.0, seed=1, sampler="dpmpp_2m", scheduler="karras"),
        prompt="a red supercar in a city at sunset, pixel art, vntg photo",
    )
    assert studio.pixels_of(result) == studio.pixels(by_hand)
    (report,) = [json.loads(output["text"][0]) for output in result.outputs.values() if "text" in output]
    assert report["appended"] == ["pixel art", "vntg photo"]
    assert report["left_out"] == []


@pytest.mark.usefixtures("documented_loras")
def test_joined_arrays_run(studio: Studio) -> None:
    result = run_small(studio, "joined-arrays")
    assert studio.picture(result).size == (64, 64)
    words = [output["text"] for output in result.outputs.values() if "text" in output]
    assert words == [["pixel art, vntg photo"]]


@pytest.mark.usefixtures("documented_loras")
def test_core_s_loader_with_a_resolved_name_runs(studio: Studio) -> None:
    result = run_small(studio, "resolve-for-load-lora")
    assert studio.picture(result).size == (64, 64)
    (info,) = [json.loads(output["text"][0]) for output in result.outputs.values() if "text" in output]
    assert info["name"] == "pixel-art"


@pytest.mark.usefixtures("documented_loras")
def test_a_weight_sweep_makes_its_sheet(studio: Studio) -> None:
    result = run_small(studio, "weight-sweep")
    sheet = studio.picture(result)
    cells = [
        sheet.crop((24 + 88 * n, sheet.height - 24 - 64, 88 * (n + 1), sheet.height - 24)) for n in range(5)
    ]
    assert sheet.width == 24 + 5 * 88, "five values, one row"
    arrays = [
        [
            {"model": "civitai:120096@135931", "weight": weight},
            {"model": "civitai:245889@277389", "weight": 0.5},
        ]
        for weight in (0.2, 0.4, 0.6, 0.8, 1.0)
    ]
    for cell, array in zip(cells, arrays):
        alone = replace(tiny("sd15", array, negative="blurry", cfg=7.0, seed=1), prompt=SUPERCAR)
        assert hashlib.sha256(cell.tobytes()).hexdigest() == studio.pixels(alone)


@pytest.mark.usefixtures("documented_loras")
def test_an_analysed_array_becomes_one_file(studio: Studio) -> None:
    result = run_small(studio, "analyze-and-merge")
    texts = [output["text"][0] for output in result.outputs.values() if "text" in output]
    (report,) = [found for text in texts if text.startswith("{") for found in [json.loads(text)]][:1]
    assert report["file"].startswith("merged/supercar-style")
    assert [each["model"] for each in report["sources"]] == ["civitai:120096@135931", "civitai:245889@277389"]


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
