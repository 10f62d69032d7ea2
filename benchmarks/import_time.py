"""What the pack adds to ComfyUI's start: the figure in ComfyUI's own list "Import times for custom nodes".

That list shows tenths of a second. This times the same call of the same ComfyUI function: the pack's `__init__`, its
pyproject.toml, its nodes, and their schemas. Each run is a new process in which ComfyUI has already loaded a node file
of its own, as at every start.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.results import BenchmarkResult, lower_is_better
from tools.runtime import COMFYUI_VERSION, RUNTIME, link_pack

RUNS = 7
LIMIT_MS = 50.0
"""Our own limit. In ComfyUI's issue trackers, packs are called slow from tenths of a second on."""

PROBE = """
import asyncio, os, sys, time, warnings
warnings.simplefilter("ignore")
comfyui, pack = sys.argv[1:]
sys.path.insert(0, comfyui)
sys.argv = ["comfyui", "--cpu"]
import comfy.options
comfy.options.enable_args_parsing()
import utils.extra_config  # first, as in main.py: another package of that name would win later
import nodes, server

async def start():
    server.PromptServer(asyncio.get_running_loop())
    own = os.path.join(comfyui, "comfy_extras", "nodes_latent.py")
    assert await nodes.load_custom_node(own, module_parent="comfy_extras")
    names = set(nodes.NODE_CLASS_MAPPINGS)
    start = time.perf_counter()
    loaded = await nodes.load_custom_node(pack, names, module_parent="custom_nodes")
    assert loaded and "AirLoraApply" in nodes.NODE_CLASS_MAPPINGS
    print((time.perf_counter() - start) * 1000)

asyncio.run(start())
"""


def run() -> list[BenchmarkResult]:
    """Returns one row for the whole pack."""
    comfyui = RUNTIME / f"comfyui-{COMFYUI_VERSION}"
    # With bytecode, as at every start but the first, whatever the environment says.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    times = []
    with tempfile.TemporaryDirectory() as folder:
        pack = link_pack(Path(folder))
        for number in range(RUNS + 1):
            output = subprocess.run(
                [sys.executable, "-c", PROBE, str(comfyui), str(pack)],
                capture_output=True,
                text=True,
                check=True,
                env=environment,
            ).stdout
            if number:
                times.append(float(output.split()[-1]))
    return [lower_is_better("import: as ComfyUI's own list has it", times, [LIMIT_MS] * RUNS, "limit", "ms")]
