"""Unusual, incomplete, and huge input from users and attackers. Each gets a response, and nothing is ignored."""

from __future__ import annotations

import base64
import io
import json
import time
import urllib.error
import urllib.request
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosed

from tests.conftest import connect
from tests.endpoint.test_protocol import new, picture
from tests.endpoint.test_queue import own_folder, own_workflow
from tools.stage import CHECKPOINT

if TYPE_CHECKING:
    from pathlib import Path

    from websockets.sync.client import ClientConnection

    from tests.endpoint.conftest import Endpoint

pytestmark = pytest.mark.integration

__all__ = ["own_folder"]
HALF = "\ud800"
ELSEWHERE = {"X_Forwarded_For": "203.0.113.9"}


def encoded(image: Image.Image, kind: str = "PNG") -> str:
    made = io.BytesIO()
    image.save(made, kind)
    return base64.b64encode(made.getvalue()).decode()


def uploaded(endpoint: Endpoint, image: str) -> Image.Image:
    (item,) = endpoint.images({"taskType": "imageUpload", "taskUUID": new(), "image": image})
    with urllib.request.urlopen(item["imageURL"], timeout=240) as answer:
        return Image.open(io.BytesIO(answer.read()))


@pytest.mark.parametrize(
    ("members", "parameter"),
    [
        ({"outputFormat": ["PNG"]}, "outputFormat"),
        ({"outputFormat": {"a": 1}}, "outputFormat"),
        ({"deliveryMethod": "ASYNC"}, "deliveryMethod"),
        ({"deliveryMethod": ["async"]}, "deliveryMethod"),
        ({"includeCost": "false"}, "includeCost"),
        ({"seedImage": False}, "seedImage"),
        ({"seedImage": []}, "seedImage"),
        ({"inputs": "x"}, "inputs"),
        ({"seedImage": picture(), "inputs": {"seedImage": picture((1, 2, 3))}}, "seedImage"),
        ({"scheduler": "Nonsense"}, "scheduler"),
        ({"numberResults": 0}, "numberResults"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**53 - 1, "numberResults": 2}, "seed"),
        ({"vae": "civitai:1@2"}, "vae"),
        ({"lora": [{"model": "civitai:1@2", "weight": 1}]}, "lora[0].model"),
        ({"lycoris": [{"model": "civitai:1@2", "weight": 1}]}, "lycoris[0].model"),
    ],
)
def test_odd_values_are_errors_at_their_place_and_the_rest_is_done(
    endpoint: Endpoint, members: dict[str, Any], parameter: str
) -> None:
    good = endpoint.task(lora=[], width=64, height=64)
    status, answer = endpoint.post([{**endpoint.task(lora=[]), **members}, good])
    assert status == 200
    assert [item["taskUUID"] for item in answer["data"]] == [good["taskUUID"]]
    assert [error["parameter"] for error in answer["errors"]] == [parameter]


def test_a_wrong_lycoris_is_named_as_that(endpoint: Endpoint) -> None:
    wrong = [{"model": endpoint.stage.foreign_air, "weight": 1}]
    (error,) = endpoint.errors(endpoint.task(lycoris=wrong))
    assert error["parameter"] == "lycoris[0]"
    assert error["message"].startswith("lycoris[0]: ")


@pytest.mark.parametrize(
    "task",
    [
        {"taskType": "imageInference", "foo": HALF},
        {"taskType": "imageInference", HALF: 1},
        {"taskType": HALF},
        {"taskType": "authentication", "connectionSessionUUID": HALF, "apiKey": HALF},
        {"taskType": "imageUpload", "image": f"https://{HALF}.example/x"},
        {"taskType": "modelSearch", "search": HALF},
    ],
)
def test_half_a_surrogate_pair_is_refused(endpoint: Endpoint, task: dict[str, Any]) -> None:
    status, answer = endpoint.post([{**task, "taskUUID": new()}])
    assert (status, answer["errors"][0]["code"]) == (400, "invalidJson")
    with connect(endpoint.url.replace("http", "ws")) as socket:
        socket.send(json.dumps([{**task, "taskUUID": new()}]))
        assert json.loads(socket.recv(timeout=240))["errors"][0]["code"] == "invalidJson"


