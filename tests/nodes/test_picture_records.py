"""Which nodes of a prompt get a record, in prompts with thousands of nodes and with cycles."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from air_lora_pack.nodes.server import picture_records

pytestmark = pytest.mark.integration

ARRAY, APPLY, FOREIGN = "AirLoraArray", "AirLoraApply", "SomebodysLoader"


def chain(length: int) -> dict[str, Any]:
    """A chain of arrays, with a loader of another pack after every tenth."""
    prompt: dict[str, Any] = {}
    for number in range(length):
        inputs: dict[str, Any] = {"lora": f'[{{"model":"civitai:{number}@1"}}]'}
        if number:
            inputs["before"] = [str(number - 1), 0]
        prompt[str(number)] = {"class_type": ARRAY, "inputs": inputs}
        if number % 10 == 0:
            stack = next(iter(picture_records.HANDING_ON[ARRAY]))
            prompt[f"f{number}"] = {"class_type": FOREIGN, "inputs": {"stack": [str(number), stack]}}
    prompt["apply"] = {"class_type": APPLY, "inputs": {"lora": [str(length - 1), 0]}}
    return prompt


class OwnSaver:
    """A node of ComfyUI's own."""


class ForeignSaver:
    RELATIVE_PYTHON_MODULE = "custom_nodes.somebody"


def asked(request: dict[str, Any], class_def: type = OwnSaver) -> Any:
    """What a node that requests `extra_pnginfo` gets from ComfyUI's get_input_data."""
    dynprompt = SimpleNamespace(original_prompt=request["prompt"])
    extra_data = request["extra_data"].copy()
    found = extra_data.get("extra_pnginfo", None)
    assert class_def
    assert dynprompt
    return found


def ran(request: dict[str, Any], node_id: str = "apply", sha256: str = "0" * 64) -> None:
    hidden = SimpleNamespace(unique_id=node_id, prompt=request["prompt"], extra_pnginfo=asked(request))
    picture_records.record_run(hidden, [{"model": "civitai:1@1", "status": "applied", "sha256": sha256}])


def test_a_prompt_of_thousands_of_nodes() -> None:
    request = {"prompt": chain(20_000)}
    assert picture_records.with_known_records(request) is request
    assert "extra_pnginfo" not in request["extra_data"], "other packs take it for a sign of a workflow"
    assert asked(request, ForeignSaver) is None
    assert picture_records.RECORD_NAME not in (asked(request) or {})


def test_records_are_found_again_at_the_end_of_a_long_chain() -> None:
    request = picture_records.with_known_records({"prompt": chain(3_000)})
    ran(request)
    again = picture_records.with_known_records({"prompt": chain(3_000)})
    for each in (request, again):
        assert picture_records.RECORD_NAME in asked(each)
        assert asked(each, ForeignSaver) is None
    changed = chain(3_000)
    changed["0"]["inputs"]["lora"] = "[]"
    other = picture_records.with_known_records({"prompt": changed})
    assert picture_records.RECORD_NAME not in (asked(other) or {})


def test_the_prompt_as_it_runs_counts_whoever_changes_it() -> None:
    """Impact's "select on prompt" and wildcard packs rewrite the prompt before or after our hook."""
    request = picture_records.with_known_records(
        {"prompt": chain(3), "extra_data": {"extra_pnginfo": {"workflow": {}}}}
    )
    request["prompt"]["0"]["inputs"]["lora"] = '[{"model":"civitai:77@1"}]'
    ran(request, sha256="7" * 64)
    again = picture_records.with_known_records(
        {"prompt": chain(3), "extra_data": {"extra_pnginfo": {"workflow": {}}}}
    )
    again["prompt"]["0"]["inputs"]["lora"] = '[{"model":"civitai:77@1"}]'
    for node in (OwnSaver, ForeignSaver):
        saved = asked(again, node)
        assert saved["workflow"] == {}
        assert "7" * 10 in saved[picture_records.HASHES_NAME]
    assert set(again["extra_data"]["extra_pnginfo"]) == {"workflow"}, "what the request brought is as it was"


def test_other_loaders_are_named_in_the_record() -> None:
    prompt = chain(1)
    prompt["core"] = {
        "class_type": "LoraLoader",
        "inputs": {"lora_name": "a.safetensors", "strength_model": 1},
    }
    prompt["none"] = {"class_type": "LoraLoader", "inputs": {"lora_name": "None", "strength_model": 1}}
    request = picture_records.with_known_records({"prompt": prompt})
    ran(request)
    record = asked(request)[picture_records.RECORD_NAME]
    assert record["others"] == [{"node": "core", "class_type": "LoraLoader"}]


def test_a_run_that_another_pack_took_apart_still_has_its_record() -> None:
    request = picture_records.with_known_records({"prompt": chain(1)})
    saved: dict[str, Any] = {}
    hidden = SimpleNamespace(unique_id="apply", prompt=request["prompt"], extra_pnginfo=saved)
    picture_records.record_run(hidden, [{"model": "civitai:1@1", "status": "applied", "sha256": "0" * 64}])
    assert picture_records.RECORD_NAME in saved


@pytest.mark.parametrize(
    "prompt",
    [
        {"1": {"class_type": APPLY, "inputs": {"lora": ["1", 0]}}},
        {
            "1": {"class_type": APPLY, "inputs": {"lora": ["2", 0]}},
            "2": {"class_type": ARRAY, "inputs": {"before": ["3", 0]}},
            "3": {"class_type": ARRAY, "inputs": {"before": ["2", 0], "other": ["9", 0]}},
        },
        {"1": {"class_type": APPLY, "inputs": [1]}, "2": 7, "3": {"inputs": {"a": [[], {}]}}},
    ],
)
def test_circles_and_odd_nodes_do_no_harm(prompt: dict[str, Any]) -> None:
    hidden = SimpleNamespace(unique_id="1", prompt=prompt, extra_pnginfo={})
    picture_records.record_run(hidden, [{"model": "civitai:1@1", "status": "applied", "sha256": "0" * 64}])
    assert picture_records.with_known_records({"prompt": prompt})["prompt"] == prompt


def test_what_another_pack_changes_in_a_list_s_metadata_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each picture has its own records, and everything else is one dictionary for all."""
    rows = [
        [{"model": f"civitai:1@{number}", "status": "applied", "sha256": "a" * 64}] for number in range(2)
    ]
    saved = picture_records._Saved({"workflow": {"nodes": []}, picture_records.RECORD_NAME: {}})
    saved.nodes, saved.pictures = {"apply": rows}, 2
    context = SimpleNamespace(list_index=1)
    monkeypatch.setattr(picture_records, "get_executing_context", lambda: context)
    assert "workflow" in saved
    saved["parameters"] = "mine"
    saved.pop("workflow")
    assert saved["parameters"] == "mine"
    assert sorted(dict(saved)) == sorted(json.loads(json.dumps(saved)))
    assert "workflow" not in dict(saved)
    (run,) = saved[picture_records.RECORD_NAME]["nodes"]["apply"]
    assert run[0]["model"] == "civitai:1@1"
    context.list_index = 0
    (run,) = saved[picture_records.RECORD_NAME]["nodes"]["apply"]
    assert run[0]["model"] == "civitai:1@0"
