"""Steps and regions of entries in the running ComfyUI: samplers, hooks for regions, pairs, saved pictures."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from lora_resolver import read_pasted, read_record
from tests.integration.conftest import Studio, air, tiny
from tests.integration.test_apply import wan
from tools.comfy_client import Failed

if TYPE_CHECKING:
    from tools.comfy_client import Workflow

pytestmark = pytest.mark.integration

A, B = air(101), air(102)


def pixels(studio: Studio, workflow: Workflow) -> np.ndarray:
    return np.asarray(studio.picture(studio.run(workflow))).astype(int)


def with_lora(entries: list[dict[str, Any]] | str, **changes: Any) -> Workflow:
    return tiny("sd15", entries, steps=4, **changes).workflow()


def in_two_runs(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> Workflow:
    """Two samplers, each with its own array, for two of four steps each."""
    workflow = with_lora(first)
    (sampler,) = (node for node, values in workflow.items() if values["class_type"] == "KSampler")
    inputs = workflow[sampler]["inputs"]
    shared = {
        key: inputs[key] for key in ("steps", "cfg", "sampler_name", "scheduler", "positive", "negative")
    }
    advanced = {**shared, "noise_seed": inputs["seed"]}
    apply = workflow[inputs["model"][0]]
    workflow["second"] = {**apply, "inputs": {**apply["inputs"], "lora": json.dumps(second)}}
    workflow["begin"] = {
        "class_type": "KSamplerAdvanced",
        "inputs": {
            **advanced,
            "model": inputs["model"],
            "latent_image": inputs["latent_image"],
            "add_noise": "enable",
            "start_at_step": 0,
            "end_at_step": 2,
            "return_with_leftover_noise": "enable",
        },
    }
    workflow[sampler] = {
        "class_type": "KSamplerAdvanced",
        "inputs": {
            **advanced,
            "model": ["second", 0],
            "latent_image": ["begin", 0],
            "add_noise": "disable",
            "start_at_step": 2,
            "end_at_step": 4,
            "return_with_leftover_noise": "disable",
        },
    }
    return workflow


def test_two_spans_are_two_samplers_with_an_array_each(studio: Studio) -> None:
    """The text encoder uses both in all steps, so that the prompts are the same."""
    early = {"model": A, "weight": 1.0, "clip_weight": 0}
    late = {"model": B, "weight": -0.8, "clip_weight": 0}
    expected = pixels(studio, in_two_runs([early], [late]))
    ours = pixels(studio, with_lora([{**early, "end": 0.5}, {**late, "start": 0.5}]))
    turned = pixels(studio, with_lora([{**late, "start": 0.5}, {**early, "end": 0.5}]))
    assert np.abs(ours - expected).max() <= 2
    assert (ours == turned).all()
    assert np.abs(ours - pixels(studio, with_lora([early, late]))).max() > 5


def test_the_report_and_the_saved_picture_say_when_and_where(studio: Studio) -> None:
    array = [
        {"model": A, "weight": [[0, 0.2], [0.5, 1]], "hold": True},
        {"model": B, "weight": 0.5, "start": 0.25, "blocks": {"output_blocks.*": 0.5}},
    ]
    result = studio.run(with_lora(array))
    first, second = studio.report(result)["entries"]
    assert first["schedule"] == {"weight": [[0, 0.2], [0.5, 1]], "hold": True}
    assert first["weight"] == 1
    assert second["schedule"] == {"weight": 0.5, "start": 0.25}
    assert second["blocks"] == {"output_blocks.*": 0.5}
    assert first["bypassed"] > 0
    picture = studio.client.image(result.image_references()[0])
    (entries,) = read_record(Image.open(io.BytesIO(picture)).text["air_lora"]).values()
    assert [each.entry.extensions() for each in entries] == [
        {"schedule": first["schedule"]},
        {"schedule": second["schedule"], "blocks": second["blocks"]},
    ]
    assert [entry.entry.facts() for entry in read_pasted(json.dumps(array), []).loras] == [
        each.entry.facts() for each in entries
    ]


def test_blocks_of_another_model_are_an_error_with_its_place(studio: Studio) -> None:
    array = [{"model": A}, {"model": B, "blocks": {"double_blocks.*": 0}}]
    with pytest.raises(Failed) as failed:
        studio.run(with_lora(array))
    assert "LoRA 2 (lora[1].blocks)" in str(failed.value)
    assert "input_blocks" in str(failed.value)


def test_a_schedule_is_not_saved_as_a_file(studio: Studio) -> None:
    workflow = with_lora([])
    checkpoint = next(node for node, values in workflow.items() if "Checkpoint" in values["class_type"])
    workflow = {
        checkpoint: workflow[checkpoint],
        "save": {
            "class_type": "AirLoraSave",
            "inputs": {
                "model": [checkpoint, 0],
                "lora": json.dumps([{"model": A, "end": 0.5}]),
                "file_name": "scheduled",
                "rank": 0,
                "precision": "fp16",
                "if_exists": "keep both",
            },
        },
    }
    with pytest.raises(Failed) as failed:
        studio.run(workflow)
    assert "schedule" in str(failed.value)
    assert not list((studio.process.base / "models/loras").rglob("scheduled*"))


def region(array: list[dict[str, Any]], name: str, x: int, workflow: Workflow, texts: dict[str, Any]) -> None:
    """Adds an array as hooks on one half of the picture. The conditionings `name` come out of "{name}_set"."""
    checkpoint = next(node for node, values in workflow.items() if "Checkpoint" in values["class_type"])
    workflow |= {
        f"{name}_hooks": {
            "class_type": "AirLoraHooks",
            "inputs": {"model": [checkpoint, 0], "clip": [checkpoint, 1], "lora": json.dumps(array)},
        },
        f"{name}_half": {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 32, "height": 64}},
        f"{name}_none": {"class_type": "SolidMask", "inputs": {"value": 0.0, "width": 64, "height": 64}},
        f"{name}_mask": {
            "class_type": "MaskComposite",
            "inputs": {
                "destination": [f"{name}_none", 0],
                "source": [f"{name}_half", 0],
                "x": x,
                "y": 0,
                "operation": "add",
            },
        },
        f"{name}_set": {
            "class_type": "PairConditioningSetProperties",
            "inputs": {
                "positive_NEW": texts["positive"],
                "negative_NEW": texts["negative"],
                "strength": 1.0,
                "set_cond_area": "default",
                "hooks": [f"{name}_hooks", 0],
                "mask": [f"{name}_mask", 0],
            },
        },
    }


def regions(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> Workflow:
    workflow = with_lora([])
    (sampler,) = (node for node, values in workflow.items() if values["class_type"] == "KSampler")
    inputs = workflow[sampler]["inputs"]
    texts = {"positive": inputs["positive"], "negative": inputs["negative"]}
    region(left, "left", 0, workflow, texts)
    region(right, "right", 32, workflow, texts)
    workflow["both"] = {
        "class_type": "PairConditioningCombine",
        "inputs": {
            "positive_A": ["left_set", 0],
            "negative_A": ["left_set", 1],
            "positive_B": ["right_set", 0],
            "negative_B": ["right_set", 1],
        },
    }
    workflow["report"] = {"class_type": "PreviewAny", "inputs": {"source": ["left_hooks", 2]}}
    inputs |= {"positive": ["both", 0], "negative": ["both", 1]}
    return workflow


def test_an_array_for_each_half_of_the_picture(studio: Studio) -> None:
    first, second = {"model": A, "weight": 1.0}, {"model": B, "weight": 1.0}
    result = studio.run(regions([first], [second]))
    (row,) = studio.report(result)["entries"]
    assert row["status"] == "applied"
    ours = np.asarray(studio.picture(result)).astype(int)
    plain = pixels(studio, regions([], []))
    left = pixels(studio, regions([first], []))
    assert np.abs(ours - plain)[:, :20].max() > 3
    assert np.abs(left - plain)[:, :20].max() > 3
    assert np.abs(left - plain)[:, :20].mean() > np.abs(left - plain)[:, -20:].mean()


def test_the_order_in_a_region_does_not_matter(studio: Studio) -> None:
    first, second = {"model": A, "weight": 0.7}, {"model": B, "weight": -0.6}
    one = pixels(studio, regions([first, second], []))
    other = pixels(studio, regions([second, first], []))
    assert (one == other).all()


def test_a_region_s_lora_has_a_schedule_too(studio: Studio) -> None:
    first = {"model": A, "weight": 1.0}
    always = pixels(studio, regions([first], []))
    never = pixels(studio, regions([{**first, "start": 0.99}], []))
    half = pixels(studio, regions([{**first, "start": 0.5}], []))
    assert (never == pixels(studio, regions([], []))).all()
    assert np.abs(half - always).max() > 1
    assert np.abs(half - never).max() > 1


def test_both_experts_of_a_video_model_in_one_node(studio: Studio) -> None:
    array = [
        {"model": air(301), "weight": 0.8, "transformer": "high"},
        {"model": air(616), "weight": 0.4, "transformer": "low"},
        {"model": air(301), "weight": 0.1},
    ]
    workflow = wan(array, "both")
    workflow["low"] = dict(workflow["unet"])
    workflow["apply"]["inputs"]["model_low"] = ["low", 0]
    report = studio.report(studio.run(workflow))
    assert [row["status"] for row in report["entries"]] == ["applied"] * 3
    assert [row["status"] for row in report["entries_low"]] == [
        "not for the low expert",
        "applied",
        "applied",
    ]


def test_a_prompt_s_tag_with_blocks_and_steps(studio: Studio) -> None:
    text = "a house <lora:local:0.8:lbw=late:start=1:stop=3>"
    workflow = with_lora(text)
    (entry,) = studio.report(studio.run(workflow))["entries"]
    assert entry["blocks"] == "late"
    assert entry["schedule"] == {"weight": 0.8, "start": 1, "end": 3, "count": "numbers"}


def test_a_version_with_a_file_for_each_expert_is_a_pair(studio: Studio) -> None:
    workflow = wan([{"model": air(700), "weight": 0.5}, {"model": air(616), "weight": 0.2}], "both")
    workflow["low"] = dict(workflow["unet"])
    workflow["apply"]["inputs"]["model_low"] = ["low", 0]
    report = studio.report(studio.run(workflow))
    high, low = report["entries"][0], report["entries_low"][0]
    assert high["model"] == low["model"] == air(700)
    assert "high" in high["file"]
    assert "low" in low["file"]
    assert high["sha256"] != low["sha256"]
    assert report["entries"][1]["sha256"] == report["entries_low"][1]["sha256"]
    alone = studio.report(studio.run(wan([{"model": air(700)}], "low")))["entries"][0]
    assert alone["sha256"] == low["sha256"]


def test_a_region_s_text_encoder_takes_its_loras_too(studio: Studio) -> None:
    """With ComfyUI's Set CLIP Hooks, which also attaches the hooks to the conditionings."""

    def with_hooks(array: list[dict[str, Any]]) -> Workflow:
        workflow = with_lora([])
        checkpoint = next(node for node, values in workflow.items() if "Checkpoint" in values["class_type"])
        workflow["hooks"] = {
            "class_type": "AirLoraHooks",
            "inputs": {"model": [checkpoint, 0], "clip": [checkpoint, 1], "lora": json.dumps(array)},
        }
        workflow["clip"] = {
            "class_type": "SetClipHooks",
            "inputs": {
                "clip": [checkpoint, 1],
                "apply_to_conds": True,
                "schedule_clip": False,
                "hooks": ["hooks", 0],
            },
        }
        for values in workflow.values():
            if values["class_type"] == "CLIPTextEncode":
                values["inputs"]["clip"] = ["clip", 0]
        return workflow

    both = pixels(studio, with_hooks([{"model": A, "weight": 1.0}]))
    model_alone = pixels(studio, with_hooks([{"model": A, "weight": 1.0, "clip_weight": 0}]))
    as_applied = pixels(studio, with_lora([{"model": A, "weight": 1.0}]))
    assert np.abs(both - as_applied).max() <= 3
    assert np.abs(both - model_alone).max() > 1