def test_a_stranger_sends_little_and_tries_few_keys(endpoint: Endpoint) -> None:
    large = [{"taskType": "ping", "x": "x" * (2 * 1024**2)}]
    assert endpoint.post(large)[0] == 200
    status, answer = endpoint.post(large, **ELSEWHERE)
    assert status in (401, 413)
    assert "data" not in answer
    status, answer = endpoint.post([endpoint.task()], Authorization="Bearer \xff\xfe", **ELSEWHERE)
    assert (status, answer["errors"][0]["code"]) == (401, "invalidApiKey")

    def guess(socket: ClientConnection) -> None:
        for _ in range(50):
            socket.send(json.dumps([{"taskType": "authentication", "apiKey": "wrong" * 6}]))
            socket.recv(timeout=240)

    with (
        connect(
            endpoint.url.replace("http", "ws"), additional_headers={"X-Forwarded-For": "203.0.113.9"}
        ) as guessing,
        pytest.raises(ConnectionClosed),
    ):
        guess(guessing)


@pytest.mark.parametrize("port", ["comfyui", "civitai", "none"])
def test_an_address_on_this_network_tells_nothing(endpoint: Endpoint, port: str) -> None:
    """Not with another spelling, not with a configured host, and not even whether anything listens there."""
    civitai = urlsplit(endpoint.stage.environment["AIR_LORA_CIVITAI_URL"]).port
    number = {"comfyui": endpoint.process.port, "civitai": civitai, "none": 9}[port]
    said = set()
    for host in ("127.0.0.1", "2130706433", "localhost", "[::1]"):
        for scheme in ("http", "https"):
            address = f"{scheme}://{host}:{number}/history"
            (error,) = endpoint.errors({"taskType": "imageUpload", "taskUUID": new(), "image": address})
            said.add((error["code"], error["message"]))
    assert len(said) == 1


def test_a_start_picture_says_the_size(endpoint: Endpoint) -> None:
    start = encoded(Image.new("RGB", (128, 64), (200, 60, 20)))
    members = {"seedImage": start, "strength": 0.5, "outputType": "base64Data", "lora": []}

    def made(**sizes: Any) -> tuple[tuple[int, int], set[str]]:
        task = {**endpoint.task(**members), **sizes}
        for name in ("width", "height"):
            if task[name] is None:
                del task[name]
        (item,) = endpoint.images(task)
        size = Image.open(io.BytesIO(base64.b64decode(item["imageBase64Data"]))).size
        return size, {each["parameter"] for each in item.get("leftOut", [])}

    assert made(width=None, height=None) == ((128, 64), set())
    assert made(width=None, height=128) == ((256, 128), set())
    assert made(width=64, height=64) == ((64, 64), {"seedImage"})


def test_strength_without_a_picture_and_no_size_are_named(endpoint: Endpoint) -> None:
    task = endpoint.task(strength=0.5, lora=[], steps=1, model="tiny_sd15.ckpt", checkNSFW=False, ttl=60)
    del task["height"]
    task["width"] = 64
    (item,) = endpoint.images(task)
    assert {each["parameter"] for each in item["leftOut"]} == {"strength", "height", "ttl"}


def test_a_failed_task_may_be_sent_again(endpoint: Endpoint) -> None:
    task = endpoint.task(lora=[{"model": "civitai:1@2", "weight": 1}])
    endpoint.errors(task)
    (item,) = endpoint.images({**task, "lora": []})
    assert item["taskUUID"] == task["taskUUID"]
    same = {**task, "lora": [], "deliveryMethod": "async"}
    assert "imageUUID" not in endpoint.images(same)[0], "only how it comes is other"
    for path in (endpoint.process.base / "output/air_lora_v1").glob(f"{item['imageUUID']}_*"):
        path.unlink()
    (again,) = endpoint.images({**task, "lora": []})
    with urllib.request.urlopen(again["imageURL"], timeout=240) as answer:
        assert answer.read(3) == b"\xff\xd8\xff"


