"""Access to the endpoint: nobody until it is enabled; then this computer, and others with the user's API key."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from ..server.routes.guard import Refused, is_from_here, refuse_foreign_pages, refuse_rebound_names
from ..server.settings import SHORTEST_KEY, settings_in_force

if TYPE_CHECKING:
    from aiohttp import web

SWITCH, KEY = "AIR_LORA_API", "AIR_LORA_API_KEY"
_ON = frozenset({"1", "true", "yes", "on"})


def check_request(request: web.Request) -> bool:
    """Whether the client needs no API key. Raises Refused if the endpoint is off, and for pages of other sites."""
    if not is_on():
        raise Refused(
            403,
            "endpointOff",
            "The request endpoint is disabled",
            "Enable it in ComfyUI's settings (AIR LoRA, Endpoint), or start ComfyUI with AIR_LORA_API=1.",
        )
    refuse_foreign_pages(request)
    if is_from_here(request):
        return True
    if not _own_key():
        refuse_rebound_names(request)
    return False


def is_on() -> bool:
    """Whether the user has enabled the endpoint."""
    return settings_in_force().get(SWITCH, "").strip().lower() in _ON


def is_own_key(key: object) -> bool:
    """Whether it is the user's API key, compared in constant time."""
    own = _own_key()
    if not own or not isinstance(key, str):
        return False
    given = key.strip().encode("utf-8", "backslashreplace")  # a header may contain invalid Unicode
    return hmac.compare_digest(own.encode(), given)


def bearer_of(request: web.Request) -> str:
    """The API key in the Authorization header, or an empty string."""
    kind, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else ""


def no_key() -> Refused:
    """The error for a missing or wrong API key."""
    return Refused(
        401,
        "invalidApiKey",
        "The API key is missing or doesn't match the one for this ComfyUI",
        "From another computer, send the key that's set as AIR_LORA_API_KEY on the computer that runs ComfyUI. "
        f"It has at least {SHORTEST_KEY} characters.",
    )


def _own_key() -> str:
    """The user's API key; empty if it is too short, because it could be guessed."""
    key = settings_in_force().get(KEY, "").strip()
    return key if len(key) >= SHORTEST_KEY else ""
