"""One fleet of two workers on this computer, with the showcase checkpoint."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import ROOT, comfyui_path
from tests.endpoint.conftest import Endpoint
from tools.comfy_client import ComfyClient
from tools.fleet_process import FleetProcess
from tools.runtime import Comfyui, venv_python
from tools.stage import CHECKPOINT, ShowcaseStage

if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUE = 6


class Fleet(Endpoint):
    """The requests that the tests send: those to the endpoint, as for one ComfyUI, and the fleet's own."""

    process: FleetProcess  # type: ignore[assignment] # has the members that are used

    def batch(self, tasks: list[dict[str, Any]], folder: Path, *arguments: str) -> subprocess.Popen[str]:
        """Starts `python -m fleet batch`."""
        file = folder / "tasks.jsonl"
        file.write_text("".join(json.dumps(task) + "\n" for task in tasks))
        command = [
            *(str(venv_python()), "-m", "fleet", "batch", str(file), "--out", str(folder / "out")),
            *("--endpoint", self.url, *arguments),
        ]
        return subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def images_at_workers(self) -> list[int]:
        """For each worker, the number of images that it generates or that wait in its ComfyUI's queue."""
        found = []
        for comfyui in self.process.comfyuis():
            words = comfyui.cmdline()
            queue = ComfyClient(f"http://127.0.0.1:{words[words.index('--port') + 1]}").get("/queue")
            found.append(len(queue["queue_running"]) + len(queue["queue_pending"]))
        return found

    def pictures(self) -> set[str]:
        """The files that all workers saved."""
        return {path.name for path in (self.process.base / "output/air_lora_v1").glob("*")}


def line(seed: int, **members: Any) -> dict[str, Any]:
    """A task of a batch."""
    return {
        "positivePrompt": "a red car in a city",
        "model": CHECKPOINT,
        "width": 128,
        "height": 128,
        "steps": 2,
        "CFGScale": 4,
        "seed": seed,
        **members,
    }


@pytest.fixture(scope="session")
def fleet(python_of_comfyui: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    comfyui = Comfyui(comfyui_path(), python_of_comfyui, own=python_of_comfyui == venv_python())
    arguments = ("--workers", "2", "--queue", str(QUEUE), "--hang-seconds", "60")
    with ShowcaseStage(tmp_path_factory.mktemp("fleet")) as stage:
        shutil.copy(ROOT / "tests" / "endpoint" / "slow_steps.py", stage.base / "custom_nodes")
        with FleetProcess(comfyui, stage.base, environment=stage.environment, arguments=arguments) as process:
            yield Fleet(process, stage)  # type: ignore[arg-type] # as above
            words = process.comfyuis()[0].cmdline()
        folder = Path(words[words.index("--temp-directory") + 1]).parent
        assert not folder.exists(), "the workers' folders go with the fleet"
