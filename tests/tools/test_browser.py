"""The error if the browser can't be downloaded."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

NOBODY_LISTENS = "http://127.0.0.1:9"


def test_a_browser_that_cannot_be_fetched_is_told_of_in_few_lines(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": str(tmp_path),  # neither a browser nor apt-get
        "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path),
        "PLAYWRIGHT_DOWNLOAD_HOST": NOBODY_LISTENS,
    }
    environment.pop("AIR_LORA_DEV_BROWSER", None)
    command = [sys.executable, str(ROOT / "tools" / "dev.py"), "test", "tests/browser"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    assert done.stderr == ""
    assert "Chromium" in done.stdout
    assert "Playwright said: " in done.stdout
    assert "make test ARGS='-m \"not browser\"'" in done.stdout
    assert len(done.stdout.splitlines()) < 10
    assert "    at " not in done.stdout  # a line of a stack trace
