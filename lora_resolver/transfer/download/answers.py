"""What a server's answer to a request for a file, or for a range of it, means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...errors import StorageFailed, TransferFailed
from ...records import SIZE_TOLERANCE
from ...safe_files import whole_number
from ..transport import may_pass, refused_for_now
from .partial import Facts

if TYPE_CHECKING:
    from ..transport import Download
    from .request import DownloadRequest

__all__ = [
    "FileChanged",
    "RangesRefused",
    "check_kind",
    "check_size",
    "range_facts",
    "refusal",
    "too_large",
    "whole_facts",
]

_TEXTS = frozenset({"text/html", "application/xhtml+xml", "application/json", "application/xml", "text/xml"})


class RangesRefused(Exception):
    """The server sends the whole or nothing."""


class FileChanged(Exception):
    """What the server sends is no longer what the bytes on disk are a part of."""


def refusal(request: DownloadRequest, answer: Download) -> Exception:
    """The error for an answer that brings no bytes."""
    refused = answer.answer()
    explained = request.explain(refused)
    if explained is not None:
        return explained
    if may_pass(answer.status):
        return refused_for_now(refused)
    return TransferFailed(
        f"the server answered {answer.status} to the download of {request.file.name!r}",
        code="badAnswer",
        remedy="Run it again later.",
    )


def check_kind(request: DownloadRequest, answer: Download) -> None:
    """A page or a message with status 200 is no file. Raises TransferFailed."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _TEXTS:
        raise TransferFailed(
            f"the server sent a {kind} page instead of {request.file.name!r}",
            code="badAnswer",
            remedy="It may want you to log in: set a token. Or open the page in a browser to see what it says.",
        )


def whole_facts(answer: Download) -> Facts:
    """Facts from a 200."""
    return Facts(answer.length, _strong_etag(answer))


def range_facts(answer: Download, start: int) -> Facts:
    """Facts from a 206 that must begin at `start`. Raises RangesRefused for one that does not make sense."""
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers.get("content-range", "").strip())
    first, last, size = (whole_number(each) for each in match.groups()) if match else (None, None, None)
    if first is None or last is None or size is None or answer.encoded:
        raise RangesRefused
    if first != start or not first <= last < size:
        raise RangesRefused
    return Facts(size, _strong_etag(answer))


def check_size(request: DownloadRequest, size: int | None, limit: int) -> None:
    """Raises StorageFailed for a file that is too large, TransferFailed for another size than was expected."""
    if size is None:
        return
    if size > limit:
        raise too_large(request, size, limit)
    expected = request.file.size
    if expected is not None and abs(size - expected) > SIZE_TOLERANCE:
        raise TransferFailed(
            f"the server has {size:,} bytes for {request.file.name!r}, but {expected:,} were expected",
            code="wrongLength",
            remedy="Run it again later; if it stays so, the source serves a file that is not its own.",
        )


def too_large(request: DownloadRequest, size: int, limit: int) -> StorageFailed:
    """The error for a file beyond AIR_LORA_MAX_BYTES."""
    return StorageFailed(
        f"{request.file.name!r} is larger ({size:,} bytes) than the limit of {limit:,} bytes",
        code="tooLarge",
        remedy="Raise AIR_LORA_MAX_BYTES if you want it.",
    )


def _strong_etag(answer: Download) -> str:
    etag = answer.headers.get("etag", "").strip()
    return etag if etag.startswith('"') and not answer.encoded else ""
