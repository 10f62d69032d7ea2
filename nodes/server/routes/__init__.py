"""The pack's routes in ComfyUI's server. ComfyUI also serves each of them below /api.

    POST /air_lora/parse             pasted text → entries                         pasting
    POST /air_lora/dropped           a dropped file → entries                      pasting
    POST /air_lora/info              what rows show, and whether they fit          info, lookups, checkpoints, items
    POST /air_lora/search            the loras folders, or CivitAI                 searching, listing
    POST /air_lora/versions          every version of a model                      searching
    POST /air_lora/newer             newer versions for the same base model        newer
    POST /air_lora/details           everything known about one LoRA               details
    GET  /air_lora/library           the loras folders, page by page               searching, listing
    GET  /air_lora/thumbnail         a preview picture                             thumbnails
    GET  /air_lora/failures          why a run failed, for programs                failures
    POST /air_lora/prefetch          starts a download                         *   prefetch, events
    POST /air_lora/prefetch/cancel   cancels it                                *   prefetch
    GET  /air_lora/settings          what is set; POST sets one                *   preferences
    POST /air_lora/token             saves a token                             *   preferences
    GET  /air_lora/presets           arrays by name; POST saves one            *   saved_presets
    POST /air_lora/presets/delete    deletes one                               *   saved_presets

* changes something

`guard` checks who may send requests, and how. Heavy modules are imported only when a request needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..running import running_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

READ, PRIVATE, CHANGE = "read", "private", "change"

_ROUTES = (
    ("POST", "/air_lora/parse", READ, "pasting", "parse"),
    ("POST", "/air_lora/dropped", READ, "pasting", "dropped"),
    ("POST", "/air_lora/info", READ, "info", "info"),
    ("POST", "/air_lora/search", READ, "searching", "search"),
    ("POST", "/air_lora/versions", READ, "searching", "versions"),
    ("POST", "/air_lora/newer", READ, "newer", "newer"),
    ("POST", "/air_lora/details", READ, "details", "details"),
    ("GET", "/air_lora/library", PRIVATE, "searching", "library"),
    ("GET", "/air_lora/thumbnail", READ, "thumbnails", "thumbnail"),
    ("GET", "/air_lora/failures", PRIVATE, ".failures", "failures"),
    ("POST", "/air_lora/prefetch", CHANGE, "prefetch", "start"),
    ("POST", "/air_lora/prefetch/cancel", CHANGE, "prefetch", "cancel"),
    ("GET", "/air_lora/settings", PRIVATE, "preferences", "get_settings"),
    ("POST", "/air_lora/settings", CHANGE, "preferences", "post_setting"),
    ("POST", "/air_lora/token", CHANGE, "preferences", "post_token"),
    ("GET", "/air_lora/presets", PRIVATE, "saved_presets", "get_presets"),
    ("POST", "/air_lora/presets", CHANGE, "saved_presets", "post_preset"),
    ("POST", "/air_lora/presets/delete", CHANGE, "saved_presets", "delete"),
)
"""Method, path, kind (PRIVATE shows the user's own data, CHANGE changes something), module and name of the handler."""


def register_routes() -> None:
    """Adds the routes to the running server. Does nothing without a server (nodes used as a library)."""
    server = running_server()
    if server is None:
        return
    for method, path, kind, module, name in _ROUTES:
        server.routes.route(method, path)(_handler(module, name, kind))


def _handler(module: str, name: str, kind: str) -> Callable[[web.Request], Awaitable[Any]]:
    """A handler that imports the real one at the first request."""

    async def handler(request: web.Request) -> Any:
        from importlib import import_module

        from .guard import guarded

        own = getattr(import_module(f".{module}", __package__), name)
        return await guarded(own, changes=kind == CHANGE, private=kind == PRIVATE)(request)

    return handler
