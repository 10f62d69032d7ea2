"""The `lora` array: every accepted form, and every error with its place and remedy."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lora_resolver import (
    InvalidLoraArray,
    LoraEntry,
    LoraResolverError,
    format_lora_array,
    parse_identifier,
    parse_lora_array,
)
from tests.conftest import ROOT

A, B = "civitai:120096@135931", "civitai:245889@277389"

# As in the API's documentation, including comments.
SINGLE = """{
  "taskType": "imageInference",
  "taskUUID": "string",
  "positivePrompt": "string",
  "model": "civitai:101055@128078",
  "lora": [ // Array of objects
    {
      "model": "civitai:120096@135931", // AIR of the LoRA
      "weight": 1, // the default
    }
  ],
}"""
MIXED = """  "lora": [
    {
      "model": "civitai:120096@135931",
      "weight": 0.7
    },
    {
      "model": "civitai:245889@277389",
      "weight": 0.5
    }
  ]"""


def read(text: object) -> list[tuple[str, float]]:
    return [(str(entry.identifier), entry.weight) for entry in parse_lora_array(text)]


ACCEPTED: list[tuple[object, list[tuple[str, float]]]] = [
    (SINGLE, [(A, 1.0)]),
    (MIXED, [(A, 0.7), (B, 0.5)]),
    (f'[{{"model": "{A}"}}]', [(A, 1.0)]),
    (f'{{"model": "{A}", "weight": -4}}', [(A, -4.0)]),
    (f'{{"lora": [{{"model": "{A}", "weight": 4}}]}}', [(A, 4.0)]),
    (f'[{{"taskType": "authentication", "apiKey": "x"}}, {{"lora": [{{"model": "{A}"}}]}}]', [(A, 1.0)]),
    (f'[{{"lora": [{{"model": "{A}"}}]}}, {{"lora": [{{"weight": 1.0, "model": "{A}"}}]}}]', [(A, 1.0)]),
    (f'[{{"model": "{A}", "weight": 0.5,}},]', [(A, 0.5)]),
    (f'// mine\n[ /* one */ {{"model": "{A}"}} ]', [(A, 1.0)]),
    (f'\ufeff[{{"model": "{A}"}}]', [(A, 1.0)]),
    ([{"model": A, "weight": 1}], [(A, 1.0)]),
    ("", []),
    ("  \n", []),
    ("[]", []),
    ("null", []),
    ('{"lora": null}', []),
    ('{"lora": []}', []),
    ('{"taskType": "imageInference", "positivePrompt": "x"}', []),
    (None, []),
]


@pytest.mark.parametrize(("text", "entries"), ACCEPTED, ids=range(len(ACCEPTED)))
def test_every_accepted_shape(text: object, entries: list[tuple[str, float]]) -> None:
    assert read(text) == entries


def test_an_entry_has_defaults_and_its_place() -> None:
    first, second = parse_lora_array(
        f'[{{"model": "{A}", "weight": 0.6}}, '
        f'{{"model": "{B}", "weight": 0, "clip_weight": 0.3, "enabled": false, "transformer": "high"}}]'
    )
    assert (first.clip_weight, first.enabled, first.transformer, first.place) == (
        0.6,
        True,
        "both",
        "lora[0]",
    )
    assert (second.clip_weight, second.enabled, second.transformer, second.place) == (
        0.3,
        False,
        "high",
        "lora[1]",
    )


@pytest.mark.parametrize(
    ("members", "active"),
    [
        ("", True),
        (', "weight": 0', False),
        (', "enabled": false', False),
        (', "weight": 0, "clip_weight": 1', True),
    ],
)
def test_weight_zero_and_disabled_entries_are_not_active(members: str, active: bool) -> None:
    assert parse_lora_array(f'[{{"model": "{A}"{members}}}]')[0].active is active


# All errors of a text: `tests/data/array_faults.json`, which the front end's tests can also use.
FAULTS = json.loads((ROOT / "tests/data/array_faults.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", FAULTS, ids=lambda case: case["text"][:50])
def test_a_fault_names_its_place_and_the_remedy(case: dict) -> None:
    with pytest.raises(InvalidLoraArray) as caught:
        parse_lora_array(case["text"])
    assert [error.code for error in caught.value.errors] == case["codes"]
    assert str(caught.value).split("\n") == case["lines"]


ENTRIES = st.builds(
    LoraEntry,
    st.sampled_from([A, B, "local:a b/c.safetensors", "runware:1@2", "civitai:1@2+3"]).map(parse_identifier),
    st.floats(-4, 4).map(lambda weight: weight + 0.0),
    st.floats(-4, 4).map(lambda weight: weight + 0.0),
    st.booleans(),
    st.sampled_from(["high", "low", "both"]),
    st.just(""),
)


@given(st.lists(ENTRIES, max_size=6))
def test_what_is_written_is_read_back(entries: list[LoraEntry]) -> None:
    assert parse_lora_array(format_lora_array(entries)) == tuple(entries)


def test_what_is_written_is_short() -> None:
    assert json.loads(format_lora_array(parse_lora_array(SINGLE))) == [{"model": A}]


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("nan", "finite"),
        ("inf", "finite"),
        ("True", "true"),
        ("None", "null"),
        ("undefined", "null"),
        ("half", "both sides"),
        ("%", "number"),
        ("}", "number"),
    ],
)
def test_a_value_that_json_does_not_know_is_named_with_what_to_write(value: str, named: str) -> None:
    with pytest.raises(LoraResolverError) as raised:
        parse_lora_array(f'[{{"model": "{A}", "weight": {value}}}]')
    (fault,) = raised.value.each()
    assert fault.code == "invalidJson"
    assert named in fault.remedy


@pytest.mark.parametrize("number", [".5", "+1"])
def test_a_number_that_json_does_not_know_is_recognized(number: str) -> None:
    with pytest.raises(LoraResolverError) as raised:
        parse_lora_array(f'[{{"model": "{A}", "weight": {number}}}]')
    assert f"can't start with {number[0]}" in str(raised.value)
    assert "0.5" in raised.value.remedy


@given(st.text(max_size=200) | st.text(alphabet='[]{}",:/*\\ \nloramde0.5', max_size=80))
@example("[" * 100 + "]" * 100)
@example("[" * 100_000)
@example('{"lora":' * 50_000)
@example('[{"model": "civitai:1@2", "weight": ' + "9" * 10_000 + "}]")
@example("[1e99999999999]")
@example('["\\ud800"]')
@example("/*")
@example('"')
def test_no_text_makes_it_raise_anything_but_its_own_error(text: str) -> None:
    try:
        parse_lora_array(text)
    except InvalidLoraArray as error:
        assert all(fault.message and fault.code for fault in error.errors)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4)
    ),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_no_object_makes_it_raise_anything_but_its_own_error(value: object) -> None:
    try:
        parse_lora_array(value)
    except InvalidLoraArray as error:
        assert error.errors


def test_a_hundred_thousand_entries_and_a_hundred_levels() -> None:
    many = "[" + ",".join([f'{{"model": "{A}", "weight": 0.5}}'] * 100_000) + "]"
    assert len(parse_lora_array(many)) == 100_000
    with pytest.raises(InvalidLoraArray) as caught:
        parse_lora_array("[" + ",".join(["{}"] * 100_000) + "]")
    assert len(caught.value.errors) < 2000
    with pytest.raises(InvalidLoraArray):
        parse_lora_array("[" * 100 + f'{{"model": "{A}"}}' + "]" * 100)


def command(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lora_resolver", "parse", *arguments],
        cwd=ROOT,
        input=text,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def test_the_command_prints_the_canonical_array() -> None:
    run = command(MIXED)
    assert run.returncode == 0
    assert read(run.stdout) == [(A, 0.7), (B, 0.5)]


def test_the_command_s_json_is_one_document() -> None:
    run = command("--json", "-", text=SINGLE)
    entry = {"model": A, "weight": 1.0, "clip_weight": 1.0, "enabled": True, "transformer": "both"}
    assert json.loads(run.stdout) == {"entries": [entry], "errors": []}


def test_the_command_ends_with_2_for_bad_input_and_prints_one_error_a_line() -> None:
    text = f'[{{"model": "{A}", "weight": 7}}, {{}}]'
    run = command(text)
    assert run.returncode == 2
    assert [line.split(":")[0] for line in run.stderr.splitlines()] == ["lora[0].weight", "lora[1]"]
    document = json.loads(command("--json", text).stdout)
    assert document["entries"] == []
    assert [error["parameter"] for error in document["errors"]] == ["lora[0].weight", "lora[1]"]


def test_the_command_reads_a_file(tmp_path) -> None:
    file = tmp_path / "array.json"
    file.write_text(SINGLE, encoding="utf-8")
    assert read(command(str(file)).stdout) == [(A, 1.0)]
    assert command(str(tmp_path / "missing.json")).returncode == 2


def test_parsing_needs_nothing_but_the_standard_library() -> None:
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['requests', 'filelock', 'tqdm', 'huggingface_hub', 'torch']))\n"
        "from lora_resolver.cli import main\n"
        f"sys.exit(main(['parse', '{A}x', '--json']))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 2, run.stderr
