"""Names of LoRA files in ComfyUI's lists, other packs' stacks, and users' input, and this system's separators."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import folder_paths
import pytest
from air_lora_pack.nodes.array.lora_stack import stack_entries
from air_lora_pack.nodes.server.model_folders import as_listed, loader_name
from air_lora_pack.nodes.server.saved_loras import checked_name
from air_lora_pack.nodes.server.settings import listed_name

from lora_resolver import InvalidInput, StorageFailed
from tests.lora_files import sd15_lora

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


@pytest.fixture
def loras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ComfyUI with one folder of LoRAs that contains files."""
    folder = tmp_path / "loras"
    sd15_lora(folder / "Styles" / "Pixel.safetensors", seed=1)
    endings = folder_paths.folder_names_and_paths["loras"][1]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", ([str(folder)], endings))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return folder


def test_a_file_s_name_for_core_s_loaders_is_one_that_they_list(loras: Path, tmp_path: Path) -> None:
    path = loras / "Styles" / "Pixel.safetensors"
    assert loader_name(path) in folder_paths.get_filename_list("loras")
    assert listed_name(path) == "Styles/Pixel.safetensors"
    (tmp_path / "link").symlink_to(loras)
    assert loader_name(tmp_path / "link" / "Styles" / "Pixel.safetensors") == loader_name(path)
    with pytest.raises(StorageFailed, match="outside the loras folders"):
        loader_name(tmp_path / "elsewhere.safetensors")


@pytest.mark.parametrize(
    ("name", "listed", "expected"),
    [
        (
            "styles\\PIXEL.safetensors",
            ["Styles\\Pixel.safetensors", "x.safetensors"],
            "Styles\\Pixel.safetensors",
        ),
        ("T\u00f6ne.safetensors", ["To\u0308ne.safetensors"], "To\u0308ne.safetensors"),
        ("a.safetensors", ["A.safetensors", "a.safetensors"], "a.safetensors"),
        ("new.safetensors", ["A.safetensors"], "new.safetensors"),
    ],
)
def test_letters_are_those_of_the_list(name: str, listed: list[str], expected: str) -> None:
    assert as_listed(name, listed) == expected


def test_rows_of_stacks_in_every_spelling(loras: Path, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere" / "far.safetensors"
    rows = [
        ("Styles/Pixel.safetensors", 1.0, 1.0),
        ("Styles\\Pixel.safetensors", 1.0, 1.0),
        ("./Styles/Pixel.safetensors", 1.0, 1.0),
        (str(loras / "Styles" / "Pixel.safetensors"), 1.0, 1.0),
        (str(loras / "Styles" / ".." / "Styles" / "Pixel.safetensors"), 1.0, 1.0),
    ]
    assert {str(entry.identifier) for entry in stack_entries(rows)} == {"local:Styles/Pixel.safetensors"}
    (far,) = stack_entries([(str(outside), 1.0, 1.0)])
    assert (str(far.identifier), far.folder) == ("local:far.safetensors", outside.parent)


@pytest.mark.parametrize(
    "name",
    ["C:\\loras\\x.safetensors", "\\\\server\\share\\x.safetensors", "../x.safetensors", "a:b.safetensors"],
)
def test_a_row_of_a_stack_with_another_system_s_path_says_so(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        stack_entries([(name, 1.0, 1.0)])
    assert caught.value.parameter == "lora_stack[0]"
    assert caught.value.code in ("unsafePath", "unknownAddress")


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("merged/my-mix", "merged/my-mix.safetensors"),
        ("merged\\my-mix.SAFETENSORS", "merged/my-mix.safetensors"),
        (" Töne v1.5 ", "Töne v1.5.safetensors"),
        (unicodedata.normalize("NFD", "Töne"), unicodedata.normalize("NFC", "Töne.safetensors")),
    ],
)
def test_names_that_a_node_may_save_under(name: str, listed: str) -> None:
    assert checked_name(name) == listed


@pytest.mark.parametrize(
    "name",
    [
        "CON",
        "con.v2",
        "aux.safetensors",
        "merged/NUL/x",
        "lpt1 .x/y",
        "x.",
        "dir./x",
        "dir /x",
        ".hidden",
        "C:\\x",
        "C:x",
        "\\\\server\\share\\x",
        "//server/share/x",
        "a:b",
        "a*b",
        "a\u202eb",
        "x" * 160,
        "/".join(["d"] * 9) + "/x",
        "",
    ],
)
def test_names_that_not_every_system_can_have_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        checked_name(name)
    assert caught.value.code == "invalidFileName"
