"""Real clients whose connection breaks, whose server restarts, and whose pictures take longer than their time-out."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tools.cutting_proxy import CuttingProxy
from tools.runware_clients import node

if TYPE_CHECKING:
    from tests.endpoint.conftest import Endpoint

pytestmark = pytest.mark.integration

WITH_NODE = pytest.mark.skipif(node() is None, reason="Node is not installed")
ON_SOCKETS = {
    "runware": ("runware.py", {}),
    "runware-sdk": ("runware_sdk.py", {"transport": "websocket"}),
    "sdk-js": ("sdk_js.mjs", {"timeout": 20000, "tries": 40}),  # it resends only after this time
}
STEPS = 8
SECONDS = 0.5
"""Of each step, so an image takes at least four seconds."""


def runs(endpoint: Endpoint, number: int) -> None:
    """Waits until images with this number of seeds are running or queued in ComfyUI. A client may ask twice for one."""
    until = time.monotonic() + 240
    while time.monotonic() < until:
        queue = endpoint.comfy.get("/queue")
        prompts = [entry[2] for entry in (*queue["queue_running"], *queue["queue_pending"])]
        inputs = [node["inputs"] for prompt in prompts for node in prompt.values()]
        if len({each["seed"] for each in inputs if isinstance(each.get("seed"), int)}) >= number:
            return
        time.sleep(0.02)
    raise AssertionError("nothing was queued")


@pytest.mark.parametrize("name", [*list(ON_SOCKETS)[:2], pytest.param("sdk-js", marks=WITH_NODE)])
def test_a_connection_that_breaks_in_the_middle(endpoint: Endpoint, name: str) -> None:
    client, options = ON_SOCKETS[name]
    task = endpoint.task(lora=[], steps=STEPS, seed=5000 + len(name))
    with (
        endpoint.slow_steps(SECONDS),
        CuttingProxy(endpoint.url.split("/")[2]) as proxy,
        ThreadPoolExecutor(1) as pool,
    ):
        url = endpoint.url.replace(endpoint.url.split("/")[2], proxy.address)
        if name == "sdk-js":
            options = {"timeout": 8000, "tries": 100}
        found = pool.submit(endpoint.client, client, **{**options, "task": task, "url": url})
        runs(endpoint, 1)
        assert proxy.cut() >= 1
        images = found.result().get("images")
    assert [each["seed"] for each in images or ()] == [task["seed"]], found.result()


def test_a_restart_of_comfyui_in_the_middle(endpoint: Endpoint) -> None:
    """All at the same time, because a start takes seconds: each client reconnects, and its picture is then made."""
    names = [name for name in ON_SOCKETS if name != "sdk-js" or node()]
    with ThreadPoolExecutor(len(names)) as pool:
        waiting = []
        with endpoint.slow_steps(10):  # so that no image is finished before all clients have asked
            for number, name in enumerate(names):
                client, options = ON_SOCKETS[name]
                task = endpoint.task(lora=[], steps=STEPS, seed=6000 + number)
                waiting.append(pool.submit(endpoint.client, client, **options, task=task))
            runs(endpoint, len(names))
            endpoint.process.stop()
        endpoint.process.start()
        found = [each.result() for each in waiting]
    assert [each.get("images", [{}])[0].get("seed") for each in found] == [
        6000 + number for number in range(len(names))
    ], found


@WITH_NODE
def test_a_picture_that_takes_longer_than_the_first_time_out(endpoint: Endpoint) -> None:
    """The client retries with a new UUID. With the same seed it is the same picture, which is made only once."""
    task = endpoint.task(lora=[], steps=STEPS, seed=7000)
    del task["taskUUID"]
    with endpoint.slow_steps(1):
        found = endpoint.client("sdk_js.mjs", task=task, timeout=2500, tries=200)
    assert [each["seed"] for each in found.get("images", [])] == [7000], found
