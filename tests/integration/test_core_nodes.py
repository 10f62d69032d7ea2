"""Apply LoRA Array in one graph with each of ComfyUI's own nodes that load LoRAs, before and after it.

The nodes differ between versions: 0.3.75 has only Load LoRA, later ones have a loader in bypass mode and rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.integration.conftest import Studio, air, tiny

if TYPE_CHECKING:
    from tools.comfy_client import Workflow

pytestmark = pytest.mark.integration

FILE = "mine/local.safetensors"
WEIGHT = 0.6
OURS = {"model": air(101), "weight": 0.7}

# Each node's inputs besides its model and text encoder. The last node has only a text encoder.
CORE_NODES: dict[str, dict[str, Any]] = {
    "LoraLoader": {"lora_name": FILE, "strength_model": WEIGHT, "strength_clip": WEIGHT},
    "LoraLoaderModelOnly": {"lora_name": FILE, "strength_model": WEIGHT},
    "LoraLoaderBypass": {"lora_name": FILE, "strength_model": WEIGHT, "strength_clip": WEIGHT},
    "LoraLoaderBypassModelOnly": {"lora_name": FILE, "strength_model": WEIGHT},
    "LoadLoraModel": {"loras.0.lora_name": FILE, "loras.0.strength": WEIGHT},
    "LoadLoraTextEncoder": {"loras.0.lora_name": FILE, "loras.0.strength": WEIGHT},
}


def test_before_and_behind_each_of_comfyuis_nodes_the_picture_is_that_of_one_array(studio: Studio) -> None:
    nodes = studio.client.get("/object_info")
    there = [name for name in CORE_NODES if name in nodes]
    assert "LoraLoader" in there
    for name in there:
        inputs = nodes[name]["input"]["required"]
        model, clip = "model" in inputs, "clip" in inputs
        weights = {"weight": WEIGHT if model else 0, "clip_weight": WEIGHT if clip else 0}
        wanted = picture(studio, tiny("sd15", [{"model": f"local:{FILE}", **weights}, OURS]).workflow())
        alone = picture(studio, tiny("sd15", [OURS]).workflow())
        assert apart(wanted, alone) > 8, "the file changes the picture"
        for behind in (False, True):
            found = picture(studio, with_core_node(name, model=model, clip=clip, behind=behind))
            assert apart(found, wanted) <= 3, (name, "behind" if behind else "before")


def with_core_node(name: str, *, model: bool, clip: bool, behind: bool) -> Workflow:
    workflow = tiny("sd15", [OURS]).workflow()
    source = "apply" if behind else "checkpoint"
    outputs = [slot for slot, wired in ((0, model), (1, clip)) if wired]
    for key, node in workflow.items():
        for wire in node["inputs"].values():
            follows = key != "apply" if behind else key == "apply"
            if follows and isinstance(wire, list) and wire[0] == source and wire[1] in outputs:
                wire[:] = ["core", outputs.index(wire[1])]
    wires = {("model", "clip")[slot]: [source, slot] for slot in outputs}
    workflow["core"] = {"class_type": name, "inputs": {**wires, **CORE_NODES[name]}}
    return workflow


def picture(studio: Studio, workflow: Workflow) -> Any:
    return np.asarray(studio.picture(studio.run(workflow)), dtype=np.int16)


def apart(a: Any, b: Any) -> int:
    return int(np.abs(a - b).max())
