"""Values as users write them, and the arrays that they produce."""

from __future__ import annotations

import json

import pytest
import torch
from air_lora_pack.nodes.array.weight_sweep import read_values, sweep
from air_lora_pack.nodes.pictures.drawing import to_pictures, to_tensor
from air_lora_pack.nodes.pictures.picture_grid import LARGEST_SIDE, grid_of, sheet_of
from PIL import Image

from lora_resolver import InvalidInput, parse_lora_array

ARRAY = parse_lora_array(
    [
        {"model": "civitai:1@2", "weight": 0.5},
        {"model": "local:sub/style.safetensors", "weight": 0.8, "clip_weight": 0.2},
        {"model": "civitai:5@6", "weight": 0.3, "enabled": False},
    ]
)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.4, 0.7, 1", (0.4, 0.7, 1.0)),
        ("0.4 0.7\n1;-1", (0.4, 0.7, 1.0, -1.0)),
        ("0.2:1:0.2", (0.2, 0.4, 0.6, 0.8, 1.0)),
        ("1 : 0.5 : 0.25", (1.0, 0.75, 0.5)),
        ("0:0.2", (0.0, 0.1, 0.2)),
        ("0, 0.5:1:0.5, 2", (0.0, 0.5, 1.0, 2.0)),
    ],
)
def test_values_are_numbers_and_ranges(text: str, values: tuple[float, ...]) -> None:
    assert read_values(text) == values


@pytest.mark.parametrize(
    "text", ["", "a", "0.5, x", "5", "0:4:0.001", "0:1:0", "nan", "1e9", ",".join(["1"] * 101)]
)
def test_what_is_no_list_of_weights_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_values(text)
    assert (caught.value.code, caught.value.parameter) == ("invalidSweep", "values")


def test_one_entry_is_swept_and_the_others_stay() -> None:
    first = [json.loads(each.lora) for each in sweep(ARRAY, 1, (0.0, 1.5))]
    assert [each[0] for each in first] == [
        {"model": "civitai:1@2", "weight": 0.0},
        {"model": "civitai:1@2", "weight": 1.5},
    ]
    assert all(each[1]["weight"] == 0.8 for each in first)
    (second,) = sweep(ARRAY, 2, (0.6,))
    assert json.loads(second.lora)[1] == {
        "model": "local:sub/style.safetensors",
        "weight": 0.6,
        "clip_weight": 0.2,
    }
    assert second.label == "style  0.6"


def test_an_entry_that_is_off_is_switched_on_when_it_is_the_one() -> None:
    (third,) = sweep(ARRAY, 3, (0.6,))
    assert "enabled" not in json.loads(third.lora)[2]
    (every,) = sweep(ARRAY, 0, (0.6,))
    assert [each["weight"] for each in json.loads(every.lora)] == [0.6, 0.6, 0.3]
    assert json.loads(every.lora)[2]["enabled"] is False
    assert every.label == "all  0.6"


@pytest.mark.parametrize("entry", [4, -1])
def test_an_entry_that_is_not_there_is_named(entry: int) -> None:
    with pytest.raises(InvalidInput, match="the array has 3 entries") as caught:
        sweep(ARRAY, entry, (1.0,))
    assert caught.value.code == "noSuchEntry"


def test_an_empty_array_has_nothing_to_sweep() -> None:
    with pytest.raises(InvalidInput, match="0 entries"):
        sweep((), 0, (1.0,))


def test_pictures_stand_in_rows_below_their_labels() -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    pictures = [Image.new("RGB", (100, 80 - 10 * number), colour) for number, colour in enumerate(colours)]
    sheet = grid_of(pictures, ["one", "two", "three"], 2)
    found = {colour: count for count, colour in sheet.getcolors(1 << 20) if colour in colours}
    assert found == {(255, 0, 0): 8000, (0, 255, 0): 7000, (0, 0, 255): 6000}
    rows = [[x for x in range(sheet.width) if sheet.getpixel((x, y)) in colours] for y in range(sheet.height)]
    assert max(len(row) for row in rows) == 200, "two in a row"
    bare = grid_of(pictures, [], 2)
    assert bare.height < sheet.height


def test_a_sheet_has_its_bounds_and_labels_of_any_script() -> None:
    pictures = [Image.new("RGB", (3000, 100)) for _ in range(8)]
    assert max(grid_of(pictures, ["像素艺术 🙂 a very long label indeed" * 5] * 8, 8).size) == LARGEST_SIDE


def test_pictures_go_to_tensors_and_back() -> None:
    image = Image.effect_noise((16, 8), 50).convert("RGB")
    tensor = to_tensor(image)
    assert tensor.shape == (1, 8, 16, 3)
    assert tensor.dtype == torch.float32
    assert [each.tobytes() for each in to_pictures(tensor)] == [image.tobytes()]
    assert to_pictures(torch.zeros(2, 4, 4, 4))[1].mode == "RGB", "transparency is left out"


def test_pictures_of_two_axes_make_a_table() -> None:
    colours = [(200, 40 * number, 10) for number in range(6)]
    pictures = [Image.new("RGB", (90, 60), colour) for colour in colours]
    names = [
        f"{weight}\tline {row}"
        for row in (1, 2)
        for weight in ("0.2", "0.4", "a much longer head of a column")
    ]
    table = sheet_of(pictures, names, 0)
    places = {}
    for colour in colours:
        mask = [
            (x, y)
            for x in range(table.width)
            for y in range(table.height)
            if table.getpixel((x, y)) == colour
        ]
        assert len(mask) == 90 * 60
        places[colour] = min(mask)
    xs, ys = ([places[colour][axis] for colour in colours] for axis in (0, 1))
    assert xs[:3] == xs[3:]
    assert len({*ys[:3]}) == len({*ys[3:]}) == 1
    assert xs[0] > 40, "the heads of the rows stand beside them"
    twice = sheet_of(
        [each for each in pictures for _ in range(2)], [each for each in names for _ in range(2)], 0
    )
    assert twice.width > table.width, "a batch of two: both in its cell"


@pytest.mark.parametrize("names", [["a\tb", "a\tc", "d\tb"], ["a\tb", "a\tb", "plain"], ["a\tb\tc"] * 3])
def test_labels_of_no_table_make_a_grid(names: list[str]) -> None:
    pictures = [Image.new("RGB", (90, 60))] * 3
    flat = [name.replace("\t", "  ") for name in names]
    assert sheet_of(pictures, names, 0).tobytes() == grid_of(pictures, flat, 0).tobytes()
