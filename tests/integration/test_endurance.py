"""Many runs at the same time, many in a row, and a cancel in every phase: no resource grows, nothing hangs, and the
next run succeeds."""

from __future__ import annotations

import http.client
import itertools
import json
import math
import struct
import sys
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests import lora_files
from tests.conftest import connect
from tests.integration.conftest import air, tiny
from tests.integration.route_client import Routes
from tools.comfy_client import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import Studio
    from tools.comfy_client import Workflow

pytestmark = pytest.mark.integration

REQUESTS = 500
PROMPTS = 200
WEIGHTS = itertools.count(0.3, 0.001)  # ComfyUI doesn't run a workflow again that it has just run
LARGE = 12 * 2**30  # sparse, so that it takes no space on disk; its hash takes seconds
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def usage(studio: Studio) -> dict[str, int]:
    """The resources of ComfyUI's process: resident memory in MB, threads, open files."""
    pid = studio.process.pid
    process = Path("/proc", str(pid))
    said = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return {
        "MB": int(said["VmRSS"].split()[0]) // 1024,
        "threads": int(said["Threads"]),
        "files": len([*(process / "fd").iterdir()]),
    }


@linux
def test_five_hundred_requests_at_once_are_answered(studio: Studio) -> None:
    address = urlsplit(studio.client.url)
    asked = [
        ("POST", "/air_lora/parse", {"text": f"civitai:{number}@{number} 0.5"})
        for number in range(1, REQUESTS, 2)
    ] + [("GET", "/air_lora/presets", None) for _ in range(REQUESTS // 2)]
    before = usage(studio)

    def ask(method: str, path: str, body: object) -> int:
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=300)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body) if body else None, headers if body else {})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    with ThreadPoolExecutor(REQUESTS) as pool:
        statuses = Counter(pool.map(lambda each: ask(*each), asked))
    after = usage(studio)
    print(f"\n{REQUESTS} requests at once: {dict(statuses)}; {before} before, {after} after")
    assert set(statuses) <= {200, 429, 503}, "an answer, or that there are too many"
    assert statuses[200] >= REQUESTS // 2
    assert after["threads"] <= before["threads"] + 40, "a pool of them, not one for each request"
    assert after["files"] <= before["files"] + 40
    assert ask("GET", "/air_lora/presets", None) == 200


@linux
def test_two_hundred_prompts_with_changing_arrays_leave_nothing_behind(studio: Studio) -> None:
    """Takes longer than other tests, because small leaks show only after many runs."""
    models = (101, 102, 103)

    def array(number: int) -> list[dict[str, Any]]:
        chosen = [model for place, model in enumerate(models) if (number >> place) & 1 or number % 3 == place]
        return [{"model": air(model), "weight": round(0.1 + (number % 17) / 20, 2)} for model in chosen]

    def workflow(number: int) -> Workflow:
        """Every twentieth makes a picture, which patches the model. The others end with the array's report."""
        whole = tiny("sd15", array(number), steps=1, seed=number).workflow()
        return (
            whole if number % 20 == 0 else {name: whole[name] for name in ("checkpoint", "apply", "report")}
        )

    def run(numbers: range) -> None:
        prompts = [studio.client.queue(workflow(number)) for number in numbers]
        for prompt in prompts:
            studio.client.wait(prompt, seconds=300)

    seen = []
    for start in range(0, PROMPTS, 50):
        run(range(start, start + 50))
        seen.append(usage(studio))
    print(f"\nafter 50, 100, 150 and {PROMPTS} prompts: {seen}")
    first, last = seen[0], seen[-1]
    assert last["MB"] <= first["MB"] + 100
    assert last["threads"] <= first["threads"] + 4
    assert last["files"] <= first["files"] + 8


@pytest.fixture
def fresh(studio: Studio) -> Iterator[list[dict[str, Any]]]:
    """An array whose file isn't on this disk, and that ComfyUI hasn't run yet."""
    studio.without_downloads(air(104))
    yield [{"model": air(104), "weight": next(WEIGHTS)}]
    studio.without_downloads(air(104))


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def open_files(studio: Studio) -> set[Path]:
    folder = Path("/proc", str(studio.process.pid), "fd")
    return {each.readlink() for each in folder.iterdir() if each.is_symlink()}


def cancelled(studio: Studio, prompt: str, *, within: float = 30) -> None:
    """Cancels, and checks that the run ends while what it waits for is still held."""
    studio.client.post("/interrupt", {})
    asked = time.time()
    with pytest.raises(Failed) as error:
        studio.client.wait(prompt, seconds=280)
    print("\ncancelled in", error.value.facts["node_type"])
    ended = error.value.facts["timestamp"] / 1000  # by ComfyUI; its answer may come late
    assert ended - asked < within


def ends_well(studio: Studio, array: list[dict[str, Any]]) -> None:
    """Runs the same LoRA again with another weight."""
    again = [{**each, "weight": next(WEIGHTS)} for each in array]
    (entry,) = studio.report(studio.run(tiny("sd15", again).workflow()))["entries"]
    assert entry["status"] == "applied"


