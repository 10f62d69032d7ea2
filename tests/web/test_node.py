"""Runs the page's JavaScript tests, which use Node, together with all other tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright._impl._driver import compute_driver_executable

from tests.conftest import ROOT

pytestmark = pytest.mark.integration

OLDEST_NODE = 20
"""The first version whose test runner prints readable reports by default."""


def node() -> str:
    """Returns the Node on PATH if it is new enough, or the one in the playwright package, which is always installed."""
    found = shutil.which("node")
    if found and _major_version(found) >= OLDEST_NODE:
        return found
    return str(compute_driver_executable()[0])


def _major_version(program: str) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    number = said.strip().lstrip("v").partition(".")[0]
    return int(number) if number.isdecimal() else 0


@pytest.mark.parametrize("file", sorted(Path(__file__).parent.glob("*.test.mjs")), ids=lambda path: path.name)
def test_the_page_s_own_tests_pass(file: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "NODE_OPTIONS"}
    done = subprocess.run(
        [node(), "--test", "--test-reporter=spec", str(file)],
        cwd=ROOT,
        env={**environment, "NO_COLOR": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=280,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}", pytrace=False)
