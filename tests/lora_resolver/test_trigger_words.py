"""Trigger words from other places if the source has none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lora_resolver import Resolver, ResolverConfig
from lora_resolver.model_file.trigger_words import trigger_words
from tests import lora_files
from tests.lora_modules import modules_of

if TYPE_CHECKING:
    from pathlib import Path


def counted(tags: dict[str, object], pictures: int | None = 20, folder: str = "10_p1x") -> dict[str, str]:
    """Metadata as sd-scripts writes it."""
    metadata = {"ss_tag_frequency": json.dumps({folder: tags})}
    if pictures is not None:
        metadata["ss_dataset_dirs"] = json.dumps({folder: {"n_repeats": 10, "img_count": pictures}})
    return metadata


def test_a_source_s_own_words_come_first() -> None:
    assert trigger_words(("p1x art",), {"modelspec.trigger_phrase": "other"}, None) == ("p1x art",)


def test_the_author_s_phrase_in_the_file() -> None:
    metadata = {"modelspec.trigger_phrase": "p1x, pixel art, p1x", **counted({"other": 20})}
    assert trigger_words((), metadata, None) == ("p1x", "pixel art")


def test_tags_that_every_picture_had() -> None:
    tags = {"p1x": 20, "1girl": 20, "house": 12, "pixel art": 20, "x" * 200: 20}
    assert trigger_words((), counted(tags), None) == ("p1x", "pixel art")


def test_where_nobody_counted_the_pictures_the_commonest_tag_counts() -> None:
    assert trigger_words((), counted({"p1x": 17, "house": 12}, pictures=None), None) == ("p1x",)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        counted({"house": 12, "tree": 19}),
        counted({"a": 1, "b": 1}, pictures=1),
        counted({"solo": 20, "1girl": 20}),
        counted({"p1x": "many", "q": None}, pictures=None),
        {"ss_tag_frequency": "[" * 100_000},
        {"ss_tag_frequency": '["p1x"]'},
        {"ss_tag_frequency": '{"10_p1x": 7}', "ss_dataset_dirs": "None"},
        {"modelspec.trigger_phrase": " , "},
    ],
)
def test_what_says_nothing_gives_no_words(metadata: dict[str, str]) -> None:
    assert trigger_words((), metadata, None) == ()


def test_machine_captions_do_not_flood_the_prompt() -> None:
    assert len(trigger_words((), counted({f"tag {number}": 20 for number in range(15)}), None)) == 3


def test_words_of_several_training_folders() -> None:
    metadata = {"ss_tag_frequency": json.dumps({"1_a": {"red": 5, "x": 2}, "1_b": {"blue": 4, "red": 4}})}
    assert trigger_words((), metadata, None) == ("red", "blue")


def test_a_file_on_this_disk(tmp_path: Path) -> None:
    path = lora_files.write_lora(
        tmp_path / "mine.safetensors", modules_of("sd15"), metadata={"modelspec.trigger_phrase": "p1x"}
    )
    resolver = Resolver(ResolverConfig(download_dir=tmp_path, offline=True))
    assert resolver.resolve("local:mine.safetensors").trigger_words == ("p1x",)
    assert resolver.peek("local:mine.safetensors").trigger_words == ("p1x",)
    path.with_suffix(".json").write_text('{"activation text": "mine, pixel", "preferred weight": 0.8}')
    assert resolver.resolve("local:mine.safetensors").trigger_words == ("mine", "pixel")
    path.with_suffix(".json").write_text("not JSON")
    assert resolver.resolve("local:mine.safetensors").trigger_words == ("p1x",)


@pytest.mark.parametrize(
    ("note", "content", "words"),
    [
        (
            "mine.metadata.json",
            {"file_name": "mine", "sha256": "0" * 64, "civitai": {"trainedWords": ["p1x art", " sky "]}},
            ("p1x art", "sky"),
        ),
        ("mine.metadata.json", {"civitai": None}, ("by the author",)),
        (
            "mine.safetensors.rgthree-info.json",
            {
                "trainedWords": [
                    {"word": "p1x", "user": True},
                    {"word": "1girl", "metadata": True, "count": 20},
                ]
            },
            ("p1x",),
        ),
        ("mine.safetensors.rgthree-info.json", {"trainedWords": ["p1x", 7, None]}, ("by the author",)),
    ],
)
def test_words_that_a_user_noted_with_other_tools(
    tmp_path: Path, note: str, content: dict[str, object], words: tuple[str, ...]
) -> None:
    lora_files.write_lora(
        tmp_path / "mine.safetensors",
        modules_of("sd15"),
        metadata={"modelspec.trigger_phrase": "by the author"},
    )
    (tmp_path / note).write_text(json.dumps(content))
    resolver = Resolver(ResolverConfig(download_dir=tmp_path, offline=True))
    assert resolver.resolve("local:mine.safetensors").trigger_words == words
