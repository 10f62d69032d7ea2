"""Workflows with other packs' loaders: what they load becomes an array, with `migrate` and by pasting."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lora_resolver.workflows.named_loras import loras_in
from lora_resolver.workflows.pasted import read_pasted
from tests.conftest import ROOT
from tests.lora_resolver.served_loras import write_safetensors

if TYPE_CHECKING:
    from pathlib import Path

Row = tuple[str, float, float, bool]

POWER_ROWS = [
    {"on": True, "lora": "styles\\pixel.safetensors", "strength": 0.7, "strengthTwo": None},
    {"on": False, "lora": "ink.safetensors", "strength": 0.5, "strengthTwo": 0.2},
    {"on": True, "lora": "None", "strength": 1, "strengthTwo": None},
]
POWER: list[Row] = [
    ("local:styles/pixel.safetensors", 0.7, 0.7, True),
    ("local:ink.safetensors", 0.5, 0.2, False),
]
MANAGER_ROWS = [
    {"name": "pixel", "strength": "0.70", "active": True, "expanded": False, "clipStrength": "0.30"},
    {"name": "daily/ink", "strength": 0.5, "active": False},
]
MANAGER: list[Row] = [
    ("local:styles/pixel.safetensors", 0.7, 0.3, True),
    ("local:daily/ink.safetensors", 0.5, 0.5, False),
]
STACKER = {
    "lora_name_1": "a.safetensors", "lora_wt_1": 0.9, "model_str_1": 0.6, "clip_str_1": 0.4,
    "lora_name_2": "None", "lora_wt_2": 1, "model_str_2": 1, "clip_str_2": 1,
    "lora_name_3": "beyond-the-count.safetensors", "lora_wt_3": 1, "model_str_3": 1, "clip_str_3": 1,
}  # fmt: skip
COMFYROLL = {
    "switch_1": "On", "lora_name_1": "a.safetensors", "model_weight_1": 0.8, "clip_weight_1": 0.6,
    "switch_2": "Off", "lora_name_2": "b.safetensors", "model_weight_2": 0.5, "clip_weight_2": 1,
    "switch_3": "On", "lora_name_3": "None", "model_weight_3": 1, "clip_weight_3": 1,
}  # fmt: skip
EASY = {
    "lora_1_name": "a.safetensors", "lora_1_strength": 0.9, "lora_1_model_strength": 0.6, "lora_1_clip_strength": 0.4,
    "lora_2_name": "b.safetensors", "lora_2_strength": 0.8, "lora_2_model_strength": 1, "lora_2_clip_strength": 1,
}  # fmt: skip

API: list[tuple[str, dict[str, Any], list[Row]]] = [
    (
        "Power Lora Loader (rgthree)",
        {
            "PowerLoraLoaderHeaderWidget": {"type": "PowerLoraLoaderHeaderWidget"},
            **{f"lora_{number}": row for number, row in enumerate(POWER_ROWS, start=1)},
            "➕ Add Lora": "",
        },
        POWER,
    ),
    ("Lora Loader (LoraManager)", {"text": "<lora:old:1>", "loras": {"__value__": MANAGER_ROWS}}, MANAGER),
    ("Lora Stacker (LoraManager)", {"text": "", "loras": MANAGER_ROWS}, MANAGER),
    (
        "LoRA Text Loader (LoraManager)",
        {"lora_syntax": "<lora:pixel:0.7:0.3>, <lora:unknown:1>"},
        [("local:styles/pixel.safetensors", 0.7, 0.3, True), ("local:unknown.safetensors", 1.0, 1.0, True)],
    ),
    (
        "LoRA Stacker",
        {"input_mode": "simple", "lora_count": 2, **STACKER},
        [("local:a.safetensors", 0.9, 0.9, True)],
    ),
    (
        "LoRA Stacker",
        {"input_mode": "advanced", "lora_count": 2, **STACKER},
        [("local:a.safetensors", 0.6, 0.4, True)],
    ),
    (
        "CR LoRA Stack",
        COMFYROLL,
        [("local:a.safetensors", 0.8, 0.6, True), ("local:b.safetensors", 0.5, 1.0, False)],
    ),
    (
        "easy loraStack",
        {"toggle": True, "mode": "advanced", "num_loras": 1, **EASY},
        [("local:a.safetensors", 0.6, 0.4, True)],
    ),
    (
        "easy loraStack",
        {"toggle": False, "mode": "simple", "num_loras": 2, **EASY},
        [("local:a.safetensors", 0.9, 0.9, False), ("local:b.safetensors", 0.8, 0.8, False)],
    ),
    (
        "Lora Loader Stack (rgthree)",
        {"lora_01": "a.safetensors", "strength_01": 0.4, "lora_02": "None", "strength_02": 1},
        [("local:a.safetensors", 0.4, 0.4, True)],
    ),
]
NAMES = ("styles/pixel.safetensors", "daily/ink.safetensors", "pixel-two.safetensors")


def rows(document: object, names: tuple[str, ...] = NAMES) -> list[Row]:
    found = loras_in(json.dumps(document), local_names=lambda: names)
    assert [str(error) for error in found.errors] == []
    return [(str(each.identifier), each.weight, each.clip_weight, each.enabled) for each in found.loras]


@pytest.mark.parametrize(("kind", "inputs", "expected"), API)
def test_api_format(kind: str, inputs: dict[str, Any], expected: list[Row]) -> None:
    assert (
        rows({"3": {"class_type": kind, "inputs": {"model": ["1", 0], "clip": ["1", 1], **inputs}}})
        == expected
    )


@pytest.mark.parametrize(("kind", "inputs", "expected"), API)
def test_as_the_page_saves_it(kind: str, inputs: dict[str, Any], expected: list[Row]) -> None:
    values = [*inputs.values()]
    if kind.endswith("(LoraManager)"):
        values = [each["__value__"] if isinstance(each, dict) else each for each in values]
        values.insert(0, {"version": 1, "textWidgetName": "text"})
    saved = {
        "nodes": [{"id": 3, "type": kind, "mode": 0, "inputs": [], "widgets_values": values}],
        "links": [],
    }
    assert rows(saved) == expected


def test_pasting_such_a_workflow_finds_the_files_that_it_means() -> None:
    workflow = {
        "3": {"class_type": "Lora Loader (LoraManager)", "inputs": {"loras": {"__value__": MANAGER_ROWS}}}
    }
    found = read_pasted(json.dumps(workflow), NAMES)
    assert [str(each.entry.identifier) for each in found.loras] == [row[0] for row in MANAGER]


def test_a_name_that_another_node_says_is_told() -> None:
    loader = {
        "class_type": "LoraLoader",
        "inputs": {"lora_name": ["9", 0], "strength_model": 1, "strength_clip": 1},
    }
    found = loras_in(json.dumps({"3": loader}))
    assert [(error.code, error.parameter) for error in found.errors] == [
        ("computedText", "node 3, lora_name")
    ]


# python -m lora_resolver migrate


def migrate(*arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lora_resolver", "migrate", *arguments],
        cwd=ROOT,
        input=stdin,
        env={"PATH": "", "HOME": "/nonexistent", "PYTHONUTF8": "1", **settings},
        capture_output=True,
        text=True,
        check=False,
    )


def loader(lora: str, model: str, kind: str = "LoraLoader") -> dict[str, Any]:
    inputs = {
        "model": [model, 0],
        "clip": [model, 1],
        "lora_name": lora,
        "strength_model": 0.5,
        "strength_clip": 0.5,
    }
    return {"class_type": kind, "inputs": inputs}


def power(model: str, *names: str) -> dict[str, Any]:
    lines = {
        f"lora_{number}": {"on": True, "lora": name, "strength": 0.7, "strengthTwo": None}
        for number, name in enumerate(names, start=1)
    }
    return {
        "class_type": "Power Lora Loader (rgthree)",
        "inputs": {"model": [model, 0], "clip": [model, 1], **lines},
    }


def sampler(model: str) -> dict[str, Any]:
    return {"class_type": "KSampler", "inputs": {"model": [model, 0], "positive": ["8", 0]}}


CHECKPOINT = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "x.safetensors"}}
SHIFT = {"class_type": "ModelSamplingSD3", "inputs": {"model": ["2", 0], "shift": 3.0}}


def arrays(document: object) -> list[list[str]]:
    done = migrate("--json", "-", stdin=json.dumps(document))
    assert done.returncode == 0, done.stderr
    return [[entry["model"] for entry in each["entries"]] for each in json.loads(done.stdout)]


def test_loaders_behind_one_another_give_one_array() -> None:
    document = {
        "1": CHECKPOINT, "2": power("1", "a.safetensors", "b.safetensors"), "3": SHIFT,
        "4": loader("c.safetensors", "3"), "5": sampler("4"),
    }  # fmt: skip
    assert arrays(document) == [["local:a.safetensors", "local:b.safetensors", "local:c.safetensors"]]


def test_each_expert_of_a_video_model_has_its_own_array() -> None:
    document = {
        "1": CHECKPOINT, "2": power("1", "high.safetensors"), "3": CHECKPOINT, "4": power("3", "low.safetensors"),
        "5": sampler("2"), "6": sampler("4"),
    }  # fmt: skip
    assert arrays(document) == [["local:high.safetensors"], ["local:low.safetensors"]]


def test_a_model_that_is_taken_halfway_has_an_array_of_its_own() -> None:
    document = {
        "1": CHECKPOINT, "2": loader("a.safetensors", "1"), "3": loader("b.safetensors", "2"),
        "5": sampler("2"), "6": sampler("3"),
    }  # fmt: skip
    assert arrays(document) == [["local:a.safetensors"], ["local:a.safetensors", "local:b.safetensors"]]


def test_stackers_in_a_row_give_one_array() -> None:
    first = {"class_type": "CR LoRA Stack", "inputs": COMFYROLL}
    second = {
        "class_type": "LoRA Stacker",
        "inputs": {"input_mode": "simple", "lora_count": 1, **STACKER, "lora_stack": ["1", 0]},
    }
    apply = {"class_type": "CR Apply LoRA Stack", "inputs": {"model": ["9", 0], "lora_stack": ["2", 0]}}
    assert arrays({"1": first, "2": second, "3": apply, "4": sampler("3")}) == [
        ["local:a.safetensors", "local:b.safetensors", "local:a.safetensors"]
    ]


def test_the_array_alone_is_printed_where_there_is_one(tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    file.write_text(json.dumps({"1": CHECKPOINT, "2": power("1", "a.safetensors"), "3": sampler("2")}))
    done = migrate(str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [{"model": "local:a.safetensors", "weight": 0.7}]


def test_files_are_found_and_named_as_civitai_does(tmp_path: Path) -> None:
    folder = tmp_path / "loras"
    write_safetensors(folder / "styles" / "pixel.safetensors", 1000)
    write_safetensors(folder / "mine.safetensors", 1000)
    (folder / "styles" / "pixel.civitai.info").write_text('{"id": 135931, "modelId": 120096}')
    rows = [{"name": name, "strength": 0.7, "active": True} for name in ("Pixel", "mine")]
    workflow = {"3": {"class_type": "Lora Loader (LoraManager)", "inputs": {"loras": rows}}}
    for arguments, names in (
        ((), ["local:styles/pixel.safetensors", "local:mine.safetensors"]),
        (("--air",), ["civitai:120096@135931", "local:mine.safetensors"]),
    ):
        done = migrate("--loras", str(folder), *arguments, "-", stdin=json.dumps(workflow))
        assert (done.returncode, done.stderr) == (0, "")
        assert [entry["model"] for entry in json.loads(done.stdout)] == names


def test_what_an_array_cannot_hold_is_told_and_the_rest_is_printed() -> None:
    document = {"1": CHECKPOINT, "2": power("1", "a.safetensors", "b.safetensors")}
    document["2"]["inputs"]["lora_2"]["strength"] = 9  # type: ignore[index]
    done = migrate("-", stdin=json.dumps(document))
    assert done.returncode == 1
    assert "node 2, lora_2" in done.stderr
    assert "local:b.safetensors: 9" in done.stderr
    assert json.loads(done.stdout) == [{"model": "local:a.safetensors", "weight": 0.7}]


def test_a_folder_that_is_not_there_is_told() -> None:
    done = migrate("--loras", "/nonexistent/loras", "-", stdin="{}")
    assert (done.returncode, done.stdout) == (2, "")
    assert "/nonexistent/loras" in done.stderr


def test_a_loader_that_takes_its_name_from_resolve_lora_is_named_there() -> None:
    workflow = {
        "1": {"class_type": "AirLoraResolve", "inputs": {"identifier": "civitai:1@2"}},
        "2": {"class_type": "LoraLoaderModelOnly", "inputs": {"lora_name": ["1", 0], "strength_model": 0.4}},
    }
    found = loras_in(json.dumps(workflow))
    assert found.errors == ()
    assert [(str(lora.identifier), lora.place) for lora in found.loras] == [
        ("civitai:1@2", "node 1, identifier")
    ]
