"""Two workers behind one endpoint: the same clients, and what happens when workers or the whole fleet die."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosed

from tests.conftest import ROOT, connect
from tests.endpoint.test_real_clients import CLIENTS, fetched
from tests.fleet.conftest import QUEUE, line
from tools.runtime import venv_python
from tools.stage import CHECKPOINT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.fleet.conftest import Fleet

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(1800),  # a busy machine starts Ray and two ComfyUIs slowly
    pytest.mark.skipif(sys.platform == "win32", reason="kill -9 and SIGSTOP are not on Windows"),
]


@pytest.fixture(scope="module", autouse=True)
def second_fleet(fleet: Fleet) -> Iterator[subprocess.Popen[str]]:
    """Another fleet with the same port. It starts before the tests, because it waits for the port for some seconds."""
    command, environment = fleet.process.command(), fleet.process.environment
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as second:
        yield second
        second.kill()


def until(condition: Callable[[], bool], seconds: float = 400) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def results_of(folder: Path) -> list[dict[str, Any]]:
    file = folder / "out/results.jsonl"
    return [json.loads(each) for each in file.read_text().splitlines()] if file.exists() else []


def ended(batch: subprocess.Popen[str]) -> str:
    said, _ = batch.communicate(timeout=600)
    assert batch.returncode == 0, said
    return said


@pytest.mark.parametrize(("client", "options"), CLIENTS)
def test_the_clients_of_one_machine_do_not_notice(fleet: Fleet, client: str, options: dict[str, Any]) -> None:
    found = fleet.client(client, task=fleet.task(numberResults=2), **options)
    assert len(found.get("images", [])) == 2, found
    if client != "ai_sdk.mjs":
        assert [each["seed"] for each in found["images"]] == [7, 8]
        assert all(fetched(each["url"])[:3] == b"\xff\xd8\xff" for each in found["images"])
    lora = [{"model": fleet.stage.foreign_air, "weight": 1}]
    found = fleet.client(client, task=fleet.task(lora=lora), **options)
    assert "was trained for SDXL, but the loaded checkpoint is SD 3" in found["error"]


def test_workers_get_as_much_of_a_busy_machine_as_other_programs(fleet: Fleet) -> None:
    assert [comfyui.nice() for comfyui in fleet.process.comfyuis()] == [os.nice(0)] * 2


def test_async_uploads_and_other_tasks(fleet: Fleet) -> None:
    task = fleet.task(deliveryMethod="async", numberResults=2)
    assert fleet.images(task) == [{"taskType": "imageInference", "taskUUID": task["taskUUID"]}]
    ask = {"taskType": "getResponse", "taskUUID": task["taskUUID"]}
    until(lambda: fleet.images(ask)[0]["status"] == "success")
    data = fleet.images(ask)
    assert [item["seed"] for item in data] == [7, 8]
    picture = {"taskType": "imageUpload", "taskUUID": "upload", "image": data[0]["imageUUID"]}
    (upload,) = fleet.images(picture)
    for seed in range(3):  # for whichever worker runs it
        fleet.images(fleet.task(seedImage=upload["imageUUID"], strength=0.5, seed=seed, lora=[]))
    (error,) = fleet.errors({"taskType": "getResponse", "taskUUID": "never-sent"})
    assert error["code"] == "taskFailedOrNotFound"
    (error,) = fleet.errors({"taskType": "videoInference", "taskUUID": "video"})
    assert error["code"] == "unsupportedTaskType"
    (error,) = fleet.errors(fleet.task(steps=0, deliveryMethod="async"))
    assert error["parameter"] == "steps", "at once, as from one machine"


def test_others_need_a_key_and_pages_of_others_may_not_ask(fleet: Fleet) -> None:
    status, answer = fleet.post([fleet.task()], X_Forwarded_For="203.0.113.9")
    assert (status, answer["errors"][0]["code"]) == (401, "invalidApiKey")
    status, answer = fleet.post([fleet.task()], Origin="https://somewhere.example")
    assert (status, answer["errors"][0]["code"]) == (403, "foreignOrigin")
    assert fleet.post([fleet.task()], Host="rebound.example")[0] == 401


def test_sockets_and_messages_that_are_odd(fleet: Fleet) -> None:
    address = fleet.url.replace("http", "ws")
    with connect(address, max_size=None) as socket:
        socket.send(b'[{"taskType": "ping", "ping": true}]')
        assert json.loads(socket.recv(timeout=240))["data"][0]["pong"]
        socket.send("nonsense")
        assert json.loads(socket.recv(timeout=240))["errors"][0]["code"] == "invalidJson"
    with connect(address, additional_headers={"X-Forwarded-For": "203.0.113.9"}) as socket:
        for _ in range(5):
            socket.send(json.dumps([{"taskType": "authentication", "apiKey": "wrong" * 6}]))
            assert json.loads(socket.recv(timeout=240))["errors"][0]["code"] == "invalidApiKey"
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=240)
    large = [{"taskType": "ping", "x": "x" * (2 * 1024**2)}]
    assert fleet.post(large)[0] == 200
    assert fleet.post(large, X_Forwarded_For="203.0.113.9")[0] == 413
    assert fleet.post({"taskType": "ping"}, f"{fleet.url}/")[0] == 200


def test_the_same_task_asked_in_another_way_is_the_same(fleet: Fleet) -> None:
    task = fleet.task(deliveryMethod="async", lora=[], seed=321)
    fleet.images(task)
    (item,) = fleet.images({**task, "deliveryMethod": "sync"})
    assert item["seed"] == 321
    (error,) = fleet.errors({**task, "seed": 322})
    assert error["code"] == "conflictTaskUUID"


def test_a_signal_ends_a_fleet_that_starts_at_once(fleet: Fleet, tmp_path: Path) -> None:
    """It waits for its port, which the other fleet uses. Where it waits for Ray, the same holds."""
    environment = {**fleet.process.environment, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(fleet.process.command(), env=environment, cwd=ROOT, stderr=subprocess.PIPE) as run:
        until(lambda: bool(list(tmp_path.glob("air-lora-fleet-*"))))
        run.send_signal(signal.SIGINT)
        assert run.wait(400) == -signal.SIGINT


def test_a_cluster_that_is_not_there_is_an_error_at_once(fleet: Fleet) -> None:
    whole = fleet.process.command()
    command = [*whole[:4], "--address", "127.0.0.1:1", *whole[4:]]
    done = subprocess.run(
        command,
        env=fleet.process.environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 2
    assert "127.0.0.1:1" in done.stderr


def test_a_second_fleet_does_not_share_the_port(second_fleet: subprocess.Popen[str]) -> None:
    _, said = second_fleet.communicate(timeout=400)
    assert second_fleet.returncode == 2
    assert "--port" in said


def test_a_task_goes_where_its_array_is_loaded(fleet: Fleet) -> None:
    arrays = [[{"model": style.air, "weight": 0.25}] for style in fleet.stage.styles[:3]]
    kept: dict[str, set[str]] = {}
    levels = []
    for round_ in range(4):
        for number, lora in enumerate(arrays):
            (item,) = fleet.images(fleet.task(lora=lora, seed=round_, width=128, height=128))
            kept.setdefault(str(number), set()).add(item["worker"]["name"])
            levels.append(item["worker"]["kept"])
    assert all(len(names) == 1 for names in kept.values()), "one worker for each array"
    assert levels[3:] == ["weights"] * 9
    (item,) = fleet.images(fleet.task(lora=[{**arrays[0][0], "weight": 0.5}]))
    assert (item["worker"]["name"], item["worker"]["kept"]) == (kept["0"].pop(), "files")
    command = [str(venv_python()), "-m", "fleet", "status", "--endpoint", fleet.url]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=".").stdout)
    assert said["kept"]["weights"] >= 9
    assert said["replicas"] == {"RUNNING": 2}


def test_the_commands_of_the_page(fleet: Fleet, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "workers.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python -m fleet (batch|status)(.*)$", page, re.MULTILINE)
    assert len(commands) >= 3
    (task,) = re.findall(r'^\{"positivePrompt".*$', page, re.MULTILINE)
    task = task.replace("civitai:101055@128078", CHECKPOINT).replace("1024", "128")
    (tmp_path / "tasks.jsonl").write_text(
        task.replace("civitai:120096@135931", fleet.stage.styles[0].air) + "\n"
    )
    for name, rest in commands:
        command = [str(venv_python()), "-m", "fleet", name, *rest.split(), "--endpoint", fleet.url]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "grid.png").is_file()
    assert len(list((tmp_path / "images").glob("*.png"))) == 1


def test_a_full_queue_refuses_and_loses_nothing(fleet: Fleet) -> None:
    tasks = [fleet.task(deliveryMethod="async", lora=[], seed=100 + number) for number in range(3 * QUEUE)]
    (first,) = fleet.images(fleet.task(lora=[], width=64, height=64))
    with fleet.slow_steps(600):
        status, answer = fleet.post(tasks)
        assert status == 200
        assert {error["code"] for error in answer["errors"]} == {"tooManyRequests"}
        refused = {error["taskUUID"] for error in answer["errors"]}
        statuses = [fleet.post({**tasks[0], "taskUUID": f"one-more-{number}"})[0] for number in range(QUEUE)]
        assert statuses[-1] == 429, "the status that clients repeat after"
        until(lambda: fleet.images_at_workers() == [2, 2])  # both work, and the others wait for either
        fetched(first["imageURL"])
        fleet.images({"taskType": "modelSearch", "taskUUID": "search", "category": "checkpoint"})
        still = fleet.images({"taskType": "getResponse", "taskUUID": answer["data"][-1]["taskUUID"]})
        assert still[0]["status"] == "processing", "what is there did not wait behind the images"
    for item in answer["data"]:
        ask = {"taskType": "getResponse", "taskUUID": item["taskUUID"]}
        until(lambda ask=ask: fleet.images(ask)[0]["status"] == "success")  # type: ignore[misc]
    assert len(answer["data"]) + len(refused) == len(tasks)
    again = next(task for task in tasks if task["taskUUID"] in refused)
    assert fleet.images({**again, "deliveryMethod": "sync"})[0]["seed"] == again["seed"]


def test_a_worker_killed_in_the_middle_loses_and_repeats_nothing(fleet: Fleet, tmp_path: Path) -> None:
    before = fleet.pictures()
    tasks = [line(1000 + number) for number in range(40)]
    with fleet.slow_steps(0.1):
        batch = fleet.batch(tasks, tmp_path)
        until(lambda: len(results_of(tmp_path)) >= 8)
        fleet.process.comfyuis()[0].send_signal(signal.SIGKILL)
        until(lambda: len(results_of(tmp_path)) >= 20)
        replica = fleet.process.comfyuis()[-1].parent()
        assert replica is not None
        replica.send_signal(signal.SIGKILL)
        ended(batch)
    results = results_of(tmp_path)
    assert sorted(each["seeds"][0] for each in results) == list(range(1000, 1040))
    assert not any(each["error"] for each in results)
    assert len(fleet.pictures() - before) == 40, "each made once"
    until(lambda: len(fleet.process.comfyuis()) == 2)


def test_a_batch_goes_on_after_all_of_it_was_killed(fleet: Fleet, tmp_path: Path) -> None:
    before = fleet.pictures()
    lora = [[{"model": style.air, "weight": 0.5}] for style in fleet.stage.styles[:2]]
    tasks = [line(seed, lora=array) for seed in range(2000, 2008) for array in lora]
    grid = tmp_path / "grid.png"
    with fleet.slow_steps(0.2):
        batch = fleet.batch(tasks, tmp_path, "--grid", str(grid))
        until(lambda: len(results_of(tmp_path)) >= 4)
        fleet.process.kill()
    done = len(results_of(tmp_path))
    assert done < len(tasks)
    fleet.process.arguments += ("--hang-seconds", "15")  # for the test after this one
    fleet.process.start()
    ended(batch)
    assert len(results_of(tmp_path)) == len(tasks)
    assert len(fleet.pictures() - before) == len(tasks), "each made once"
    with Image.open(grid) as sheet:
        assert sheet.width > 2 * 128
        assert sheet.height > 8 * 128
    said = ended(fleet.batch(tasks, tmp_path))
    assert "16 of 16" in said
    assert len(results_of(tmp_path)) == len(tasks), "nothing was done again"


def test_a_worker_that_hangs_is_replaced(fleet: Fleet) -> None:
    until(lambda: len(fleet.process.comfyuis()) == 2)
    hung = fleet.process.comfyuis()[0]
    hung.send_signal(signal.SIGSTOP)
    tasks = [fleet.task(lora=[], seed=200 + number) for number in range(4)]
    assert sorted(item["seed"] for item in fleet.images(*tasks)) == [200, 201, 202, 203]
    until(lambda: not hung.is_running() and len(fleet.process.comfyuis()) == 2)
