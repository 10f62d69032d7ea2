"""Picking from an array: by a seed, in turn, and with weights from a range."""

from __future__ import annotations

import pytest
from air_lora_pack.nodes.array.picking import pick

from lora_resolver import InvalidInput, parse_lora_array

pytestmark = pytest.mark.integration

ARRAY = parse_lora_array(
    [
        {"model": "civitai:1@1", "weight": 0.5},
        {"model": "civitai:2@2", "enabled": False},
        {"model": "civitai:3@3", "clip_weight": 0.1},
        {"model": "civitai:4@4", "weight": [[0, 0.2], [0.5, 0.8]]},
        {"model": "civitai:5@5", "weight": 0},
        {"model": "civitai:6@6", "blocks": "early"},
    ]
)
ON = ["civitai:1@1", "civitai:3@3", "civitai:4@4", "civitai:6@6"]


def names(*arguments: object, **options: object) -> list[str]:
    return [str(entry.identifier) for entry in pick(ARRAY, *arguments, **options)]


def test_a_seed_picks_the_same_and_others_pick_others() -> None:
    assert names("random", 7, 2) == names("random", 7, 2)
    seen = {tuple(names("random", seed, 2)) for seed in range(60)}
    assert len(seen) == 6, "every pair of four"
    assert {name for pair in seen for name in pair} == set(ON)
    assert all(list(pair) == sorted(pair) for pair in seen), "in the array's order"


def test_in_turn_goes_round() -> None:
    assert [names("in turn", seed, 1) for seed in range(5)] == [[name] for name in (*ON, ON[0])]
    assert names("in turn", 1, 3) == [ON[0], ON[1], ON[3]]


def test_weights_from_a_range_keep_what_else_an_entry_says() -> None:
    found = {
        str(each.identifier): each
        for seed in range(40)
        for each in pick(ARRAY, "random", seed, 2, "0.4 to 0.9")
    }
    assert set(found) == set(ON)
    assert all(0.4 <= each.weight <= 0.9 for each in found.values())
    assert found["civitai:3@3"].clip_weight == 0.1
    assert found["civitai:1@1"].clip_weight == found["civitai:1@1"].weight
    assert found["civitai:4@4"].schedule
    assert found["civitai:4@4"].schedule.strongest == found["civitai:4@4"].weight
    assert found["civitai:6@6"].blocks


@pytest.mark.parametrize(
    ("count", "weights", "place"),
    [
        (5, "", "count"),
        (0, "", "count"),
        (1, "much", "weights"),
        (1, "0.9 to 0.4", "weights"),
        (1, "0 to 9", "weights"),
    ],
)
def test_what_cannot_be_picked(count: int, weights: str, place: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        pick(ARRAY, "random", 1, count, weights)
    assert (raised.value.code, raised.value.parameter) == ("invalidPick", place)


def test_an_array_without_anything_on() -> None:
    with pytest.raises(InvalidInput) as raised:
        pick((), "random", 1, 1)
    assert raised.value.parameter == "lora"
