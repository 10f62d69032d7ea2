"""How long a large workflow and large pastes take, and whether the time grows faster than the size."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from benchmarks.results import BenchmarkResult, lower_is_better
from lora_resolver import loras_in, read_pasted

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 5
WORKFLOW_BYTES, WORKFLOW_LIMIT_S = 5_000_000, 1.0
PASTE_BYTES, PASTE_LIMIT_S = 1_000_000, 0.5

_ROW = '{ model: "civitai:1@2", weight: 0.4, note: "x" },\n'
PASTES: dict[str, Callable[[int], str]] = {
    "a program": lambda size: f"lora: [\n{_ROW * (size // len(_ROW))}]",
    "an array": lambda size: json.dumps([{"model": "civitai:1@2", "weight": 0.4}] * (size // 42)),
    "lines": lambda size: "civitai:1@2 0.4\n" * (size // 16),
    "one line": lambda size: "civitai:1@2 0.4, " * (size // 17),
    "a prompt with tags": lambda size: "a cat <lora:x:0.5>, " * (size // 20),
    "a story": lambda size: "This is a story of 3 cats.\n" * (size // 27),
    "open brackets": lambda size: "lora=[{" * (size // 7),
}


def run() -> list[BenchmarkResult]:
    """Returns a row for the workflow and for each kind of paste. Prints the ratio to a text of half the size."""
    results = []
    for name, make in (("API format", _api), ("as the page saves it", _canvas)):
        times = _times(loras_in, make(WORKFLOW_BYTES))
        growth = _growth(loras_in, make, WORKFLOW_BYTES)
        print(f"  workflow, {name}: a text of twice the size takes {growth:.1f} times as long")
        results.append(
            lower_is_better(f"workflow of 5 MB, {name}", times, [WORKFLOW_LIMIT_S] * RUNS, "limit", "s")
        )
    for name, make in PASTES.items():
        times = _times(read_pasted, make(PASTE_BYTES))
        growth = _growth(read_pasted, make, PASTE_BYTES)
        print(f"  paste, {name}: a text of twice the size takes {growth:.1f} times as long")
        results.append(lower_is_better(f"paste of 1 MB, {name}", times, [PASTE_LIMIT_S] * RUNS, "limit", "s"))
    return results


def _api(size: int) -> str:
    node = {
        "class_type": "LoraLoader",
        "inputs": {"lora_name": "a.safetensors", "strength_model": 0.5, "model": ["1", 0]},
    }
    other = {"class_type": "KSampler", "inputs": {"seed": 1, "text": "x" * 100, "model": ["1", 0]}}
    count = size // len(json.dumps({"100000": node, "200000": other}))
    loaders = {str(number): node for number in range(count // 10)}
    return json.dumps({**loaders, **{str(10**6 + number): other for number in range(count * 2)}})


def _canvas(size: int) -> str:
    def node(number: int, kind: str, values: list[object]) -> dict[str, object]:
        inputs = [{"name": "model", "type": "MODEL", "link": number}]
        return {
            "id": number,
            "type": kind,
            "mode": 0,
            "inputs": inputs,
            "widgets_values": values,
            "pos": [0, 0],
        }

    one = json.dumps(node(10_000, "KSampler", ["x" * 100])) + json.dumps([1, 10_000, 0, 10_000, 0, "MODEL"])
    count = size // len(one)
    nodes = [
        node(number, "LoraLoader" if number % 10 == 0 else "KSampler", ["a.safetensors", 0.5, "x" * 100])
        for number in range(count)
    ]
    links = [[number, max(0, number - 1), 0, number, 0, "MODEL"] for number in range(count)]
    return json.dumps({"nodes": nodes, "links": links})


def _times(work: Callable[[str], object], text: str) -> list[float]:
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        work(text)
        times.append(time.perf_counter() - start)
    return times


def _growth(work: Callable[[str], object], make: Callable[[int], str], size: int) -> float:
    return min(_times(work, make(size))) / min(_times(work, make(size // 2)))
