"""Arrays that the user has saved under a name, in one small JSON file.

[{"name": "Soft light", "lora": "[{\\"model\\": \\"civitai:120096@135931\\", \\"weight\\": 0.7}]"}]
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ..array.lora_array import format_lora_array, parse_lora_array
from ..errors import InvalidInput, NotFound
from ..safe_files import read_json_file, storage_error, write_atomically
from ..text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["PRESETS_FILE", "Preset", "delete_preset", "read_presets", "save_preset"]

PRESETS_FILE = "presets.json"

MAX_PRESETS = 500
MAX_NAME = 80
MAX_LORAS = 200
MAX_BYTES = 8 * 1024**2


@dataclass(frozen=True)
class Preset:
    """A named array. `lora` is its text, as `format_lora_array` writes it."""

    name: str
    lora: str


def read_presets(path: Path) -> list[Preset]:
    """All presets, sorted by name; none if there is no file. Invalid entries are left out.

    Raises InvalidInput if the file can't be read at all.
    """
    try:
        content = read_json_file(path, MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"Could not read the presets in {path.name} ({type(error).__name__})",
            code="presetsUnreadable",
            remedy="Fix the file, or delete it.",
        ) from None
    presets = {}
    for each in content if isinstance(content, list) else ():
        if isinstance(each, dict) and isinstance(each.get("name"), str) and isinstance(each.get("lora"), str):
            presets[each["name"]] = Preset(each["name"], each["lora"])
    return sorted(presets.values(), key=lambda preset: preset.name.casefold())


def save_preset(path: Path, name: str, lora: object) -> Preset:
    """Saves an array under a name, and replaces a preset that has this name.

    Raises InvalidInput for an invalid name or array, StorageFailed if the file can't be written.
    """
    entries = parse_lora_array(lora)
    if len(entries) > MAX_LORAS:
        raise _refused("lora", f"The array has {len(entries):,} entries", f"The limit is {MAX_LORAS}.")
    preset = Preset(_checked_name(name), format_lora_array(entries))

    def add(presets: dict[str, Preset]) -> None:
        if preset.name not in presets and len(presets) >= MAX_PRESETS:
            raise _refused(
                "name", f"There are already {MAX_PRESETS} presets", "Delete one that you don't need."
            )
        presets[preset.name] = preset

    _change(path, add)
    return preset


def delete_preset(path: Path, name: str) -> None:
    """Deletes a preset. Raises NotFound if there is none with this name."""

    def remove(presets: dict[str, Preset]) -> None:
        if presets.pop(name, None) is None:
            raise NotFound(
                f"There's no preset named {quoted(name)}",
                code="notFound",
                parameter="name",
                remedy="Reload the list.",
            )

    _change(path, remove)


def _change(path: Path, change: Callable[[dict[str, Preset]], None]) -> None:
    from filelock import FileLock  # needed only for writing

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock")):
            presets = {preset.name: preset for preset in read_presets(path)}
            change(presets)
            kept = [asdict(preset) for preset in presets.values()]
            content = json.dumps(kept, indent=1, ensure_ascii=False).encode("utf-8", "replace")
            if len(content) > MAX_BYTES:
                raise _refused(
                    "lora",
                    f"The presets would take {len(content):,} bytes, but the limit is {MAX_BYTES:,}",
                    "Delete presets that you don't need, or shorten this one.",
                )
            write_atomically(path, content)
    except OSError as error:
        raise storage_error(error, path) from error


def _checked_name(name: str) -> str:
    tidy = " ".join(name.split())
    if not tidy or len(tidy) > MAX_NAME or not tidy.isprintable():
        raise _refused(
            "name", f"Invalid name {quoted(name)}", f"Use 1 to {MAX_NAME} characters, without line breaks."
        )
    return tidy


def _refused(parameter: str, message: str, remedy: str) -> InvalidInput:
    return InvalidInput(message, code="presetRefused", parameter=parameter, remedy=remedy)
