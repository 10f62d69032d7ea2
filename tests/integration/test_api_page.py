"""docs/api.md is correct: its commands run unchanged against the running ComfyUI."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests import lora_files
from tests.conftest import ROOT
from tests.integration.conftest import tiny
from tools.civitai_server import CatalogueEntry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Studio

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not (shutil.which("curl") and shutil.which("jq")), reason="the page's commands need curl and jq"
    ),
]

PAGE = (ROOT / "docs" / "api.md").read_text("utf-8")
HOST = "http://127.0.0.1:8188"


@pytest.fixture
def documented(studio: Studio, tmp_path: Path) -> Iterator[None]:
    """The local CivitAI has the LoRAs that the page names, made for the tiny checkpoint."""
    before = studio.civitai.catalogue
    style = lora_files.sd15_lora(tmp_path / "style.safetensors", seed=61)
    ink = lora_files.sd15_lora(tmp_path / "ink.safetensors", seed=62)
    studio.civitai.catalogue = (
        *before,
        CatalogueEntry(120096, 135931, "Style", style),
        CatalogueEntry(245889, 277389, "Ink", ink),
    )
    yield
    studio.civitai.catalogue = before
    studio.without_downloads("civitai:120096@135931", "civitai:245889@277389")


@pytest.mark.usefixtures("documented")
def test_every_command_of_the_page_works(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "lora_resolver").symlink_to(ROOT / "lora_resolver", target_is_directory=True)
    (tmp_path / "example_workflows").symlink_to(ROOT / "example_workflows", target_is_directory=True)
    workflow = tiny("sd15", []).workflow()
    (tmp_path / "workflow.json").write_text(json.dumps(workflow), encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 13
    assert HOST in blocks[0]
    script = "\n".join(f"printf '\\036'\n{block}" for block in blocks).replace(HOST, studio.client.url)
    done = subprocess.run(
        ["sh", "-ec", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    _, _, ended, _, _, used, recorded, refused, failed, facts, known, job, queued = done.stdout.split("\036")[
        1:
    ]

    assert ended.strip() == "success"
    with Image.open(tmp_path / "image.png") as picture:
        assert picture.size == (64, 64)
    report = json.loads(used)
    assert (report["model"], report["weight"]) == ("civitai:120096@135931", 0.7)
    assert report["keys_matched"] > 0
    (saved,) = json.loads(recorded)
    (entry,) = saved["entries"]
    assert (entry["model"], entry["weight"]) == ("civitai:120096@135931", 0.7)
    assert len(entry["sha256"]) == 64
    (shown,) = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert shown.strip() in refused
    assert failed == "\n" * failed.count("\n"), "nothing failed"
    assert facts.strip() == "", "and so there are no facts"
    first, second = [json.loads(each) for each in re.findall(r"^\{$.*?^\}$", known, re.MULTILINE | re.DOTALL)]
    assert (first["model"], first["state"], first["title"]) == ("civitai:120096@135931", "on_disk", "Style")
    assert (second["state"], second["family_names"]) == ("available", ["SD 1.x"])
    assert json.loads(job)["job"]
    assert "prompt_id" in json.loads(queued)
    deadline = time.monotonic() + 240
    while not list(studio.process.base.glob("models/loras/air/civitai/245889@277389/*.safetensors")):
        assert time.monotonic() < deadline, "the prefetched file never came"
        time.sleep(0.1)
    studio.client.post("/queue", {"clear": True})
    studio.client.post("/interrupt", {})


def test_the_routes_of_the_page_are_there() -> None:
    named = set(re.findall(r"`(GET|POST) (/air_lora/[a-z/]+)`", PAGE))
    routes = re.findall(
        r'"(GET|POST)", "(/air_lora/[a-z/]+)"', (ROOT / "nodes/server/routes/__init__.py").read_text("utf-8")
    )
    assert named
    assert named <= set(routes)
