"""A few thousand of the headers that `python -m tools.fuzz_headers` makes by the hundred thousand."""

from __future__ import annotations

import random
import subprocess
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from tools.fuzz_headers import examine, hostile_headers


def test_none_of_them_breaks_a_promise() -> None:
    outcomes = {
        examine(content, memory=number % 50 == 0)
        for number, content in zip(range(3000), hostile_headers(random.Random(7)))
    }
    assert "read" in outcomes
    assert len(outcomes) > 8, "they must be broken in many ways to show anything"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=3000))
def test_bytes_of_any_kind(content: bytes) -> None:
    examine(content)
    examine(len(content).to_bytes(8, "little") + content)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.binary(max_size=40), st.floats(0, 1))
def test_anything_written_into_the_middle(seed: int, written: bytes, where: float) -> None:
    content = next(hostile_headers(random.Random(seed)))
    at = int(len(content) * where)
    examine(content[:at] + written + content[at + len(written) :])


def test_the_command_says_what_it_found() -> None:
    command = [sys.executable, "-m", "tools.fuzz_headers", "--count", "200"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("200 headers in ")
