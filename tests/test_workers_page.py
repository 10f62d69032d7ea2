"""docs/workers.md and docker/Dockerfile are correct: every command of the page runs, and the image's own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT
from tests.lora_resolver.s3_server import BUCKET, SECRET, S3Server
from tests.lora_resolver.served_loras import write_safetensors
from tools.civitai_server import CatalogueEntry, CivitaiServer

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

INK = "civitai:120096@135931"
PAGE = ROOT / "docs" / "workers.md"
DOCKERFILE = ROOT / "docker" / "Dockerfile"


@pytest.fixture
def civitai(tmp_path: Path) -> Iterator[CivitaiServer]:
    file = write_safetensors(tmp_path / "served" / "ink.safetensors", 50_000)
    with CivitaiServer([CatalogueEntry(120096, 135931, "Ink", file)]) as server:
        yield server


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """The pack's folder with workflows."""
    folder = tmp_path / "pack"
    (folder / "workflows").mkdir(parents=True)
    (folder / "lora_resolver").symlink_to(ROOT / "lora_resolver", target_is_directory=True)
    shutil.copy(ROOT / "requirements.txt", folder)
    node = {"class_type": "AirLoraApply", "inputs": {"lora": json.dumps([{"model": INK, "weight": 0.7}])}}
    (folder / "workflows" / "picture.json").write_text(json.dumps({"1": node}))
    return folder


def shell(script: str, folder: Path, home: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        **settings,
    }
    return subprocess.run(
        ["sh", "-ec", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_every_command_of_the_page_works(pack: Path, tmp_path: Path, civitai: CivitaiServer) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 9
    assert "```sh" not in PAGE.read_text("utf-8").replace("\n```sh\n", "")
    script = "\n".join(f"echo '# block {number}'\n{block}" for number, block in enumerate(blocks))
    for written, here in (
        ("/mnt/loras", tmp_path / "share"),
        ("/scratch/loras", tmp_path / "worker"),
        ("s3://my-bucket", f"s3://{BUCKET}"),
    ):
        assert written in script
        script = script.replace(str(written), str(here))
    with S3Server() as s3:
        done = shell(script, pack, tmp_path, AIR_LORA_CIVITAI_URL=civitai.url, **s3.environment())
        assert done.returncode == 0, done.stdout + done.stderr
        assert any(key.endswith(".safetensors") for key in s3.objects())
    assert SECRET not in done.stdout + done.stderr
    assert len([each for each in civitai.requests if each.path.startswith("/delivery/")]) >= 1
    for folder in ("share", "worker"):
        (file,) = (tmp_path / folder).rglob("*.safetensors")
        assert file.read_bytes() == (tmp_path / "served" / "ink.safetensors").read_bytes()
    (document,) = re.findall(r"^\{$.*^\}$", done.stdout, re.MULTILINE | re.DOTALL)
    assert [lora["identifier"] for lora in json.loads(document)["loras"]] == [INK]


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, with continued lines joined."""
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text("utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def test_the_image_s_own_command_fetches_what_the_workflows_name(
    pack: Path, tmp_path: Path, civitai: CivitaiServer
) -> None:
    root = tmp_path / "image"
    arguments: dict[str, str] = {}
    settings: dict[str, str] = {}
    runs: list[str] = []
    folder = root
    for word, rest in instructions():
        rest = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], rest)
        if word == "ARG":
            name, _, value = rest.partition("=")
            arguments[name] = {"WORKFLOWS": "workflows", "COMFYUI": "comfyui"}.get(name, value)
        elif word == "ENV":
            name, _, value = rest.partition("=")
            settings[name] = str(root) + value
        elif word == "WORKDIR":
            folder = root / rest.lstrip("/")
            folder.mkdir(parents=True)
        elif word == "COPY" and not rest.startswith("--from"):
            source, target = rest.split()
            here, there = pack / source, folder / target
            if here.is_dir():
                shutil.copytree(here, there, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(here, there)
        elif word == "RUN" and "lora_resolver" in rest:
            runs.append(rest)
            command = re.sub(r"--mount=\S+\s+", "", rest)
            done = shell(command, folder, tmp_path, AIR_LORA_CIVITAI_URL=civitai.url, **settings)
            assert done.returncode == 0, done.stdout + done.stderr
    assert len(runs) == 1
    assert "type=secret" in runs[0], "a token belongs in no layer"
    (file,) = (root / "loras").rglob("*.safetensors")
    assert file.read_bytes() == (tmp_path / "served" / "ink.safetensors").read_bytes()
    assert ("COPY", "--from=loras /loras /ComfyUI/models/loras") in instructions()


def test_the_image_s_command_fails_where_a_lora_cannot_be_had(
    pack: Path, tmp_path: Path, civitai: CivitaiServer
) -> None:
    (pack / "workflows" / "gone.json").write_text(
        json.dumps({"1": {"class_type": "AirLoraApply", "inputs": {"lora": '[{"model": "civitai:9@99"}]'}}})
    )
    (command,) = [
        re.sub(r"--mount=\S+\s+", "", rest)
        for word, rest in instructions()
        if word == "RUN" and "lora_resolver" in rest
    ]
    done = shell(
        command, pack, tmp_path, AIR_LORA_CIVITAI_URL=civitai.url, AIR_LORA_DIR=str(tmp_path / "loras")
    )
    assert done.returncode == 1
    assert "civitai:9@99" in done.stdout + done.stderr
