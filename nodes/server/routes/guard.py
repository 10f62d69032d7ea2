"""Access control and the form of responses, for all routes of the pack.

foreign page       rejected: a page of another site must not get in through the browser (Origin, Sec-Fetch-Site)
change             only from this computer, under its own name, unless AIR_LORA_ALLOW_REMOTE is set
body               JSON with its content type (which another site's plain form can't send), of a limited size
answer             JSON without tokens and without paths on this disk; errors as {"error": {code, parameter, …}}
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiohttp import web

from ....lora_resolver import (
    SHORTEST_TOKEN,
    AccessDenied,
    HostedOnly,
    InvalidInput,
    LoraResolverError,
    NotFound,
    Offline,
    StorageFailed,
    TransferFailed,
    whole_number,
)
from ..settings import private_folders, private_texts, remote_changes_allowed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[Any]]

SMALL_BODY = 64 * 1024

_log = logging.getLogger(__name__)

# Headers with which proxies and tunnels name their client.
_PROXYS_HEADER = re.compile(
    r"(?:forwarded|via|x-forwarded-.*|x-original-.*|x-real-ip|(?:x|true|fly|fastly)-client-ip|cf-connecting-ip.*)$",
    re.IGNORECASE,
)

_STATUS: tuple[tuple[type[LoraResolverError], int], ...] = (
    (InvalidInput, 400),
    (NotFound, 404),
    (AccessDenied, 403),
    (HostedOnly, 403),
    (Offline, 409),
    (StorageFailed, 409),
    (TransferFailed, 424),
)


class Refused(LoraResolverError):
    """The request itself is rejected."""

    def __init__(self, status: int, code: str, message: str, remedy: str = "", parameter: str = "") -> None:
        super().__init__(message, code=code, parameter=parameter, remedy=remedy)
        self.status = status


def guarded(handler: Handler, *, changes: bool = False, private: bool = False) -> Handler:
    """The handler behind all checks. It returns a document, which is sent as JSON, or a complete response."""

    async def guarded_handler(request: web.Request) -> web.StreamResponse:
        try:
            refuse_foreign_pages(request)
            if changes:
                refuse_other_computers(request)
            if private:
                refuse_rebound_names(request)
            answer = await handler(request)
        except LoraResolverError as error:
            return error_answer(error)
        except (asyncio.CancelledError, web.HTTPException):
            raise
        except Exception:
            _log.exception("[AIR LoRA] %s failed", request.path)
            return error_answer(
                Refused(500, "internalError", "Something went wrong", "For details, see ComfyUI's log.")
            )
        return answer if isinstance(answer, web.StreamResponse) else json_answer(answer)

    return guarded_handler


def refuse_foreign_pages(request: web.Request) -> None:
    """Raises Refused for requests from a page of another origin. Programs don't send these headers."""
    site = request.headers.get("Sec-Fetch-Site", "none").lower()
    origin = request.headers.get("Origin")
    same = origin is None or _place(origin) == request.host.lower()
    if not same or site not in ("none", "same-origin"):
        raise Refused(
            403, "foreignOrigin", "The request came from a page of another site", "Use ComfyUI's own page."
        )


def is_from_here(request: web.Request) -> bool:
    """Whether the request comes from this computer, without a proxy, and uses one of its own host names."""
    forwarded = any(_PROXYS_HEADER.match(name) for name in request.headers)
    return _is_here(request.remote or "") and _is_here(_host(request)) and not forwarded


def refuse_other_computers(request: web.Request) -> None:
    """Raises Refused if the client may not change anything.

    The requested host name counts too: a foreign name that leads to this computer is either an attack (DNS rebinding)
    or a proxy, whose client can be anyone.
    """
    if not is_from_here(request) and not remote_changes_allowed():
        raise Refused(
            403,
            "notFromHere",
            "Changes are only allowed from the computer that runs ComfyUI",
            "Open ComfyUI as http://127.0.0.1 on that computer, or start it with AIR_LORA_ALLOW_REMOTE=1.",
        )


def refuse_rebound_names(request: web.Request) -> None:
    """Raises Refused if a foreign name leads to this computer: a page of that name could read the user's own data (DNS
    rebinding). AIR_LORA_ALLOW_REMOTE allows it, for a proxy on this computer that has such a name.
    """
    rebound = _is_here(request.remote or "") and not _is_here(_host(request))
    forwarded = any(_PROXYS_HEADER.match(name) for name in request.headers)
    if rebound and not forwarded and not remote_changes_allowed():
        raise Refused(
            403,
            "notFromHere",
            "The request used a host name that isn't this computer's own",
            "Open ComfyUI as http://127.0.0.1, or start it with AIR_LORA_ALLOW_REMOTE=1.",
        )


