"""What a worker must have loaded for a task, from the exact weights to only the checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

LEVELS = ("weights", "files", "checkpoint")
"""What a worker reuses: kept factors and patched weights; the LoRAs' files and kept factors; the loaded model."""

SEPARATOR = " "


def keys_of(task: Mapping[str, Any]) -> tuple[str, str, str]:
    """One key for each of LEVELS, the most specific first. Invalid input gets keys, too; the worker rejects it."""
    model = str(task.get("model") or "")
    entries = [
        each if isinstance(each, Mapping) else {"model": each}
        for name in ("lora", "lycoris")
        for each in _list(task.get(name))
    ]
    weights = [dict(each) for each in entries]
    files = sorted(str(each.get("model")) for each in entries)
    return _key("w", [model, weights]), _key("f", [model, files]), _key("c", [model])


def joined(keys: tuple[str, ...]) -> str:
    """The keys as one model ID, because a request to Ray Serve has only one."""
    return SEPARATOR.join(keys)


def split(model_id: str) -> tuple[str, ...]:
    """The keys of a model ID."""
    return tuple(model_id.split(SEPARATOR))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _key(kind: str, of: list[Any]) -> str:
    text = json.dumps(of, sort_keys=True, default=str)
    return kind + hashlib.sha256(text.encode()).hexdigest()[:20]
