"""Hostile responses, sidecars, workflows, and pictures are read or rejected, without any other exception.

`python -m tools.fuzz_readers` does the same for any number of them, guided by coverage if atheris is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tools.fuzz_readers import READERS, run, seeds_of, try_one

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", READERS)
def test_three_hundred_mutations_are_read_or_refused(name: str, tmp_path: Path) -> None:
    assert run(name, 300, 7, tmp_path / "kept") == 0


@pytest.mark.parametrize("name", READERS)
def test_the_seeds_are_sound(name: str, tmp_path: Path) -> None:
    for content in seeds_of(name):
        assert try_one(name, content, tmp_path) == ""


# Texts that broke a rule before.
BROKEN = {
    "sidecars": b'{"civitai": {"id": 1, "modelId": 2, "trainedWords": ["two\\ud800, three"]}}',
    "answers": b'{"id": 1, "modelId": 2, "files": [{"type": []}, {"type": {}, "metadata": []}]}',
    "workflows": b'{"5": {"class_type": "AirLoraApply", "inputs": {"' + b"[" * 5000 + b'": "[7]"}}}',
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_has_broken_a_rule_once(name: str, tmp_path: Path) -> None:
    assert try_one(name, BROKEN[name], tmp_path) == ""
