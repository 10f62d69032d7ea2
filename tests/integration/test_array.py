"""AirLoraArray and LORA_STACK on the running ComfyUI: joining, passing on, and input from other packs' nodes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests import lora_files
from tests.integration.conftest import Studio, air, tiny
from tools.comfy_client import Failed, Rejected, Workflow

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

A, B, C = air(101), air(102), air(103)
LOCAL = "mine/local.safetensors"


def array(lora: object, **more: Any) -> dict[str, Any]:
    text = lora if isinstance(lora, str) else json.dumps(lora)
    return {"class_type": "AirLoraArray", "inputs": {"lora": text, **more}}


def stack(*rows: tuple[object, ...], **more: Any) -> dict[str, Any]:
    return {"class_type": "StackOfOthers", "inputs": {"rows": json.dumps(rows), **more}}


def shown(*source: object, kind: str = "PreviewAny", name: str = "source") -> dict[str, Any]:
    return {"class_type": kind, "inputs": {name: list(source)}}


def text_of(studio: Studio, workflow: Workflow, node: str) -> str:
    return str(studio.run(workflow).outputs[node]["text"][0])


def with_stack(lora: list[dict[str, Any]], *rows: tuple[object, ...]) -> Workflow:
    """Apply LoRA Array with an array and with rows of another pack's stack node."""
    workflow = tiny("sd15", lora).workflow()
    workflow["stack"] = stack(*rows)
    workflow["apply"]["inputs"]["lora_stack"] = ["stack", 0]
    return workflow


def file_of(studio: Studio, model: str) -> str:
    """The name of a LoRA on the local CivitAI in the list of core loaders. Downloads it."""
    report = studio.report(studio.run(tiny("sd15", [{"model": model, "weight": 0.01}]).workflow()))
    return str(report["entries"][0]["file"])


def test_the_node_is_there_with_its_inputs_and_outputs(studio: Studio) -> None:
    info = studio.client.get("/object_info/AirLoraArray")["AirLoraArray"]
    assert info["display_name"] == "LoRA Array"
    assert list(info["input"]["required"]) == ["lora"]
    assert list(info["input"]["optional"]) == ["more", "lora_stack"]
    assert info["output"] == ["STRING", "LORA_STACK", "STRING"]
    assert info["output_name"] == ["lora", "LORA_STACK", "trigger_words"]


def test_arrays_of_several_nodes_make_the_picture_of_one_array(studio: Studio) -> None:
    one = [{"model": A, "weight": 0.7}, {"model": B, "weight": 0.5}, {"model": C, "weight": -0.4}]
    workflow = tiny("sd15", []).workflow()
    workflow["third"] = array([one[2]])
    workflow["second"] = array([one[1]], more=["third", 0])
    workflow["first"] = array([one[0]], more=["second", 0])
    workflow["apply"]["inputs"]["lora"] = ["first", 0]
    joined = studio.run(workflow)
    assert studio.pixels_of(joined) == studio.pixels(tiny("sd15", one))
    assert [entry["model"] for entry in studio.report(joined)["entries"]] == [C, B, A]


def test_it_tells_the_page_which_array_ran(studio: Studio) -> None:
    workflow = {
        "array": array([{"model": B}], more='[{"model": "civitai:101@1101", "weight": 0.5}]'),
        "shown": shown("array", 0),
    }
    outputs = studio.run(workflow).outputs
    text = outputs["shown"]["text"][0]
    assert json.loads(text) == [{"model": A, "weight": 0.5}, {"model": B}]
    assert outputs["array"]["air_lora"] == [{"lora": text, "report": None}]


def test_faults_of_both_arrays_are_shown_before_anything_runs(studio: Studio) -> None:
    workflow = {
        "array": array([{"model": A, "weight": 9}], more='[{"model": "nonsense"}]'),
        "shown": shown("array", 0),
    }
    with pytest.raises(Rejected) as caught:
        studio.client.queue(workflow)
    assert "LoRA 1 (lora[0].weight): 9 is out of range" in str(caught.value)
    assert "more[0].model" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "inputs", "place"),
    [
        ("AirLoraSweep", {"entry": 1, "values": "abc"}, "values"),
        ("AirLoraPick", {"seed": 0, "count": 1, "how": "random", "weights": "abc"}, "weights"),
    ],
)
def test_a_wrong_value_is_one_error_that_names_its_input(
    studio: Studio, kind: str, inputs: dict[str, Any], place: str
) -> None:
    array_text = json.dumps([{"model": A}])
    workflow = {
        "node": {"class_type": kind, "inputs": {"lora": array_text, **inputs}},
        "shown": shown("node", 0),
    }
    with pytest.raises(Failed) as caught:
        studio.run(workflow)
    assert str(caught.value).count("abc") == 1
    assert place in str(caught.value)


