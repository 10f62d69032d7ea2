"""`make serve`: the address that it prints and opens, and its end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.conftest import ROOT, comfyui_path
from tools.comfy_process import free_port

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


def read(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=60) as answer:
        return json.loads(answer.read())


def test_it_opens_the_showcase_and_leaves_nothing_running(python_of_comfyui: Path, tmp_path: Path) -> None:
    opened, browser = tmp_path / "opened", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > "{opened}"\n', encoding="utf-8")
    browser.chmod(0o755)
    environment = {
        **os.environ,
        "BROWSER": str(browser),
        "PORT": str(free_port()),
        "AIR_LORA_DEV_COMFYUI": str(comfyui_path()),
        "AIR_LORA_DEV_PYTHON": str(python_of_comfyui),
    }
    command = [sys.executable, "-m", "tools.serve"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as serve:
        assert serve.stdout
        said = ""
        while not (address := re.search(r"http://\S+", said)):
            line = serve.stdout.readline()
            assert line, f"it ended: {said}"
            said += line
        server, _, _ = address[0].partition("/?")
        query = parse_qs(urlsplit(address[0]).query)
        (template,), (source,) = query["template"], query["source"]
        assert template in read(f"{server}/workflow_templates")[source]
        workflow = read(f"{server}/api/workflow_templates/{source}/{template}.json")
        known = read(f"{server}/object_info")
        only_on_the_page = {"MarkdownNote"}
        assert {node["type"] for node in workflow["nodes"]} - only_on_the_page <= set(known)
        for _ in range(600):
            if opened.exists() and opened.read_text(encoding="utf-8") == address[0]:
                break
            time.sleep(0.1)
        else:
            pytest.fail("it did not open the address")
        serve.terminate()
        assert serve.wait(60) == 0
    with pytest.raises(urllib.error.URLError):
        read(f"{server}/queue")
