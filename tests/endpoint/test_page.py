"""docs/endpoint.md is correct: its commands run, with the tiny checkpoint instead of SDXL."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT
from tools.runtime import venv_python
from tools.runware_clients import ensure_node_clients, ensure_python_client, node
from tools.stage import CHECKPOINT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.endpoint.conftest import Endpoint

pytestmark = pytest.mark.integration

PAGE = (ROOT / "docs" / "endpoint.md").read_text(encoding="utf-8")


def block(language: str, number: int = 0) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found[number])


def here(endpoint: Endpoint, text: str) -> str:
    """The text, adapted to the server and the files of the test."""
    style = endpoint.stage.styles[0].air
    text = text.replace("127.0.0.1:8188", endpoint.url.split("/")[2]).replace(
        "civitai:101055@128078", CHECKPOINT
    )
    return text.replace("civitai:120096@135931", style).replace("1024", "192")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(endpoint: Endpoint) -> None:
    command = here(endpoint, block("sh") + block("sh", 1))
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=280, check=True)
    (item,) = json.loads(done.stdout)["data"]
    documented = json.loads(block("json").replace("…", ""))["data"][0]
    assert set(item) == set(documented)


def test_python(endpoint: Endpoint, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ensure_python_client("runware"))}
    done = subprocess.run(
        [str(venv_python()), "-c", here(endpoint, block("python"))],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env=environment,
        cwd=tmp_path,
    )
    assert done.stdout.strip().startswith(f"{endpoint.url}/results/"), done.stderr[-2000:]


@pytest.mark.skipif(node() is None, reason="Node is not installed")
def test_javascript(endpoint: Endpoint) -> None:
    script = here(endpoint, block("js")).replace('"@runware/sdk-js"', "SDK")
    folder = ensure_node_clients()
    script = script.replace("from SDK", f'from "file://{folder}/node_modules/@runware/sdk-js/dist/index.js"')
    done = subprocess.run(
        [str(node()), "--input-type=module", "-e", script],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.stdout.strip().startswith(f"{endpoint.url}/results/"), done.stderr[-2000:]