def test_what_nobody_asked_for_is_not_fetched(studio: Studio) -> None:
    nowhere = "civitai:999@1999"
    workflow = {"array": array([{"model": nowhere}]), "shown": shown("array", 0)}
    assert nowhere in text_of(studio, workflow, "shown")
    workflow["words"] = shown("array", 2)
    with pytest.raises(Failed, match=r"lora\[0\]\.model.*1999"):
        studio.run(workflow)


def test_an_output_that_is_wired_later_is_filled(studio: Studio) -> None:
    """ComfyUI caches a node's outputs while its inputs stay the same. Missing outputs must not be cached."""
    workflow = {"array": array([{"model": A}]), "shown": shown("array", 0)}
    text_of(studio, workflow, "shown")
    workflow["words"] = shown("array", 2)
    assert text_of(studio, workflow, "words") == "word 101, shared word"
    workflow["stack"] = shown("array", 1, kind="ShowStack", name="lora_stack")
    assert len(json.loads(text_of(studio, workflow, "stack"))) == 1


def test_trigger_words_of_all_entries_that_are_on(studio: Studio) -> None:
    entries = [{"model": B}, {"model": A}, {"model": C, "enabled": False}]
    workflow = {"array": array(entries), "words": shown("array", 2)}
    assert text_of(studio, workflow, "words") == "word 102, shared word, word 101"


def test_a_prompt_gets_the_words_that_it_lacks(studio: Studio) -> None:
    workflow = {
        "array": array([{"model": B}, {"model": A}]),
        "prompt": {
            "class_type": "AirLoraPrompt",
            "inputs": {"prompt": "a red house, (Word 101:1.2)", "trigger_words": ["array", 2]},
        },
        "shown": shown("prompt", 0),
        "appended": shown("prompt", 1),
    }
    outputs = studio.run(workflow).outputs
    assert outputs["shown"]["text"] == ["a red house, (Word 101:1.2), word 102, shared word"]
    assert outputs["appended"]["text"] == ["word 102, shared word"]
    workflow["prompt"]["inputs"]["append"] = False
    assert text_of(studio, workflow, "shown") == "a red house, (Word 101:1.2)"


def test_the_stack_is_what_other_packs_expect(studio: Studio) -> None:
    entries = [
        {"model": A, "weight": 0.7, "clip_weight": 0.2},
        {"model": B, "weight": 0},
        {"model": f"local:{LOCAL}", "weight": -0.5},
    ]
    workflow = {
        "others": stack(("None", 1.0, 1.0), ("other.safetensors", 1.5, 1.0)),
        "array": array(entries, lora_stack=["others", 0]),
        "stack": shown("array", 1, kind="ShowStack", name="lora_stack"),
    }
    output = studio.run(workflow).outputs["stack"]
    rows = json.loads(output["text"][0])
    assert rows == [
        ["None", 1.0, 1.0],
        ["other.safetensors", 1.5, 1.0],
        [rows[2][0], 0.7, 0.2],
        [rows[3][0], -0.5, -0.5],
    ]
    assert output["kinds"][2:] == ["tuple", "tuple"]
    listed = studio.client.get("/models/loras")
    assert rows[2][0] in listed
    assert rows[3][0] in listed


def test_our_stack_in_another_pack_s_loader_is_our_own_picture(studio: Studio) -> None:
    entries = [{"model": A, "weight": 0.7}, {"model": B, "weight": 0.5, "clip_weight": 0.1}]
    ours = studio.picture(studio.run(tiny("sd15", entries).workflow()))
    workflow = tiny("sd15", []).workflow()
    workflow["array"] = array(entries)
    workflow["apply"] = {
        "class_type": "ApplyStackOfOthers",
        "inputs": {"model": ["checkpoint", 0], "clip": ["checkpoint", 1], "lora_stack": ["array", 1]},
    }
    del workflow["report"]
    theirs = studio.picture(studio.run(workflow))
    difference = np.asarray(ours, dtype=np.int16) - np.asarray(theirs, dtype=np.int16)
    assert np.abs(difference).max() <= 2, "fp16 rounding may move a pixel by a level or two"


