"""The endpoint's responses: every task, every rejection, and failing connections and tasks."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
import urllib.error
import urllib.request
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.civitai_reader import loras_shown
from tests.conftest import connect
from tools.stage import CHECKPOINT

if TYPE_CHECKING:
    from tests.endpoint.conftest import Endpoint

pytestmark = pytest.mark.integration

FOREIGN = {"Origin": "https://somewhere.example"}


def new() -> str:
    return str(uuid.uuid4())


def picture(colour: tuple[int, int, int] = (200, 30, 30), size: int = 64) -> str:
    made = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(made, "PNG")
    return base64.b64encode(made.getvalue()).decode()


def test_ping_and_authentication(endpoint: Endpoint) -> None:
    assert endpoint.post({"taskType": "ping", "ping": True}) == (
        200,
        {"data": [{"taskType": "ping", "pong": True}]},
    )
    status, answer = endpoint.post(
        [{"taskType": "authentication", "apiKey": "x" * 30, "connectionSessionUUID": "s"}]
    )
    assert (status, answer) == (200, {"data": [{"taskType": "authentication", "connectionSessionUUID": "s"}]})


def test_a_result_has_what_every_client_needs(endpoint: Endpoint) -> None:
    task = endpoint.task(includeCost=True, outputType=["URL", "base64Data", "dataURI"], outputFormat="PNG")
    (item,) = endpoint.images(task)
    assert {key: item[key] for key in ("taskType", "taskUUID", "seed", "status", "cost")} == {
        "taskType": "imageInference",
        "taskUUID": task["taskUUID"],
        "seed": 7,
        "status": "success",
        "cost": 0,
    }
    content = base64.b64decode(item["imageBase64Data"])
    assert item["imageDataURI"] == f"data:image/png;base64,{item['imageBase64Data']}"
    with urllib.request.urlopen(item["imageURL"], timeout=240) as answer:
        assert answer.read() == content
    opened = Image.open(io.BytesIO(content))
    assert opened.size == (192, 192)
    prompt = json.loads(opened.text["prompt"])
    assert prompt["apply"]["class_type"] == "AirLoraApply"
    assert prompt["checkpoint"]["inputs"]["ckpt_name"] == CHECKPOINT
    found, _ = loras_shown(content)
    assert sorted(found.values()) == [0.5, 0.5]
    history = endpoint.comfy.get("/history")
    assert f"air_lora_v1/{item['imageUUID']}" in json.dumps(history)


@pytest.mark.parametrize(
    ("kind", "start"), [("JPG", b"\xff\xd8\xff"), ("WEBP", b"RIFF"), ("PNG", b"\x89PNG")]
)
def test_formats(endpoint: Endpoint, kind: str, start: bytes) -> None:
    (item,) = endpoint.images(endpoint.task(outputFormat=kind, outputQuality=40, outputType="base64Data"))
    assert base64.b64decode(item["imageBase64Data"]).startswith(start)


def test_seeds_go_up_by_one_and_without_one_they_are_drawn(endpoint: Endpoint) -> None:
    assert [item["seed"] for item in endpoint.images(endpoint.task(numberResults=3, seed=2**40))] == [
        2**40,
        2**40 + 1,
        2**40 + 2,
    ]
    task = endpoint.task()
    del task["seed"]
    first, second = (endpoint.images({**task, "taskUUID": new()})[0]["seed"] for _ in range(2))
    assert first != second


@pytest.mark.parametrize(
    ("members", "code", "parameter"),
    [
        ({"CFGScale": "much"}, "invalidType", "CFGScale"),
        ({"steps": 0}, "valueOutOfRange", "steps"),
        ({"outputFormat": "GIF"}, "invalidValue", "outputFormat"),
        ({"outputType": ["URL", "file"]}, "invalidValue", "outputType"),
        ({"numberResults": 500}, "valueOutOfRange", "numberResults"),
        ({"seed": 2**63}, "valueOutOfRange", "seed"),
        ({"webhookURL": "https://example.com/"}, "unsupportedParameter", "webhookURL"),
        ({"uploadEndpoint": "https://example.com/"}, "unsupportedParameter", "uploadEndpoint"),
        ({"lora": [{"model": "no name", "weight": 1}]}, "missingSource", "lora[0].model"),
        ({"lycoris": [{"model": "civitai:1@2", "weight": 9}]}, "valueOutOfRange", "lycoris[0].weight"),
        ({"embeddings": [{"weight": 1}]}, "missingModel", "embeddings[0]"),
        ({"model": "civitai:9999@99999"}, "notFound", "model"),
        ({"model": "runware:100@1"}, "hostedOnly", "model"),
        ({"seedImage": "not base64!"}, "invalidImage", "seedImage"),
        ({"seedImage": base64.b64encode(b"no picture").decode()}, "invalidImage", "seedImage"),
        ({"seedImage": "http://127.0.0.1:8188/view?filename=x"}, "downloadFailed", "seedImage"),
        ({"seedImage": "https://169.254.169.254/latest"}, "downloadFailed", "seedImage"),
        ({"seedImage": new()}, "invalidImage", "seedImage"),
        ({"maskImage": picture()}, "missingSeedImage", "seedImage"),
        ({"positivPrompt": "x"}, "unknownKey", "positivPrompt"),
        ({"taskUUID": 7}, "invalidTaskUUID", "taskUUID"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_place(
    endpoint: Endpoint, members: dict[str, Any], code: str, parameter: str
) -> None:
    (error,) = endpoint.errors(endpoint.task(**members))
    assert (error["code"], error["parameter"]) == (code, parameter), error
    assert error["message"].startswith(f"{parameter}: ")
    assert error["message"][-1] in ".!?"


def test_other_tasks_are_not_known(endpoint: Endpoint) -> None:
    (error,) = endpoint.errors({"taskType": "videoInference", "taskUUID": new()})
    assert error["code"] == "unsupportedTaskType"
    assert error["taskType"] == "videoInference"


@pytest.mark.parametrize("body", [b"{", b"[]", b"7", b'["x"]', b"[" * 100_000])
def test_what_is_no_message(endpoint: Endpoint, body: bytes) -> None:
    status, answer = endpoint.post(body)
    assert status == 400
    assert answer["errors"][0]["code"] in ("invalidJson", "invalidRequest")


def test_one_failing_task_does_not_fail_the_others(endpoint: Endpoint) -> None:
    good, bad = endpoint.task(), endpoint.task(model="civitai:9999@99999")
    status, answer = endpoint.post([bad, good])
    assert status == 200
    assert [item["taskUUID"] for item in answer["data"]] == [good["taskUUID"]]
    assert [error["taskUUID"] for error in answer["errors"]] == [bad["taskUUID"]]


def test_async_is_all_or_nothing(endpoint: Endpoint) -> None:
    task = endpoint.task(deliveryMethod="async", numberResults=3, seed=40)
    assert endpoint.images(task) == [{"taskType": "imageInference", "taskUUID": task["taskUUID"]}]
    ask = {"taskType": "getResponse", "taskUUID": task["taskUUID"]}
    seen: list[set[str]] = []
    for _ in range(6000):
        data = endpoint.images(ask)
        assert len(data) == 3
        assert all(item["imageUUID"] for item in data)
        seen.append({item["status"] for item in data})
        if seen[-1] == {"success"}:
            break
        time.sleep(0.02)
    assert seen[-1] == {"success"}
    assert all(len(each) == 1 for each in seen), "never some of them"
    assert endpoint.images(ask) == data
    (error,) = endpoint.errors({"taskType": "getResponse", "taskUUID": new()})
    assert error["code"] == "taskFailedOrNotFound"


def test_a_task_that_fails_later_is_an_error_of_getresponse(endpoint: Endpoint) -> None:
    lora = [{"model": endpoint.stage.foreign_air, "weight": 1}]
    task = endpoint.task(deliveryMethod="async", lora=lora)
    endpoint.images(task)
    for _ in range(2400):
        status, answer = endpoint.post({"taskType": "getResponse", "taskUUID": task["taskUUID"]})
        if status != 200:
            break
        time.sleep(0.05)
    (error,) = answer["errors"]
    assert (error["code"], error["parameter"], error["taskUUID"]) == (
        "wrongArchitecture",
        "lora[0]",
        task["taskUUID"],
    )


def test_a_task_sent_again_attaches_and_another_one_is_a_conflict(endpoint: Endpoint) -> None:
    task = endpoint.task(seed=77)
    found: list[list[dict[str, Any]]] = []
    threads = [threading.Thread(target=lambda: found.append(endpoint.images(task))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert found[0] == found[1] == found[2]
    (error,) = endpoint.errors({**task, "steps": 3})
    assert error["code"] == "conflictTaskUUID"


def test_uploads_and_own_results_are_pictures_to_start_from(endpoint: Endpoint) -> None:
    upload = {"taskType": "imageUpload", "taskUUID": new(), "image": f"data:image/png;base64,{picture()}"}
    (item,) = endpoint.images(upload)
    assert item["imageURL"].endswith(f"{item['imageUUID']}.png")
    with urllib.request.urlopen(item["imageURL"], timeout=240) as answer:
        assert answer.read()[:4] == b"\x89PNG"
    weak, strong = (
        endpoint.images(
            endpoint.task(seedImage=item["imageUUID"], strength=strength, outputType="base64Data")
        )[0]
        for strength in (0.3, 1.0)
    )
    assert weak["imageBase64Data"] != strong["imageBase64Data"]
    (again,) = endpoint.images(endpoint.task(inputs={"seedImage": weak["imageUUID"]}, strength=0.3))
    assert again["status"] == "success"


def test_a_mask_says_what_is_drawn_anew(endpoint: Endpoint) -> None:
    start = Image.new("RGB", (384, 384), (30, 160, 60))
    mask = Image.new("RGB", (384, 384), (0, 0, 0))
    mask.paste((255, 255, 255), (192, 0, 384, 384))
    sent = {}
    for name, each in (("seedImage", start), ("maskImage", mask)):
        made = io.BytesIO()
        each.save(made, "PNG")
        sent[name] = base64.b64encode(made.getvalue()).decode()
    (item,) = endpoint.images(
        endpoint.task(
            **sent, width=384, height=384, strength=1.0, outputType="base64Data", outputFormat="PNG"
        )
    )
    found = Image.open(io.BytesIO(base64.b64decode(item["imageBase64Data"]))).convert("RGB")

    def change(box: tuple[int, int, int, int]) -> float:
        one, other = (each.crop(box).resize((8, 8)).tobytes() for each in (found, start))
        return sum(abs(a - b) for a, b in zip(one, other)) / len(one)

    assert change((0, 0, 150, 384)) * 2 < change((230, 0, 384, 384))


def test_what_is_left_out_is_named(endpoint: Endpoint) -> None:
    (item,) = endpoint.images(
        endpoint.task(controlNet=[{"model": "x", "weight": 1}], width=388, scheduler="TCDScheduler")
    )
    assert {each["parameter"] for each in item["leftOut"]} == {"controlNet", "width", "scheduler"}
    assert all(each["reason"] for each in item["leftOut"])
    (plain,) = endpoint.images(endpoint.task(controlNet=None, hiresFix=None, outputQuality=90))
    assert "leftOut" not in plain


def test_lycoris_count_as_loras(endpoint: Endpoint) -> None:
    first, second = endpoint.task()["lora"]
    one = endpoint.images(
        endpoint.task(lora=[first], lycoris=[second], outputType="base64Data", outputFormat="PNG")
    )
    two = endpoint.images(endpoint.task(outputType="base64Data", outputFormat="PNG"))
    pixels = [
        Image.open(io.BytesIO(base64.b64decode(item["imageBase64Data"]))).tobytes() for (item,) in (one, two)
    ]
    assert pixels[0] == pixels[1]


def test_embeddings_do_not_go_into_a_model_that_takes_none(endpoint: Endpoint) -> None:
    folder = endpoint.process.base / "models/embeddings"
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"emb_params": torch.zeros(2, 768)}, folder / "calm.safetensors")
    (error,) = endpoint.errors(endpoint.task(embeddings=[{"model": "local:calm.safetensors", "weight": 0.7}]))
    assert (error["code"], error["parameter"]) == ("wrongArchitecture", "embeddings[0].model")


def test_model_search_has_what_is_here_and_what_civitai_has(endpoint: Endpoint) -> None:
    (item,) = endpoint.images({"taskType": "modelSearch", "taskUUID": new(), "search": "", "limit": 50})
    assert item["totalResults"] >= 5
    assert {style.air for style in endpoint.stage.styles} <= {each["air"] for each in item["results"]}
    (item,) = endpoint.images(
        {"taskType": "modelSearch", "taskUUID": new(), "search": "tiny-showcase", "category": "checkpoint"}
    )
    assert [each["air"] for each in item["results"]] == [f"local:{CHECKPOINT}"]
    (error,) = endpoint.errors({"taskType": "modelSearch", "taskUUID": new(), "category": "vae"})
    assert error["parameter"] == "category"


@pytest.mark.parametrize(("name", "layer"), [("tiny_sd15.ckpt", -2), ("tiny_sdxl.ckpt", -3)])
def test_other_families_have_their_graphs(endpoint: Endpoint, name: str, layer: int) -> None:
    def made(**members: Any) -> Image.Image:
        task = endpoint.task(
            model=name,
            lora=[],
            width=64,
            height=64,
            outputType="base64Data",
            **{"outputFormat": "PNG", **members},
        )
        (item,) = endpoint.images(task)
        assert "leftOut" not in item
        return Image.open(io.BytesIO(base64.b64decode(item["imageBase64Data"])))

    skipped = json.loads(made(clipSkip=1, scheduler="DPM++ 2M Karras").text["prompt"])
    assert [skipped["sampler"]["inputs"][key] for key in ("sampler_name", "scheduler")] == [
        "dpmpp_2m",
        "karras",
    ]
    assert skipped["clip_skip"]["inputs"]["stop_at_clip_layer"] == layer
    assert skipped["positive"]["inputs"]["clip"] == ["clip_skip", 0]


def test_embeddings_go_into_the_prompts_with_their_weights(endpoint: Endpoint) -> None:
    folder = endpoint.process.base / "models/embeddings"
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(3)
    save_file({"emb_params": torch.randn(2, 768)}, folder / "bright.safetensors")
    save_file({"emb_params": torch.randn(2, 1024)}, folder / "of-sd2.safetensors")
    members = {"model": "tiny_sd15.ckpt", "lora": [], "width": 64, "height": 64, "negativePrompt": "grey"}
    (item,) = endpoint.images(
        endpoint.task(
            **members,
            embeddings=[{"model": "local:bright.safetensors", "weight": weight} for weight in (0.7, -1)],
            outputType="base64Data",
            outputFormat="PNG",
        )
    )
    prompt = json.loads(Image.open(io.BytesIO(base64.b64decode(item["imageBase64Data"]))).text["prompt"])
    assert prompt["positive"]["inputs"]["text"] == "a red car in a city, (embedding:bright:0.7)"
    assert prompt["negative"]["inputs"]["text"] == "grey, embedding:bright"
    (error,) = endpoint.errors(endpoint.task(**members, embeddings=[{"model": "local:of-sd2.safetensors"}]))
    assert (error["code"], error["parameter"]) == ("wrongArchitecture", "embeddings[0].model")


# ------------------------------------------------------------------------------------------------ WebSocket


def test_a_socket_is_read_while_pictures_are_made(endpoint: Endpoint) -> None:
    with connect(endpoint.url.replace("http", "ws"), max_size=None) as socket:
        socket.send(json.dumps([{"taskType": "authentication", "apiKey": "k" * 30}]))
        assert json.loads(socket.recv(timeout=240))["data"][0]["taskType"] == "authentication"
        tasks = [endpoint.task(seed=900 + number, steps=4) for number in range(3)]
        for task in tasks:
            socket.send(json.dumps([task]))
        socket.send(json.dumps([{"taskType": "ping", "ping": True}]))
        frames = [json.loads(socket.recv(timeout=240))]
        assert frames[0] == {"data": [{"taskType": "ping", "pong": True}]}, "before the first picture"
        frames = [json.loads(socket.recv(timeout=240)) for _ in tasks]
        assert {frame["data"][0]["taskUUID"] for frame in frames} == {task["taskUUID"] for task in tasks}
        assert all("errors" not in frame and "error" not in frame for frame in frames)
        socket.send("nonsense")
        assert json.loads(socket.recv(timeout=240))["errors"][0]["code"] == "invalidJson"
        bad = endpoint.task(steps="x")
        socket.send(json.dumps([bad]))
        assert json.loads(socket.recv(timeout=240))["errors"][0]["taskUUID"] == bad["taskUUID"]


def test_after_a_broken_connection_the_same_task_brings_the_same_picture(endpoint: Endpoint) -> None:
    task = endpoint.task(seed=4242, steps=8)
    with connect(endpoint.url.replace("http", "ws")) as socket:
        socket.send(json.dumps([task]))
        time.sleep(0.3)
    found = endpoint.images(task)
    asked = endpoint.images({"taskType": "getResponse", "taskUUID": task["taskUUID"]})
    assert found == asked
    assert [item["seed"] for item in found] == [4242]


def test_a_frame_that_would_break_the_client_is_an_error_with_advice(endpoint: Endpoint) -> None:
    agent = {"User-Agent": "runware-python/1.8.0"}
    with connect(
        endpoint.url.replace("http", "ws"), max_size=None, user_agent_header=None, additional_headers=agent
    ) as socket:
        # Each picture contains its workflow, including the array.
        lora = [{"model": f"civitai:1@{number}", "weight": 0.5, "enabled": False} for number in range(1, 501)]
        forms = ["base64Data", "dataURI"]
        small = {"width": 64, "height": 64, "steps": 1}
        task = endpoint.task(lora=lora, outputType=forms, outputFormat="PNG", numberResults=20, **small)
        socket.send(json.dumps([task]))
        frame = json.loads(socket.recv(timeout=280))
    assert frame["errors"][0]["code"] == "responseTooLarge"
    assert frame["errors"][0]["taskUUID"] == task["taskUUID"]


# ------------------------------------------------------------------------------------------- access control


def test_pages_of_other_sites_may_not_ask(endpoint: Endpoint) -> None:
    request = urllib.request.Request(endpoint.url, b'[{"taskType":"ping"}]', FOREIGN)
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=240)
    with raised.value:
        assert raised.value.code == 403
    with pytest.raises(Exception, match="403"):
        connect(endpoint.url.replace("http", "ws"), additional_headers=FOREIGN)


def test_who_comes_through_a_proxy_needs_the_key(endpoint: Endpoint) -> None:
    """A forwarded request is from another computer. No key is set here, so no key is accepted."""
    status, answer = endpoint.post([endpoint.task()], X_Forwarded_For="203.0.113.9")
    assert (status, answer["errors"][0]["code"]) == (401, "invalidApiKey")
    with connect(
        endpoint.url.replace("http", "ws"), additional_headers={"X-Forwarded-For": "203.0.113.9"}
    ) as socket:
        socket.send(json.dumps([{"taskType": "authentication", "apiKey": "k" * 30}]))
        frame = json.loads(socket.recv(timeout=240))
        assert frame["errors"][0]["code"] == "invalidApiKey"
        assert frame["errors"][0]["taskType"] == "authentication"
        assert "taskUUID" not in frame["errors"][0]
        socket.send(json.dumps([endpoint.task()]))
        assert json.loads(socket.recv(timeout=240))["errors"][0]["code"] == "invalidApiKey"


def test_from_elsewhere_the_own_key_opens_and_is_kept_nowhere(endpoint: Endpoint) -> None:
    """The key also works in the task itself, where a user might put it by mistake."""
    key = f"a-key-of-my-own-{new()}"
    endpoint.comfy.post("/air_lora/token", {"service": "endpoint", "token": key})
    elsewhere = {"X_Forwarded_For": "203.0.113.9"}
    task = {**endpoint.task(outputFormat="PNG", outputType="base64Data"), "apiKey": key}
    try:
        status, answer = endpoint.post([task], Authorization=f"Bearer {key}", **elsewhere)
        assert status == 200, answer
        first = [{"taskType": "authentication", "apiKey": key}, endpoint.task()]
        assert endpoint.post(first, **elsewhere)[0] == 200
        for wrong in (f"{key}x", key[:-1], "", "é" * 30):
            told = [{"taskType": "authentication", "apiKey": wrong}, endpoint.task()]
            status, refused = endpoint.post(told, **elsewhere)
            assert (status, refused["errors"][0]["code"]) == (401, "invalidApiKey")
        with connect(
            endpoint.url.replace("http", "ws"), additional_headers={"X-Forwarded-For": "203.0.113.9"}
        ) as socket:
            socket.send(json.dumps([{"taskType": "authentication", "apiKey": key}]))
            assert json.loads(socket.recv(timeout=240))["data"][0]["taskType"] == "authentication"
            socket.send(json.dumps([endpoint.task()]))
            assert json.loads(socket.recv(timeout=240))["data"][0]["status"] == "success"
    finally:
        endpoint.comfy.post("/air_lora/token", {"service": "endpoint", "token": None})
    kept = [
        json.dumps(endpoint.comfy.get("/history")).encode(),
        base64.b64decode(answer["data"][0]["imageBase64Data"]),
        endpoint.process.log.read_bytes(),
        *(path.read_bytes() for path in (endpoint.process.base / "user/air_lora_endpoint").rglob("*.json")),
    ]
    assert not any(key.encode() in each for each in kept)


def test_nobody_can_guess_or_walk_to_a_result(endpoint: Endpoint) -> None:
    for name in ("x.png", f"{new()}.png", "..%2f..%2fsecret.png", "%2e%2e.png"):
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(f"{endpoint.url}/results/{name}", timeout=240)
        with raised.value:
            assert raised.value.code == 404


@pytest.mark.parametrize(
    "model", ["tiny-showcase-al.ckpt", "local:tiny-showcase-al.ckpt", "tiny-showcase-all.safetensors"]
)
def test_a_mistyped_checkpoint_is_one_that_is_not_there(endpoint: Endpoint, model: str) -> None:
    (error,) = endpoint.errors(endpoint.task(model=model))
    assert (error["code"], error["parameter"]) == ("notFound", "model")
    assert CHECKPOINT in error["message"]


def test_without_a_model_the_error_names_what_a_program_can_send(endpoint: Endpoint) -> None:
    task = endpoint.task()
    del task["model"]
    (error,) = endpoint.errors(task)
    assert (error["code"], error["parameter"]) == ("missingModel", "model")
    assert "this node" not in error["message"]
