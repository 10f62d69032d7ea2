"""AirLoraRequest on the running ComfyUI: a Runware request makes the same picture as its settings set by hand."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.integration.conftest import TOKEN, air, tiny
from tools.civitai_server import CatalogueEntry
from tools.comfy_client import Failed, Rejected, Workflow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Studio

pytestmark = pytest.mark.integration

OUTPUTS = (
    *("positive", "negative", "width", "height", "batch_size", "seed", "steps", "cfg", "sampler_name"),
    *("scheduler", "denoise", "checkpoint", "vae", "lora", "report"),
)
A, B = air(101), air(102)
TASK: dict[str, Any] = {
    "taskType": "imageInference",
    "taskUUID": "a770f077-f413-47de-9dac-be0b26a35da6",
    "positivePrompt": "a red house",
    "negativePrompt": "blurry",
    "model": "runware:100@1",
    "width": 64,
    "height": 96,
    "steps": 2,
    "CFGScale": 1.5,
    "seed": 7,
    "scheduler": "DPM++ 2M Karras",
    "lora": [{"model": A, "weight": 0.7}, {"model": B, "weight": 0.5}],
}


def node(task: object = TASK, **inputs: Any) -> dict[str, Any]:
    text = task if isinstance(task, str) else json.dumps(task)
    return {"class_type": "AirLoraRequest", "inputs": {"request": text, **inputs}}


def shown(*names: str, task: object = TASK, **inputs: Any) -> Workflow:
    """The named outputs, each with a node that shows it."""
    workflow = {"request": node(task, **inputs)}
    for name in names:
        workflow[name] = {"class_type": "PreviewAny", "inputs": {"source": ["request", OUTPUTS.index(name)]}}
    return workflow


def values(studio: Studio, workflow: Workflow) -> dict[str, str]:
    outputs = studio.run(workflow).outputs
    return {name: outputs[name]["text"][0] for name in workflow if name != "request"}


def picture_of(request: dict[str, Any]) -> Workflow:
    """A whole graph whose settings all come from the request."""
    workflow = tiny("sd15", "").workflow()
    workflow["request"] = request
    for target, name, output in (
        ("checkpoint", "ckpt_name", "checkpoint"),
        ("apply", "lora", "lora"),
        ("positive", "text", "positive"),
        ("negative", "text", "negative"),
        ("latent", "width", "width"),
        ("latent", "height", "height"),
        ("latent", "batch_size", "batch_size"),
        ("sampler", "seed", "seed"),
        ("sampler", "steps", "steps"),
        ("sampler", "cfg", "cfg"),
        ("sampler", "sampler_name", "sampler_name"),
        ("sampler", "scheduler", "scheduler"),
        ("sampler", "denoise", "denoise"),
    ):
        workflow[target]["inputs"][name] = ["request", OUTPUTS.index(output)]
    return workflow


@pytest.fixture(scope="module")
def served_checkpoint(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A checkpoint on the local CivitAI: a valid file without a real model."""
    file = tmp_path_factory.mktemp("checkpoint") / "served-checkpoint.safetensors"
    save_file({"model.diffusion_model.out.weight": torch.ones(4, 4)}, file)
    entry = CatalogueEntry(801, 1801, "A checkpoint", file, base_model="SDXL 1.0", kind="Checkpoint")
    studio.civitai.catalogue = (*studio.civitai.catalogue, entry)
    yield air(801)
    shutil.rmtree(studio.process.base / "models" / "checkpoints" / "air", ignore_errors=True)


def test_the_node_is_there_with_its_inputs_and_outputs(studio: Studio) -> None:
    info = studio.client.get("/object_info/AirLoraRequest")["AirLoraRequest"]
    assert list(info["input"]["required"]) == ["request"]
    assert list(info["input"]["optional"]) == ["task", "seed", "checkpoint", "trigger_words"]
    assert tuple(info["output_name"]) == OUTPUTS