def test_a_cancel_while_a_version_is_looked_up(studio: Studio, fresh: list[dict[str, Any]]) -> None:
    with studio.civitai.version_documents_stalled():
        studio.civitai.asked_for_version.clear()
        prompt = studio.client.queue(tiny("sd15", fresh).workflow())
        assert studio.civitai.asked_for_version.wait(120)
        cancelled(studio, prompt)
    ends_well(studio, fresh)


def test_a_cancel_while_a_header_is_awaited(studio: Studio, fresh: list[dict[str, Any]]) -> None:
    with studio.civitai.deliveries_stalled() as asked:
        prompt = studio.client.queue(tiny("sd15", fresh).workflow())
        assert asked.wait(120)
        cancelled(studio, prompt)
    ends_well(studio, fresh)


def large_lora(path: Path) -> Path:
    """A LoRA for SD 1.5 with an additional huge sparse tensor."""
    lora_files.sd15_lora(path, seed=77)
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    header["notes"] = {"dtype": "U8", "shape": [LARGE], "data_offsets": [len(data), len(data) + LARGE]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)
        file.truncate(8 + len(text) + len(data) + LARGE)
    return path


@linux
def test_a_cancel_while_a_file_is_verified(studio: Studio) -> None:
    path = large_lora(studio.process.base / "models" / "loras" / "mine" / "large.safetensors")
    try:
        prompt = studio.client.queue(tiny("sd15", [{"model": "local:mine/large.safetensors"}]).workflow())
        wait_until(lambda: path in open_files(studio))
        time.sleep(0.3)  # so that the hash, which takes seconds, is in progress
        cancelled(studio, prompt)
    finally:
        path.unlink()
    ends_well(studio, [{"model": air(101), "weight": next(WEIGHTS)}])


def heavy_lora(path: Path, number: int) -> Path:
    """A LoRA of zeros of over half a gigabyte, as a sparse file. Reading it and multiplying its factors takes long."""
    rank = 8192 + 8 * number
    header: dict[str, Any] = {}
    end = 0
    for name, module in lora_files.modules_of("sd15", parts=("unet",)).items():
        out, *inputs = module.shape
        ones = [1] * len(inputs[1:])
        for role, shape in (("down", [rank, *inputs]), ("up", [out, rank, *ones])):
            start, end = end, end + 2 * math.prod(shape)
            header[f"{name}.lora_{role}.weight"] = {
                "dtype": "F16",
                "shape": shape,
                "data_offsets": [start, end],
            }
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return path


def queued_until_it_samples(studio: Studio, workflow: Workflow) -> str:
    """Returns the run's ID as soon as ComfyUI has started the sampler, which first patches the weights."""
    client_id = uuid.uuid4().hex
    address = studio.client.url.replace("http://", "ws://") + f"/ws?clientId={client_id}"
    with connect(address, max_size=None) as socket:
        prompt = studio.client.queue(workflow, client_id)
        while True:
            message = socket.recv(timeout=240)
            if isinstance(message, str):
                event = json.loads(message)
                if event["type"] == "executing" and event["data"]["node"] == "sampler":
                    return prompt


@linux
@pytest.mark.parametrize("phase", ["read", "patched"])
def test_a_cancel_while_a_file_is_read_or_its_weights_are_patched(studio: Studio, phase: str) -> None:
    plain = studio.pixels(tiny("sd15", [], seed=len(phase)))
    name = f"mine/heavy-{phase}.safetensors"
    path = heavy_lora(studio.process.base / "models" / "loras" / name, len(phase))

    def with_heavy(weight: float) -> Workflow:
        return tiny("sd15", [{"model": f"local:{name}", "weight": weight}], seed=len(phase)).workflow()

    def is_open() -> bool:
        return path in open_files(studio)

    try:
        Routes(studio.client.url).found(
            "prefetch", {"models": [f"local:{name}"]}
        )  # so that its hash is known
        wait_until(is_open)
        wait_until(lambda: not is_open())
        if phase == "read":
            prompt = studio.client.queue(with_heavy(0.8))
            wait_until(is_open)
        else:
            prompt = queued_until_it_samples(studio, with_heavy(0.8))
            time.sleep(0.2)  # so that patching, which takes seconds, is in progress
        # ComfyUI checks between two nodes, and when all weights are patched.
        cancelled(studio, prompt, within=240)
        assert studio.pixels_of(studio.run(with_heavy(0.6))) == plain, "it is of zeros"
    finally:
        path.unlink()
    ends_well(studio, [{"model": air(101), "weight": next(WEIGHTS)}])


def test_a_cancel_while_a_picture_is_sampled(studio: Studio) -> None:
    array = [{"model": air(101), "weight": next(WEIGHTS)}]
    prompt = studio.client.queue(tiny("sd15", array, steps=10_000, width=256, height=256).workflow())
    wait_until(lambda: "/10000 [" in studio.process.log_tail())  # the sampler's progress bar
    cancelled(studio, prompt)
    ends_well(studio, array)


def test_a_cancel_between_two_runs_stops_nothing_that_comes_later(studio: Studio) -> None:
    studio.client.post("/interrupt", {})
    ends_well(studio, [{"model": air(102), "weight": next(WEIGHTS)}])
