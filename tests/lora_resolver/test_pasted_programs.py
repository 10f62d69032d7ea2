"""Pastes from programs, commands, and other programs' records: every LoRA with its weight, or only an error."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lora_resolver.workflows.pasted import read_pasted

A = "civitai:1@2"
NAMES = ("styles/pixel.safetensors", "detail.safetensors")
DATA = Path(__file__).parent.parent / "data"
CASES = json.loads((DATA / "pasted_programs.json").read_text(encoding="utf-8"))


def rows(text: str) -> list[tuple[str, float]]:
    found = read_pasted(text, NAMES)
    assert [str(error) for error in found.errors] == []
    assert all(lora.weight_given for lora in found.loras)
    return [(str(lora.entry.identifier), lora.entry.weight) for lora in found.loras]


@pytest.mark.parametrize("name", CASES["read"])
def test_each_lora_with_its_weight_and_nothing_else(name: str) -> None:
    case = CASES["read"][name]
    assert rows(case["text"]) == [tuple(each) for each in case["loras"]]


@pytest.mark.parametrize("name", CASES["refused"])
def test_what_is_not_understood_adds_nothing(name: str) -> None:
    found = read_pasted(CASES["refused"][name], NAMES)
    assert found.loras == ()
    assert len(found.errors) == 1
    assert found.errors[0].remedy
    assert not re.search("SECRET|Bearer|SECRETKEY", str(found.errors[0]))


def test_a_request_without_loras_names_none_and_not_its_checkpoint() -> None:
    for text in (
        'runware.imageInference({ model: "civitai:9@9", positivePrompt: "a cat", lora: [] })',
        'IImageInference(model="civitai:9@9", lora=None)',
        """curl https://a.example -H 'Authorization: Bearer SECRET' -d '[{"taskType":"imageInference"}]'""",
        "a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler, Model hash: abc, Model: m",
    ):
        found = read_pasted(text)
        assert found.loras == (), text
        assert all("SECRET" not in str(error) for error in found.errors)


def test_the_key_of_a_command_is_never_repeated() -> None:
    for body in ("[{", '[{"lora": [{"model": "x"}]}]', '{"lora": 3}', "not json"):
        found = read_pasted(f"curl https://a -H 'Authorization: Bearer SECRET-KEY' -d '{body}' -u SECRET-KEY")
        assert found.loras == ()
        assert all("SECRET-KEY" not in str(error) for error in found.errors)


def test_numbers_of_a_tag_are_in_the_order_of_the_program_that_wrote_it() -> None:
    tag = "a <lora:pixel:0.2:0.9>"
    (ours,) = read_pasted(tag, NAMES).loras
    (theirs,) = read_pasted(f"{tag}\nSteps: 20, Version: v1.10.1", NAMES).loras
    (named,) = read_pasted("a <lora:pixel:0.2:unet=0.9>", NAMES).loras
    assert (ours.entry.weight, ours.entry.clip_weight) == (0.2, 0.9)
    assert (theirs.entry.weight, theirs.entry.clip_weight) == (0.9, 0.2)
    assert (named.entry.weight, named.entry.clip_weight) == (0.9, 0.2)


def test_a_path_is_no_json() -> None:
    for path in ("/home/me/loras/a.safetensors", "/a", "C:\\loras\\a.safetensors", "~/loras/a.safetensors"):
        assert [error.code for error in read_pasted(path).errors] == ["unsafePath"]


CIVITAI = "https://civitai.com/api/download/models/1"
HOSTILE = [
    *('lora: [{ model: "civitai:1@2" },' * 20_000, "lora=[" * 50_000, "lora: {" * 50_000, "x=[" * 50_000),
    *('a="' * 50_000, '"""' * 50_000, "9" * 50_000 + "x lora=[", "lora: x + " * 15_000),
    *(f'lora_weights="{CIVITAI}",' * 10_000, "lora_weights= a + " * 15_000),
    *("curl -d '" * 20_000, "curl <<A\n" * 20_000, "```\nx\n" * 50_000),
    *("AddNet Model 1: " * 20_000, "LoRA 1:" + "\t " * 40_000, "lora_combined_1: " + " : " * 20_000),
    *("civitai:1@2 " * 30_000, "(weight " * 50_000),
]


@pytest.mark.parametrize("text", HOSTILE, ids=[text[:20] for text in HOSTILE])
def test_hostile_texts_cost_no_more_than_a_look(text: str) -> None:
    """Quadratic time would exceed the suite's time limit. For valid texts, see benchmarks/workflows.py."""
    found = read_pasted(text, NAMES)
    assert found.errors


def test_the_cases_from_the_field() -> None:
    for case in json.loads((DATA / "pastes.json").read_text(encoding="utf-8")):
        found = read_pasted(case["text"])
        assert [[str(each.entry.identifier), each.entry.weight] for each in found.loras] == case["loras"]
        assert [error.code for error in found.errors] == case["errors"]
