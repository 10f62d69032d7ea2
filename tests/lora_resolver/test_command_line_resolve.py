"""`python -m lora_resolver resolve`, as programs call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.lora_resolver.civitai_faults import FaultyCivitai
    from tools.civitai_server import CatalogueEntry

    Resolve = Callable[..., subprocess.CompletedProcess[str]]

INK = "civitai:120096@135931"


@pytest.fixture
def resolve(civitai: FaultyCivitai, tmp_path: Path) -> Resolve:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        settings = {"AIR_LORA_DIR": str(tmp_path / "loras"), "AIR_LORA_CIVITAI_URL": civitai.url}
        return subprocess.run(
            [sys.executable, "-m", "lora_resolver", "resolve", *arguments],
            cwd=ROOT,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

    return run


def test_a_lora_is_downloaded_once_and_told_as_json(
    resolve: Resolve, ink: CatalogueEntry, tmp_path: Path
) -> None:
    first = resolve("--json", INK)
    assert first.returncode == 0, first.stderr
    (report,) = json.loads(first.stdout)
    assert report == {
        "identifier": INK,
        "path": str(tmp_path / "loras/air/civitai/120096@135931/ink.safetensors"),
        "sha256": ink.sha256,
        "size": ink.file.stat().st_size,
        "source": "civitai",
        "downloaded": True,
        "architecture": report["architecture"],
        "trigger_words": ["ink", "pen drawing"],
        "error": None,
    }
    (again,) = json.loads(resolve("--json", INK).stdout)
    assert again == {**report, "downloaded": False}


def test_one_that_cannot_be_had_does_not_hide_the_others(resolve: Resolve) -> None:
    run = resolve("--json", "civitai:5@6", INK)
    assert run.returncode == 1
    missing, found = json.loads(run.stdout)
    assert missing["error"]["code"]
    assert missing["path"] is None
    assert found["error"] is None


def test_bad_input_is_status_2_and_says_how_to_write_it(resolve: Resolve) -> None:
    run = resolve("120096@135931")
    assert run.returncode == 2
    assert 'Did you mean "civitai:120096@135931"?' in run.stderr
    assert run.stdout == ""


def test_for_people_it_prints_the_path_first(resolve: Resolve, tmp_path: Path) -> None:
    run = resolve(INK)
    lines = run.stdout.splitlines()
    assert lines[0] == str(tmp_path / "loras/air/civitai/120096@135931/ink.safetensors")
    assert "trigger words: ink, pen drawing" in run.stdout
