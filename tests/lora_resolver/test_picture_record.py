"""The record of LoRAs in a picture, written and read. Reading never fails, whatever the record contains."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lora_resolver import format_record, lora_hashes, loras_in, read_record, strongest_rows

DIGEST = "0123456789abcdef" * 4
ROW = {
    "place": "lora[0]",
    "model": "civitai:1@2",
    "weight": 0.7,
    "clip_weight": 0.3,
    "transformer": "high",
    "enabled": True,
    "status": "applied",
    "name": "Pixel Art",
    "sha256": DIGEST,
    "file": "air/civitai/1@2/pixel, art: xl.safetensors",
    "size": 5,
}


def record(*runs: list[dict[str, Any]], node: str = "4") -> str:
    return json.dumps(format_record({node: runs}))


def picture(**texts: object) -> bytes:
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, json.dumps(text))
    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def named(content: bytes) -> list[tuple[str, float, str]]:
    found = loras_in(content)
    assert found.errors == ()
    return [(str(each.identifier), each.weight, each.sha256) for each in found.loras]


def test_a_record_is_read_as_it_was_written() -> None:
    (found,) = read_record(record([ROW, {**ROW, "model": "civitai:3@4", "enabled": False}]))["4"][:1]
    assert (str(found.entry.identifier), found.entry.weight, found.entry.clip_weight) == (
        "civitai:1@2",
        0.7,
        0.3,
    )
    assert (found.entry.transformer, found.entry.enabled, found.sha256) == ("high", True, DIGEST)


def test_a_record_holds_what_its_format_names_and_no_more() -> None:
    (row,) = json.loads(record([ROW]))["nodes"]["4"][0]
    assert set(row) == set(ROW) - {"place", "file", "size"} | {"autov2"}
    assert row["autov2"] == "0123456789"


def test_hashes_are_written_as_a1111_writes_them() -> None:
    off = {"model": "civitai:3@4", "status": "off"}
    again = {**ROW, "weight": 0.1}
    other = {**ROW, "sha256": "f" * 64, "file": "b.safetensors"}
    assert lora_hashes([ROW, off, again, other]) == "pixel_art_xl: 0123456789, b: ffffffffff"
    assert lora_hashes([off]) == ""


def test_a_node_that_ran_several_times_is_left_to_its_workflow() -> None:
    assert read_record(record([ROW], [ROW])) == {}


WORKFLOW = {
    "1": {"class_type": "AirLoraArray", "inputs": {"lora": '[{"model": "civitai:1@2"}]'}},
    "2": {"class_type": "Concatenate", "inputs": {"a": ["1", 0], "b": "x"}},
    "4": {"class_type": "AirLoraApply", "inputs": {"lora": ["2", 0]}},
    "5": {"class_type": "LoraLoader", "inputs": {"lora_name": "a.safetensors", "strength_model": 0.5}},
}


def test_what_ran_counts_and_not_the_texts_that_led_to_it() -> None:
    content = picture(prompt=WORKFLOW, air_lora=format_record({"4": [[ROW]]}))
    assert named(content) == [("civitai:1@2", 0.7, DIGEST), ("local:a.safetensors", 0.5, "")]


def test_a_record_of_a_node_that_is_not_in_the_workflow_says_nothing() -> None:
    apply = {"4": {"class_type": "AirLoraApply", "inputs": {"lora": '[{"model": "civitai:7@8"}]'}}}
    content = picture(prompt=apply, air_lora=format_record({"9": [[ROW]]}))
    assert named(content) == [("civitai:7@8", 1.0, "")]


def test_a_record_alone_is_enough() -> None:
    assert named(picture(air_lora=format_record({"4": [[ROW]]}))) == [("civitai:1@2", 0.7, DIGEST)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"format": 2, "nodes": {}}',
        '{"format": 1, "nodes": []}',
        record([{**ROW, "weight": 9}]),
        record([{**ROW, "model": "?"}]),
        record([{**ROW, "model": 5}]),
        record([{**ROW, "transformer": "all"}]),
        '{"format": 1, "nodes": {"4": [["x"]]}}',
        '{"format": 1, "nodes": {"4": ["x"]}}',
    ],
)
def test_what_is_no_record_is_passed_over(text: str) -> None:
    assert read_record(text) == {}


def test_a_hash_that_is_none_is_left_out() -> None:
    assert read_record(record([{**ROW, "sha256": "../x"}]))["4"][0].sha256 == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ROW, "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries({"format": st.just(1), "nodes": st.dictionaries(st.text(max_size=3), JSON) | JSON})
)
def test_nothing_that_is_written_there_fails(document: Any) -> None:
    read_record(json.dumps(document))
    loras_in(picture(prompt=WORKFLOW, air_lora=document))


def test_a_picture_of_several_runs_has_each_file_where_it_was_strongest() -> None:
    row = {"model": "civitai:1@2", "sha256": "a" * 64, "status": "applied"}
    runs = [
        [{**row, "weight": 0.9, "status": "skipped"}],
        [{**row, "weight": 0.3}],
        [{**row, "weight": -0.6}, {**row, "weight": 0.2, "sha256": "b" * 64}],
    ]
    assert [each["weight"] for each in strongest_rows(runs)] == [-0.6, 0.2]
