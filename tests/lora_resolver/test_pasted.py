"""Pasted or dropped content: which LoRAs it names, their weights, and what is reported about the rest."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lora_resolver.workflows.pasted import DEFAULT_WEIGHT, read_dropped, read_pasted

Row = tuple[str, float, float, bool, str]


def rows(text: str, local_names: tuple[str, ...] = ()) -> list[Row]:
    found = read_pasted(text, local_names)
    assert found.errors == ()
    return [
        (
            str(lora.entry.identifier),
            lora.entry.weight,
            lora.entry.clip_weight,
            lora.entry.enabled,
            lora.entry.transformer,
        )
        for lora in found.loras
    ]


def models(text: str, local_names: tuple[str, ...] = ()) -> list[tuple[str, float]]:
    return [(model, weight) for model, weight, *_ in rows(text, local_names)]


def test_an_array_keeps_all_that_it_says() -> None:
    text = (
        '[{"model": "civitai:1@2", "weight": 0.6, "clip_weight": 0.2, "enabled": false}, '
        '{"model": "runware:5@1", "transformer": "high"}]'
    )
    assert rows(text) == [
        ("civitai:1@2", 0.6, 0.2, False, "both"),
        ("runware:5@1", 1.0, 1.0, True, "high"),
    ]


def test_a_whole_runware_request() -> None:
    request = [
        {
            "taskType": "imageInference",
            "model": "runware:100@1",
            "positivePrompt": "a cat",
            "lora": [{"model": "civitai:1@2", "weight": 0.6}],
        }
    ]
    assert models(json.dumps(request)) == [("civitai:1@2", 0.6)]


LINES = [
    ("civitai:1@2", [("civitai:1@2", DEFAULT_WEIGHT)]),
    ("civitai:1@2\nurn:air:sdxl:lora:civitai:3@4\n", [("civitai:1@2", 0.75), ("civitai:3@4", 0.75)]),
    ("civitai:1@2 0.7\ncivitai:3@4: -0.5\ncivitai:5@6, 1", [
        ("civitai:1@2", 0.7), ("civitai:3@4", -0.5), ("civitai:5@6", 1.0)
    ]),
    ("civitai:1@2, civitai:3@4", [("civitai:1@2", 0.75), ("civitai:3@4", 0.75)]),
    ('- "civitai:1@2",\n- "civitai:3@4"', [("civitai:1@2", 0.75), ("civitai:3@4", 0.75)]),
    ("1. Pixel art: https://civitai.com/models/120096?modelVersionId=135931 (0.8)", [("civitai:120096@135931", 0.8)]),
    ("[Pixel art](https://civitai.com/models/120096?modelVersionId=135931)", [("civitai:120096@135931", 0.75)]),
    ("see https://huggingface.co/org/repo/blob/main/style.safetensors.", [
        ("huggingface:org/repo@main/style.safetensors", 0.75)
    ]),
    ("local:styles/my pixel art.safetensors 0.4", [("local:styles/my pixel art.safetensors", 0.4)]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), LINES, ids=[text[:30] for text, _ in LINES])
def test_lines(text: str, expected: list[tuple[str, float]]) -> None:
    assert models(text) == expected


SEPARATED = [
    ("civitai:1@2 0.7, civitai:3@4 0.5", [("civitai:1@2", 0.7), ("civitai:3@4", 0.5)]),
    ("civitai:1@2, 0.7; civitai:3@4, 0.5", [("civitai:1@2", 0.7), ("civitai:3@4", 0.5)]),
    ("civitai:1@2,civitai:3@4,civitai:5@6,", [("civitai:1@2", 0.75), ("civitai:3@4", 0.75), ("civitai:5@6", 0.75)]),
    ("civitai:1@2 0,7", [("civitai:1@2", 0.7)]),
    ("local:my style.safetensors, civitai:3@4", [("local:my style.safetensors", 0.75), ("civitai:3@4", 0.75)]),
    ("Ink: civitai:1@2, Pixel art: civitai:3@4 (0.5)", [("civitai:1@2", 0.75), ("civitai:3@4", 0.5)]),
    ("<lora:unknown:0.5> civitai:3@4", [("local:unknown.safetensors", 0.5), ("civitai:3@4", 0.75)]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), SEPARATED, ids=[text[:30] for text, _ in SEPARATED])
def test_several_in_a_line(text: str, expected: list[tuple[str, float]]) -> None:
    assert models(text) == expected


NOT_UNDERSTOOD = [
    ("9000001@9100001, civitai:9000002@9100002", ["civitai:9000002@9100002"], ["9000001@9100001"]),
    ("9000001@9100001 civitai:9000002@9100002", ["civitai:9000002@9100002"], ["9000001@9100001"]),
    ("civitai:1@2, my style.safetensors", ["civitai:1@2"], ["my style.safetensors"]),
    ("civitai:1@2, some words, civitai:3@4", ["civitai:1@2", "civitai:3@4"], ["some words"]),
    ("civitai:1@2 0.5 0.7", [], ["0.5 0.7"]),
    ("civitai:1@2, 0.5, 0.7", ["civitai:1@2"], ["0.7"]),
    ("civitai:1@2 0.5 civitai:3@4", ["civitai:1@2", "civitai:3@4"], []),
    ("<lora:a:0.5> and <lora:b:0.7", ["local:a.safetensors"], ["<lora:b:0.7"]),
    ("9000001@9100001, 9000002@9100002", [], ["9000001@9100001", "9000002@9100002"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "taken", "named"), NOT_UNDERSTOOD, ids=[text[:40] for text, *_ in NOT_UNDERSTOOD]
)
def test_what_is_not_understood_is_named(text: str, taken: list[str], named: list[str]) -> None:
    found = read_pasted(text)
    assert [str(lora.entry.identifier) for lora in found.loras] == taken
    assert len(found.errors) == len(named)
    assert all(word in error.message for word, error in zip(named, found.errors, strict=True))


def test_a_bare_pair_of_numbers_is_told_how_to_write_it() -> None:
    (error,) = read_pasted("9000001@9100001, civitai:9000002@9100002").errors
    assert "civitai:9000001@9100001" in error.remedy


def test_a_row_without_a_weight_says_so() -> None:
    found = read_pasted("civitai:1@2\ncivitai:3@4 0.75")
    assert [lora.weight_given for lora in found.loras] == [False, True]


def test_tags_of_a_prompt_find_the_files_that_they_mean() -> None:
    text = "a red house, <lora:Pixel-Art-XL:0.7> at night <lora:detail:1:0.5:lbw=NONE>, <lyco:unknown>"
    text += " <lora:a/detail:.3>"
    names = ("a/detail.safetensors", "styles/pixel-art-xl.safetensors", "b/detail.safetensors")
    assert rows(text, names) == [
        ("local:styles/pixel-art-xl.safetensors", 0.7, 0.7, True, "both"),
        ("local:a/detail.safetensors", 1.0, 0.5, True, "both"),
        ("local:unknown.safetensors", 0.75, 0.75, True, "both"),
        ("local:a/detail.safetensors", 0.3, 0.3, True, "both"),
    ]


def test_a_tag_means_the_file_of_exactly_that_name_first() -> None:
    names = ("DETAIL.safetensors", "detail.safetensors", "To\u0308ne.safetensors")
    text = "<lora:detail:1> <lora:DETAIL:0.5> <lora:T\u00f6ne:0.4>"
    assert models(text, names) == [
        ("local:detail.safetensors", 1.0),
        ("local:DETAIL.safetensors", 0.5),
        ("local:To\u0308ne.safetensors", 0.4),
    ]


WORKFLOW = {
    "1": {
        "class_type": "LoraLoader",
        "inputs": {"lora_name": "a.safetensors", "strength_model": 0.8, "strength_clip": 0.3},
    },
    "2": {
        "class_type": "LoraLoaderModelOnly",
        "inputs": {"lora_name": "b.safetensors", "strength_model": 0.5},
    },
    "3": {
        "class_type": "Power Lora Loader (rgthree)",
        "inputs": {
            "lora_1": {"on": False, "lora": "c.safetensors", "strength": 0.4, "strengthTwo": None},
            "lora_2": {"on": True, "lora": "d.safetensors", "strength": 0.4, "strengthTwo": 0.1},
        },
    },
    "4": {"class_type": "AirLoraApply", "inputs": {"lora": '[{"model": "civitai:1@2", "weight": 0.9}]'}},
}
ROWS_OF_THE_WORKFLOW = [
    ("local:a.safetensors", 0.8, 0.3, True, "both"),
    ("local:b.safetensors", 0.5, 0.0, True, "both"),
    ("local:c.safetensors", 0.4, 0.4, False, "both"),
    ("local:d.safetensors", 0.4, 0.1, True, "both"),
    ("civitai:1@2", 0.9, 0.9, True, "both"),
]


def test_a_workflow_brings_its_strengths() -> None:
    assert rows(json.dumps(WORKFLOW)) == ROWS_OF_THE_WORKFLOW


def test_a_strength_beyond_ours_is_an_error_at_its_node() -> None:
    graph = {
        "7": {
            "class_type": "LoraLoaderModelOnly",
            "inputs": {"lora_name": "b.safetensors", "strength_model": 9},
        }
    }
    found = read_pasted(json.dumps(graph))
    assert found.loras == ()
    assert [error.parameter for error in found.errors] == ["node 7, lora_name"]
    assert "local:b.safetensors" in found.errors[0].message


def test_what_names_nothing_is_an_error_at_its_line_and_the_rest_is_taken() -> None:
    found = read_pasted("civitai:1@2\nsome words\ncivitai:3@x")
    assert [str(lora.entry.identifier) for lora in found.loras] == ["civitai:1@2"]
    assert [error.parameter for error in found.errors] == ["line 2", "line 3"]


def test_prose_is_one_error() -> None:
    found = read_pasted("\n".join(f"This is sentence {number} of a story." for number in range(500)))
    assert found.loras == ()
    assert [error.code for error in found.errors] == ["noLora"]


def test_faults_of_an_array_are_those_of_the_array() -> None:
    found = read_pasted('[{"model": "civitai:1@2", "weight": 9}]')
    assert [error.parameter for error in found.errors] == ["lora[0].weight"]


@pytest.mark.parametrize("text", ["", "  \n", "[]", "{}"])
def test_nothing_is_nothing(text: str) -> None:
    assert read_pasted(text).loras == ()


def picture(**texts: str) -> io.BytesIO:
    saved = PngInfo()
    for keyword, text in texts.items():
        saved.add_text(keyword, text)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=saved)
    file.seek(0)
    return file


def test_a_picture_brings_its_workflow() -> None:
    found = read_dropped(picture(prompt=json.dumps(WORKFLOW)))
    assert [str(lora.entry.identifier) for lora in found.loras] == [row[0] for row in ROWS_OF_THE_WORKFLOW]


def test_a_picture_of_another_program_brings_its_tags() -> None:
    found = read_dropped(picture(parameters="a cat <lora:pixel:0.6>\nSteps: 20"), ("sub/pixel.safetensors",))
    assert [(str(lora.entry.identifier), lora.entry.weight) for lora in found.loras] == [
        ("local:sub/pixel.safetensors", 0.6)
    ]


def test_a_picture_without_anything_says_so() -> None:
    assert [error.code for error in read_dropped(picture()).errors] == ["noWorkflow"]


@pytest.mark.parametrize(
    "text", ["<lora:" * 20_000, "civitai:" * 20_000, "a " * 50_000, "[" * 100_000, "(" * 99_999]
)
def test_hostile_texts_cost_no_more_than_a_look(text: str) -> None:
    assert read_pasted(text).loras == ()


PIECES = st.sampled_from(
    ["civitai:1@2", "<lora:", "x", ":", "0.7", ">", "\n", " ", ",", "[", "]", "{", "}", '"lora"', "https://civitai.com/",
     "(", ")", "local:a.safetensors", "-", "1.", "@", "urn:air:", "\u202e", "\0", "999"]
)  # fmt: skip


@given(st.one_of(st.text(), st.lists(PIECES).map("".join)))
def test_nothing_that_is_pasted_raises(text: str) -> None:
    found = read_pasted(text, ("a.safetensors",))
    assert all(str(error) for error in found.errors)


def test_json_with_a_fault_is_told_where_it_is() -> None:
    found = read_pasted('[{"model": "civitai:1@2" "weight": 0.7}]')
    assert found.loras == ()
    assert [error.code for error in found.errors] == ["invalidJson"]
    assert "column 26" in str(found.errors[0])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
        (b"import torch\nprint(1)\n", "No LoRA found"),
    ],
)
def test_a_dropped_file_of_another_kind_is_named(content: bytes, said: str) -> None:
    found = read_dropped(io.BytesIO(content))
    assert found.loras == ()
    assert said in str(found.errors[0])


def test_a_dropped_text_file_is_read_as_text() -> None:
    found = read_dropped(io.BytesIO(b"a castle <lora:ink:0.4>"), ("ink.safetensors",))
    assert [(str(lora.entry.identifier), lora.entry.weight) for lora in found.loras] == [
        ("local:ink.safetensors", 0.4)
    ]


def test_a_dropped_text_shows_no_secret_and_is_not_cut_in_silence() -> None:
    found = read_dropped(io.BytesIO(b"apiKey: 8f3a9c21d4e5f60718293a4b5c6d7e8f"))
    assert found.loras == ()
    assert "8f3a9c21" not in str(found.errors)
    line = b"civitai:1@135931\n"
    long = read_dropped(io.BytesIO(b"#" * (1024 * 1024 - 10) + b"\n" + line))
    assert [error.code for error in long.errors][-1] == "tooManyEntries"
    assert not any(str(lora.entry.identifier).startswith("civitai:1@1") for lora in long.loras)
    message = read_dropped(io.BytesIO(b'{"message": "hello"}'))
    assert "token" not in str(message.errors[0])
