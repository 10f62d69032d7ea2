"""AirLoraAnalyze on the running ComfyUI: its figures, its chart, and the array that it suggests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.integration.conftest import Studio, air, tiny
from tools.comfy_client import Failed, Rejected

if TYPE_CHECKING:
    from tools.comfy_client import Workflow

pytestmark = pytest.mark.integration

A, B, C = air(101), air(102), air(103)


def analysing(lora: list[dict[str, Any]], *, clip: bool = True) -> Workflow:
    inputs = {"model": ["checkpoint", 0], "lora": json.dumps(lora)}
    if clip:
        inputs["clip"] = ["checkpoint", 1]
    return {
        "checkpoint": {
            "class_type": "CheckpointLoaderSimple",
            "inputs": {"ckpt_name": tiny("sd15", []).checkpoint},
        },
        "analyze": {"class_type": "AirLoraAnalyze", "inputs": inputs},
        "save": {
            "class_type": "SaveImage",
            "inputs": {"images": ["analyze", 0], "filename_prefix": "analysis"},
        },
        "summary": {"class_type": "PreviewAny", "inputs": {"source": ["analyze", 1]}},
        "report": {"class_type": "PreviewAny", "inputs": {"source": ["analyze", 2]}},
        "even": {"class_type": "PreviewAny", "inputs": {"source": ["analyze", 3]}},
    }


def test_each_entry_s_strength_and_each_pair_s_competition(studio: Studio) -> None:
    array = [{"model": A, "weight": 0.8}, {"model": B, "weight": 0.4}, {"model": C, "weight": 0}]
    result = studio.run(analysing(array))
    report = studio.report(result)
    assert report["checkpoint"] == ["sd1"]
    first, second = report["entries"]
    assert (first["model"], first["name"], first["weight"]) == (A, "Style A for SD 1.5", 0.8)
    assert first["strength"] > second["strength"] > 0
    assert first["text_encoder"]["strength"] > 0
    assert set(first["blocks"]) == {"input_blocks.1", "middle_block.1", "output_blocks.0"}
    (pair,) = report["pairs"]
    assert pair["places"] == ["lora[0]", "lora[1]"]
    assert abs(pair["cosine"]) < 0.1
    assert pair["common_weights"] == 1
    summary = result.outputs["summary"]["text"][0]
    assert summary.startswith("1. Style A for SD 1.5 at 0.8: ")
    assert "No pair competes" in summary


def test_the_suggested_array_makes_them_equally_strong(studio: Studio) -> None:
    array = [
        {"model": A, "weight": 1.2, "clip_weight": 0.6},
        {"model": B, "weight": 0.3},
        {"model": C, "weight": 0},
    ]
    result = studio.run(analysing(array))
    even = json.loads(result.outputs["even"]["text"][0])
    assert [entry["model"] for entry in even] == [A, B, C]
    assert even[0]["clip_weight"] == pytest.approx(even[0]["weight"] / 2, rel=1e-4)
    assert even[2]["weight"] == 0
    strengths = [entry["strength"] for entry in studio.report(studio.run(analysing(even)))["entries"]]
    assert max(strengths) / min(strengths) < 1.05


def test_one_file_named_twice_is_one_entry(studio: Studio) -> None:
    twice = [{"model": A, "weight": 0.5}, {"model": f"urn:air:sd1:lora:{A}", "weight": 0.25}]
    report = studio.report(studio.run(analysing(twice)))
    assert [entry["weight"] for entry in report["entries"]] == [0.75], "one file is one entry"
    assert report["pairs"] == []


def test_the_picture_shows_them(studio: Studio) -> None:
    two = [{"model": A, "weight": 0.8}, {"model": B, "weight": 0.4}]
    picture = studio.picture(studio.run(analysing(two)))
    assert picture.width == 1280
    colours = {tuple(colour) for colour in np.asarray(picture).reshape(-1, 3).tolist()}
    assert {(0, 114, 178), (213, 94, 0)} <= colours, "a colour for each entry"
    empty = studio.run(analysing([], clip=False))
    assert studio.picture(empty).height < picture.height
    assert empty.outputs["summary"]["text"][0] == "No LoRA in this array is enabled."


def test_what_does_not_fit_or_is_no_array_is_refused(studio: Studio) -> None:
    with pytest.raises(Failed, match=r"LoRA 1 \(lora\[0\]\): .*trained for SDXL"):
        studio.run(analysing([{"model": air(201), "weight": 1}]))
    with pytest.raises(Rejected, match=r"lora\[0\]\.weight"):
        studio.run(analysing([{"model": A, "weight": 9}]))
