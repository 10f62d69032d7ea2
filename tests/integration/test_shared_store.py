"""A worker: the real ComfyUI with a store in S3, which stops in the middle of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests import lora_files
from tests.conftest import ROOT, comfyui_path
from tests.integration.conftest import tiny
from tests.integration.route_client import Routes
from tests.lora_resolver.s3_server import BUCKET, SECRET, S3Server, Wire
from tools.civitai_server import CatalogueEntry, CivitaiServer
from tools.comfy_client import ComfyClient, Failed
from tools.comfy_process import ComfyProcess
from tools.runtime import Comfyui, venv_python
from tools.tiny_checkpoints import make_checkpoints

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

IN_STORE, LOST, AFTER = (f"civitai:{number}@{number + 1000}" for number in (801, 802, 803))
TOKEN = "a-civitai-token-nobody-may-see"
STORE = f"s3://{BUCKET}/loras"


def entry(client: ComfyClient, model: str) -> dict[str, Any]:
    """The report's entry for a LoRA that is applied."""
    result = client.run(tiny("sd15", [{"model": model, "weight": 0.7}]).workflow(), seconds=280)
    (row,) = json.loads(result.outputs["report"]["text"][0])["entries"]
    assert row["status"] == "applied"
    return dict(row)


def has_driver(python: Path) -> bool:
    """Whether this Python can read s3:// addresses. A user's ComfyUI doesn't have to."""
    return subprocess.run([python, "-c", "import s3fs"], check=False, capture_output=True).returncode == 0


def test_a_worker_reads_the_store_and_outlives_it(python_of_comfyui: Path, tmp_path: Path) -> None:
    catalogue = [
        CatalogueEntry(
            number,
            number + 1000,
            "Style",
            lora_files.sd15_lora(tmp_path / f"{number}.safetensors", seed=number),
        )
        for number in (801, 802, 803)
    ]
    make_checkpoints(tmp_path / "worker" / "models", ["sd15"])
    comfyui = Comfyui(comfyui_path(), python_of_comfyui, own=python_of_comfyui == venv_python())
    with (
        CivitaiServer(catalogue) as civitai,
        S3Server() as s3,
        Wire(s3.port, s3.kill) as wire,
    ):
        services = {
            "AIR_LORA_CIVITAI_URL": civitai.url,
            "AIR_LORA_STORE": STORE,
            "CIVITAI_API_TOKEN": TOKEN,
            "HF_TOKEN": "",
        }
        subprocess.run(
            [sys.executable, "-m", "lora_resolver", "prefetch", IN_STORE, LOST],
            cwd=ROOT,
            env={**os.environ, **services, **s3.environment(), "AIR_LORA_DIR": str(tmp_path / "builder")},
            check=True,
            capture_output=True,
        )
        civitai.requests.clear()
        with ComfyProcess(
            comfyui, tmp_path / "worker", environment={**services, **s3.environment(wire.port)}
        ) as worker:
            client = ComfyClient(worker.url)
            if not has_driver(python_of_comfyui):
                with pytest.raises(Failed, match=r"python -m pip install .*s3fs"):
                    entry(client, IN_STORE)
                return
            first = entry(client, IN_STORE)
            assert (first["from_store"], "warnings" in first) == (True, False)
            assert civitai.requests == []
            wire.arm(down=200_000)
            second = entry(client, LOST)
            assert wire.was_cut.is_set()
            assert "from_store" not in second
            assert "can't be reached" in " ".join(second["warnings"])
            assert any(request.path.startswith("/delivery/") for request in civitai.requests)
            third = entry(client, AFTER)
            assert third["downloaded"] is True
            settings = Routes(worker.url).get("settings").json
            assert settings["values"]["AIR_LORA_STORE"] == STORE
            assert "AIR_LORA_STORE" in settings["from_environment"]
            assert "AIR_LORA_STORE" not in settings["editable"]
        log = worker.log.read_text("utf-8", "replace")
        assert "The shared store" in log
        for private in (TOKEN, SECRET):
            assert private not in log + json.dumps([first, second, third, settings])
