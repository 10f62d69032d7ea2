"""The pack's routes in ComfyUI's server. ComfyUI serves each below /api too.

    POST /air_lora/parse             pasted text → entries                         pasting
    POST /air_lora/dropped           a dropped file → entries                      pasting
    POST /air_lora/info              what rows show, and whether they fit          info, lookups, checkpoints, items

Who may ask, and how: `guard`. Nothing heavy is imported before somebody asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

READ, CHANGE = False, True

_ROUTES = (
    ("POST", "/air_lora/parse", READ, "pasting", "parse"),
    ("POST", "/air_lora/dropped", READ, "pasting", "dropped"),
    ("POST", "/air_lora/info", READ, "info", "info"),
)
"""Method, path, whether it changes anything, and where its handler is."""


def register_routes() -> None:
    """Adds the routes to the running server; does nothing where there is none (nodes used as a library)."""
    from server import PromptServer

    server = getattr(PromptServer, "instance", None)
    if server is None:
        return
    for method, path, changes, module, name in _ROUTES:
        server.routes.route(method, path)(_handler(module, name, changes=changes))


def _handler(module: str, name: str, *, changes: bool) -> Callable[[web.Request], Awaitable[Any]]:
    """The handler, imported by the first request for it."""

    async def handler(request: web.Request) -> Any:
        from importlib import import_module

        from .guard import guarded

        own = getattr(import_module(f".{module}", __package__), name)
        return await guarded(own, changes=changes)(request)

    return handler
