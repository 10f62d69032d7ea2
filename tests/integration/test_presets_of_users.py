"""Presets if one ComfyUI serves several users: each user has their own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.conftest import comfyui_path
from tests.integration.route_client import Routes
from tools.comfy_process import ComfyProcess
from tools.runtime import Comfyui, venv_python

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

ARRAY = '[{"model": "civitai:1@2", "weight": 0.5}]'


@pytest.fixture(scope="module")
def routes(python_of_comfyui: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routes]:
    comfyui = Comfyui(comfyui_path(), python_of_comfyui, own=python_of_comfyui == venv_python())
    with ComfyProcess(comfyui, tmp_path_factory.mktemp("users"), arguments=("--multi-user",)) as process:
        yield Routes(process.url)


def new_user(routes: Routes, name: str) -> str:
    body = json.dumps({"username": name}).encode()
    answer = routes.ask("POST", "/users", body, {"Content-Type": "application/json"})
    assert answer.status == 200
    return str(answer.json)


def names(routes: Routes, user: str) -> list[str]:
    answer = routes.get("presets", Comfy_User=user)
    assert answer.status == 200, answer.body
    return [preset["name"] for preset in answer.json["presets"]]


def test_each_user_has_their_own(routes: Routes) -> None:
    ada, bea = new_user(routes, "Ada"), new_user(routes, "Bea")
    for user, name in ((ada, "soft light"), (bea, "soft light"), (bea, "ink")):
        assert routes.post("presets", {"name": name, "lora": ARRAY}, Comfy_User=user).status == 200
    assert names(routes, ada) == ["soft light"]
    assert names(routes, bea) == ["ink", "soft light"]
    assert routes.post("presets/delete", {"name": "soft light"}, Comfy_User=bea).status == 200
    assert names(routes, ada) == ["soft light"]
    assert names(routes, bea) == ["ink"]


@pytest.mark.parametrize("user", ["nobody", "../../../x", "__air_lora", "default"])
def test_a_user_whom_comfyui_does_not_know_has_none(routes: Routes, user: str) -> None:
    assert routes.get("presets", Comfy_User=user).code == "unknownUser"
    answer = routes.post("presets", {"name": "x", "lora": ARRAY}, Comfy_User=user)
    assert (answer.status, answer.code) == (403, "unknownUser")