def test_blocks_are_written_into_a_saved_lora(studio: Studio) -> None:
    array = [{"model": A, "weight": 0.9, "blocks": {"output_blocks.*": 0.3}}, {"model": B, "weight": -0.5}]
    workflow = with_lora(array)
    expected = pixels(studio, workflow)
    checkpoint = next(node for node, values in workflow.items() if "Checkpoint" in values["class_type"])
    apply = next(values for values in workflow.values() if values["class_type"] == "AirLoraApply")
    workflow["save_lora"] = {
        "class_type": "AirLoraSave",
        "inputs": {
            "model": [checkpoint, 0],
            "clip": [checkpoint, 1],
            "lora": json.dumps(array),
            "file_name": "with blocks",
            "rank": 0,
            "precision": "fp32",
            "if_exists": "replace",
        },
    }
    apply["inputs"]["lora"] = ["save_lora", 1]
    saved = pixels(studio, workflow)
    assert np.abs(saved - expected).max() <= 2
    assert np.abs(saved - pixels(studio, with_lora([{**array[0], "blocks": "early"}, array[1]]))).max() > 1


def test_the_words_that_an_entry_says_are_those_that_come_out(studio: Studio) -> None:
    """The served files have "word 101" and "shared word"."""
    array = [{"model": A, "words": ["shared word", "of my own"]}, {"model": B, "words": []}]
    workflow = with_lora(array)
    apply = next(node for node, values in workflow.items() if values["class_type"] == "AirLoraApply")
    workflow["words"] = {"class_type": "PreviewAny", "inputs": {"source": [apply, 2]}}
    result = studio.run(workflow)
    assert result.outputs["words"]["text"][0] == "shared word, of my own"
    assert [row.get("words") for row in studio.report(result)["entries"]] == [
        ["shared word", "of my own"],
        [],
    ]


