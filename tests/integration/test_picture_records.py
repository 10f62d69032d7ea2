"""A picture contains a record of its LoRAs: with ComfyUI's own Save Image, without a browser, cached or not."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from PIL import Image

from lora_resolver import parse_lora_array, read_dropped
from tests.browser.many_states import copy_noted
from tests.civitai_reader import loras_shown
from tests.conftest import ROOT
from tests.integration.conftest import TOKEN, Studio, air, tiny
from tests.integration.route_client import Routes

if TYPE_CHECKING:
    from pathlib import Path

    from tools.comfy_client import Result, Workflow

pytestmark = pytest.mark.integration

A, B, C = air(101), air(102), air(103)
STACK = [
    {"model": A, "weight": 0.7, "clip_weight": 0.3},
    {"model": B, "weight": 0.5},
    {"model": C, "weight": 0.9, "enabled": False},
]


def saved(studio: Studio, result: Result) -> bytes:
    return studio.client.image(result.image_references()[0])


def texts(content: bytes) -> dict[str, Any]:
    return {name: json.loads(text) for name, text in Image.open(io.BytesIO(content)).text.items()}


def entries(content: bytes) -> tuple[Any, ...]:
    found = read_dropped(io.BytesIO(content))
    assert found.errors == ()
    return tuple(lora.entry for lora in found.loras)


def sha256_of(studio: Studio, model_id: int) -> str:
    return next(entry.sha256 for entry in studio.civitai.catalogue if entry.model_id == model_id)


def test_a_picture_names_every_entry_its_hash_and_its_weight(studio: Studio) -> None:
    content = saved(studio, studio.run(tiny("sd15", STACK, seed=71).workflow()))
    record = texts(content)["air_lora"]
    (run,) = record["nodes"]["apply"]
    assert [(row["model"], row["weight"], row["clip_weight"], row["enabled"]) for row in run] == [
        (A, 0.7, 0.3, True),
        (B, 0.5, 0.5, True),
        (C, 0.9, 0.9, False),
    ]
    assert [row.get("sha256") for row in run] == [sha256_of(studio, 101), sha256_of(studio, 102), None]
    assert run[0]["autov2"] == sha256_of(studio, 101)[:10]
    hashes = texts(content)["Lora hashes"]
    assert hashes == f"model-101: {sha256_of(studio, 101)[:10]}, model-102: {sha256_of(studio, 102)[:10]}"
    assert entries(content) == parse_lora_array(STACK)


def test_a_result_from_the_cache_says_it_too(studio: Studio) -> None:
    graph = tiny("sd15", STACK, seed=72)
    first = texts(saved(studio, studio.run(graph.workflow())))
    other_seed = texts(saved(studio, studio.run(tiny("sd15", STACK, seed=73).workflow())))
    assert other_seed["air_lora"] == first["air_lora"]
    assert other_seed["Lora hashes"] == first["Lora hashes"]
    third = texts(saved(studio, studio.run(tiny("sd15", STACK[:1], seed=73).workflow())))
    assert len(third["air_lora"]["nodes"]["apply"][0]) == 1, "and of another array nothing is left"


def joined(seed: int) -> Workflow:
    """The array comes from a node that joins two arrays. No text in the workflow contains all of it."""
    workflow = tiny("sd15", [], seed=seed).workflow()
    workflow["one"] = {"class_type": "AirLoraArray", "inputs": {"lora": json.dumps(STACK[:1])}}
    workflow["two"] = {
        "class_type": "AirLoraArray",
        "inputs": {"lora": json.dumps(STACK[1:]), "more": ["one", 0]},
    }
    workflow["apply"]["inputs"]["lora"] = ["two", 0]
    return workflow


def test_an_array_that_came_over_wires_is_told_once(studio: Studio) -> None:
    assert entries(saved(studio, studio.run(joined(74)))) == parse_lora_array(STACK)
    assert entries(saved(studio, studio.run(joined(75)))) == parse_lora_array(STACK), "cached"


def test_a_sweep_s_sheet_brings_the_array_it_began_with(studio: Studio) -> None:
    workflow = tiny("sd15", [], seed=76).workflow()
    workflow["sweep"] = {
        "class_type": "AirLoraSweep",
        "inputs": {"lora": json.dumps(STACK[:2]), "entry": 2, "values": "0.2, 0.4"},
    }
    workflow["apply"]["inputs"]["lora"] = ["sweep", 0]
    workflow["labels"] = {"class_type": "PreviewAny", "inputs": {"source": ["sweep", 1]}}
    decoded = workflow["save"]["inputs"]["images"]
    grid = {"images": decoded, "columns": 0, "labels": ["sweep", 1]}
    workflow["grid"] = {"class_type": "AirLoraGrid", "inputs": grid}
    workflow["sheet"] = {
        "class_type": "SaveImage",
        "inputs": {"images": ["grid", 0], "filename_prefix": "sheet"},
    }
    result = studio.run(workflow)
    assert result.outputs["labels"]["text"] == ["Style B for SD 1.5  0.2", "Style B for SD 1.5  0.4"]
    by_node = {node: output["images"] for node, output in result.outputs.items() if "images" in output}
    content = studio.client.image(by_node["sheet"][0])
    runs = texts(content)["air_lora"]["nodes"]["apply"]
    assert [run[1]["weight"] for run in runs] == [0.2, 0.4]
    assert entries(content) == parse_lora_array(STACK[:2])
    assert loras_shown(content)[0] == {version(A): 0.7, version(B): 0.4}, "each once, as strong as it gets"


def loaded_by_others(seed: int) -> Workflow:
    """Resolve LoRA → core's loader, and LoRA Array → another pack's loader: none of our nodes changes the model."""
    workflow = tiny("sd15", [], seed=seed).workflow()
    workflow["resolve"] = {"class_type": "AirLoraResolve", "inputs": {"identifier": A}}
    workflow["core"] = {
        "class_type": "LoraLoaderModelOnly",
        "inputs": {"model": ["checkpoint", 0], "lora_name": ["resolve", 0], "strength_model": 0.4},
    }
    workflow["array"] = {"class_type": "AirLoraArray", "inputs": {"lora": json.dumps(STACK[1:])}}
    workflow["apply"] = {
        "class_type": "ApplyStackOfOthers",
        "inputs": {"model": ["core", 0], "clip": ["checkpoint", 1], "lora_stack": ["array", 1]},
    }
    del workflow["report"]
    return workflow


@pytest.mark.parametrize("seed", [83, 84])  # the second time, all LoRA nodes are cached
def test_what_other_packs_load_from_our_nodes_is_told_too(studio: Studio, seed: int) -> None:
    content = saved(studio, studio.run(loaded_by_others(seed)))
    nodes = texts(content)["air_lora"]["nodes"]
    ((resolved,),) = nodes["resolve"]
    assert (resolved["model"], resolved["sha256"], resolved["status"]) == (
        A,
        sha256_of(studio, 101),
        "handed on",
    )
    (rows,) = nodes["array"]
    assert [(row["model"], row["weight"], row["status"], row.get("sha256")) for row in rows] == [
        (B, 0.5, "handed on", sha256_of(studio, 102)),
        (C, 0.9, "off", None),
    ]
    hashes = texts(content)["Lora hashes"].split(", ")
    assert sorted(hashes) == [
        f"model-101: {sha256_of(studio, 101)[:10]}",
        f"model-102: {sha256_of(studio, 102)[:10]}",
    ]
    assert {str(entry.identifier) for entry in entries(content)} == {A, B, C}


def test_what_one_node_tells_no_other_tells_again(studio: Studio) -> None:
    workflow = tiny("sd15", [], seed=85).workflow()
    workflow["array"] = {"class_type": "AirLoraArray", "inputs": {"lora": json.dumps(STACK[:2])}}
    workflow["between"] = {
        "class_type": "StackOfOthers",
        "inputs": {"rows": "[]", "lora_stack": ["array", 1]},
    }
    workflow["apply"]["inputs"]["lora_stack"] = ["between", 0]
    found = entries(saved(studio, studio.run(workflow)))
    assert [(entry.weight, entry.clip_weight) for entry in found] == [(0.7, 0.3), (0.5, 0.5)]


def test_a_name_that_is_only_shown_is_not_told(studio: Studio) -> None:
    workflow = tiny("sd15", STACK[1:2], seed=86).workflow()
    workflow["resolve"] = {"class_type": "AirLoraResolve", "inputs": {"identifier": A}}
    workflow["shown"] = {"class_type": "PreviewAny", "inputs": {"source": ["resolve", 0]}}
    assert set(texts(saved(studio, studio.run(workflow)))["air_lora"]["nodes"]) == {"apply"}


def test_without_a_lora_node_nothing_is_added(studio: Studio) -> None:
    workflow = tiny("sd15", [], seed=77).workflow()
    del workflow["apply"], workflow["report"]
    for node in workflow.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list) and value[0] == "apply":
                node["inputs"][name] = ["checkpoint", value[1]]
    assert set(texts(saved(studio, studio.run(workflow)))) == {"prompt"}


def test_what_the_page_sends_along_stays(studio: Studio) -> None:
    canvas = {"nodes": [], "links": [], "version": 0.4}
    body = {
        "prompt": tiny("sd15", STACK, seed=78).workflow(),
        "extra_data": {"extra_pnginfo": {"workflow": canvas, "air_lora": {"old": 1}, "Lora hashes": "old"}},
    }
    prompt_id = studio.client.post("/prompt", body)["prompt_id"]
    result = studio.client.wait(prompt_id, seconds=280)
    found = texts(saved(studio, result))
    assert found["workflow"] == canvas
    assert len(found["air_lora"]["nodes"]["apply"][0]) == 3
    assert "old" not in json.dumps([found["air_lora"], found["Lora hashes"]])


def test_neither_a_token_nor_a_folder_of_this_computer_is_in_it(studio: Studio) -> None:
    local = [{"model": "local:mine/local.safetensors", "weight": 0.4}, *STACK]
    content = saved(studio, studio.run(tiny("sd15", local, seed=79).workflow()))
    for secret in (TOKEN, str(studio.process.base), str(ROOT), str(studio.civitai.url)):
        assert secret.encode() not in content


def test_the_dropped_picture_gives_the_rows_back(studio: Studio) -> None:
    content = saved(studio, studio.run(joined(80)))
    routes = Routes(studio.client.url)
    headers = {"Content-Type": "application/octet-stream"}
    path = f"/air_lora/dropped?name={quote('picture.png')}&size={len(content)}"
    found = routes.ask("POST", path, content, headers).json
    assert found["errors"] == []
    assert [
        (row["model"], row["weight"], row["clip_weight"], row["enabled"]) for row in found["entries"]
    ] == [
        (A, 0.7, 0.3, True),
        (B, 0.5, 0.5, True),
        (C, 0.9, 0.9, False),
    ]


def test_a_local_file_of_another_computer_goes_by_its_hash(studio: Studio) -> None:
    local = [{"model": "local:mine/local.safetensors", "weight": 0.4}]
    content = saved(studio, studio.run(tiny("sd15", local, seed=81).workflow()))
    path = studio.process.base / "models" / "loras" / "mine" / "local.safetensors"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (there,) = read_dropped(io.BytesIO(content), ["mine/local.safetensors"]).loras
    (elsewhere,) = read_dropped(io.BytesIO(content), ["other.safetensors"]).loras
    assert str(there.entry.identifier) == "local:mine/local.safetensors"
    assert str(elsewhere.entry.identifier) == f"sha256:{digest}"
    assert elsewhere.entry.weight == 0.4


def test_the_command_line_reads_it(studio: Studio, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(saved(studio, studio.run(joined(82))))
    command = [sys.executable, "-m", "lora_resolver", "saved"]
    text = subprocess.run(
        [*command, str(picture)], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert parse_lora_array(text) == parse_lora_array(STACK)
    shown = subprocess.run(
        [*command, "--json", str(picture)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    (document,) = json.loads(shown.stdout)
    assert document["errors"] == []
    assert [entry["autov2"] for entry in document["entries"]] == [
        sha256_of(studio, 101)[:10],
        sha256_of(studio, 102)[:10],
        "",
    ]


def test_a_prompt_without_a_workflow_brings_other_packs_none(studio: Studio) -> None:
    workflow = tiny("sd15", STACK, seed=91).workflow()
    workflow["other"] = {"class_type": "NeedsWorkflow", "inputs": {"model": ["apply", 0]}}
    result = studio.run(workflow)
    assert result.outputs["other"]["text"] == ["none"]
    assert len(texts(saved(studio, result))["air_lora"]["nodes"]["apply"][0]) == 3, (
        "and the picture has its record"
    )


def test_a_prompt_that_another_pack_s_hook_rewrites_has_its_record_every_time(studio: Studio) -> None:
    for seed in (92, 93, 94):  # the last two use the array's cached result
        workflow = tiny("sd15", [], seed=seed).workflow()
        written = {"text": "[]", "template": json.dumps(STACK[:2])}
        workflow["written"] = {"class_type": "TextOfTheHook", "inputs": written}
        workflow["apply"]["inputs"]["lora"] = ["written", 0]
        canvas = {"nodes": [], "links": [], "version": 0.4}
        body = {"prompt": workflow, "extra_data": {"extra_pnginfo": {"workflow": canvas}}}
        prompt_id = studio.client.post("/prompt", body)["prompt_id"]
        found = texts(saved(studio, studio.client.wait(prompt_id, seconds=280)))
        assert [row["model"] for row in found["air_lora"]["nodes"]["apply"][0]] == [A, B]
        assert found["Lora hashes"].count(":") == 2


def test_the_record_names_the_loaders_beside_ours(studio: Studio) -> None:
    workflow = tiny("sd15", STACK[:1], seed=95).workflow()
    core = {
        "model": ["checkpoint", 0],
        "clip": ["checkpoint", 1],
        "strength_model": 0.5,
        "strength_clip": 0.5,
    }
    workflow["core"] = {"class_type": "LoraLoader", "inputs": {**core, "lora_name": "mine/local.safetensors"}}
    workflow["apply"]["inputs"] |= {"model": ["core", 0], "clip": ["core", 1]}
    found = texts(saved(studio, studio.run(workflow)))
    assert found["air_lora"]["others"] == [{"node": "core", "class_type": "LoraLoader"}]


def version(name: str) -> int:
    return int(name.partition("@")[2])


@pytest.mark.parametrize("workflow", [None, {"nodes": [], "links": [], "extra": {}}], ids=["API", "page"])
def test_civitai_s_upload_finds_the_loras_and_their_weights(
    studio: Studio, workflow: dict[str, Any] | None
) -> None:
    extra = {} if workflow is None else {"extra_pnginfo": {"workflow": workflow}}
    seed = 91 if workflow is None else 94
    graph = tiny("sd15", [*STACK, {"model": A, "weight": -0.2}], seed=seed).workflow()
    content = saved(studio, studio.client.run(graph, seconds=280, extra_data=extra))
    found, others = loras_shown(content)
    assert found == {version(A): 0.5, version(B): 0.5}
    assert others == {}
    assert entries(content) == parse_lora_array([*STACK, {"model": A, "weight": -0.2}]), "told once"
    prompt = texts(content)["prompt"]
    assert {key for key in prompt if not key.startswith("air_lora_")} == set(graph)
    # Running a changed copy of the saved prompt records only the copy's LoRAs, not these again.
    again = {**prompt, "apply": {**prompt["apply"], "inputs": {**prompt["apply"]["inputs"], "lora": "[]"}}}
    assert loras_shown(saved(studio, studio.run(again))) == ({}, {})


def test_each_picture_of_a_sweep_has_its_own_weights(studio: Studio) -> None:
    workflow = tiny("sd15", [], seed=92).workflow()
    workflow["sweep"] = {
        "class_type": "AirLoraSweep",
        "inputs": {"lora": json.dumps(STACK[:2]), "entry": 2, "values": "0.2, 0.4, 0"},
    }
    workflow["apply"]["inputs"]["lora"] = ["sweep", 0]
    result = studio.run(workflow)
    contents = [studio.client.image(reference) for reference in result.image_references()]
    shown = [loras_shown(content)[0] for content in contents]
    assert shown == [
        {version(A): 0.7, version(B): 0.2},
        {version(A): 0.7, version(B): 0.4},
        {version(A): 0.7},
    ]
    weights = [[entry.weight for entry in entries(content)] for content in contents]
    assert weights == [[0.7, 0.2], [0.7, 0.4], [0.7, 0]], "and each brings back its own array"
    assert [texts(content)["Lora hashes"].count(":") for content in contents] == [2, 2, 1]


def test_a_file_that_civitai_does_not_have_is_named_at_least(studio: Studio) -> None:
    name = "only-here.safetensors"
    source = next(entry.file for entry in studio.civitai.catalogue if entry.model_id == 102)
    copy_noted(source, studio.process.base / "models/loras" / name, "only here")
    content = saved(
        studio, studio.run(tiny("sd15", [{"model": f"local:{name}", "weight": 0.6}], seed=93).workflow())
    )
    assert loras_shown(content) == ({}, {name: 0.6})


def test_a_picture_names_what_lies_before_it_and_no_other_branch(studio: Studio) -> None:
    """Two branches. One of them has two nodes in a row with one LoRA each."""
    workflow = tiny("sd15", STACK[:1], seed=95).workflow()
    workflow["second"] = {
        "class_type": "AirLoraApply",
        "inputs": {
            "model": ["apply", 0],
            "clip": ["apply", 1],
            "lora": json.dumps([{"model": A, "weight": 0.2}, {"model": B, "weight": 0.4}]),
        },
    }
    workflow["sampler"]["inputs"]["model"] = ["second", 0]
    other = {
        **{f"{name}_2": json.loads(json.dumps(workflow[name])) for name in ("sampler", "decode", "save")},
        "other": {
            "class_type": "AirLoraApply",
            "inputs": {
                "model": ["checkpoint", 0],
                "clip": ["checkpoint", 1],
                "lora": json.dumps([{"model": A, "weight": 1}]),
            },
        },
    }
    other["sampler_2"]["inputs"] |= {
        "model": ["other", 0],
        "positive": ["positive_2", 0],
        "negative": ["positive_2", 0],
    }
    other["positive_2"] = {"class_type": "CLIPTextEncode", "inputs": {"clip": ["other", 1], "text": "x"}}
    other["decode_2"]["inputs"]["samples"] = ["sampler_2", 0]
    other["save_2"]["inputs"]["images"] = ["decode_2", 0]
    result = studio.run({**workflow, **other})
    shown = {
        node: loras_shown(studio.client.image(result.outputs[node]["images"][0]))[0]
        for node in ("save", "save_2")
    }
    assert shown == {"save": {version(A): 0.9, version(B): 0.4}, "save_2": {version(A): 1.0}}