def test_the_request_makes_the_picture_that_its_settings_make_by_hand(studio: Studio) -> None:
    result = studio.run(picture_of(node(checkpoint="tiny_sd15.ckpt")))
    by_hand = tiny(
        "sd15", TASK["lora"], negative="blurry", height=96, sampler="dpmpp_2m", scheduler="karras", seed=7
    )
    assert studio.picture(result).size == (64, 96)
    assert studio.pixels_of(result) == studio.pixels(by_hand)


def test_the_report_says_what_became_of_each_part(studio: Studio) -> None:
    task = {
        **TASK,
        "width": 70,
        "clipSkip": 1,
        "numberResults": 3,
        "seedImage": "https://example.com/a.png?sig=x",
    }
    del task["seed"], task["steps"]
    told = values(
        studio,
        shown(
            "report",
            "checkpoint",
            "width",
            "seed",
            "denoise",
            task=task,
            seed=41,
            checkpoint="tiny_sd15.ckpt",
        ),
    )
    report = json.loads(told["report"])
    assert report["checkpoint"] == {
        "model": "",
        "folder": "checkpoints",
        "file": "tiny_sd15.ckpt",
        "architecture": ["sd1"],
    }
    assert report["sampling"] == {
        "asked": "DPM++ 2M Karras",
        "sampler_name": "dpmpp_2m",
        "scheduler": "karras",
    }
    assert report["assumed"] == ["steps", "strength"]
    assert report["seed"] == "this node's"
    assert (told["width"], told["seed"], told["denoise"]) == ("64", "41", "0.8")
    left_out = {each["parameter"]: each for each in report["left_out"]}
    assert set(left_out) == {"width", "numberResults", "clipSkip", "taskUUID", "seedImage"}
    assert "value" not in left_out["seedImage"]
    assert "sig=x" not in told["report"]


def test_only_what_is_connected_is_looked_for(studio: Studio) -> None:
    """The request's model exists only at Runware, and its LoRAs aren't in any list. Neither matters for the prompt."""
    task = {**TASK, "lora": [{"model": "civitai:999@1999"}]}
    told = values(studio, shown("positive", "lora", "report", task=task))
    assert told["positive"] == "a red house"
    assert json.loads(told["lora"]) == task["lora"]
    assert "checkpoint" not in json.loads(told["report"])
    with pytest.raises(Failed, match=r"model: runware:100@1 .*Or choose a checkpoint file"):
        studio.run(shown("positive", "checkpoint", task=task))


def test_a_checkpoint_is_downloaded_by_its_air_once(studio: Studio, served_checkpoint: str) -> None:
    task = {**TASK, "model": f"urn:air:sdxl:checkpoint:{served_checkpoint}"}
    told = values(studio, shown("checkpoint", "report", task=task))
    assert told["checkpoint"] in studio.client.get("/models/checkpoints")
    assert json.loads(told["report"])["checkpoint"]["model"] == served_checkpoint
    assert TOKEN not in told["report"]
    downloads = len([each for each in studio.civitai.requests if "/api/download/models/1801" in each.path])
    values(studio, shown("checkpoint", "report", task={**task, "positivePrompt": "another"}))
    after = len([each for each in studio.civitai.requests if "/api/download/models/1801" in each.path])
    assert downloads == after > 0


def test_a_diffusion_model_alone_goes_where_its_loader_looks(studio: Studio, tmp_path: Path) -> None:
    """FLUX and Wan come without text encoder and VAE, so Load Checkpoint can't use such a file."""
    model = studio.process.base / "models" / "diffusion_models" / "tiny_wan.safetensors"
    file = tmp_path / "another-wan.safetensors"
    tensors = load_file(model)
    save_file({name: tensor * 0.5 for name, tensor in tensors.items()}, file)
    entry = CatalogueEntry(803, 1803, "Wan", file, base_model="Wan Video 14B t2v", kind="Checkpoint")
    studio.civitai.catalogue = (*studio.civitai.catalogue, entry)
    workflow = shown("report", task={**TASK, "model": air(803)})
    workflow["loader"] = {
        "class_type": "UNETLoader",
        "inputs": {"unet_name": ["request", OUTPUTS.index("checkpoint")], "weight_dtype": "default"},
    }
    workflow["loaded"] = {"class_type": "PreviewAny", "inputs": {"source": ["loader", 0]}}
    result = studio.run(workflow)
    report = json.loads(result.outputs["report"]["text"][0])
    assert report["checkpoint"]["folder"] == "diffusion_models"
    assert "ModelPatcher" in result.outputs["loaded"]["text"][0]


