"""Several workers: cache hits with and without `serve.multiplexed`, seconds per picture, the front door's overhead."""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import requests

from benchmarks.results import BenchmarkResult, lower_is_better
from tools.comfy_process import ComfyProcess
from tools.fleet_process import FleetProcess
from tools.runtime import Comfyui
from tools.stage import CHECKPOINT, ShowcaseStage

TASKS, ARRAYS = 200, 8
PICTURES = 40
RUNS = 30
LIMIT_MS = 25


def run() -> list[BenchmarkResult]:
    """Returns one row for the front door's overhead. Prints the rest."""
    comfyui = Comfyui(
        Path(os.environ["AIR_LORA_DEV_COMFYUI"]), Path(os.environ["AIR_LORA_DEV_PYTHON"]), own=True
    )
    with tempfile.TemporaryDirectory() as name, ShowcaseStage(Path(name)) as stage:
        for options in ((), ("--no-affinity",)):
            with FleetProcess(
                comfyui, stage.base, environment=stage.environment, arguments=("--workers", "2", *options)
            ) as fleet:
                _hits(fleet, stage, "without" if options else "with")
                if not options:
                    print(f"  2 workers: {_seconds_a_picture(fleet.url):.2f} s a picture")
        with FleetProcess(
            comfyui, stage.base, environment=stage.environment, arguments=("--workers", "1", "--cpus", "2")
        ) as fleet:
            print(f"  1 worker: {_seconds_a_picture(fleet.url):.2f} s a picture")
            alone = ComfyProcess(comfyui, stage.base, environment={**stage.environment, "AIR_LORA_API": "1"})
            with alone:
                return [_added(fleet.url, alone.url)]


def _task(seed: int, lora: list[dict[str, Any]] | None = None, **members: Any) -> dict[str, Any]:
    return {
        "taskType": "imageInference",
        "taskUUID": str(uuid.uuid4()),
        "positivePrompt": "a red car in a city",
        "model": CHECKPOINT,
        "width": 128,
        "height": 128,
        "steps": 2,
        "CFGScale": 4,
        "seed": seed,
        "lora": lora or [],
        **members,
    }


def _hits(fleet: FleetProcess, stage: ShowcaseStage, how: str) -> None:
    arrays = [
        [{"model": stage.styles[number % 5].air, "weight": 0.3 + 0.1 * (number // 5)}]
        for number in range(ARRAYS)
    ]
    dice = random.Random(7)  # noqa: S311 - the same order each time
    tasks = [_task(number, dice.choice(arrays), deliveryMethod="async") for number in range(TASKS)]
    began = time.perf_counter()
    _all_done(fleet.url, tasks)
    seconds = time.perf_counter() - began
    said = requests.get(f"{fleet.url}/air_lora/v1/status", timeout=30).json()
    print(
        f"  {TASKS} tasks over {ARRAYS} arrays {how} multiplexing: {seconds:.0f} s, already loaded: {said['kept']}, "
        f"by worker: {sorted(said['workers'].values())}"
    )


def _all_done(url: str, tasks: list[dict[str, Any]]) -> None:
    address = f"{url}/air_lora/v1"
    for start in range(0, len(tasks), 50):
        answer = requests.post(address, json=tasks[start : start + 50], timeout=300).json()
        assert "errors" not in answer, answer["errors"][0]
    for task in tasks:
        ask = {"taskType": "getResponse", "taskUUID": task["taskUUID"]}
        while requests.post(address, json=[ask], timeout=300).json()["data"][0]["status"] == "processing":
            time.sleep(0.02)


def _seconds_a_picture(url: str) -> float:
    _all_done(url, [_task(seed, deliveryMethod="async") for seed in range(4)])
    began = time.perf_counter()
    _all_done(url, [_task(100 + seed, steps=40, deliveryMethod="async") for seed in range(PICTURES)])
    return (time.perf_counter() - began) / PICTURES


def _added(fleet: str, alone: str) -> BenchmarkResult:
    through, direct = [], []
    for number in range(RUNS + 3):
        for url, taken in ((fleet, through), (alone, direct)):
            began = time.perf_counter()
            requests.post(f"{url}/air_lora/v1", json=[_task(1000 + number)], timeout=300).raise_for_status()
            taken.append((time.perf_counter() - began) * 1000)
    through, direct = through[3:], direct[3:]
    added = statistics.median(through) - statistics.median(direct)
    print(f"  the front door adds {added:+.1f} ms to a picture (limit {LIMIT_MS} ms)")
    return lower_is_better(
        "fleet: a picture through the front door", through, direct, "one ComfyUI's endpoint", "ms"
    )
