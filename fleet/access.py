"""Access to the front door: from this computer, or with the user's key. One ComfyUI's endpoint has the same rules."""

from __future__ import annotations

import hmac
import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

SHORTEST_KEY = 25
_PROXYS_HEADER = re.compile(r"(?:x-forwarded-|x-real-ip$|forwarded$|via$)")


def is_from_another_page(headers: Mapping[str, str]) -> bool:
    """Whether the request comes from another website's page, through a user's browser."""
    origin = headers.get("origin")
    if headers.get("sec-fetch-site", "").lower() == "cross-site":
        return True
    return bool(origin) and urlsplit(origin or "").netloc.lower() != headers.get("host", "").lower()


def is_from_here(client: str, headers: Mapping[str, str]) -> bool:
    """Whether a program on this computer sent the request, to a loopback host name and not through a proxy."""
    forwarded = any(_PROXYS_HEADER.match(name.lower()) for name in headers)
    host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    return not forwarded and _is_loopback(client) and (host == "localhost" or _is_loopback(host))


def is_key(own: str, given: object) -> bool:
    """Whether `given` is the user's key. The comparison takes constant time."""
    return (
        len(own) >= SHORTEST_KEY
        and isinstance(given, str)
        and hmac.compare_digest(own.encode(), given.strip().encode("utf-8", "backslashreplace"))
    )


def bearer(headers: Mapping[str, str]) -> str:
    """The key in the Authorization header, or an empty string."""
    kind, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else ""


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
