"""Reads the header of a remote file, with a few hundred kilobytes of traffic.

first 64 KiB ─▶ how long is the header? ─▶ the rest of it, in one more request ─▶ checked header

A server that doesn't support ranges sends the whole file. In that case, only the header is read, and then the
connection is closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import TransferFailed
from ..model_file.safetensors_header import header_end, parse_header, parse_header_text
from .download.answers import FileChanged, RangesRefused, check_kind, range_facts, refusal, whole_facts

if TYPE_CHECKING:
    from ..config import ResolverConfig
    from ..model_file.safetensors_header import SafetensorsHeader
    from .download import DownloadRequest
    from .transport import Download, Transport

__all__ = ["RemoteHeader", "peek_header"]

FIRST_BYTES = 64 * 1024
"""What the first request asks for: enough for the header of a small file, and for the header length of any file."""

LEAST_BUDGET = 512 * 1024
"""Bytes that a peek may always read, even if 1 % of the file is less. The header of an SDXL LoRA has about 300 KB."""


@dataclass(frozen=True)
class RemoteHeader:
    """The result of a peek."""

    header: SafetensorsHeader | None
    """None if the server doesn't allow reading it within the limit."""
    size: int | None
    bytes_read: int


def peek_header(request: DownloadRequest, transport: Transport, config: ResolverConfig) -> RemoteHeader:
    """The header of the file in `request`. Reads at most 1 % of the file or 512 KiB, whichever is more.

    Raises what a download would: AccessDenied, NotFound, TransferFailed, and VerificationFailed for a file that isn't
    a valid safetensors file.
    """
    for attempt in range(config.tries):
        try:
            return _peek(request, transport)
        except TransferFailed as error:  # noqa: PERF203 - a few tries, with pauses
            if attempt == config.tries - 1 or error.code in _FINAL:
                raise
            transport.pause(attempt)
    raise AssertionError("there is at least one try")


_FINAL = frozenset({"redirectRefused", "redirectLoop", "badAnswer"})


def _peek(request: DownloadRequest, transport: Transport) -> RemoteHeader:
    with _open_first(request, transport) as answer:
        if answer.status == 206:
            try:
                size = range_facts(answer, 0).size
            except RangesRefused:
                return RemoteHeader(None, request.file.size, 0)
        else:
            size = whole_facts(answer).size
        if (
            size is None
        ):  # compressed in transit, or of unknown length: the header can't be checked against the size
            return RemoteHeader(None, request.file.size, 0)
        budget = max(LEAST_BUDGET, size // 100)
        if answer.status == 200:
            budget -= FIRST_BYTES  # chunked reading may exceed the header by this much
        body = _Body(answer)
        first = body.first(min(FIRST_BYTES, size))
        end = header_end(first, size)
        if end > budget:
            return RemoteHeader(None, size, body.count)
        if end <= len(first):
            return RemoteHeader(parse_header(first, size), size, body.count)
        if answer.status == 200:
            body.up_to(end)
            return _remote_header(body, end, size, body.count)
        etag, where = range_facts(answer, 0).etag, answer.url
    try:
        with _open(request, transport, where, len(first), end) as rest:
            facts = range_facts(rest, len(first))
            if (facts.size, facts.etag) != (size, etag):
                raise FileChanged
            following = _Body(rest, first)
            following.up_to(end)
    except (RangesRefused, FileChanged):
        return RemoteHeader(None, size, len(first))
    return _remote_header(following, end, size, following.count)


def _remote_header(body: _Body, end: int, size: int, bytes_read: int) -> RemoteHeader:
    return RemoteHeader(parse_header_text(body.take_text(8, end), size), size, bytes_read)


def _open_first(request: DownloadRequest, transport: Transport) -> Download:
    if request.file.storage_url:
        headers = {"Range": f"bytes=0-{FIRST_BYTES - 1}"}
        answer = transport.open(request.file.storage_url, headers, given_by_server=True)
        if answer.status == 206:
            return answer
        answer.__exit__()
    return _open(request, transport, request.file.url, 0, FIRST_BYTES)


def _open(request: DownloadRequest, transport: Transport, url: str, start: int, end: int) -> Download:
    headers = {"Range": f"bytes={start}-{end - 1}"}
    answer = transport.open(url, headers, given_by_server=url != request.file.url)
    try:
        if answer.status not in (200, 206):
            raise refusal(request, answer)
        check_kind(request, answer)
    except BaseException:
        answer.__exit__()
        raise
    return answer


class _Body:
    """The beginning of a response body. Never starts to read a chunk beyond the requested length."""

    def __init__(self, answer: Download, before: bytes = b"") -> None:
        self._chunks = answer.chunks(FIRST_BYTES)
        self._bytes = bytearray(before)

    @property
    def count(self) -> int:
        return len(self._bytes)

    def first(self, length: int) -> bytes:
        """The first `length` bytes. Raises TransferFailed if there are fewer."""
        self.up_to(length)
        return bytes(self._bytes[:length])

    def take_text(self, start: int, end: int) -> str:
        """Part of the bytes as Latin-1. Frees all of them, because a hostile header can be large."""
        text = str(memoryview(self._bytes)[start:end], "latin-1")
        self._bytes = bytearray()
        return text

    def up_to(self, length: int) -> None:
        """Reads until the first `length` bytes are present. Raises TransferFailed if there are fewer."""
        while len(self._bytes) < length:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise TransferFailed(
                    f"The server closed the connection after {len(self._bytes):,} of {length:,} bytes",
                    code="connectionLost",
                    remedy="Try again.",
                )
            self._bytes += chunk
