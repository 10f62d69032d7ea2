"""Sweeps over blocks, steps and entries: one array for each value, and a label that says which."""

from __future__ import annotations

import json
from typing import Any

import pytest
from air_lora_pack.nodes.array.sweep_axes import sweep_over

from lora_resolver import InvalidInput, parse_lora_array

pytestmark = pytest.mark.integration

A, B, C = "civitai:1@2", "local:b.safetensors", "civitai:5@6"
ARRAY = parse_lora_array(
    [{"model": A, "weight": 0.8}, {"model": B, "weight": 0.5, "enabled": False}, {"model": C}]
)


def swept(axis: str, values: str, entry: int = 1) -> list[tuple[list[dict[str, Any]], str]]:
    return [(json.loads(each.lora), each.label) for each in sweep_over(axis, ARRAY, entry, values)]


def test_the_blocks_that_carry_it() -> None:
    found = swept("blocks", "early; late; output_blocks.3-5; 1,0,0,0,1,1,1,1,1,1,1,1; all")
    assert [array[0].get("blocks") for array, _ in found] == [
        "early",
        "late",
        {"*": 0, "text_encoder": 1, "output_blocks.3-5": 1},
        {"lbw": "1,0,0,0,1,1,1,1,1,1,1,1"},
        None,
    ]
    assert [label for _, label in found][:2] == [f"{A}  early", f"{A}  late"]
    assert all(array[1:] == found[0][0][1:] for array, _ in found)
    assert [array[1]["blocks"] for array, _ in swept("blocks", "INS, OUTS", 2)] == ["INS", "OUTS"]


def test_the_steps_in_which_it_counts() -> None:
    found = swept("steps", "0-0.5, 0.5 - 1, 0-1")
    assert [{key: array[0].get(key) for key in ("start", "end")} for array, _ in found] == [
        {"start": None, "end": 0.5},
        {"start": 0.5, "end": None},
        {"start": None, "end": None},
    ]
    assert {array[0]["weight"] for array, _ in found} == {0.8}


def test_which_entries_are_on() -> None:
    found = swept("entries", "none, 1, 1+3, all")
    on = [[each.get("enabled", True) for each in array] for array, _ in found]
    assert on == [[False] * 3, [True, False, False], [True, False, True], [True] * 3]
    assert [label for _, label in found] == ["none", A, f"{A} + {C}", "all"]
    assert len(swept("entries", "each")) == 3


@pytest.mark.parametrize(
    ("axis", "values", "code"),
    [
        ("blocks", "", "invalidSweep"),
        ("blocks", "earlier", "invalidSweep"),
        ("blocks", "early; " * 200, "invalidSweep"),
        ("steps", "0.5", "invalidSweep"),
        ("steps", "0.5-0.2", "invalidSweep"),
        ("steps", "0-7", "invalidSweep"),
        ("entries", "4", "invalidSweep"),
        ("entries", " , ", "invalidSweep"),
        ("weight", "much", "invalidSweep"),
    ],
)
def test_what_cannot_be_swept_says_how_to_write_it(axis: str, values: str, code: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        swept(axis, values)
    assert raised.value.code == code
    assert raised.value.parameter == "values"
    assert raised.value.remedy


def test_an_entry_that_is_not_there() -> None:
    with pytest.raises(InvalidInput) as raised:
        swept("blocks", "early", 9)
    assert raised.value.code == "noSuchEntry"