def test_a_lora_is_no_checkpoint_and_a_checkpoint_no_lora(studio: Studio, served_checkpoint: str) -> None:
    with pytest.raises(Failed, match=r"LORA, not (a )?checkpoint"):
        studio.run(shown("checkpoint", task={**TASK, "model": A}))
    with pytest.raises(Failed, match=r"Checkpoint, not (a )?LoRA"):
        studio.run(tiny("sd15", [{"model": served_checkpoint}]).workflow())


def test_a_model_in_diffusion_models_is_found_by_its_air(studio: Studio) -> None:
    """Another tool saved CivitAI's JSON next to the file. Nothing is downloaded, and core's loader accepts the name."""
    models = studio.process.base / "models" / "diffusion_models"
    folder = models / "video"
    folder.mkdir(parents=True)
    shutil.copy(models / "tiny_wan.safetensors", folder / "wan.safetensors")
    digest = hashlib.sha256((folder / "wan.safetensors").read_bytes()).hexdigest()
    (folder / "wan.civitai.info").write_text(
        json.dumps(
            {
                "id": 1901,
                "modelId": 901,
                "model": {"name": "Wan", "type": "Checkpoint"},
                "files": [
                    {"id": 1, "primary": True, "name": "wan.safetensors", "hashes": {"SHA256": digest}}
                ],
            }
        )
    )
    workflow = shown("report", task={**TASK, "model": air(901)})
    before = len(studio.civitai.requests)
    workflow["loader"] = {
        "class_type": "UNETLoader",
        "inputs": {"unet_name": ["request", OUTPUTS.index("checkpoint")], "weight_dtype": "default"},
    }
    workflow["loaded"] = {"class_type": "PreviewAny", "inputs": {"source": ["loader", 0]}}
    result = studio.run(workflow)
    checkpoint = json.loads(result.outputs["report"]["text"][0])["checkpoint"]
    assert checkpoint["folder"] == "diffusion_models"
    assert checkpoint["file"].replace("\\", "/") in ("video/wan.safetensors", "tiny_wan.safetensors")
    assert "wan_14b" in checkpoint["architecture"]
    assert "ModelPatcher" in result.outputs["loaded"]["text"][0]
    assert not [each for each in studio.civitai.requests[before:] if "1901" in each.path]


def test_missing_trigger_words_are_appended_if_asked(studio: Studio) -> None:
    task = {**TASK, "positivePrompt": "a red house, Word 101"}
    assert values(studio, shown("positive", task=task))["positive"] == "a red house, Word 101"
    told = values(studio, shown("positive", "report", task=task, trigger_words="append missing"))
    assert told["positive"] == "a red house, Word 101, shared word, word 102"
    assert json.loads(told["report"])["appended"] == ["shared word", "word 102"]


def test_a_vae_that_the_request_does_not_have(studio: Studio) -> None:
    with pytest.raises(Failed, match="vae: The request has no VAE"):
        studio.run(shown("vae"))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("", "request: The request is empty"),
        ({**TASK, "steps": "many"}, 'steps: Expected a number, got "many"'),
        ({**TASK, "lora": [{"model": A, "weight": 9}]}, "lora.0..weight: 9 is out of range"),
        (
            [{"taskType": "authentication", "apiKey": "secret-123"}, TASK],
            "request: The request contains an API key",
        ),
    ],
)
def test_faults_are_shown_when_the_prompt_is_queued(studio: Studio, task: object, message: str) -> None:
    with pytest.raises(Rejected, match=message) as caught:
        studio.client.queue(shown("positive", task=task))
    assert "secret-123" not in str(caught.value)
