"""The troubleshooting page lists every error code, and no others."""

from __future__ import annotations

import re

from lora_resolver.settings.settings_file import SETTING_KEYS
from tests.error_codes import ROOT, error_codes

OF_OTHERS = {"AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL", "LORA_STACK", "MODEL", "MODEL_LOW", "CLIP", "HOOKS"}
OF_OTHERS |= {"RUNWARE_IMAGE_INFERENCE_TIMEOUT", "RAY_AUTH_MODE"}
OF_OTHERS |= {"INS", "IND", "INALL", "MIDD", "OUTD", "OUTS", "OUTALL", "FACE", "PALETTE"}
"""Names in capitals on the pages that aren't our settings."""


def test_every_error_code_has_its_entry() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    explained = {
        code
        for line in page.splitlines()
        if line.startswith("| `")
        for code in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    codes = error_codes()
    assert len(codes) > 100
    assert {code: place for code, place in codes.items() if code not in explained} == {}
    assert explained - codes.keys() == set()


def test_every_variable_that_the_pages_name_is_one() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "web" / "docs").rglob("*.md")]
    named = {
        (name, page.name)
        for page in pages
        for name in re.findall(
            r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)(?:=[^`]*)?`", page.read_text(encoding="utf-8")
        )
    }
    assert {each for each in named if each[0] not in SETTING_KEYS | OF_OTHERS} == set()
    assert {name for name, page in named if page == "settings.md"} >= SETTING_KEYS
