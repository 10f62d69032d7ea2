"""A ComfyUI with maximum logging, with one token in the environment and one in the settings file. Nothing that a run
leaves (history, events, log, pictures, folders, routes) contains these tokens or the signatures of addresses."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests import lora_files
from tests.conftest import comfyui_path
from tests.integration.conftest import tiny
from tools.civitai_server import CatalogueEntry, CivitaiServer
from tools.comfy_client import ComfyClient, Failed
from tools.comfy_process import ComfyProcess
from tools.local_server import LocalServer
from tools.runtime import Comfyui, venv_python
from tools.tiny_checkpoints import make_checkpoints

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tools.civitai_server import Exchange

pytestmark = pytest.mark.integration

CIVITAI_TOKEN = "civitai-token-4d1f0e63a8b7"
HF_TOKEN = "hf_tokenOfTheTests0123456789"
STYLE, ELSEWHERE, REFUSED, MISSING = "civitai:1@11", "civitai:2@12", "civitai:3@13", "civitai:9@9"


class Storage(LocalServer):
    """Another host that CivitAI redirects to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    def answer(self, exchange: Exchange) -> None:
        exchange.send_file(self.file, etag='"one"')


class Civitai(CivitaiServer):
    """One file is on another host, and one is refused with a message that repeats the token."""

    storage: Storage

    def download(self, exchange: Exchange, version_id: str) -> None:
        if version_id == "12":
            exchange.redirect(f"{self.storage.url}/style.safetensors?signature={self._signature()}")
        elif version_id == "13":
            sent = exchange.request.headers.get("authorization")
            exchange.send_json({"error": "Forbidden", "message": f"You sent {sent}"}, 403)
        else:
            super().download(exchange, version_id)

    def _signature(self) -> str:
        return self.signed_address(self.catalogue[1]).partition("signature=")[2]


@dataclass(frozen=True)
class Talkative:
    """The ComfyUI and the local servers."""

    client: ComfyClient
    process: ComfyProcess
    civitai: Civitai
    storage: Storage

    def secrets(self) -> list[str]:
        return [CIVITAI_TOKEN, HF_TOKEN, *self.civitai._signatures]

    def found_in(self, text: str | bytes) -> list[str]:
        content = text.encode() if isinstance(text, str) else text
        return [secret for secret in self.secrets() if secret.encode() in content]


@pytest.fixture(scope="module")
def talkative(python_of_comfyui: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talkative]:
    base, served = tmp_path_factory.mktemp("talkative"), tmp_path_factory.mktemp("secretly-served")
    make_checkpoints(base / "models", ["sd15"])
    settings = base / "user" / "__air_lora" / "settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"HF_TOKEN": HF_TOKEN}))
    settings.chmod(0o600)
    catalogue = [
        CatalogueEntry(
            number,
            10 + number,
            f"Style {number}",
            lora_files.sd15_lora(served / f"{number}.safetensors", seed=number),
        )
        for number in (1, 2, 3)
    ]
    comfyui = Comfyui(comfyui_path(), python_of_comfyui, own=python_of_comfyui == venv_python())
    with (
        Civitai(catalogue, token=CIVITAI_TOKEN) as civitai,
        Storage(catalogue[1].file) as storage,
        LocalServer() as hub_without_repositories,
    ):
        civitai.storage = storage
        environment = {
            "AIR_LORA_CIVITAI_URL": civitai.url,
            "CIVITAI_API_TOKEN": CIVITAI_TOKEN,
            "HF_ENDPOINT": hub_without_repositories.url,
        }
        with ComfyProcess(
            comfyui, base, environment=environment, arguments=("--verbose", "DEBUG")
        ) as process:
            yield Talkative(ComfyClient(process.url), process, civitai, storage)


def test_no_secret_is_found_after_runs_that_go_well_and_wrong(talkative: Talkative) -> None:
    well = talkative.client.run(
        tiny("sd15", [{"model": STYLE}, {"model": ELSEWHERE, "weight": 0.5}]).workflow(), seconds=280
    )
    assert not talkative.found_in(json.dumps(well.outputs))
    for bad in (REFUSED, MISSING, "huggingface:a/b@main/c.safetensors"):
        with pytest.raises(Failed) as caught:
            talkative.client.run(tiny("sd15", [{"model": bad}]).workflow(), seconds=280)
        assert not talkative.found_in(json.dumps(caught.value.facts))

    asked = [request for request in talkative.civitai.requests if request.path.startswith("/api/")]
    assert {request.headers.get("authorization") for request in asked} == {f"Bearer {CIVITAI_TOKEN}"}
    from_storage = [request for request in talkative.storage.requests if request.path == "/style.safetensors"]
    assert from_storage
    assert not [request for request in from_storage if "authorization" in request.headers]

    picture = talkative.client.image(well.image_references()[0])
    assert b"prompt" in picture, "the workflow stands in the picture"
    assert not talkative.found_in(picture)
    log = talkative.process.log.read_text(encoding="utf-8", errors="replace")
    assert "/style.safetensors?… HTTP" in log, "requests are logged, without what stands behind the `?`"
    assert not talkative.found_in(log)
    for file in talkative.process.base.rglob("*"):
        if file.is_file() and "custom_nodes" not in file.parts and file.name != "settings.json":
            assert not talkative.found_in(file.read_bytes()), file


ROUTES = [
    "/history",
    "/queue",
    "/object_info",
    "/system_stats",
    "/settings",
    "/internal/logs",
    "/internal/logs/raw",
    "/users",
    "/userdata?dir=.&recurse=true",
    "/userdata/..%2F__air_lora%2Fsettings.json",
    "/userdata/__air_lora%2Fsettings.json",
    "/view?filename=settings.json&subfolder=..%2Fuser%2F__air_lora&type=output",
    "/models/loras",
    "/view_metadata/loras?filename=air%2Fcivitai%2F1%4011%2F1.safetensors",
]


@pytest.mark.parametrize("route", ROUTES)
def test_no_route_tells_a_secret(talkative: Talkative, route: str) -> None:
    try:
        with urllib.request.urlopen(talkative.client.url + route, timeout=240) as response:
            answer = response.read()
    except urllib.error.HTTPError as error:
        answer = error.read()
    assert not talkative.found_in(answer)
