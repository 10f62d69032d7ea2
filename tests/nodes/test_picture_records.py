"""Which nodes of a prompt get a record, in prompts of thousands of nodes and in circles."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from air_lora_pack.nodes.server import picture_records

pytestmark = pytest.mark.integration

ARRAY, APPLY, FOREIGN = "AirLoraArray", "AirLoraApply", "SomebodysLoader"


def chain(length: int) -> dict[str, Any]:
    """Arrays that each take the one before, and a loader of another pack behind each tenth."""
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


def test_a_prompt_of_thousands_of_nodes() -> None:
    request = {"prompt": chain(20_000)}
    assert picture_records.with_known_records(request) is request
    assert request["extra_data"]["extra_pnginfo"] == {}


def test_records_are_found_again_at_the_end_of_a_long_chain() -> None:
    prompt, saved = chain(3_000), {}
    hidden = SimpleNamespace(unique_id="apply", prompt=prompt, extra_pnginfo=saved)
    picture_records.record_run(hidden, [{"model": "civitai:1@1", "status": "applied", "sha256": "0" * 64}])
    assert picture_records.RECORD_NAME in saved
    again = picture_records.with_known_records({"prompt": chain(3_000)})
    assert picture_records.RECORD_NAME in again["extra_data"]["extra_pnginfo"]
    changed = chain(3_000)
    changed["0"]["inputs"]["lora"] = "[]"
    other = picture_records.with_known_records({"prompt": changed})
    assert picture_records.RECORD_NAME not in other["extra_data"]["extra_pnginfo"]


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
