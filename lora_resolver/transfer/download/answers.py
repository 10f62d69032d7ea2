"""What a server's response to a request for a file, or for a range of it, means."""

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
    """The server doesn't support ranges."""


class FileChanged(Exception):
    """The file on the server has changed since the bytes on disk were downloaded."""


def refusal(request: DownloadRequest, answer: Download) -> Exception:
    """The error for a response without file content."""
    refused = answer.answer()
    explained = request.explain(refused)
    if explained is not None:
        return explained
    if may_pass(answer.status):
        return refused_for_now(refused)
    return TransferFailed(
        f"Downloading {request.file.name!r} failed with status {answer.status}",
        code="badAnswer",
        remedy="Try again later.",
    )


def check_kind(request: DownloadRequest, answer: Download) -> None:
    """Raises TransferFailed for a web page or a message that arrives with status 200 instead of a file."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _TEXTS:
        raise TransferFailed(
            f"The server sent {kind} instead of the file {request.file.name!r}",
            code="badAnswer",
            remedy="A token might be required. To see what the server says, open the page in a browser.",
        )


def whole_facts(answer: Download) -> Facts:
    """Facts from a 200 response."""
    return Facts(answer.length, _strong_etag(answer))


def range_facts(answer: Download, start: int) -> Facts:
    """Facts from a 206 response that must begin at `start`. Raises RangesRefused for an invalid one."""
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers.get("content-range", "").strip())
    first, last, size = (whole_number(each) for each in match.groups()) if match else (None, None, None)
    if first is None or last is None or size is None or answer.encoded:
        raise RangesRefused
    if first != start or not first <= last < size:
        raise RangesRefused
    return Facts(size, _strong_etag(answer))


def check_size(request: DownloadRequest, size: int | None, limit: int) -> None:
    """Raises StorageFailed for a file that is too large, TransferFailed for one that doesn't have the expected size."""
    if size is None:
        return
    if size > limit:
        raise too_large(request, size, limit)
    expected = request.file.size
    if expected is not None and abs(size - expected) > SIZE_TOLERANCE:
        raise TransferFailed(
            f"Size mismatch for {request.file.name!r}: expected {expected:,} bytes, but the server has {size:,}",
            code="wrongLength",
            remedy="Try again later. If this happens again, the file doesn't match its published metadata.",
        )


def too_large(request: DownloadRequest, size: int, limit: int) -> StorageFailed:
    """The error for a file larger than AIR_LORA_MAX_BYTES."""
    return StorageFailed(
        f"{request.file.name!r} is too large: {size:,} bytes, and the limit is {limit:,} bytes",
        code="tooLarge",
        remedy="To download it anyway, increase AIR_LORA_MAX_BYTES.",
    )


def _strong_etag(answer: Download) -> str:
    etag = answer.headers.get("etag", "").strip()
    return etag if etag.startswith('"') else ""
