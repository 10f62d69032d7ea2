"""docs/migration.md is correct: its commands run on workflows of both packs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lora_resolver.array.lora_array import parse_lora_array
from lora_resolver.cli import migrate
from tests.conftest import ROOT
from tests.lora_resolver.served_loras import write_safetensors

pytestmark = pytest.mark.integration

PAGE = ROOT / "docs" / "migration.md"
POWER = {
    "id": 4,
    "type": "Power Lora Loader (rgthree)",
    "mode": 0,
    "inputs": [],
    "properties": {"Show Strengths": "Separate Model & Clip"},
    "widgets_values": [
        {},
        {"type": "PowerLoraLoaderHeaderWidget"},
        {"on": True, "lora": "styles\\pixel-art-xl.safetensors", "strength": 0.7, "strengthTwo": None},
        {"on": False, "lora": "add-detail.safetensors", "strength": 0.5, "strengthTwo": 0.2},
        {},
        "",
    ],
}
MANAGER = {
    "id": 226,
    "type": "Lora Loader (LoraManager)",
    "mode": 0,
    "inputs": [],
    "widgets_values": [
        {"version": 1, "textWidgetName": "text"},
        "<lora:pixel-art-xl:0.8>",
        [{"name": "pixel-art-xl", "strength": "0.80", "active": True, "clipStrength": "0.80"}],
    ],
}


def test_every_command_of_the_page_works(tmp_path: Path) -> None:
    pack, loras = tmp_path / "pack", tmp_path / "loras"
    pack.mkdir()
    (pack / "lora_resolver").symlink_to(ROOT / "lora_resolver", target_is_directory=True)
    for name, node in (("my-workflow", POWER), ("lora-manager", MANAGER)):
        (pack / f"{name}.json").write_text(json.dumps({"nodes": [node], "links": []}), encoding="utf-8")
    write_safetensors(loras / "styles" / "pixel-art-xl.safetensors", 1000)
    write_safetensors(loras / "add-detail.safetensors", 1000)
    (loras / "styles" / "pixel-art-xl.civitai.info").write_text('{"id": 135931, "modelId": 120096}')
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    shown = []
    for block in blocks:
        done = subprocess.run(
            ["sh", "-ec", block.replace("/ComfyUI/models/loras", str(loras))],
            cwd=pack,
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(tmp_path),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        shown.append(done.stdout)
    plain, found, portable, planned, listed = shown
    (array,) = re.findall(r"^```json\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert parse_lora_array(plain) == parse_lora_array(array)
    assert json.loads(found) == [{"model": "local:styles/pixel-art-xl.safetensors", "weight": 0.8}]
    assert [entry["model"] for entry in json.loads(portable)] == [
        "civitai:120096@135931",
        "local:add-detail.safetensors",
    ]
    assert "civitai:120096@135931" in planned
    assert [(each["file"], each["kinds"]) for each in json.loads(listed)][:2] == [
        ("array.json", []),
        ("lora-manager.json", ["Lora Loader (LoraManager)"]),
    ]


def test_the_help_names_the_same_packs() -> None:
    for pack in (
        "Power Lora Loader",
        "Lora Loader Stack",
        "Lora Manager",
        "Comfyroll",
        "Efficiency",
        "Easy-Use",
    ):
        assert pack in PAGE.read_text("utf-8")
        assert pack in migrate._HELP
