"""Arrays that the user has given a name: one small JSON file.

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
    """An array by name; `lora` is its text, as `format_lora_array` writes it."""

    name: str
    lora: str


def read_presets(path: Path) -> list[Preset]:
    """All of them, by name; none where there is no file. Entries that make no sense are left out.

    Raises InvalidInput for a file that cannot be read at all.
    """
    try:
        content = read_json_file(path, MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"the presets in {path.name} cannot be read ({type(error).__name__})",
            code="presetsUnreadable",
            remedy="Correct the file, or delete it.",
        ) from None
    presets = {}
    for each in content if isinstance(content, list) else ():
        if isinstance(each, dict) and isinstance(each.get("name"), str) and isinstance(each.get("lora"), str):
            presets[each["name"]] = Preset(each["name"], each["lora"])
    return sorted(presets.values(), key=lambda preset: preset.name.casefold())


def save_preset(path: Path, name: str, lora: object) -> Preset:
    """Keeps an array under a name, in place of one that had it.

    Raises InvalidInput for a name or an array that cannot be, StorageFailed where the file cannot be written.
    """
    entries = parse_lora_array(lora)
    if len(entries) > MAX_LORAS:
        raise _refused("lora", f"it has {len(entries):,} entries", f"A preset may have {MAX_LORAS}.")
    preset = Preset(_checked_name(name), format_lora_array(entries))

    def add(presets: dict[str, Preset]) -> None:
        if preset.name not in presets and len(presets) >= MAX_PRESETS:
            raise _refused(
                "name", f"there are {MAX_PRESETS} presets already", "Delete one that is not needed."
            )
        presets[preset.name] = preset

    _change(path, add)
    return preset


def delete_preset(path: Path, name: str) -> None:
    """Forgets a preset. Raises NotFound where there is none of this name."""

    def remove(presets: dict[str, Preset]) -> None:
        if presets.pop(name, None) is None:
            raise NotFound(
                f"there is no preset {quoted(name)}",
                code="notFound",
                parameter="name",
                remedy="Reload the list.",
            )

    _change(path, remove)


def _change(path: Path, change: Callable[[dict[str, Preset]], None]) -> None:
    from filelock import FileLock  # only whoever writes needs it

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
                    f"with it the presets would take {len(content):,} bytes, and {MAX_BYTES:,} are read",
                    "Delete presets that are not needed, or shorten this one.",
                )
            write_atomically(path, content)
    except OSError as error:
        raise storage_error(error, path) from error


def _checked_name(name: str) -> str:
    tidy = " ".join(name.split())
    if not tidy or len(tidy) > MAX_NAME or not tidy.isprintable():
        raise _refused(
            "name", f"{quoted(name)} is no name", f"Write 1 to {MAX_NAME} letters, without line breaks."
        )
    return tidy


def _refused(parameter: str, message: str, remedy: str) -> InvalidInput:
    return InvalidInput(message, code="presetRefused", parameter=parameter, remedy=remedy)