def test_what_was_picked_is_applied_reported_and_recorded(studio: Studio) -> None:
    workflow = with_lora([])
    apply = next(node for node, values in workflow.items() if values["class_type"] == "AirLoraApply")
    array = [{"model": A, "weight": 0.7, "clip_weight": 0.2}, {"model": B}]

    def picked(seed: int) -> tuple[str, dict[str, Any], list[str]]:
        workflow["pick"] = {
            "class_type": "AirLoraPick",
            "inputs": {
                "lora": json.dumps(array),
                "seed": seed,
                "count": 1,
                "how": "in turn",
                "weights": "0.4 to 0.6",
            },
        }
        workflow["what"] = {"class_type": "PreviewAny", "inputs": {"source": ["pick", 1]}}
        workflow[apply]["inputs"]["lora"] = ["pick", 0]
        result = studio.run(workflow)
        picture = Image.open(io.BytesIO(studio.client.image(result.image_references()[0])))
        (entries,) = read_record(picture.text["air_lora"]).values()
        (row,) = studio.report(result)["entries"]
        return result.outputs["what"]["text"][0], row, [str(each.entry.identifier) for each in entries]

    for seed, model in ((0, A), (1, B), (2, A)):
        said, row, recorded = picked(seed)
        assert said.startswith(model)
        assert (row["model"], row["status"], recorded) == (model, "applied", [model])
        assert 0.4 <= row["weight"] <= 0.6
        assert row["clip_weight"] == (0.2 if model == A else row["weight"])


def test_each_region_s_loras_are_in_the_picture_s_record(studio: Studio) -> None:
    result = studio.run(regions([{"model": A, "weight": 1.0}], [{"model": B, "weight": 0.5}]))
    picture = Image.open(io.BytesIO(studio.client.image(result.image_references()[0])))
    recorded = read_record(picture.text["air_lora"])
    by_node = {
        node: [(str(each.entry.identifier), each.entry.weight) for each in own]
        for node, own in recorded.items()
    }
    assert by_node["left_hooks"] == [(A, 1.0)]
    assert by_node["right_hooks"] == [(B, 0.5)]
