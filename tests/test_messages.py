"""Every message says what is wrong and what to do. The messages are read from the code and checked against rules."""

from __future__ import annotations

import re

import pytest

from tools.messages import Message, catalogue

ALL = [each for each in catalogue() if each.message]
WITHOUT_REMEDY = frozenset(
    {
        *(
            "cancelled",
            "responseTooLarge",
            "inferenceError",
            "taskFailedOrNotFound",
            "foreignOrigin",
            "tooLarge",
        ),
        *("unsupportedTaskType", "unsupportedValue"),
        *("emptyRequest", "noImageTask", "gated", "invalidWorkflow", "storeDriverMissing", "tooManyEntries"),
    }
)
"""Codes whose message already says what to do, or whose remedy is added where the error is assembled."""


def problems(each: Message) -> list[str]:
    found = []
    first = each.message.split()[0]
    is_word = re.fullmatch(r"[a-z]+[,;:]?", first) is not None
    if is_word and first not in NAMES:
        found.append("begins with a small letter")
    if each.message.endswith("."):
        found.append("has a full stop, which is added when it is shown")
    if each.remedy and each.remedy[-1] not in ".!?}…":
        found.append("its remedy has no full stop")
    if each.remedy and re.match(r"[a-z]+ ", each.remedy) and each.remedy.split()[0] not in NAMES:
        found.append("its remedy begins with a small letter")
    if "  " in each.message + each.remedy or re.search(r" \.(?![a-z])", each.message + each.remedy):
        found.append("has a gap")
    if re.match(r"lora\[|LoRA \d", each.message):
        found.append("has the prefix of its place")
    if re.search(r"\}\(s\)|\bone files\b|\b1 \w+s\b", each.message):
        found.append("has a plural that may be wrong")
    return found


NAMES = frozenset({"lora", "lycoris", "huggingface", "seedImage", "maskImage"})
"""Lower-case words at the start of messages: keys of the array and names."""


def test_there_are_many() -> None:
    assert len(ALL) > 250
    assert len({each.code for each in ALL}) > 100


@pytest.mark.parametrize("each", ALL, ids=lambda each: f"{each.place} {each.code}")
def test_a_message_is_well_formed(each: Message) -> None:
    assert problems(each) == [], each


def test_every_code_has_a_remedy_somewhere() -> None:
    with_remedy = {each.code for each in catalogue() if each.remedy}
    assert {each.code for each in ALL} - with_remedy - WITHOUT_REMEDY == set()