def test_sixteen_bits_keep_their_grey(endpoint: Endpoint) -> None:
    found = uploaded(endpoint, encoded(Image.new("I;16", (32, 32), 32768)))
    assert all(abs(value - 127) <= 1 for value in found.convert("RGB").getpixel((5, 5)))


@pytest.mark.parametrize(
    "head",
    [
        "",
        "data:image/png;base64,",
        "data:image/png;charset=utf-8;base64,",
        "data:;base64,",
        "data:application/octet-stream;base64,",
    ],
)
def test_forms_of_base64(endpoint: Endpoint, head: str) -> None:
    plain = encoded(Image.effect_noise((40, 40), 80).convert("RGB"))
    assert uploaded(endpoint, head + plain).size == (40, 40)
    assert uploaded(endpoint, head + plain.replace("+", "-").replace("/", "_").rstrip("=")).size == (40, 40)


def test_a_picture_of_too_many_pixels_is_told_as_that(endpoint: Endpoint) -> None:
    bomb = encoded(Image.new("1", (20000, 20000)))
    (error,) = endpoint.errors({"taskType": "imageUpload", "taskUUID": new(), "image": bomb})
    assert error["code"] == "invalidImage"
    assert "64,000,000 pixels" in error["message"]


def test_a_mask_of_transparency_alone_is_refused_and_colours_count_as_grey(endpoint: Endpoint) -> None:
    mask = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 32, 64))
    members = {"seedImage": picture(), "width": 64, "height": 64, "lora": []}
    (error,) = endpoint.errors(endpoint.task(**members, maskImage=encoded(mask)))
    assert (error["code"], error["parameter"]) == ("invalidImage", "maskImage")
    green = Image.new("RGB", (64, 64), (0, 0, 0))
    green.paste((0, 255, 0), (0, 0, 32, 64))
    (item,) = endpoint.images(endpoint.task(**members, maskImage=encoded(green), outputFormat="PNG"))
    with urllib.request.urlopen(item["imageURL"], timeout=240) as answer:
        prompt = json.loads(Image.open(io.BytesIO(answer.read())).text["prompt"])
    name = prompt["mask_image"]["inputs"]["image"]
    kept = Image.open(endpoint.process.base / "input" / name)
    assert kept.convert("RGB").getpixel((5, 5))[0] > 100


def test_the_same_picture_is_kept_once(endpoint: Endpoint) -> None:
    image = encoded(Image.effect_noise((48, 48), 60).convert("RGB"))
    upload = {"taskType": "imageUpload", "image": image}
    first, second = (endpoint.images({**upload, "taskUUID": new()})[0]["imageUUID"] for _ in range(2))
    assert first == second
    assert uuid.UUID(first)


def test_a_task_goes_on_when_its_socket_closes_at_once(endpoint: Endpoint) -> None:
    task = endpoint.task(lora=[])
    with connect(endpoint.url.replace("http", "ws")) as socket:
        socket.send(json.dumps([task]))
    ask = {"taskType": "getResponse", "taskUUID": task["taskUUID"]}
    for _ in range(100):
        status, answer = endpoint.post(ask)
        if status == 200:
            break
        time.sleep(0.1)
    assert status == 200, answer


def test_addresses_follow_the_proxy_and_a_slash_at_the_end_is_fine(endpoint: Endpoint) -> None:
    (item,) = endpoint.images({"taskType": "imageUpload", "taskUUID": new(), "image": picture()})
    assert item["imageURL"].startswith("http://127.0.0.1")
    assert endpoint.post({"taskType": "ping"}, f"{endpoint.url}/")[0] == 200


