"""One real ComfyUI for all integration tests, with tiny checkpoints and a local CivitAI."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests import lora_files
from tests.conftest import ROOT, comfyui_path
from tests.integration.route_client import Routes
from tests.integration.stalling_server import STALLED_VERSION, StallingCivitai
from tools.civitai_server import CatalogueEntry
from tools.comfy_client import ComfyClient, Result, Workflow
from tools.comfy_process import ComfyProcess
from tools.graphs import TextToImage
from tools.runtime import Comfyui, venv_python
from tools.tiny_checkpoints import make_checkpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STACKS_OF_OTHERS = ROOT / "tests" / "integration" / "stacks_of_others.py"
TOKEN = "secret-token-of-the-tests-0123456789"

# Model id → what makes the file, its base model, and whether the local CivitAI or the `loras` folder has it.
SERVED: dict[int, tuple[str, str, Callable[[Path], Path]]] = {
    101: ("Style A for SD 1.5", "SD 1.5", lambda path: lora_files.sd15_lora(path, seed=1)),
    102: ("Style B for SD 1.5", "SD 1.5", lambda path: lora_files.sd15_lora(path, seed=2)),
    103: (
        "Style C for SD 1.5",
        "SD 1.5",
        lambda path: lora_files.sd15_lora(path, seed=3, text_encoder=False),
    ),
    104: ("Style D for SD 1.5", "SD 1.5", lambda path: lora_files.sd15_lora(path, seed=8)),
    105: ("Style E for SD 1.5", "SD 1.5", lambda path: lora_files.sd15_lora(path, seed=11)),
    201: ("Style for SDXL", "SDXL 1.0", lambda path: lora_files.sdxl_lora(path, seed=4)),
    202: ("Large style for SDXL", "SD 1.5", lambda path: lora_files.sdxl_lora(path, seed=6)),
    301: ("Motion for Wan", "Wan Video 14B t2v", lambda path: lora_files.wan_lora(path, seed=5)),
    401: ("Nobody's keys", "SD 1.5", lora_files.unmatched_lora),
    402: ("Another size", "SD 1.5", lora_files.clashing_lora),
    403: ("A language model's", "Other", lora_files.language_model_lora),
    # Only for the tests of events, which start without it.
    501: ("Style to watch", "SD 1.5", lambda path: lora_files.sd15_lora(path, seed=10)),
    # Only for the tests of routes, which start without them on disk.
    611: ("Route style for SDXL", "SDXL 1.0", lambda path: lora_files.sdxl_lora(path, seed=41)),
    612: ("Route style declared otherwise", "SD 1.5", lambda path: lora_files.sdxl_lora(path, seed=42)),
    613: ("Route words", "Other", lambda path: lora_files.language_model_lora(path, seed=43)),
    614: ("Route slow", "SD 1.5", lambda path: lora_files.sd15_lora(path, seed=44)),
    615: ("Route to fetch", "SD 1.5", lambda path: lora_files.sd15_lora(path, seed=45)),
    616: ("Route motion", "Wan Video 14B t2v", lambda path: lora_files.wan_lora(path, seed=46)),
    617: ("Route at a node", "SD 1.5", lambda path: lora_files.sd15_lora(path, seed=47)),
    618: ("Route to cancel", "SD 1.5", lambda path: lora_files.sd15_lora(path, seed=48)),
    STALLED_VERSION - 1000: ("Stalls", "SD 1.5", lambda path: lora_files.sd15_lora(path, seed=9)),
}


def air(model_id: int) -> str:
    """The identifier of a LoRA on the local CivitAI."""
    return f"civitai:{model_id}@{model_id + 1000}"


@dataclass(frozen=True)
class Studio:
    """What tests use: the running ComfyUI, its folders, and the local CivitAI."""

    client: ComfyClient
    process: ComfyProcess
    civitai: StallingCivitai

    def run(self, workflow: Workflow) -> Result:
        return self.client.run(workflow, seconds=280)

    def picture(self, result: Result) -> Image.Image:
        """The picture of a finished run."""
        return Image.open(io.BytesIO(self.client.image(result.image_references()[0]))).convert("RGB")

    def pixels_of(self, result: Result) -> str:
        """SHA-256 of its pixels. The files differ between runs, because they also contain the workflow."""
        return hashlib.sha256(self.picture(result).tobytes()).hexdigest()

    def pixels(self, graph: TextToImage) -> str:
        """The same for a graph that runs now. ComfyUI returns nothing for a graph that it has just run."""
        return self.pixels_of(self.run(graph.workflow()))

    def report(self, result: Result, node: str = "report") -> dict[str, Any]:
        report: dict[str, Any] = json.loads(result.outputs[node]["text"][0])
        return report

    def without_downloads(self, *identifiers: str) -> None:
        """Removes the downloads for these identifiers, for tests that serve other files for them."""
        for identifier in identifiers:
            shutil.rmtree(
                self.process.base / "models/loras/air" / identifier.replace(":", "/"), ignore_errors=True
            )

    def forget(self) -> None:
        """Makes ComfyUI run every node again."""
        self.client.post("/free", {"unload_models": True, "free_memory": True})


@pytest.fixture(scope="session")
def civitai(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StallingCivitai]:
    folder = tmp_path_factory.mktemp("served")
    catalogue = [
        CatalogueEntry(
            model_id=model_id,
            version_id=model_id + 1000,
            name=name,
            file=make(folder / f"model-{model_id}.safetensors"),
            base_model=base_model,
            trigger_words=(f"word {model_id}", "shared word"),
        )
        for model_id, (name, base_model, make) in SERVED.items()
    ]
    both = [
        lora_files.write_lora(
            folder / f"style_{expert}_noise.safetensors", lora_files.modules_of("wan"), seed=seed
        )
        for seed, expert in enumerate(("high", "low"), start=80)
    ]
    catalogue.append(
        CatalogueEntry(700, 1700, "A pair", both[0], base_model="Wan Video 14B t2v", also=(both[1],))
    )
    with StallingCivitai(catalogue) as server:
        yield server


@pytest.fixture(scope="session")
def studio(
    civitai: StallingCivitai, python_of_comfyui: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Studio]:
    base = tmp_path_factory.mktemp("comfyui")
    make_checkpoints(base / "models", ["sd15", "sdxl", "wan"])
    lora_files.sd15_lora(base / "models" / "loras" / "mine" / "local.safetensors", seed=6)
    (base / "custom_nodes").mkdir()
    shutil.copy(STACKS_OF_OTHERS, base / "custom_nodes")
    comfyui = Comfyui(comfyui_path(), python_of_comfyui, own=python_of_comfyui == venv_python())
    environment = {"AIR_LORA_CIVITAI_URL": civitai.url, "CIVITAI_API_TOKEN": TOKEN, "HF_TOKEN": ""}
    with ComfyProcess(comfyui, base, environment=environment) as process:
        yield Studio(ComfyClient(process.url), process, civitai)


@pytest.fixture(scope="session")
def routes(studio: Studio) -> Routes:
    """The pack's routes on that server."""
    return Routes(studio.client.url)


@pytest.fixture
def unchanged(routes: Routes) -> Any:
    """Afterwards, the page's settings and presets are the same as before."""
    before = routes.get("settings").json, routes.get("presets").json
    yield
    assert (routes.get("settings").json, routes.get("presets").json) == before


def tiny(checkpoint: str, lora: list[dict[str, Any]] | str, **changes: Any) -> TextToImage:
    """The smallest picture from a tiny checkpoint."""
    text = lora if isinstance(lora, str) else json.dumps(lora)
    settings = {"width": 64, "height": 64, "steps": 2, "cfg": 1.5, "seed": 7, **changes}
    return TextToImage(checkpoint=f"tiny_{checkpoint}.ckpt", prompt="a red house", lora=text, **settings)
