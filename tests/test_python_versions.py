"""The sources under each of Python 3.10 to 3.13 that is installed here, always including the current Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.lora_resolver.served_loras import write_safetensors

VERSIONS = ("3.10", "3.11", "3.12", "3.13")
COMPILE = """
import sys, pathlib
for path in sys.argv[1:]:
    compile(pathlib.Path(path).read_bytes(), path, "exec")
print(".".join(map(str, sys.version_info[:2])))
"""


def interpreters() -> dict[str, str]:
    """Version → program, of those that start. Includes pyenv's, whichever of them is active."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = {".".join(map(str, sys.version_info[:2])): sys.executable}
    for version in VERSIONS:
        candidates = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))]
        for candidate in filter(None, candidates):
            if version not in found and said(str(candidate), "-c", COMPILE) == [version]:
                found[version] = str(candidate)
    return found


def said(python: str, *arguments: str) -> list[str]:
    """Returns the lines of its output, or its error output if it failed.

    It runs without additional packages, and every warning is an error.
    """
    done = subprocess.run(
        [python, "-I", "-B", "-W", "error", "-X", "utf8", *arguments],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    return done.stdout.splitlines() if done.returncode == 0 else [done.stderr]


def test_every_source_is_understood_by_every_python() -> None:
    sources = [str(ROOT / "__init__.py")]
    for folder in ("lora_resolver", "nodes"):
        sources += map(str, sorted((ROOT / folder).rglob("*.py")))
    for version, python in interpreters().items():
        assert said(python, "-c", COMPILE, *sources) == [version]


def test_the_command_line_needs_no_newer_library(tmp_path: Path) -> None:
    file = write_safetensors(tmp_path / "ink.safetensors", 5_000)
    start = f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); sys.argv[:] = sys.argv[1:]; "
    start += "runpy.run_module('lora_resolver', run_name='__main__', alter_sys=True)"
    answers = []
    for python in interpreters().values():
        parsed = said(python, "-c", start, "lora_resolver", "parse", "--json", '[{"model": "civitai:1@2"}]')
        inspected = said(python, "-c", start, "lora_resolver", "inspect", "--json", str(file))
        answers.append([json.loads("\n".join(lines)) for lines in (parsed, inspected)])
    assert answers[0][0]["entries"][0]["model"] == "civitai:1@2"
    assert all(answer == answers[0] for answer in answers)
