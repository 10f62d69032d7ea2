"""GET and POST /air_lora/presets, POST /air_lora/presets/delete: arrays that the user has saved under a name.

If ComfyUI was started with --multi-user, each user has their own presets.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ....lora_resolver import PRESETS_FILE, delete_preset, read_presets, save_preset
from ..running import running_server
from ..settings import state_folder
from . import workers
from .guard import Refused, read_fields, wrong

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

MAX_BODY = 512 * 1024
MAX_NAME = 200
ONLY_USER = "default"
"""ComfyUI's name for the user if there is only one."""

_USER = re.compile(r"[A-Za-z0-9_-]{1,200}")


async def get_presets(request: web.Request) -> dict[str, Any]:
    """{presets: [{name, lora}]}, by name; `lora` is the array as text."""
    path = _file(request)
    return await workers.disk.do(lambda: _all(path))


async def post_preset(request: web.Request) -> dict[str, Any]:
    """{name, lora: an array, or its text} → the same as GET."""
    fields, path = await read_fields(request, MAX_BODY), _file(request)
    name, lora = fields.text("name", MAX_NAME, least=1), fields.get("lora")
    if not isinstance(lora, (str, list)):
        raise wrong("lora", "an array")
    await workers.disk.do(lambda: save_preset(path, name, lora))
    return await workers.disk.do(lambda: _all(path))


async def delete(request: web.Request) -> dict[str, Any]:
    """{name} → the same as GET."""
    fields, path = await read_fields(request), _file(request)
    name = fields.text("name", MAX_NAME, least=1)
    await workers.disk.do(lambda: delete_preset(path, name))
    return await workers.disk.do(lambda: _all(path))


def _all(path: Path) -> dict[str, Any]:
    return {"presets": [asdict(preset) for preset in read_presets(path)]}


def _file(request: web.Request) -> Path:
    """The presets file of the user who sent the request. Raises Refused for an unknown user."""
    manager = getattr(running_server(), "user_manager", None)
    try:
        user = str(manager.get_request_user_id(request)) if manager is not None else ONLY_USER
    except KeyError:
        user = ""
    if user == ONLY_USER:
        return state_folder() / PRESETS_FILE
    if not _USER.fullmatch(user):
        raise Refused(
            403, "unknownUser", "ComfyUI doesn't know this user", "Reload the page and choose a user."
        )
    return state_folder() / "presets" / f"{user}.json"
