"""Blocks and steps in a prompt's tag, and how a picture's record stores them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lora_resolver import format_record, read_pasted, read_record

FILES = ["x.safetensors"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("lbw=OUTALL", {"blocks": "OUTALL"}),
        ("LBW=outall", {"blocks": "OUTALL"}),
        ("lbw=1,0,0,0,0,0,0,0,1,1,1,1", {"blocks": {"lbw": "1,0,0,0,0,0,0,0,1,1,1,1"}}),
        ("OUTALL", {"blocks": "OUTALL"}),
        ("LBW=SD-OUTALL", {"blocks": "OUTALL"}),
        ("lbw=1,0,0,0,0,0,0,0,1,1,1,1;", {"blocks": {"lbw": "1,0,0,0,0,0,0,0,1,1,1,1"}}),
        ("LBW=B11:1,0,0,0,0,0,0,0,1,1,1,1;A=4;B=1", {"blocks": {"lbw": "1,0,0,0,0,0,0,0,1,1,1,1"}}),
        ("start=5", {"schedule": {"weight": 0.8, "start": 5, "count": "numbers"}}),
        ("stop=10", {"schedule": {"weight": 0.8, "end": 10, "count": "numbers"}}),
        ("step=5-10", {"schedule": {"weight": 0.8, "start": 5, "end": 10, "count": "numbers"}}),
        ("step=0.2-0.6", {"schedule": {"weight": 0.8, "start": 0.2, "end": 0.6}}),
        (
            "lbw=MIDD:start=0.5",
            {"blocks": "MIDD", "schedule": {"weight": 0.8, "start": 0.5}},
        ),
    ],
)
def test_the_options_of_a_tag(options: str, expected: dict[str, Any]) -> None:
    (lora,) = read_pasted(f"<lora:x:0.8:{options}>", FILES).loras
    assert lora.entry.extensions() == expected
    assert lora.entry.weight == 0.8


@pytest.mark.parametrize(
    "options",
    ["lbw=NOPE", "lbw=1,0,1", "lbw=1,0,R,0,0,0,0,0,1,1,1,1", "start=soon", "start=10:stop=5", "lbw="],
)
def test_options_that_cannot_be_are_said_and_not_dropped(options: str) -> None:
    pasted = read_pasted(f"<lora:x:0.8:{options}>", FILES)
    assert not pasted.loras
    (fault,) = pasted.errors
    assert "<lora:x>" in str(fault)


def test_an_option_that_means_nothing_here_is_said_and_the_rest_is_added() -> None:
    pasted = read_pasted("<lora:x:0.8:strat=5:lbwe=1>", FILES)
    assert [each.entry.weight for each in pasted.loras] == [0.8]
    (fault,) = pasted.errors
    assert fault.code == "unknownKey"
    assert '"strat", "lbwe"' in str(fault)


def test_letters_that_are_swept_are_refused_though_their_values_are_given() -> None:
    pasted = read_pasted("<lora:x:0.8:lbw=1,0,A,0,0,0,0,0,1,1,1,1;A=4>", FILES)
    assert not pasted.loras
    assert "random or swept" in str(pasted.errors[0])


def test_a_record_keeps_steps_and_blocks() -> None:
    (lora,) = read_pasted("<lora:x:0.8:lbw=OUTALL:start=5>", FILES).loras
    record = format_record({"4": [[{**lora.entry.facts(), "status": "applied"}]]})
    (entry,) = read_record(json.dumps(record))["4"]
    assert entry.entry.facts() == lora.entry.facts()
    array = json.dumps([{"model": "local:x.safetensors", "weight": [[0, 1], [1, 0]], "blocks": "early"}])
    (again,) = read_pasted(array, FILES).loras
    assert again.entry.extensions() == {"schedule": {"weight": [[0, 1], [1, 0]]}, "blocks": "early"}
