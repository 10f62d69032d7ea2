"""The weight suggested by a note next to a file, by its header, or by its source."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lora_resolver import LoraRecord, Resolver, ResolverConfig, SuggestedWeight
from lora_resolver.model_file.suggested_weight import suggested_weight
from lora_resolver.on_disk import civitai_json
from tests import lora_files
from tests.lora_modules import modules_of

if TYPE_CHECKING:
    from pathlib import Path

CIVITAI = SuggestedWeight(0.55, None, None, "CivitAI")


def noted(folder: Path, **notes: object) -> Path:
    """The path of a LoRA with these notes. The names of the notes are `manager`, `a1111`, `rgthree`."""
    path = folder / "style.v1.safetensors"
    names = {
        "manager": "style.v1.metadata.json",
        "a1111": "style.v1.json",
        "rgthree": "style.v1.safetensors.rgthree-info.json",
    }
    for name, content in notes.items():
        (folder / names[name]).write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("notes", "weight"),
    [
        ({"manager": {"usage_tips": '{"strength":0.8}'}}, SuggestedWeight(0.8, None, None, "Lora Manager")),
        (
            {"manager": {"usage_tips": '{"strength":1,"strength_min":0.9,"strength_max":1.1}'}},
            SuggestedWeight(1.0, 0.9, 1.1, "Lora Manager"),
        ),
        (
            {"manager": {"usage_tips": '{"strength_range":"0.3-0.8"}'}},
            SuggestedWeight(0.55, 0.3, 0.8, "Lora Manager"),
        ),
        ({"a1111": {"preferred weight": 0.7}}, SuggestedWeight(0.7, None, None, "A1111")),
        ({"a1111": {"preferred weight": "0.8"}}, SuggestedWeight(0.8, None, None, "A1111")),
        (
            {"rgthree": {"strengthMin": "0.60", "strengthMax": "1.00"}},
            SuggestedWeight(0.8, 0.6, 1.0, "rgthree"),
        ),
        (
            {"a1111": {"preferred weight": 0.7}, "manager": {"usage_tips": '{"strength":-0.5}'}},
            SuggestedWeight(-0.5, None, None, "Lora Manager"),
        ),
        (
            {"a1111": {"preferred weight": 0.7}, "manager": {"usage_tips": "{}"}},
            SuggestedWeight(0.7, None, None, "A1111"),
        ),
    ],
)
def test_notes_beside_the_file(tmp_path: Path, notes: dict[str, object], weight: SuggestedWeight) -> None:
    record = LoraRecord("civitai:1@2", suggested_weight=CIVITAI)
    assert suggested_weight(noted(tmp_path, **notes), "0.9", record.suggested_weight) == weight


@pytest.mark.parametrize(
    "notes",
    [
        {},
        {"a1111": {"preferred weight": 0}},
        {"a1111": {"modelVersions": []}},
        {"a1111": {"preferred weight": 40}},
        {"a1111": {"preferred weight": "nan"}},
        {"a1111": {"preferred weight": True}},
        {"a1111": {"preferred weight": 10**400}},
        {"a1111": "[" * 100_000},
        {"manager": {"usage_tips": ""}},
        {"manager": {"usage_tips": '{"strength": 0.0}'}},
        {"manager": {"usage_tips": '{"clip_skip": 2}'}},
        {"manager": {"usage_tips": "[1]"}},
        {"manager": {"usage_tips": '{"strength_range": "much"}'}},
        {"manager": {"usage_tips": {"strength": 0.8}}},
        {"rgthree": {"strengthMin": "0.00", "strengthMax": "0.00"}},
        {"rgthree": {"strengthMax": "1.00"}},
        {"rgthree": {"strengthMin": 1, "strengthMax": 0.5}},
    ],
)
def test_what_says_nothing_leaves_it_to_the_source(tmp_path: Path, notes: dict[str, object]) -> None:
    assert suggested_weight(noted(tmp_path, **notes), "", CIVITAI) == CIVITAI
    assert suggested_weight(noted(tmp_path, **notes), "0", None) is None


def test_the_header_comes_after_the_notes_and_before_the_source(tmp_path: Path) -> None:
    path = noted(tmp_path)
    assert suggested_weight(path, "0.65", CIVITAI) == SuggestedWeight(0.65, None, None, "SwarmUI")


@pytest.mark.parametrize(
    ("settings", "weight"),
    [
        ({"strength": 0.8, "minStrength": 0.5, "maxStrength": 1}, SuggestedWeight(0.8, 0.5, 1.0, "CivitAI")),
        ({"strength": 0.8}, SuggestedWeight(0.8, None, None, "CivitAI")),
        ({"strength": 0, "minStrength": -1, "maxStrength": 2}, SuggestedWeight(0.0, -1.0, 2.0, "CivitAI")),
        (
            {"strength": 1, "minStrength": -1, "maxStrength": 2},
            None,
        ),  # CivitAI's values if the author chose nothing
        ({"strength": None}, None),
        (None, None),
        ([0.8], None),
    ],
)
def test_what_civitai_says(settings: object, weight: SuggestedWeight | None) -> None:
    record = civitai_json.lora_record({"id": 2, "modelId": 1, "settings": settings}, "https://civitai.com")
    assert record.suggested_weight == weight
    assert LoraRecord.from_dict(json.loads(json.dumps(record.as_dict()))).suggested_weight == weight


def test_a_file_in_the_library_says_it(tmp_path: Path) -> None:
    path = lora_files.write_lora(
        tmp_path / "style.v1.safetensors",
        modules_of("sd15"),
        metadata={"modelspec.lora_default_weight": "0.6"},
    )
    config = ResolverConfig(download_dir=tmp_path)
    (file,) = Resolver(config).library()
    assert file.suggested_weight() == SuggestedWeight(0.6, None, None, "SwarmUI")
    noted(tmp_path, a1111={"preferred weight": 0.75})
    (file,) = Resolver(config).library()  # the note is read again, but not the header
    assert file.suggested_weight() == SuggestedWeight(0.75, None, None, "A1111")
    assert path.exists()