def _place(origin: str) -> str | None:
    """Host and port of an origin; None for "null" and for an invalid one."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _host(request: web.Request) -> str:
    if "Host" not in request.headers:  # HTTP/1.0: aiohttp would return this computer's name
        return ""
    try:
        parts = urlsplit(f"//{request.host}")
    except ValueError:
        return ""
    return parts.hostname or "" if "@" not in parts.netloc else ""


def _is_here(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


async def read_body(request: web.Request, limit: int) -> bytes:
    """The whole body. Raises Refused as soon as it exceeds `limit` bytes."""
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    body = bytearray()
    async for chunk in request.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


async def read_fields(request: web.Request, limit: int = SMALL_BODY) -> Fields:
    """The JSON object that was sent. Raises Refused for anything else."""
    if request.content_type != "application/json":
        raise Refused(415, "notJson", "The body must be JSON", "Send it with Content-Type: application/json.")
    try:
        # Not `parse_json`: values are checked exactly as sent, and half of a surrogate pair in a token is rejected.
        document = json.loads(await read_body(request, limit))
    except (ValueError, RecursionError):
        raise Refused(400, "notJson", "The body isn't valid JSON", "Send a single JSON object.") from None
    if not isinstance(document, dict):
        raise Refused(400, "notJson", "The body isn't a JSON object", "Send a single JSON object.")
    return Fields(document)


class Fields:
    """The fields of a request, read by name. Raises Refused for values of the wrong type or size."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def get(self, name: str) -> Any:
        """The value as it is, or None."""
        return self._document.get(name)

    def text(self, name: str, most: int, *, least: int = 0) -> str:
        """A string of `least` to `most` characters."""
        value = self._document.get(name)
        if not isinstance(value, str) or not least <= len(value) <= most:
            raise wrong(name, f"a string of {least} to {most:,} characters")
        return value

    def optional_text(self, name: str, most: int) -> str | None:
        """Like `text`; None if the field is missing or null."""
        return None if self._document.get(name) is None else self.text(name, most)

    def texts(self, name: str, most: int, longest: int = 4096) -> list[str]:
        """A list of at most `most` strings of at most `longest` characters."""
        value = self._document.get(name)
        if not isinstance(value, list) or len(value) > most:
            raise wrong(name, f"a list of at most {most} strings")
        if not all(isinstance(each, str) and len(each) <= longest for each in value):
            raise wrong(name, f"a list of strings of at most {longest:,} characters")
        return value

    def object(self, name: str) -> Fields | None:
        """An object; None if the field is missing or null."""
        value = self._document.get(name)
        if value is not None and not isinstance(value, dict):
            raise wrong(name, "an object")
        return None if value is None else Fields(value)


def query_number(request: web.Request, name: str, default: int | None, most: int) -> int:
    """A whole number from 0 to `most` in the query string. Raises Refused."""
    text = request.query.get(name)
    if text is None and default is not None:
        return default
    number = None if text is None else whole_number(text, most)
    if number is None:
        raise wrong(name, f"a whole number from 0 to {most:,}")
    return number


def query_text(request: web.Request, name: str, most: int) -> str:
    """A text in the query string. Raises Refused."""
    text: str = request.query.get(name, "")
    if not 0 < len(text) <= most:
        raise wrong(name, f"a string of 1 to {most:,} characters")
    return text


def wrong(name: str, wanted: str) -> Refused:
    """The error for a value that isn't what is `wanted`."""
    remedy = "Change the request. In the browser, reload the page."
    return Refused(400, "invalidType", f"{name} must be {wanted}", remedy, parameter=name)


def _too_large(limit: int) -> Refused:
    return Refused(413, "tooLarge", f"The body is larger than {limit:,} bytes", "Send less data at a time.")


def json_answer(document: Any, status: int = 200) -> web.Response:
    """The document as JSON, without tokens and paths, which must not leave this computer."""
    text = json.dumps(discreet(document), ensure_ascii=False)
    # A file name may contain characters that UTF-8 can't encode. Escaped, they are still valid JSON.
    body = text.encode("utf-8", "backslashreplace")
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return web.Response(
        body=body, status=status, content_type="application/json", charset="utf-8", headers=headers
    )


def error_answer(error: LoraResolverError) -> web.Response:
    """The error as JSON, with the matching status."""
    status = getattr(error, "status", 0) or next(
        (code for kind, code in _STATUS if isinstance(error, kind)), 400
    )
    return json_answer({"error": error.as_dict()}, status)


def discreet(document: Any) -> Any:
    """The document without tokens and paths on this disk, wherever they came from."""
    return _Discretion().clean(document)


class _Discretion:
    """Removes tokens and paths on this disk from a document, wherever they came from."""

    def __init__(self) -> None:
        self._cuts = [(token, "…") for token in private_texts() if len(token) >= SHORTEST_TOKEN]
        for folder in private_folders():
            self._cuts += [(text, folder.name) for text in dict.fromkeys((str(folder), folder.as_posix()))]

    def clean(self, value: Any) -> Any:
        if isinstance(value, str):
            for secret, shown in self._cuts:
                if secret in value:
                    value = value.replace(secret, shown)
            return value
        if isinstance(value, dict):
            return {self.clean(key): self.clean(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.clean(each) for each in value]
        return value
