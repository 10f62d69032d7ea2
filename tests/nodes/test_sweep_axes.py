"""Sweeps over blocks, steps, and entries: one array for each value, and a label that identifies it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from air_lora_pack.nodes.array.sweep_axes import sweep_over
from air_lora_pack.nodes.array.sweep_grid import Axis, sweep_both

from lora_resolver import InvalidInput, parse_identifier, parse_lora_array

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


def labels(*axes: tuple[str, int, str]) -> list[str]:
    across, down = (Axis(*axis) for axis in axes)
    return [each.label for each in sweep_both(ARRAY, across, down)]


def test_versions_of_the_model() -> None:
    found = swept("versions", f"7, {B}, civitai:8@9")
    assert [array[0]["model"] for array, _ in found] == ["civitai:1@7", B, "civitai:8@9"]
    assert [label for _, label in found] == ["@7", "b", "civitai:8@9"]
    assert {array[0]["weight"] for array, _ in found} == {0.8}
    (asked,) = sweep_over(
        "versions", ARRAY, 3, "all", versions_of=lambda own: [(parse_identifier("civitai:5@7"), f"of {own}")]
    )
    assert (json.loads(asked.lora)[2]["model"], asked.label) == ("civitai:5@7", f"of {C}")


@pytest.mark.parametrize(("entry", "values"), [(0, "7"), (1, "no name at all"), (1, "")])
def test_versions_that_cannot_be(entry: int, values: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        swept("versions", values, entry)
    assert (raised.value.code, raised.value.parameter) == ("invalidSweep", "values")


def test_prompts_go_beside_the_array() -> None:
    found = sweep_over("prompts", ARRAY, 1, "a {red|blue} cat; a dog; a bird")
    assert [each.prompt for each in found] == ["a {red|blue} cat", "a dog", "a bird"]
    assert {each.lora for each in found} == {found[0].lora}


def test_two_axes_make_every_pair_row_by_row() -> None:
    found = sweep_both(ARRAY, Axis("weight", 1, "0.2, 0.4"), Axis("entries", 1, "none, 1"))
    arrays = [json.loads(each.lora) for each in found]
    assert [array[0]["weight"] for array in arrays] == [0.2, 0.4, 0.2, 0.4]
    assert [array[0].get("enabled", True) for array in arrays] == [False, False, True, True]
    assert [each.label for each in found] == [
        f"{A}  0.2\tnone",
        f"{A}  0.4\tnone",
        f"{A}  0.2\t{A}",
        f"{A}  0.4\t{A}",
    ]
    prompts = sweep_both(ARRAY, Axis("weight", 1, "0.2, 0.4"), Axis("prompts", 0, "a cat; a dog"))
    assert [each.prompt for each in prompts] == ["a cat", "a cat", "a dog", "a dog"]
    assert labels(("weight", 1, "0.2"), ("weight", 3, "0.6")) == [f"{A}  0.2\t{C}  0.6"]


@pytest.mark.parametrize(
    ("first", "second", "parameter"),
    [
        (("weight", 1, "0.2"), ("weight", 1, "0.6"), "axis_2"),
        (("prompts", 1, "a"), ("prompts", 2, "b"), "axis_2"),
        (("entries", 1, "1"), ("entries", 2, "2"), "axis_2"),
        (("weight", 1, "0.2"), ("weight", 9, "0.6"), "entry_2"),
        (("weight", 1, "0.2"), ("blocks", 1, "nowhere"), "values_2"),
        (("weight", 1, "0:1:0.02"), ("weight", 3, "0:1:0.02"), "values_2"),
    ],
)
def test_two_axes_that_cannot_be(
    first: tuple[str, int, str], second: tuple[str, int, str], parameter: str
) -> None:
    with pytest.raises(InvalidInput) as raised:
        labels(first, second)
    assert raised.value.parameter == parameter
    assert raised.value.remedy
