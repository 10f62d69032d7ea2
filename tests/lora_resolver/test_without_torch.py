"""Every subcommand in a Python without ComfyUI's packages, as in an image build or a script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lora_resolver.cli import COMMANDS
from tests.conftest import ROOT
from tests.lora_resolver.served_loras import write_safetensors
from tools.huggingface_server import HuggingFaceServer, Repository

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lora_resolver.civitai_faults import FaultyCivitai

FORBIDDEN = "aiohttp comfy comfy_api folder_paths numpy PIL pydantic safetensors server torch".split()
INK = "civitai:120096@135931"
HUGGING_FACE = "huggingface:ink-org/ink@main/ink.safetensors"

# Runs each list of arguments, and prints the exit statuses at the end.
CHILD = f"""
import json, sys
sys.modules.update(dict.fromkeys({FORBIDDEN!r}))  # importing one of these is an ImportError
from lora_resolver.cli import main
print(json.dumps([main(line) for line in json.load(sys.stdin)]))
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HuggingFaceServer]:
    file = write_safetensors(tmp_path / "served" / "hub.safetensors", 4_000, seed=5)
    # A small file in the repository itself, because large ones need a second loopback host, and only one is allowed.
    repository = Repository("ink-org/ink", {"ink.safetensors": file}, in_git=frozenset({"ink.safetensors"}))
    with HuggingFaceServer([repository]) as server:
        yield server


def test_all_sub_commands(civitai: FaultyCivitai, hub: HuggingFaceServer, tmp_path: Path) -> None:
    loras = tmp_path / "loras"
    workflow = ROOT / "example_workflows" / "sdxl-single-lora.json"
    lines = {
        "parse": ["parse", json.dumps([{"model": INK}])],
        "inspect": ["inspect", str(tmp_path / "served" / "ink.safetensors")],
        "saved": ["saved", "--json", str(workflow)],
        "migrate": ["migrate", "--air", str(workflow)],
        "prefetch": ["prefetch", "--dry-run", str(workflow), HUGGING_FACE],
        "resolve": ["resolve", INK, HUGGING_FACE],
        "verify": ["verify"],
        "list": ["list", "--json"],
        "prune": ["prune", "--keep", str(workflow)],
    }
    assert set(lines) == set(COMMANDS)
    settings = {
        "AIR_LORA_DIR": str(loras),
        "AIR_LORA_CIVITAI_URL": civitai.url,
        "AIR_LORA_SETTINGS": str(tmp_path / "none.json"),
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hub-cache"),
    }
    run = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps(list(lines.values())),
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert run.returncode == 0, run.stderr
    statuses = json.loads(run.stdout.splitlines()[-1])
    assert dict(zip(lines, statuses)) == dict.fromkeys(lines, 0), run.stderr
    assert run.stderr == ""
    assert [path.name for path in loras.rglob("*.safetensors")] == ["ink.safetensors"]