def test_a_stack_joins_the_array_and_the_same_file_adds_up(studio: Studio) -> None:
    file = file_of(studio, A)
    both = studio.run(with_stack([{"model": A, "weight": 0.5}], (file, 0.25, 0.25)))
    assert studio.pixels_of(both) == studio.pixels(tiny("sd15", [{"model": A, "weight": 0.75}]))
    first, second = studio.report(both)["entries"]
    assert (first["place"], first["model"], first["weight"]) == ("lora[0]", A, 0.5)
    assert (second["place"], second["model"], second["weight"]) == ("lora_stack[0]", f"local:{file}", 0.25)
    assert second["joined_with"] == "lora[0]"


def test_names_of_a_stack_in_every_spelling(studio: Studio) -> None:
    expected = studio.pixels(tiny("sd15", [{"model": f"local:{LOCAL}", "weight": 0.6}]))
    whole = studio.process.base / "models" / "loras" / LOCAL
    for name in (LOCAL, LOCAL.replace("/", "\\"), str(whole)):
        result = studio.run(with_stack([], (name, 0.6, 0.6), ("None", 1.0, 1.0)))
        assert studio.pixels_of(result) == expected
        assert studio.report(result)["entries"][0]["model"] == f"local:{LOCAL}"


def test_a_stack_may_name_a_file_outside_the_loras_folders(studio: Studio, tmp_path: Path) -> None:
    file = lora_files.sd15_lora(tmp_path / "elsewhere.safetensors", seed=6)  # same content as LOCAL
    result = studio.run(with_stack([], (str(file), 0.6, 0.6)))
    assert studio.pixels_of(result) == studio.pixels(
        tiny("sd15", [{"model": f"local:{LOCAL}", "weight": 0.6}])
    )
    assert str(tmp_path) not in json.dumps(studio.report(result))


def test_a_stack_knows_weights_beyond_those_of_an_array(studio: Studio) -> None:
    report = studio.report(studio.run(with_stack([], (LOCAL, 6.0, -5.0), (LOCAL, 0.0, 0.0))))
    assert [(each["weight"], each["clip_weight"], each["status"]) for each in report["entries"]] == [
        (6.0, -5.0, "applied"),
        (0.0, 0.0, "off"),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("missing.safetensors", 1.0, 1.0), r"lora_stack\[0\]\.model: .*missing\.safetensors"),
        (("old.pt", 1.0, 1.0), r"lora_stack\[0\]: .*safetensors"),
        (("a.safetensors", 1.0), r"lora_stack\[0\]: .*\(name, model weight, CLIP weight\)"),
        (("a.safetensors", "strong", 1.0), r"lora_stack\[0\]: .*'a.safetensors'"),
    ],
)
def test_a_stack_that_cannot_be_used_says_which_row(
    studio: Studio, row: tuple[object, ...], message: str
) -> None:
    with pytest.raises(Failed, match=message):
        studio.run(with_stack([], row))


def test_one_graph_with_core_s_loaders_before_and_after(studio: Studio) -> None:
    """LoraLoader → Apply LoRA Array with a stack → LoraLoaderModelOnly: the sum of all."""
    file_a, file_b = file_of(studio, A), file_of(studio, B)
    workflow = with_stack([{"model": B, "weight": 0.3}], (file_a, 0.2, 0.2))
    workflow["before"] = {
        "class_type": "LoraLoader",
        "inputs": {
            "model": ["checkpoint", 0],
            "clip": ["checkpoint", 1],
            "lora_name": file_a,
            "strength_model": 0.4,
            "strength_clip": 0.4,
        },
    }
    workflow["apply"]["inputs"] |= {"model": ["before", 0], "clip": ["before", 1]}
    workflow["after"] = {
        "class_type": "LoraLoaderModelOnly",
        "inputs": {"model": ["apply", 0], "lora_name": file_b, "strength_model": 0.2},
    }
    workflow["sampler"]["inputs"]["model"] = ["after", 0]
    mixed = np.asarray(studio.picture(studio.run(workflow)), dtype=np.int16)
    entries = [{"model": A, "weight": 0.6}, {"model": B, "weight": 0.5, "clip_weight": 0.3}]
    ours = np.asarray(studio.picture(studio.run(tiny("sd15", entries).workflow())), dtype=np.int16)
    assert np.abs(mixed - ours).max() <= 2, "fp16 rounding may move a pixel by a level or two"


def core_loader(kind: str, name: object, model: str, clip: str, *strengths: float) -> dict[str, Any]:
    inputs: dict[str, Any] = {"model": [model, 0], "lora_name": name, "strength_model": strengths[0]}
    if kind == "LoraLoader":
        inputs |= {"clip": [clip, 1], "strength_clip": strengths[1]}
    return {"class_type": kind, "inputs": inputs}