def test_a_result_has_its_own_endings_alone(endpoint: Endpoint) -> None:
    (item,) = endpoint.images(endpoint.task(lora=[], width=64, height=64))
    base = item["imageURL"].rpartition(".")[0]
    with urllib.request.urlopen(f"{base}.webp", timeout=240) as answer:
        assert "sandbox" in answer.headers["Content-Security-Policy"]
    for ending in ("svg", "html", "gif"):
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(f"{base}.{ending}", timeout=240)
        with raised.value:
            assert raised.value.code == 404


# -------------------------------------------------------------------------------------------- the user's workflows


def with_own(endpoint: Endpoint, folder: Path, workflow: object, task: dict[str, Any]) -> tuple[int, Any]:
    file = folder / "sd3.json"
    file.write_text(workflow if isinstance(workflow, str) else json.dumps(workflow))
    try:
        return endpoint.post([task])
    finally:
        file.unlink()


@pytest.mark.parametrize(
    ("members", "parameter"),
    [
        ({"lora": [{"model": "civitai:9000001@9100001", "weight": 1}]}, "lora"),
        ({"seedImage": picture()}, "seedImage"),
        ({"controlNet": [{"model": "x"}]}, None),
        ({"clipSkip": 1}, None),
        ({"foo": 1}, None),
    ],
)
def test_what_a_workflow_of_ones_own_has_no_place_for(
    endpoint: Endpoint, own_folder: Path, members: dict[str, Any], parameter: str | None
) -> None:
    workflow = own_workflow()
    workflow["3"]["inputs"]["lora"] = "[]"
    status, answer = with_own(endpoint, own_folder, workflow, {**endpoint.task(lora=[]), **members})
    if parameter:
        assert status == 400
        assert (answer["errors"][0]["code"], answer["errors"][0]["parameter"]) == (
            "unsupportedParameter",
            parameter,
        )
    else:
        assert {each["parameter"] for each in answer["data"][0]["leftOut"]} == set(members)


def test_a_workflow_that_only_previews_has_an_address(endpoint: Endpoint, own_folder: Path) -> None:
    workflow = own_workflow()
    workflow["10"] = {"class_type": "PreviewImage", "inputs": {"images": ["9", 0]}}
    status, answer = with_own(endpoint, own_folder, workflow, endpoint.task())
    assert status == 200, answer
    with urllib.request.urlopen(answer["data"][0]["imageURL"], timeout=240) as found:
        assert found.read(3) == b"\xff\xd8\xff"


@pytest.mark.parametrize(
    "workflow",
    [
        {"1": {"class_type": "AirLoraRequest", "inputs": 5}},
        {"1": {"class_type": ["x"], "inputs": {}}},
        {**own_workflow(), "_comment": "x"},
        "{",
        {
            "1": {"class_type": "AirLoraRequest", "inputs": {}},
            "2": {"class_type": "NoSuchNode", "inputs": {}},
        },
    ],
)
def test_a_workflow_that_cannot_run_is_named(endpoint: Endpoint, own_folder: Path, workflow: object) -> None:
    status, answer = with_own(endpoint, own_folder, workflow, endpoint.task(lora=[]))
    assert status == 400
    (error,) = answer["errors"]
    assert (error["code"], error["parameter"]) == ("invalidWorkflow", "model")
    assert "sd3.json" in error["message"]


def test_the_checkpoint_of_the_tests_is_there(endpoint: Endpoint) -> None:
    (item,) = endpoint.images(
        {"taskType": "modelSearch", "taskUUID": new(), "category": "checkpoint", "tags": ["x"]}
    )
    assert f"local:{CHECKPOINT}" in {each["air"] for each in item["results"]}
    assert [each["parameter"] for each in item["leftOut"]] == ["tags"]
    (error,) = endpoint.errors({"taskType": "modelSearch", "taskUUID": new(), "limit": "5"})
    assert error["parameter"] == "limit"
