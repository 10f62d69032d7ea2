"""The array's keys for steps and blocks: read, written, and rejected with their place."""

from __future__ import annotations

from typing import Any

import pytest

from lora_resolver import BlockWeights, InvalidLoraArray, Schedule, format_lora_array, parse_lora_array

MODEL = "civitai:120096@135931"


def read(**members: Any) -> Any:
    return parse_lora_array([{"model": MODEL, **members}])[0]


@pytest.mark.parametrize(
    ("members", "weights"),
    [
        ({"weight": 0.8, "start": 0.5}, [0, 0, 0, 0, 0, 0.8, 0.8, 0.8, 0.8, 0.8]),
        ({"weight": 0.8, "end": 0.3}, [0.8, 0.8, 0.8, 0, 0, 0, 0, 0, 0, 0]),
        ({"weight": [[0, 0], [0.5, 1]]}, [0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1]),
        ({"weight": [[0, 0.2], [0.5, 1]], "hold": True}, [0.2] * 5 + [1] * 5),
        ({"weight": [[0.2, 1], [0.4, 0]], "start": 0.1, "end": 0.4}, [0, 1, 1, 0.5, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_the_weight_of_each_of_ten_steps(members: dict[str, Any], weights: list[float]) -> None:
    schedule = read(**members).schedule
    assert [schedule.at(step / 10) for step in range(10)] == pytest.approx(weights)


@pytest.mark.parametrize(
    "members",
    [
        {"start": 0.25, "weight": 0.5},
        {"end": 0.75, "count": "percent"},
        {"weight": [[0, 0.2], [0.5, 1]], "hold": True, "clip_weight": 0.3},
        {"weight": [[0, -1], [1, 0.5]], "start": 0.1, "end": 0.9, "transformer": "high"},
        {"blocks": "early", "weight": 0.5},
        {"blocks": {"lbw": "1,0,0,0,0.5,1,1,1,1,1,1,1"}},
        {"blocks": {"output_blocks.3-5": 0.5, "double_blocks.*": 0}, "start": 0.5},
    ],
)
def test_what_is_written_is_read_back(members: dict[str, Any]) -> None:
    entry = read(**members)
    assert parse_lora_array(format_lora_array([entry])) == (entry,)
    assert entry.schedule or entry.blocks


def test_the_same_weight_all_along_is_no_schedule() -> None:
    assert read(weight=0.5, start=0, end=1, hold=False, count="steps") == read(weight=0.5)
    assert read(weight=[[0, 0.5], [1, 0.5]]).schedule is None


def test_a_schedule_to_the_end_counts_at_the_end() -> None:
    schedule = read(weight=[[0, 0.2], [1, 0.8]]).schedule
    assert schedule is not None
    assert schedule.at(1.0) == 0.8
    ending = read(weight=0.5, end=0.5).schedule
    assert ending is not None
    assert (ending.at(0.49), ending.at(0.5)) == (0.5, 0.0)


def test_the_text_encoder_gets_the_strongest_weight_or_its_own() -> None:
    assert read(weight=[[0, 0.2], [0.5, -0.9]]).clip_weight == -0.9
    assert read(weight=[[0, 0.2], [0.5, -0.9]], clip_weight=0.1).clip_weight == 0.1


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"weight": [[0, 1]]}, "weight"),
        ({"weight": []}, "weight"),
        ({"weight": [[n / 10000, 1] for n in range(10000)]}, "weight"),
        ({"weight": [[0.5, 1], [0.5, 2]]}, "weight"),
        ({"weight": [[0.5, 1], [0.2, 2]]}, "weight"),
        ({"weight": [[0, float("nan")], [1, 1]]}, "weight"),
        ({"weight": [[float("nan"), 1], [1, 1]]}, "weight"),
        ({"weight": [[0, 1], [1.5, 1]]}, "weight"),
        ({"weight": [[0, 99], [1, 1]]}, "weight"),
        ({"weight": [0, 1]}, "weight"),
        ({"start": -0.1}, "start"),
        ({"end": float("nan")}, "end"),
        ({"start": "0.5"}, "start"),
        ({"start": True}, "start"),
        ({"start": 0.5, "end": 0.5}, ""),
        ({"count": "frames"}, "count"),
        ({"hold": 1}, "hold"),
        ({"blocks": "earl"}, "blocks"),
        ({"blocks": 3}, "blocks"),
        ({"blocks": {}}, "blocks"),
        ({"blocks": "1,0,1"}, "blocks"),
        ({"blocks": {"lbw": "1,0,R,0,0.5,1,1,1,1,1,1,1"}}, "blocks"),
        ({"blocks": {"lbw": [1] * 100_000}}, "blocks"),
        ({"blocks": {"lbw": 5}}, "blocks"),
        ({"blocks": {"lbw": None}}, "blocks"),
        ({"blocks": {"lbw": {"1": 0.5}}}, "blocks"),
        ({"blocks": {"a.*.*.*.*.*": 1}}, "blocks"),
        ({"blocks": {"lbw": "OUTALL", "double_blocks.*": 0}}, "blocks"),
        ({"blocks": {"output_blocks.3": float("inf")}}, "blocks"),
        ({"blocks": {"output_blocks.3": True}}, "blocks"),
        ({"blocks": {"*" * 60: 1}}, "blocks"),
        ({"blocks": {"x" * 10_000: 1}}, "blocks"),
        ({"blocks": {"a..b": 1}}, "blocks"),
        ({"blocks": {f"b{n}": 1 for n in range(10_000)}}, "blocks"),
    ],
)
def test_what_cannot_be_is_an_error_with_its_place(members: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidLoraArray) as raised:
        read(**members)
    (fault,) = raised.value.errors
    assert fault.parameter == ("lora[0]." + place).rstrip(".")
    assert fault.remedy
    assert len(str(fault)) < 600


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"start": -0.1}, "valueOutOfRange"),
        ({"end": 1.5}, "valueOutOfRange"),
        ({"start": "0.5"}, "invalidType"),
        ({"weight": [[2, 1], [1, 1]]}, "invalidValue"),
        ({"weight": [[0, "1"], [1, 1]]}, "invalidType"),
        ({"count": "frames"}, "invalidValue"),
        ({"count": 5}, "invalidType"),
        ({"hold": 1}, "invalidType"),
    ],
)
def test_a_wrong_number_and_a_wrong_kind_of_value_have_codes(members: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidLoraArray) as raised:
        read(**members)
    assert [fault.code for fault in raised.value.errors] == [code]