def test_all_nodes_and_both_conventions_in_one_graph(studio: Studio) -> None:
    """Resolve LoRA → core's loader → an array of three nodes with two packs' stacks → another pack's loader, which
    takes our stack → core's loader. Each file has the sum of its weights, whichever nodes apply it."""
    d = air(104)
    file_a, file_b = file_of(studio, A), file_of(studio, B)
    local = studio.process.base / "models" / "loras" / LOCAL
    workflow = tiny("sd15", []).workflow()
    workflow["resolve"] = {"class_type": "AirLoraResolve", "inputs": {"identifier": A}}
    workflow["first"] = core_loader("LoraLoader", ["resolve", 0], "checkpoint", "checkpoint", 0.2, 0.2)
    workflow["third"] = array([{"model": C, "weight": -0.2}])
    workflow["second"] = array([{"model": B, "weight": 0.2}], more=["third", 0])
    workflow["array"] = array([{"model": C, "weight": 0.1}], more=["second", 0])
    workflow["efficiency"] = stack((str(local), 0.25, 0.25), ("None", 1.0, 1.0))
    workflow["comfyroll"] = {
        **stack((file_a.replace("/", "\\"), 0.2, 0.1), lora_stack=["efficiency", 0]),
        "class_type": "StackOfOthersBehind",
    }
    workflow["apply"]["inputs"] |= {
        "model": ["first", 0],
        "clip": ["first", 1],
        "lora": ["array", 0],
        "lora_stack": ["comfyroll", 0],
    }
    workflow["path"] = stack((str(local), 0.1, 0.1))
    workflow["ours"] = array([{"model": d, "weight": 0.3, "clip_weight": 0.1}], lora_stack=["path", 0])
    workflow["theirs"] = {
        "class_type": "ApplyStackOfOthers",
        "inputs": {"model": ["apply", 0], "clip": ["apply", 1], "lora_stack": ["ours", 1]},
    }
    workflow["last"] = core_loader("LoraLoaderModelOnly", file_b, "theirs", "", 0.3)
    for node in workflow.values():
        if node["class_type"] == "CLIPTextEncode":
            node["inputs"]["clip"] = ["theirs", 1]
    workflow["sampler"]["inputs"]["model"] = ["last", 0]
    result = studio.run(workflow)
    joined = studio.report(result)["entries"]
    assert [(row["place"], row["model"]) for row in joined] == [
        ("lora[0]", C),
        ("lora[1]", B),
        ("lora[2]", C),
        ("lora_stack[0]", f"local:{LOCAL}"),
        ("lora_stack[1]", f"local:{file_a}"),
    ]
    sums = [
        {"model": A, "weight": 0.4, "clip_weight": 0.3},
        {"model": B, "weight": 0.5, "clip_weight": 0.2},
        {"model": C, "weight": -0.1},
        {"model": d, "weight": 0.3, "clip_weight": 0.1},
        {"model": f"local:{LOCAL}", "weight": 0.35},
    ]
    at_once = studio.run(tiny("sd15", sums).workflow())
    mixed, ours = (np.asarray(studio.picture(each), dtype=np.int16) for each in (result, at_once))
    assert np.abs(mixed - ours).max() <= 2, "fp16 rounding may move a pixel by a level or two"


@pytest.mark.parametrize("between", ["StackOfOthers", "StackOfOthersBehind", None])
def test_a_stack_keeps_the_expert_of_a_video_model(studio: Studio, between: str | None) -> None:
    entries = [
        {"model": air(301), "weight": 0.8, "transformer": "high"},
        {"model": air(616), "weight": 0.4},
    ]
    stacks: Workflow = {"array": array(entries)}
    if between:
        stacks["between"] = {"class_type": between, "inputs": {"rows": "[]", "lora_stack": ["array", 1]}}
    source: list[object] = ["between", 0] if between else ["array", 1]
    found = {}
    for expert in ("high", "low"):
        workflow: Workflow = {
            **stacks,
            "unet": {
                "class_type": "UNETLoader",
                "inputs": {"unet_name": "tiny_wan.safetensors", "weight_dtype": "default"},
            },
            "apply": {
                "class_type": "AirLoraApply",
                "inputs": {"model": ["unet", 0], "lora": "[]", "expert": expert, "lora_stack": source},
            },
            "report": shown("apply", 3),
        }
        rows = studio.report(studio.run(workflow))["entries"]
        found[expert] = [(row["transformer"], row["status"]) for row in rows]
    assert found == {
        "high": [("high", "applied"), ("both", "applied")],
        "low": [("high", "not for the low expert"), ("both", "applied")],
    }
