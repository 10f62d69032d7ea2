"""Shared by all tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# By default, an example that takes 200 ms fails. On a busy machine, any can.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# The longest tests run first, so that no worker is left alone with them at the end.
ORDER = ("browser", "nodes", "fleet", "endpoint", "integration", "lora_resolver")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Groups the tests for the workers (`-n`, see tools/dev.py): tests that share a server, or those of one file.

    The mark is set here, because pytest-xdist reads the marks before any later hook of ours runs.
    """
    item.add_marker(pytest.mark.xdist_group(_group(item)))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest tests first."""
    items.sort(key=lambda item: ORDER.index(_part(item)) if _part(item) in ORDER else len(ORDER))


def _part(item: pytest.Item) -> str:
    return item.path.relative_to(ROOT / "tests").parts[0]


def _group(item: pytest.Item) -> str:
    if _part(item) == "browser":
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        return f"browser {parameters.get('comfyui')}"  # one server for both renderers
    if _part(item) == "endpoint" or "fleet" in getattr(item, "fixturenames", ()):
        return _part(item)
    if "studio" in getattr(item, "fixturenames", ()):
        return "studio"
    # Tests that load models are one group: two at the same time would need twice the memory.
    return "nodes" if _part(item) == "nodes" else str(item.path.relative_to(ROOT))


def connect(address: str, **options: Any) -> Any:
    """A WebSocket that waits for a busy server. By default, one that is silent for 10 or 20 seconds is given up."""
    from websockets.sync.client import connect as open_socket

    return open_socket(address, open_timeout=240, ping_timeout=None, **options)


def comfyui_path() -> Path:
    """The ComfyUI that `make test` chose, or the development runtime."""
    from tools.runtime import COMFYUI_VERSION, RUNTIME

    chosen = os.environ.get("AIR_LORA_DEV_COMFYUI")
    return Path(chosen) if chosen else RUNTIME / f"comfyui-{COMFYUI_VERSION}"


@pytest.fixture(autouse=True)
def no_settings_of_whoever_runs_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes sure that no test contacts a real service with a real token, or depends on the user's settings."""
    for name in list(os.environ):
        if name.startswith(("AIR_LORA_", "CIVITAI_", "HF_")) and not name.startswith("AIR_LORA_DEV_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def python_of_comfyui() -> Path:
    """The Python that runs the ComfyUI of the integration tests."""
    return Path(os.environ.get("AIR_LORA_DEV_PYTHON") or sys.executable)
