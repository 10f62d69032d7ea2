"""Two real ComfyUI servers with one `loras` folder that need the same LoRA at the same time."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests import lora_files
from tests.conftest import comfyui_path
from tests.integration.conftest import tiny
from tests.integration.stalling_server import _send_slowly
from tests.lora_resolver.test_shared_folder import NO_LOCKS
from tools.civitai_server import CatalogueEntry, CivitaiServer, Exchange
from tools.comfy_client import ComfyClient
from tools.comfy_process import ComfyProcess
from tools.runtime import Comfyui, venv_python
from tools.tiny_checkpoints import make_checkpoints

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

MODEL = 701


class CountingCivitai(CivitaiServer):
    """Takes a second for each file, so that simultaneous requests wait, and counts the bytes that it sends."""

    sent = 0

    def deliver(self, exchange: Exchange, file_id: str) -> None:
        def send(file: Any, start: int, end: int) -> None:
            self.sent += end - start
            _send_slowly(exchange, file, start, end)

        exchange.send_range = send  # type: ignore[method-assign]  # only for this response
        super().deliver(exchange, file_id)


@dataclass
class Share:
    """A folder of LoRAs, the servers that share it, and the source of its files."""

    loras: Path
    servers: list[ComfyProcess]
    civitai: CountingCivitai

    def run_everywhere(self) -> list[dict[str, Any]]:
        """The first entry of each server's report. All run at the same time."""
        entries: list[dict[str, Any]] = []

        def run(server: ComfyProcess) -> None:

            graph = tiny("sd15", [{"model": f"civitai:{MODEL}@{MODEL + 1000}", "weight": 0.7}])
            result = ComfyClient(server.url).run(graph.workflow(), seconds=280)
            entries.append(json.loads(result.outputs["report"]["text"][0])["entries"][0])

        threads = [threading.Thread(target=partial(run, server)) for server in self.servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return entries


@pytest.fixture
def civitai(tmp_path: Path) -> Iterator[CountingCivitai]:
    file = lora_files.sd15_lora(tmp_path / "served" / "style.safetensors")
    catalogue = [CatalogueEntry(MODEL, MODEL + 1000, "Style", file)]
    with CountingCivitai(catalogue) as server:
        yield server


@pytest.fixture
def share(civitai: CountingCivitai, python_of_comfyui: Path, tmp_path: Path, request: Any) -> Iterator[Share]:
    loras = tmp_path / "share" / "loras"
    loras.mkdir(parents=True)
    make_checkpoints(tmp_path / "models", ["sd15"])
    comfyui = Comfyui(comfyui_path(), python_of_comfyui, own=python_of_comfyui == venv_python())
    environment = {"AIR_LORA_CIVITAI_URL": civitai.url, "CIVITAI_API_TOKEN": "", "HF_TOKEN": ""}
    if not request.param:
        (tmp_path / "no-locks").mkdir()
        (tmp_path / "no-locks" / "sitecustomize.py").write_text(NO_LOCKS)
        environment["PYTHONPATH"] = str(tmp_path / "no-locks")
    servers = []
    for name in ("first", "second"):
        (tmp_path / name / "models").mkdir(parents=True)
        (tmp_path / name / "models" / "loras").symlink_to(loras, target_is_directory=True)
        shutil.copytree(tmp_path / "models" / "checkpoints", tmp_path / name / "models" / "checkpoints")
        servers.append(ComfyProcess(comfyui, tmp_path / name, environment=environment))
    try:
        for server in servers:
            server.start()
        yield Share(loras, servers, civitai)
    finally:
        for server in servers:
            server.stop()


@pytest.mark.parametrize("share", [True, False], ids=["with locks", "without locks"], indirect=True)
def test_one_download_and_both_run(share: Share) -> None:
    entries = share.run_everywhere()
    assert [entry["status"] for entry in entries] == ["applied", "applied"]
    assert sorted(entry["downloaded"] for entry in entries) == [False, True]
    (served,) = share.civitai.catalogue
    (file,) = share.loras.rglob("*.safetensors")
    assert file.read_bytes() == served.file.read_bytes()
    size, peeks = file.stat().st_size, 2 * 512 * 1024
    assert peeks < size, (
        "what each may read of the header, before it knows that the file is there, is less than a file"
    )
    assert size <= share.civitai.sent <= size + peeks
