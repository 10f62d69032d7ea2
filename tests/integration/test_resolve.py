"""AirLoraResolve on the running ComfyUI: core's own loaders accept its output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.integration.conftest import air, tiny
from tools.comfy_client import Failed, Rejected, Workflow

if TYPE_CHECKING:
    from tests.integration.conftest import Studio

pytestmark = pytest.mark.integration

A, B = air(101), air(104)


def resolved(identifier: str) -> Workflow:
    outputs = ("name", "path", "words", "info")
    shown = {
        name: {"class_type": "PreviewAny", "inputs": {"source": ["resolve", number]}}
        for number, name in enumerate(outputs)
    }
    return {"resolve": {"class_type": "AirLoraResolve", "inputs": {"identifier": identifier}}, **shown}


def test_what_it_says_of_a_lora(studio: Studio) -> None:
    outputs = studio.run(resolved(B)).outputs
    name, path, words, info = (outputs[node]["text"][0] for node in ("name", "path", "words", "info"))
    served = next(entry for entry in studio.civitai.catalogue if entry.model_id == 104)
    assert name in studio.client.get("/models/loras")
    assert Path(path) == studio.process.base / "models" / "loras" / name
    assert words == "word 104, shared word"
    facts = json.loads(info)
    assert facts["model"] == B
    assert facts["name"] == "Style D for SD 1.5"
    assert facts["sha256"] == served.sha256
    assert facts["architecture"] == ["sd1"]
    assert facts["base_model"] == "SD 1.5"
    assert facts["page"].endswith("/models/104?modelVersionId=1104")
    assert str(studio.process.base) not in info


def test_core_s_loaders_take_the_name(studio: Studio) -> None:
    workflow = tiny("sd15", []).workflow()
    workflow["resolve"] = {"class_type": "AirLoraResolve", "inputs": {"identifier": A}}
    workflow["apply"] = {
        "class_type": "LoraLoader",
        "inputs": {
            "model": ["checkpoint", 0],
            "clip": ["checkpoint", 1],
            "lora_name": ["resolve", 0],
            "strength_model": 0.4,
            "strength_clip": 0.7,
        },
    }
    workflow["more"] = {
        "class_type": "LoraLoaderModelOnly",
        "inputs": {"model": ["apply", 0], "lora_name": ["resolve", 0], "strength_model": 0.3},
    }
    workflow["sampler"]["inputs"]["model"] = ["more", 0]
    del workflow["report"]
    core = np.asarray(studio.picture(studio.run(workflow)), dtype=np.int16)
    ours = studio.picture(studio.run(tiny("sd15", [{"model": A, "weight": 0.7}]).workflow()))
    assert np.abs(np.asarray(ours, dtype=np.int16) - core).max() <= 2, "fp16 rounding"


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        ("", "identifier: The model name is empty"),
        ("120096@135931", "identifier: .*The source"),
    ],
)
def test_what_names_no_model_is_refused_when_it_is_queued(
    studio: Studio, identifier: str, message: str
) -> None:
    with pytest.raises(Rejected, match=message):
        studio.client.queue(resolved(identifier))


def test_a_lora_that_is_not_there_says_so(studio: Studio) -> None:
    with pytest.raises(Failed, match="999"):
        studio.run(resolved("civitai:999@1999"))
