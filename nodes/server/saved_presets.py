"""GET and POST /air_lora/presets, POST /air_lora/presets/delete: arrays that the user has given a name."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ...lora_resolver import PRESETS_FILE, delete_preset, read_presets, save_preset
from . import workers
from .guard import read_fields, wrong
from .settings import state_folder

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

MAX_BODY = 512 * 1024
MAX_NAME = 200


async def get_presets(_: web.Request) -> dict[str, Any]:
    """{presets: [{name, lora}]}, by name; `lora` is the array as text."""
    return await workers.disk.do(_all)


async def post_preset(request: web.Request) -> dict[str, Any]:
    """{name, lora: an array, or its text} → the same as GET."""
    fields = await read_fields(request, MAX_BODY)
    name, lora = fields.text("name", MAX_NAME, least=1), fields.get("lora")
    if not isinstance(lora, (str, list)):
        raise wrong("lora", "an array")
    await workers.disk.do(lambda: save_preset(_file(), name, lora))
    return await workers.disk.do(_all)


async def delete(request: web.Request) -> dict[str, Any]:
    """{name} → the same as GET."""
    fields = await read_fields(request)
    name = fields.text("name", MAX_NAME, least=1)
    await workers.disk.do(lambda: delete_preset(_file(), name))
    return await workers.disk.do(_all)


def _all() -> dict[str, Any]:
    return {"presets": [asdict(preset) for preset in read_presets(_file())]}


def _file() -> Path:
    return state_folder() / PRESETS_FILE
