"""Arrays that are saved with a name."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from lora_resolver.errors import InvalidInput, NotFound
from lora_resolver.settings.presets import (
    MAX_NAME,
    MAX_PRESETS,
    Preset,
    delete_preset,
    read_presets,
    save_preset,
)

if TYPE_CHECKING:
    from pathlib import Path

ARRAY = '[{"model": "civitai:1@2", "weight": 0.5}]'


def test_saved_by_name_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "presets.json"
    save_preset(path, "soft light", "[{'model': 'civitai:1@2', 'weight': 0.5,}]".replace("'", '"'))
    save_preset(path, "Ränder", [{"model": "urn:air:sdxl:lora:civitai:3@4"}])
    assert read_presets(path) == [
        Preset("Ränder", '[{"model": "civitai:3@4"}]'),
        Preset("soft light", ARRAY),
    ]
    save_preset(path, " soft  light ", "[]")
    assert [preset.lora for preset in read_presets(path)] == ['[{"model": "civitai:3@4"}]', "[]"]
    delete_preset(path, "soft light")
    assert [preset.name for preset in read_presets(path)] == ["Ränder"]


@pytest.mark.parametrize("name", ["", "  ", "x" * (MAX_NAME + 1), "a\0b", "a\u202eb"])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        save_preset(tmp_path / "presets.json", name, ARRAY)
    assert raised.value.parameter == "name"


def test_a_faulty_array_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"lora\[0\].weight"):
        save_preset(tmp_path / "presets.json", "a", '[{"model": "civitai:1@2", "weight": 9}]')
    assert read_presets(tmp_path / "presets.json") == []


def test_deleting_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        delete_preset(tmp_path / "presets.json", "nobody")


def test_a_broken_file_is_an_error_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "presets.json"
    path.write_text("[{")
    with pytest.raises(InvalidInput, match=r"presets\.json"):
        save_preset(path, "a", ARRAY)
    assert path.read_text() == "[{"


def test_strange_entries_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "presets.json"
    path.write_text(json.dumps([1, {"name": "a"}, {"name": 3, "lora": "[]"}, {"name": "b", "lora": "[]"}]))
    assert read_presets(path) == [Preset("b", "[]")]


def test_there_is_an_end_to_their_number(tmp_path: Path) -> None:
    path = tmp_path / "presets.json"
    path.write_text(json.dumps([{"name": str(number), "lora": "[]"} for number in range(MAX_PRESETS)]))
    save_preset(path, "7", ARRAY)
    with pytest.raises(InvalidInput, match=f"{MAX_PRESETS} presets"):
        save_preset(path, "one more", ARRAY)


def test_several_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "presets.json"
    threads = [threading.Thread(target=save_preset, args=(path, f"p{number}", ARRAY)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_presets(path)) == 20
