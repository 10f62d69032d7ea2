"""`make serve`: the page that it opens, how it ends, and its errors."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.conftest import ROOT
from tools.comfy_process import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

COMMAND = ["make", "serve"] if shutil.which("make") else [sys.executable, "tools/dev.py", "serve"]


@contextmanager
def serving(**environment: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        COMMAND, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
    ) as serve:
        try:
            yield serve
        finally:
            serve.terminate()


def read(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=240) as answer:
        return json.loads(answer.read())


def answers(server: str) -> bool:
    try:
        read(f"{server}/queue")
    except (OSError, http.client.HTTPException):  # a server that ends may break off anywhere
        return False
    return True


def soon(true: Callable[[], bool]) -> bool:
    for _ in range(2400):
        if true():
            return True
        time.sleep(0.1)
    return False


def test_it_opens_the_showcase_and_leaves_nothing_running(tmp_path: Path) -> None:
    opened, browser = tmp_path / "opened", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > "{opened}"\n', encoding="utf-8")
    browser.chmod(0o755)
    with serving(PORT=str(free_port()), BROWSER=str(browser)) as serve:
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
        assert soon(lambda: opened.exists() and opened.read_text(encoding="utf-8") == address[0])
    assert soon(lambda: not answers(server)), "what `make` started outlived it"


def test_a_port_that_is_taken_is_not_taken_for_its_own() -> None:
    """Most new users have their own ComfyUI on the port."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with serving(PORT=str(port), BROWSER="") as serve:
            said, _ = serve.communicate(timeout=280)
    assert serve.returncode != 0
    assert f"Port {port} is taken" in said
    assert f"PORT={port + 1}" in said
    assert "http://" not in said


def test_a_port_that_is_none_is_told_of_in_one_sentence() -> None:
    with serving(PORT="80x", BROWSER="") as serve:
        said, _ = serve.communicate(timeout=280)
    assert serve.returncode != 0
    assert "PORT=80x: a port is a number from 1 to 65535." in said
    assert "Traceback" not in said
