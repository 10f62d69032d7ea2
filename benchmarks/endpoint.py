"""The request endpoint: how much slower a picture is than with /prompt, and 500 tasks at the same time."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import requests
from websockets.sync.client import connect

from benchmarks.results import BenchmarkResult, lower_is_better
from tools.comfy_client import ComfyClient
from tools.comfy_process import ComfyProcess
from tools.runtime import Comfyui
from tools.stage import CHECKPOINT, ShowcaseStage
from tools.tiny_checkpoints import make_checkpoints

RUNS = 30
AT_ONCE = 500
LIMIT_MS = 15


def run() -> list[BenchmarkResult]:
    """Returns one row for the overhead. Prints the rest."""
    comfyui = Comfyui(
        Path(os.environ["AIR_LORA_DEV_COMFYUI"]), Path(os.environ["AIR_LORA_DEV_PYTHON"]), own=True
    )
    with tempfile.TemporaryDirectory() as name, ShowcaseStage(Path(name)) as stage:
        environment = {**stage.environment, "AIR_LORA_API": "1"}
        with ComfyProcess(comfyui, stage.base, environment=environment) as process:
            make_checkpoints(stage.base / "models", ["sd15"])
            loras = [{"model": style.air, "weight": 0.5} for style in stage.styles[:2]]
            row = _added(process, loras)
            _many(process)
    return [row]


def _task(seed: int, **members: Any) -> dict[str, Any]:
    return {
        "taskType": "imageInference",
        "taskUUID": str(uuid.uuid4()),
        "positivePrompt": "a red car in a city",
        "model": CHECKPOINT,
        "width": 384,
        "height": 384,
        "steps": 2,
        "CFGScale": 4,
        "seed": seed,
        "outputFormat": "PNG",
        **members,
    }


def _added(process: ComfyProcess, loras: list[dict[str, Any]]) -> BenchmarkResult:
    client = ComfyClient(process.url)
    (first,) = _post(process, [_task(1, lora=loras)])["data"]
    workflow = next(
        entry["prompt"][2]
        for entry in client.get("/history").values()
        if first["imageUUID"] in json.dumps(entry)
    )
    through, direct = [], []
    for number in range(RUNS):
        began = time.perf_counter()
        _post(process, [_task(1000 + number, lora=loras)])
        through.append((time.perf_counter() - began) * 1000)
        workflow["sampler"]["inputs"]["seed"] = 2000 + number
        with connect(f"{process.url.replace('http', 'ws')}/ws?clientId=benchmark", max_size=None) as socket:
            began = time.perf_counter()
            prompt_id = client.queue(workflow, "benchmark")
            while not _is_end(socket.recv(timeout=60), prompt_id):
                pass
            direct.append((time.perf_counter() - began) * 1000)
    added = statistics.median(through) - statistics.median(direct)
    print(
        f"  a picture through the endpoint takes {added:+.1f} ms more than through /prompt (limit {LIMIT_MS} ms)"
    )
    return lower_is_better(
        "endpoint: a picture with two LoRAs", through, direct, "the same workflow to /prompt", "ms"
    )


def _is_end(message: str | bytes, prompt_id: str) -> bool:
    if isinstance(message, bytes):  # a preview
        return False
    said = json.loads(message)
    return said["type"] == "execution_success" and said["data"].get("prompt_id") == prompt_id


def _many(process: ComfyProcess) -> None:
    small = {"model": "tiny_sd15.ckpt", "width": 64, "height": 64, "steps": 1}
    forms = {"deliveryMethod": "async", "outputType": ["URL", "base64Data"]}
    tasks = [_task(10_000 + number, lora=[], **small, **forms) for number in range(AT_ONCE + 50)]
    _post(process, [_task(1, lora=[], **small)])  # loads the model
    before = _memory(process.pid)
    began = time.perf_counter()
    taken, refused = [], 0
    for start in range(0, len(tasks), 50):
        answer = _post(process, tasks[start : start + 50])
        taken += [item["taskUUID"] for item in answer.get("data", [])]
        refused += len(answer.get("errors", []))
    queued = time.perf_counter() - began
    lost = 0
    for uuid_ in taken:
        while True:
            answer = _post(process, [{"taskType": "getResponse", "taskUUID": uuid_}])
            states = {item["status"] for item in answer.get("data", [])}
            if states != {"processing"}:
                lost += states != {"success"}
                break
            time.sleep(0.05)
    seconds = time.perf_counter() - began
    after = _memory(process.pid)
    print(
        f"  {len(tasks)} tasks: {len(taken)} taken and {refused} refused in {queued:.1f} s, {lost} lost, all done in "
        f"{seconds:.0f} s; memory {before:.0f} MB before and {after:.0f} MB after"
    )


def _post(process: ComfyProcess, tasks: list[dict[str, Any]]) -> dict[str, Any]:
    answer = requests.post(f"{process.url}/air_lora/v1", json=tasks, timeout=300)
    said: dict[str, Any] = answer.json()
    return said


def _memory(pid: int) -> float:
    """Resident memory in MB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024
