"""The preview picture of a LoRA, with the names that common tools use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lora_resolver import find_preview
from lora_resolver.on_disk.preview import named_preview

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [
    f"style.v1{before}.{ending}"
    for before in (".preview", "")
    for ending in ("jpeg", "jpg", "png", "webp", "gif")
]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_found_under_each_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"picture")
    assert find_preview(tmp_path / "style.v1.safetensors") == tmp_path / name


def test_one_that_says_so_comes_first(tmp_path: Path) -> None:
    for name in ("style.jpeg", "style.preview.webp"):
        (tmp_path / name).write_bytes(b"picture")
    assert find_preview(tmp_path / "style.safetensors") == tmp_path / "style.preview.webp"


@pytest.mark.parametrize("name", ["style.txt", "style2.png", "style.png/inside", "style.v2.png"])
def test_other_files_are_no_picture_of_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"other")
    assert find_preview(tmp_path / "style.safetensors") is None


def test_a_plain_picture_is_the_user_s_own(tmp_path: Path) -> None:
    (tmp_path / "style.png").write_bytes(b"picture")
    assert named_preview(tmp_path / "style.safetensors") is None
