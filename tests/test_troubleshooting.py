"""The page of errors has each code, and none that no error carries."""

from __future__ import annotations

import re

from tests.error_codes import ROOT, error_codes


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
