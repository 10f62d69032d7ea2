"""A Python environment with Ray Serve. Only the tests and the benchmark of `fleet/` need it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from tools.runtime import RUNTIME, SetupError, say

if TYPE_CHECKING:
    from pathlib import Path

RAY = "ray[serve]==2.60.0"
BESIDE = ("requests", "tqdm", "Pillow")


def ensure_ray() -> Path:
    """The Python executable of that environment, which is created if it doesn't exist. Raises SetupError."""
    target = RUNTIME / RAY.replace("[serve]==", "-")
    python = target / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = target / "ready"
    if ready.exists():
        return python
    say(f"Fetching {RAY}…")
    RUNTIME.mkdir(exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(target)])
    # Python compiles what is used, which takes less time than pip takes to compile everything.
    _run([str(python), "-m", "pip", "install", "--quiet", "--no-compile", RAY, *BESIDE])
    ready.touch()
    return python


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise SetupError(f"{' '.join(command[:4])} failed:\n{(done.stderr or done.stdout)[-800:]}")
