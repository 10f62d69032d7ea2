"""Runs a part of a benchmark in a separate process, so that its memory isn't available to other parts."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from benchmarks.results import BenchmarkResult


def run_apart(module: str, part: str) -> list[BenchmarkResult]:
    """Returns the rows of `module.run_part(part)`, which can also print. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "benchmarks.own_process", module, part, str(answer)]
        subprocess.run(command, check=True)
        return [BenchmarkResult(**row) for row in json.loads(answer.read_text())]


def main(module: str, part: str, answer: str) -> None:
    """Runs in the process that `run_apart` starts."""
    rows = import_module(module).run_part(part)
    Path(answer).write_text(json.dumps([asdict(row) for row in rows]))


if __name__ == "__main__":
    main(*sys.argv[1:])
