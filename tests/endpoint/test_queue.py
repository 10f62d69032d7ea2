"""The user's own workflows instead of the standard ones, and runs in ComfyUI's queue."""

from __future__ import annotations

import base64
import io
import json
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosed

from tests.conftest import connect
from tests.endpoint.test_broken_connections import runs
from tools.stage import CHECKPOINT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.endpoint.conftest import Endpoint

pytestmark = pytest.mark.integration


def own_workflow() -> dict[str, Any]:
    """An exported workflow: a Runware Request followed by a simple graph."""
    return {
        "1": {
            "class_type": "AirLoraRequest",
            "inputs": {"request": "", "task": 1, "seed": 0, "checkpoint": CHECKPOINT},
        },
        "2": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": ["1", 11]}},
        "3": {
            "class_type": "AirLoraApply",
            "inputs": {"model": ["2", 0], "clip": ["2", 1], "lora": ["1", 13]},
        },
        "4": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["3", 1], "text": ["1", 0]}},
        "5": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["3", 1], "text": ["1", 1]}},
        "6": {
            "class_type": "EmptySD3LatentImage",
            "inputs": {"width": ["1", 2], "height": ["1", 3], "batch_size": ["1", 4]},
        },
        "7": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["3", 0],
                "positive": ["4", 0],
                "negative": ["5", 0],
                "latent_image": ["6", 0],
                "seed": ["1", 5],
                "steps": ["1", 6],
                "cfg": ["1", 7],
                "sampler_name": ["1", 8],
                "scheduler": ["1", 9],
                "denoise": ["1", 10],
            },
        },
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["7", 0], "vae": ["2", 2]}},
        "9": {"class_type": "ImageInvert", "inputs": {"image": ["8", 0]}},
        "10": {"class_type": "SaveImage", "inputs": {"images": ["9", 0], "filename_prefix": "mine"}},
    }


@pytest.fixture
def own_folder(endpoint: Endpoint) -> Path:
    folder = endpoint.process.base / "user/air_lora_endpoint"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def pixels_of(endpoint: Endpoint, **members: Any) -> list[bytes]:
    task = endpoint.task(outputType="base64Data", outputFormat="PNG", numberResults=2, **members)
    return [
        Image.open(io.BytesIO(base64.b64decode(item["imageBase64Data"])))
        .convert("L")
        .resize((4, 4))
        .tobytes()
        for item in endpoint.images(task)
    ]


def test_a_workflow_of_ones_own_takes_the_place_of_the_standard_one(
    endpoint: Endpoint, own_folder: Path
) -> None:
    usual = pixels_of(endpoint)
    file = own_folder / "tiny-showcase-all.ckpt.json"
    file.write_text(json.dumps(own_workflow()))
    try:
        inverted = pixels_of(endpoint)
    finally:
        file.unlink()
    assert len(inverted) == 2
    for one, other in zip(usual, inverted):
        assert all(abs(255 - a - b) <= 2 for a, b in zip(one, other))
    family = own_folder / "sd3.json"
    family.write_text(json.dumps(own_workflow()))
    try:
        assert pixels_of(endpoint) == inverted
        family.write_text(json.dumps({"1": {"class_type": "SaveImage", "inputs": {}}}))
        (error,) = endpoint.errors(endpoint.task())
        assert (error["code"], error["parameter"]) == ("invalidWorkflow", "model")
    finally:
        family.unlink()


def test_two_workflows_for_one_model_are_an_error_that_names_both(
    endpoint: Endpoint, own_folder: Path
) -> None:
    files = [own_folder / name for name in ("sd3.json", "sd3-.json")]
    for file in files:
        file.write_text(json.dumps(own_workflow()))
    try:
        (error,) = endpoint.errors(endpoint.task())
    finally:
        for file in files:
            file.unlink()
    assert (error["code"], error["parameter"]) == ("invalidWorkflow", "model")
    assert all(file.name in error["message"] for file in files)


VIDEO = {
    "11": {"class_type": "CreateVideo", "inputs": {"images": ["9", 0], "fps": 8}},
    "12": {
        "class_type": "SaveVideo",
        "inputs": {"video": ["11", 0], "filename_prefix": "mine", "format": "auto", "codec": "auto"},
    },
}
SOUND = {"11": {"class_type": "SaveSoundForTests", "inputs": {"images": ["9", 0], "filename_prefix": "mine"}}}