@pytest.mark.parametrize(("text", "meant"), [("OUTAL", "OUTALL"), ("no text encoders", "no text encoder")])
def test_a_mistyped_preset_is_recognized(text: str, meant: str) -> None:
    with pytest.raises(InvalidLoraArray) as raised:
        read(blocks=text)
    assert f'"{meant}"' in str(raised.value.errors[0])


def test_presets_and_vectors_in_every_spelling() -> None:
    assert read(blocks="OUTALL").blocks == BlockWeights(preset="OUTALL")
    assert read(blocks="outall").blocks == read(blocks={"lbw": "OUTALL"}).blocks
    assert read(blocks="no text encoder").blocks == read(blocks="no_text_encoder").blocks
    vector = "1,0,0,0,0,0,0,0,1,1,1,1"
    assert read(blocks=vector).blocks == read(blocks={"lbw": vector}).blocks
    assert read(blocks={"lbw": [1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]}).blocks == read(blocks=vector).blocks


def test_a_vector_has_as_many_numbers_as_some_model_has_blocks() -> None:
    for length in range(2, 70):
        vector = ",".join(["1", "0.5"] + ["0"] * (length - 2))
        if length in (12, 17, 20, 21, 26, 27, 57, 58, 61):
            assert len(read(blocks=vector).blocks.vector) == length
        else:
            with pytest.raises(InvalidLoraArray):
                read(blocks=vector)


def test_another_strongest_weight_keeps_the_shape() -> None:
    schedule = Schedule(((0.0, 0.25), (0.5, -0.5), (1.0, 0.0)), start=0.1, end=0.9, hold=True)
    assert schedule.with_strongest(-1) == Schedule(
        ((0.0, 0.5), (0.5, -1.0), (1.0, 0.0)), start=0.1, end=0.9, hold=True
    )
    nothing = Schedule(((0.0, 0.0), (1.0, 0.0)))
    assert nothing.with_strongest(0.5) == nothing


def test_a_schedule_is_what_it_says() -> None:
    assert Schedule(((0.0, 0.5),)).changes is False
    assert Schedule(((0.0, 0.5),), start=0.1).changes
    assert Schedule(((0.0, 0.5), (1.0, -0.7))).strongest == -0.7


def test_words_that_count_are_read_written_and_checked() -> None:
    entry = read(words=["neon  glow", "city", "city", " "])
    assert entry.words == ("neon glow", "city")
    assert parse_lora_array(format_lora_array([entry])) == (entry,)
    assert read(words=[]).words == ()
    assert read().words is None
    for words in ("neon", [1], ["x" * 2000], ["x"] * 300, {}):
        with pytest.raises(InvalidLoraArray) as raised:
            read(words=words)
        assert raised.value.errors[0].parameter == "lora[0].words"
