"""A long step at a terminal, and in a log."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pty = pytest.importorskip("pty", reason="Windows has no such terminals to test with")

STEP = """
import time
from tools.waiting import Waiting
with Waiting("  fetching") as waiting:
    time.sleep(3)
    waiting.say("half of it")
print("done")
"""


def test_a_terminal_counts_the_seconds_and_keeps_only_what_was_said() -> None:
    screen, terminal = pty.openpty()
    subprocess.run([sys.executable, "-c", STEP], cwd=ROOT, stdout=terminal, check=True)
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(screen, 4096)
        except OSError:  # how Linux signals the end
            break
        if not part:
            break
        shown += part
    text = shown.decode()
    assert "  fetching" in text
    kept = [line.rsplit("\r", 1)[-1].strip() for line in text.replace("\r\n", "\n").rstrip("\n").split("\n")]
    assert kept == ["half of it", "done"]


def test_a_log_has_whole_lines_alone() -> None:
    done = subprocess.run([sys.executable, "-c", STEP], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "half of it\ndone\n"
