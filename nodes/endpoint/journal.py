"""Saves tasks to disk for a while, so that clients find their tasks again after a restart of ComfyUI.

Each task is one small file in ComfyUI's user folder. It contains the UUIDs of the task's stored pictures instead of the
pictures.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...lora_resolver import StorageFailed, write_atomically
from ..server.settings import user_folder

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "air_lora_endpoint/tasks"
KEEP_SECONDS = 2 * 3600.0
LARGEST = 1024**2
"""Maximum bytes of one entry."""


@dataclass(frozen=True)
class Entry:
    """What a task needs to resume after a restart."""

    uuid: str
    digest: str
    task: dict[str, Any]
    seeds: list[int]
    results: list[str]


def write(entry: Entry) -> None:
    """Saves the entry. If that fails, a restart loses the task, but the picture is still made."""
    content = json.dumps(vars(entry)).encode()
    if len(content) <= LARGEST:
        with contextlib.suppress(StorageFailed):
            write_atomically(_file(entry.uuid), content, private=True)


def read(uuid: str) -> Entry | None:
    """The entry of this UUID, if it exists, can be read, and isn't old."""
    path = _file(uuid)
    try:
        if time.time() - path.stat().st_mtime > KEEP_SECONDS:
            return None
        said = json.loads(path.read_bytes())
        entry = Entry(**said)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return entry if entry.uuid == uuid else None


def remove(uuid: str) -> None:
    """Removes the entry."""
    with contextlib.suppress(OSError):
        _file(uuid).unlink()


def remove_old() -> None:
    """Removes old entries."""
    with contextlib.suppress(OSError):
        for path in user_folder(FOLDER).glob("*.json"):
            if time.time() - path.stat().st_mtime > KEEP_SECONDS:
                path.unlink()


def _file(uuid: str) -> Path:
    return user_folder(FOLDER) / f"{uuid}.json"
