"""Turns the name of a LoRA into a verified file: the `lora` array, identifiers, sources, downloads, headers.

These names are the public face; other programs lean on them.
"""

from .errors import (
    AccessDenied,
    HostedOnly,
    InvalidIdentifier,
    InvalidInput,
    InvalidLoraArray,
    LoraResolverError,
    Mismatch,
    NotFound,
    Offline,
    SeveralErrors,
    StorageFailed,
    TransferFailed,
    Unavailable,
    VerificationFailed,
)

__all__ = [
    "AccessDenied",
    "HostedOnly",
    "InvalidIdentifier",
    "InvalidInput",
    "InvalidLoraArray",
    "LoraResolverError",
    "Mismatch",
    "NotFound",
    "Offline",
    "SeveralErrors",
    "StorageFailed",
    "TransferFailed",
    "Unavailable",
    "VerificationFailed",
]
