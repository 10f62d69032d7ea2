"""The installed pack in ComfyUI: it loads, provides its help and texts, and leaves no files behind."""

from __future__ import annotations

import re
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from tests.integration.conftest import Studio

pytestmark = pytest.mark.integration


def test_it_loads_without_a_word_of_complaint(studio: Studio) -> None:
    log = studio.process.log.read_text(encoding="utf-8", errors="replace")
    # ComfyUI's own list of import times: "   0.1 seconds: …/custom_nodes/air-lora", with "(IMPORT FAILED)" if it did.
    lines = re.findall(r"^.*\d seconds.*air-lora$", log, re.MULTILINE)
    assert len(lines) == 1
    assert "IMPORT FAILED" not in lines[0]


def test_its_help_page_is_served(studio: Studio) -> None:
    address = f"{studio.client.url}/extensions/air-lora/docs/AirLoraApply.md"
    with urllib.request.urlopen(address, timeout=240) as answer:
        assert answer.read().decode() == (ROOT / "web/docs/AirLoraApply.md").read_text(encoding="utf-8")


def test_its_texts_are_served(studio: Studio) -> None:
    texts = studio.client.get("/i18n")["en"]["nodeDefs"]["AirLoraApply"]
    info = studio.client.get("/object_info/AirLoraApply")["AirLoraApply"]
    assert texts["display_name"] == info["display_name"]
    named = {**info["input"]["required"], **info["input"]["optional"]}
    assert set(texts["inputs"]) == set(named)


def test_it_writes_into_the_loras_and_the_user_folder_alone(studio: Studio) -> None:
    top = {path.name for path in studio.process.base.iterdir()}
    assert top <= {"comfyui.log", "custom_nodes", "input", "models", "output", "temp", "user"}
    models = {path.name for path in (studio.process.base / "models" / "loras").iterdir()}
    assert models <= {"air", "merged", "mine"}
