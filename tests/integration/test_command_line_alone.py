"""The command line in a virtual environment with only requirements.txt."""

from __future__ import annotations

import json
import os
import subprocess
import venv
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import ROOT
from tests.lora_resolver.served_loras import write_safetensors
from tools.civitai_server import CatalogueEntry, CivitaiServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

INK, CHALK = "civitai:120096@135931", "civitai:7@70"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new virtual environment."""
    folder = tmp_path_factory.mktemp("alone") / "venv"
    venv.create(folder, with_pip=True)
    program = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    install = [
        str(program),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--requirement",
        str(ROOT / "requirements.txt"),
    ]
    subprocess.run(install, check=True)
    return program


@pytest.fixture
def civitai(tmp_path: Path) -> Iterator[CivitaiServer]:
    ink = write_safetensors(tmp_path / "served" / "ink.safetensors", 300_000)
    chalk = write_safetensors(tmp_path / "served" / "chalk.safetensors", 7_000, seed=2)
    catalogue = [
        CatalogueEntry(120096, 135931, "Ink", ink, "v1.1", "SDXL 1.0", ("ink",)),
        CatalogueEntry(7, 70, "Chalk", chalk),
    ]
    with CivitaiServer(catalogue) as server:
        yield server


def test_the_command_line_alone(python: Path, civitai: CivitaiServer, tmp_path: Path) -> None:
    def run(*arguments: str) -> Any:
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
            "AIR_LORA_DIR": str(tmp_path / "loras"),
            "AIR_LORA_CIVITAI_URL": civitai.url,
            "AIR_LORA_SETTINGS": str(tmp_path / "none.json"),
        }
        result = subprocess.run(
            [str(python), "-m", "lora_resolver", arguments[0], "--json", *arguments[1:]],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        assert (result.returncode, result.stderr) == (0, "")
        return json.loads(result.stdout)

    for module in ("torch", "numpy", "safetensors", "PIL"):
        there = subprocess.run([str(python), "-c", f"import {module}"], capture_output=True, check=False)
        assert there.returncode == 1, module

    array = json.dumps([{"model": INK}, {"model": CHALK, "weight": 0}])
    assert [each["model"] for each in run("parse", array)["entries"]] == [INK, CHALK]
    plan = run("prefetch", "--dry-run", array)
    assert [each["state"] for each in plan["loras"]] == ["download", "unneeded"]
    (lora,) = run("resolve", INK)
    assert (lora["downloaded"], lora["trigger_words"]) == (True, ["ink"])
    assert run("prefetch", array)["loras"][0]["path"] == lora["path"]
    assert run("inspect", lora["path"])[0]["kind"] == "lora"
    assert [each["state"] for each in run("verify")["files"]] == ["ok"]
    assert [each["title"] for each in run("list")] == ["Ink v1.1"]
    assert {each["what"] for each in run("prune", "--keep", CHALK)["removed"]} == {
        "unneeded",
        "lock",
        "folder",
    }
    assert run("list") == []
