"""What all tests share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def comfyui_path() -> Path:
    """The ComfyUI that `make test` chose, or the development runtime."""
    from tools.runtime import COMFYUI_VERSION, RUNTIME

    chosen = os.environ.get("AIR_LORA_DEV_COMFYUI")
    return Path(chosen) if chosen else RUNTIME / f"comfyui-{COMFYUI_VERSION}"


@pytest.fixture(autouse=True)
def no_settings_of_whoever_runs_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may reach a real service with a real token, or depend on somebody's settings."""
    for name in list(os.environ):
        if name.startswith(("AIR_LORA_", "CIVITAI_", "HF_")) and not name.startswith("AIR_LORA_DEV_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def python_of_comfyui() -> Path:
    """The Python that runs the ComfyUI of the integration tests."""
    return Path(os.environ.get("AIR_LORA_DEV_PYTHON") or sys.executable)
