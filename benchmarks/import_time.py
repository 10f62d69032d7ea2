"""What the pack adds to ComfyUI's start: its front door alone, then all its nodes.

Measured as ComfyUI's loader does it, in fresh processes that have imported what ComfyUI itself has imported by then.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.results import BenchmarkResult, lower_is_better
from tools.runtime import COMFYUI_VERSION, RUNTIME

ROOT = Path(__file__).resolve().parent.parent
RUNS = 7
# What issue trackers of ComfyUI call a slow pack begins at tenths of a second; these are our own limits.
FRONT_DOOR_LIMIT_MS = 5.0
NODES_LIMIT_MS = 50.0

PROBE = """
import asyncio, importlib.util, sys, time, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {comfyui!r})
sys.argv = ["comfyui", "--cpu"]
import comfy.options
comfy.options.enable_args_parsing()
import utils.extra_config  # first, as in main.py: another package of that name would win later
import nodes, server
import comfy_api.latest
start = time.perf_counter()
spec = importlib.util.spec_from_file_location("pack", {root!r} + "/__init__.py", submodule_search_locations=[{root!r}])
pack = importlib.util.module_from_spec(spec)
sys.modules["pack"] = pack
spec.loader.exec_module(pack)
front = time.perf_counter()
extension = asyncio.run(pack.comfy_entrypoint())
asyncio.run(extension.get_node_list())
print((front - start) * 1000, (time.perf_counter() - front) * 1000)
"""


def run() -> list[BenchmarkResult]:
    """Two rows: the front door, and all nodes."""
    code = PROBE.format(comfyui=str(RUNTIME / f"comfyui-{COMFYUI_VERSION}"), root=str(ROOT))
    # As at every start but the first: with bytecode, whatever this shell says of it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    fronts, nodes = [], []
    for number in range(RUNS + 1):
        output = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
        ).stdout
        front, rest = map(float, output.split()[-2:])
        if number:
            fronts.append(front)
            nodes.append(rest)
    return [
        lower_is_better("import: the pack's __init__", fronts, [FRONT_DOOR_LIMIT_MS] * RUNS, "limit", "ms"),
        lower_is_better("import: all nodes", nodes, [NODES_LIMIT_MS] * RUNS, "limit", "ms"),
    ]
