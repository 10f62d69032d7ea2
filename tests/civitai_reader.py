"""How CivitAI finds LoRAs in an uploaded picture: its published rules, reimplemented.

civitai/civitai, src/utils/metadata (August 2026: index.ts, automatic.metadata.ts, comfy.metadata.ts), and the package
@civitai/generation-metadata that replaced it. `parameters` with "Steps: " takes precedence over a workflow. In a
workflow, it reads core's loaders, and can find AIRs.
"""

from __future__ import annotations

import io
import json
import math
import re
from typing import Any

from PIL import Image

_AIR = re.compile(r"urn:air:[^:]+:(?P<type>[^:]+):civitai:\d+@(?P<version>\d+)$")
_TAG = re.compile(r"<(?:lora|hypernet):([a-zA-Z0-9_.-]+):([0-9.]+)>")


def loras_shown(picture: bytes) -> tuple[dict[int, float | None], dict[str, float | None]]:
    """Returns (version → weight) of what the site finds, and (name → weight) of what it only stores. Raises ValueError
    for metadata that it would discard entirely."""
    texts: dict[str, str] = getattr(Image.open(io.BytesIO(picture)), "text", {})
    if "Steps: " in texts.get("parameters", ""):
        return {}, _of_parameters(texts["parameters"])
    if "prompt" in texts or "workflow" in texts:
        return _of_prompt(json.loads(texts.get("prompt", "{}")), json.loads(texts.get("workflow", "{}")))
    return {}, {}


def _of_parameters(text: str) -> dict[str, float | None]:
    lines = text.split("\n")
    details = next((line for line in lines if line.startswith("Steps: ")), "")
    found: dict[str, float | None] = {name: float(weight) for name, weight in _TAG.findall(text)}
    hashes = re.search(r'Lora hashes: "([^"]*)"', details)
    for pair in hashes[1].split(", ") if hashes else ():
        found.setdefault(pair.partition(":")[0], None)
    return found


def _of_prompt(
    prompt: dict[str, Any], workflow: dict[str, Any]
) -> tuple[dict[int, float | None], dict[str, float | None]]:
    named: dict[str, float | None] = {}
    for node in prompt.values():
        if node["class_type"] in ("LoraLoader", "LoraLoaderModelOnly"):
            name, strength = node["inputs"].get("lora_name"), node["inputs"].get("strength_model")
            if not isinstance(strength, (int, float)) or not math.isfinite(strength):
                raise ValueError("a strength that is no number loses all of it")
            if isinstance(name, str) and name.lower() != "none" and abs(strength) >= 0.001:
                named[name] = strength
    airs = [name for name in named if name.startswith("urn:air:")]
    if not airs:
        airs = (workflow.get("extra") or {}).get("airs") or []
    found: dict[int, float | None] = {}
    for air in airs:
        read = _AIR.match(air)
        if read is None:
            raise ValueError(f"{air} without a numeric version loses all of it")
        found[int(read["version"])] = named.pop(air, None)
    return found, named
