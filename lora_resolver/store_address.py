"""The address of a shared store: whatever fsspec has a driver for, without a secret in it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from .errors import InvalidInput

__all__ = ["KEY", "check_address", "is_local", "protocol_of", "shown_address"]

KEY = "AIR_LORA_STORE"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")  # two letters or more: C:\ is a place on a disk
_WANTED = "an address like s3://bucket/loras, gs://bucket/loras or file:///mnt/loras"


def check_address(text: str) -> str:
    """The address without a slash at its end.

    Raises InvalidInput for what is no address or has a user name, a password or a query in it. The message repeats
    none of it: it may be a secret.
    """
    address = text.strip()
    scheme = _SCHEME.match(address)
    if scheme is None:
        plain_path = (
            address.startswith(("/", "~", "\\\\")) or re.match(r"[A-Za-z]:[\\/]", address) is not None
        )
        if plain_path and address.isprintable():
            return address.rstrip("/") or "/"
        raise _bad(f"is not {_WANTED}", f"Set it to {_WANTED}.")
    try:
        parts = urlsplit(address)
    except ValueError:
        raise _bad(f"is not {_WANTED}", f"Set it to {_WANTED}.") from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise _bad(
            "has a user name, a password or a query in it",
            "Leave them out. Drivers take them from their own variables, such as AWS_ACCESS_KEY_ID.",
        )
    if "::" in address or not address.isprintable() or len(address) <= len(scheme[0]):
        raise _bad(f"is not {_WANTED}", f"Set it to {_WANTED}.")
    return address.rstrip("/") if len(address.rstrip("/")) > len(scheme[0]) else address


def protocol_of(address: str) -> str:
    """ "s3" of "s3://bucket/loras", "file" of a path."""
    scheme = _SCHEME.match(address)
    return scheme[1].lower() if scheme else "file"


def is_local(address: str) -> bool:
    """Whether it names a place on this machine's own disks, or what is mounted there."""
    return protocol_of(address) in ("file", "local")


def shown_address(address: str) -> str:
    """As messages and logs name it: a path on this machine is its owner's business."""
    return "the folder in AIR_LORA_STORE" if is_local(address) else address


def _bad(what: str, remedy: str) -> InvalidInput:
    return InvalidInput(f"{KEY} {what}", code="invalidSetting", remedy=remedy)
