"""Clients of the Runware API, used with the user's own ComfyUI by changing only the address."""

from __future__ import annotations

import base64
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tools.runware_clients import node

if TYPE_CHECKING:
    from tests.endpoint.conftest import Endpoint

pytestmark = pytest.mark.integration

NODE = [
    pytest.param(name, {}, marks=pytest.mark.skipif(node() is None, reason="Node is not installed"))
    for name in ("sdk_js.mjs", "ai_sdk.mjs")
]
CLIENTS = [
    pytest.param("runware.py", {}, id="runware"),
    pytest.param("runware_sdk.py", {"transport": "rest"}, id="runware-sdk-rest"),
    pytest.param("runware_sdk.py", {"transport": "websocket"}, id="runware-sdk-websocket"),
    *NODE,
]


def fetched(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=240) as answer:
        content: bytes = answer.read()
    return content


@pytest.mark.parametrize(("client", "options"), CLIENTS)
def test_two_loras_and_two_results(endpoint: Endpoint, client: str, options: dict[str, Any]) -> None:
    found = endpoint.client(client, task=endpoint.task(numberResults=2), **options)
    assert "error" not in found, found
    assert len(found["images"]) == 2
    if client == "ai_sdk.mjs":
        assert all(each["base64"] > 1000 for each in found["images"])
        return
    assert [each["seed"] for each in found["images"]] == [7, 8]
    assert len({each["imageUUID"] for each in found["images"]}) == 2
    pictures = [fetched(each["url"]) for each in found["images"]]
    assert all(picture[:3] == b"\xff\xd8\xff" for picture in pictures)
    assert pictures[0] != pictures[1]


@pytest.mark.parametrize(("client", "options"), CLIENTS)
def test_a_wrong_lora_is_the_client_s_error_with_our_sentence(
    endpoint: Endpoint, client: str, options: dict[str, Any]
) -> None:
    lora = [{"model": endpoint.stage.foreign_air, "weight": 1}]
    found = endpoint.client(client, task=endpoint.task(lora=lora), **options)
    assert "was trained for SDXL, but the loaded checkpoint is SD 3" in found["error"]


@pytest.mark.parametrize(("client", "options"), [each for each in CLIENTS if each.values[0] != "ai_sdk.mjs"])
def test_base64_and_several_forms_at_once(endpoint: Endpoint, client: str, options: dict[str, Any]) -> None:
    found = endpoint.client(
        client, task=endpoint.task(outputType="base64Data", outputFormat="PNG"), **options
    )
    assert [each["base64"] > 1000 for each in found["images"]] == [True], found


@pytest.mark.parametrize(
    ("client", "options"),
    [("runware.py", {}), ("runware_sdk.py", {"transport": "websocket"})],
    ids=["runware", "sdk"],
)
def test_twenty_at_once(endpoint: Endpoint, client: str, options: dict[str, Any]) -> None:
    task = endpoint.task(lora=[], width=64, height=64)
    found = endpoint.client(client, task=task, at_once=20, **options)
    assert "error" not in found, found
    assert len({each["seed"] for each in found["images"]}) == 20


def test_the_old_python_client_waits_and_polls(endpoint: Endpoint) -> None:
    found = endpoint.client("runware.py", task=endpoint.task(deliveryMethod="async", numberResults=2))
    assert [each["seed"] for each in found.get("images", [])] == [7, 8], found


def test_a_picture_starts_from_another(endpoint: Endpoint) -> None:
    (first,) = endpoint.images(endpoint.task(outputType="base64Data", outputFormat="PNG"))
    picture = first["imageBase64Data"]
    assert base64.b64decode(picture)[:4] == b"\x89PNG"
    found = endpoint.client(
        "runware.py", task=endpoint.task(seedImage=f"data:image/png;base64,{picture}", strength=0.4)
    )
    assert len(found.get("images", [])) == 1, found