@pytest.mark.parametrize(
    ("nodes", "kind", "start"),
    [(VIDEO, "video", b"ftyp"), (SOUND, "audio", b"WAVE")],
    ids=["video", "sound"],
)
def test_a_workflow_of_ones_own_makes_video_and_sound(
    endpoint: Endpoint, own_folder: Path, nodes: dict[str, Any], kind: str, start: bytes
) -> None:
    workflow = {**own_workflow(), **nodes}
    del workflow["10"]
    file = own_folder / "sd3.json"
    file.write_text(json.dumps(workflow))
    try:
        (item,) = endpoint.images(endpoint.task(outputType=["URL", "dataURI"]))
    finally:
        file.unlink()
    with urllib.request.urlopen(item[f"{kind}URL"], timeout=240) as answer:
        content = answer.read()
        assert answer.headers["Content-Type"].startswith(kind)
    assert start in content[:12]
    assert item[f"{kind}DataURI"].startswith(f"data:{kind}/")
    assert base64.b64decode(item[f"{kind}DataURI"].split(",")[1]) == content
    assert "leftOut" not in item


def test_what_else_a_workflow_saves_is_named(endpoint: Endpoint, own_folder: Path) -> None:
    second = {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "before"}}
    file = own_folder / "sd3.json"
    file.write_text(json.dumps({**own_workflow(), "11": second}))
    try:
        (item,) = endpoint.images(endpoint.task())
    finally:
        file.unlink()
    (other,) = item["leftOut"]
    assert (endpoint.process.base / "output/air_lora_v1" / other["value"]).is_file()


def test_what_is_cancelled_in_comfyui_is_an_error(endpoint: Endpoint) -> None:
    task = endpoint.task(deliveryMethod="async", steps=200, seed=31337)
    client = endpoint.comfy
    with endpoint.slow_steps(1):  # so that it isn't finished before it is cancelled
        endpoint.images(task)
        for _ in range(2400):
            if client.get("/queue")["queue_running"]:
                break
            time.sleep(0.05)
        for _ in range(2400):
            # ComfyUI ignores an interrupt that comes before the run has started.
            client.post("/interrupt", {})
            status, answer = endpoint.post({"taskType": "getResponse", "taskUUID": task["taskUUID"]})
            if status != 200 or answer["data"][0]["status"] != "processing":
                break
            time.sleep(0.05)
    assert answer["errors"][0]["code"] == "cancelled"


def when_done(endpoint: Endpoint, task: dict[str, Any]) -> list[dict[str, Any]]:
    """The final response of getResponse."""
    for _ in range(5000):
        data = endpoint.images({"taskType": "getResponse", "taskUUID": task["taskUUID"]})
        if data[0]["status"] != "processing":
            return data
        time.sleep(0.05)
    raise AssertionError(data)


def test_a_stop_of_comfyui_ends_sockets_so_that_clients_come_again(endpoint: Endpoint) -> None:
    ended, open_ = (
        endpoint.task(deliveryMethod="async", seed=seed, numberResults=2, steps=steps)
        for seed, steps in ((97, 2), (88, 8))
    )
    endpoint.images(ended)
    before = when_done(endpoint, ended)
    task = endpoint.task(seed=99)
    with endpoint.slow_steps(4), connect(endpoint.url.replace("http", "ws")) as socket:
        endpoint.images(open_)
        socket.send(json.dumps([task]))
        runs(endpoint, 3)  # two images of the first task, and this one
        endpoint.process.stop()
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=240)
    assert closed.value.rcvd is None or closed.value.rcvd.code == 1011, (
        "not a clean end: clients would wait for ever"
    )
    endpoint.process.start()
    assert when_done(endpoint, ended) == before, "by a server that never saw it"
    assert not endpoint.comfy.get("/history"), "nor made it again"
    assert [item["seed"] for item in when_done(endpoint, open_)] == [88, 89]
    (error,) = endpoint.errors({**ended, "seed": 98})
    assert error["code"] == "conflictTaskUUID"
    assert endpoint.images(task)[0]["seed"] == 99
