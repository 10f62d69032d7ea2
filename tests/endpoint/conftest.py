"""One real ComfyUI with the endpoint enabled, the showcase checkpoint, and a local CivitAI."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import comfyui_path
from tools.comfy_client import ComfyClient
from tools.comfy_process import ComfyProcess
from tools.runtime import Comfyui, venv_python
from tools.runware_clients import ensure_node_clients, ensure_python_client, node
from tools.stage import CHECKPOINT, ShowcaseStage
from tools.tiny_checkpoints import make_checkpoints

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENTS = Path(__file__).parent / "clients"
PATIENT = dict.fromkeys(
    [f"RUNWARE_IMAGE_{step}_TIMEOUT" for step in ("INFERENCE", "INITIAL", "UPLOAD")], "600000"
)
"""By default, one of the clients gives up after one minute, or five."""
SECONDS_PER_STEP = "seconds_per_step.txt"
"""The file that slow_steps.py reads."""
Document = dict[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """The requests that the tests send."""

    process: ComfyProcess
    stage: ShowcaseStage

    @property
    def url(self) -> str:
        return f"{self.process.url}/air_lora/v1"

    @property
    def comfy(self) -> ComfyClient:
        """ComfyUI's own routes."""
        return ComfyClient(self.process.url)

    def task(self, **members: Any) -> Document:
        """A small and fast image task with two LoRAs."""
        return {
            "taskType": "imageInference",
            "taskUUID": str(uuid.uuid4()),
            "positivePrompt": "a red car in a city",
            "model": CHECKPOINT,
            "width": 192,
            "height": 192,
            "steps": 2,
            "CFGScale": 4,
            "seed": 7,
            "lora": [{"model": style.air, "weight": 0.5} for style in self.stage.styles[:2]],
            **members,
        }

    def post(self, document: object, url: str = "", **headers: str) -> tuple[int, Document]:
        """Returns status and response. Headers are passed with "_" instead of "-"."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(url or self.url, body, {"Content-Type": "application/json", **named})
        try:
            with urllib.request.urlopen(request, timeout=280) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    @contextmanager
    def slow_steps(self, seconds: float) -> Iterator[None]:
        """Until the end of the block, each sampling step takes at least this long: no image is finished too early."""
        file = self.process.base / "custom_nodes" / SECONDS_PER_STEP
        file.write_text(str(seconds))
        try:
            yield
        finally:
            file.unlink()

    def images(self, *tasks: Document) -> list[Document]:
        """The data of a response without errors."""
        status, answer = self.post(list(tasks))
        assert status == 200, answer
        assert "errors" not in answer
        data: list[Document] = answer["data"]
        return data

    def errors(self, *tasks: Document) -> list[Document]:
        """The errors of a response that contains nothing else."""
        status, answer = self.post(list(tasks))
        assert 400 <= status < 500, answer
        assert answer["error"] == answer["errors"][0]
        found: list[Document] = answer["errors"]
        return found

    def client(self, name: str, **asked: Any) -> Document:
        """The result of a task with a real client, in a separate process."""
        environment = {**os.environ, **PATIENT}
        if name.endswith(".mjs"):
            command = [str(node()), str(CLIENTS / name)]
            environment["NODE_CLIENTS"] = str(ensure_node_clients())
        else:
            package = {"runware.py": "runware", "runware_sdk.py": "runware-sdk"}[name]
            # Run from another folder, because the script has the same name as the package.
            command = [str(venv_python()), "-c", (CLIENTS / name).read_text(encoding="utf-8")]
            environment |= {"PYTHONPATH": str(ensure_python_client(package))}
        done = subprocess.run(
            command,
            input=json.dumps({"url": self.url, **asked}),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            env=environment,
            cwd=self.process.base,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found: Document = json.loads(done.stdout.strip().splitlines()[-1])
        return found


@pytest.fixture(scope="session")
def endpoint(python_of_comfyui: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    comfyui = Comfyui(comfyui_path(), python_of_comfyui, own=python_of_comfyui == venv_python())
    with ShowcaseStage(tmp_path_factory.mktemp("endpoint")) as stage:
        make_checkpoints(stage.base / "models", ["sd15", "sdxl"])
        for nodes in ("sound_node.py", "slow_steps.py"):
            shutil.copy(Path(__file__).parent / nodes, stage.base / "custom_nodes")
        environment = {**stage.environment, "AIR_LORA_API": "1"}
        with ComfyProcess(comfyui, stage.base, environment=environment) as process:
            yield Endpoint(process, stage)
