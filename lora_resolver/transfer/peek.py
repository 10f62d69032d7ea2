"""The header of a file that lies at its source, for a few hundred kilobytes of traffic.

first 64 KiB ─▶ how long is the header? ─▶ the rest of it, in one more request ─▶ checked header

A server that takes no ranges sends the whole: as much of it as the header needs is read, then it is hung up on.
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
"""What the first request asks for: enough for the header of a small file, and to know the length of any."""

LEAST_BUDGET = 512 * 1024
"""Bytes that a peek may cost even where 1 % of the file is less: the header of an SDXL LoRA takes about 300 KB."""


@dataclass(frozen=True)
class RemoteHeader:
    """What a peek brought."""

    header: SafetensorsHeader | None
    """None where the server does not let it be read at this price."""
    size: int | None
    bytes_read: int


def peek_header(request: DownloadRequest, transport: Transport, config: ResolverConfig) -> RemoteHeader:
    """The header of the file that `request` names, for at most 1 % of its bytes or 512 KiB, whichever is more.

    Raises what a download would: AccessDenied, NotFound, TransferFailed, and VerificationFailed for a file that is no
    safetensors file or one that cannot be believed.
    """
    for attempt in range(config.tries):
        try:
            return _peek(request, transport)
        except TransferFailed as error:  # noqa: PERF203 - a handful of tries, with pauses
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
        ):  # compressed on the way, or without an end that is told: nothing can be held against it
            return RemoteHeader(None, request.file.size, 0)
        budget = max(LEAST_BUDGET, size // 100)
        if answer.status == 200:
            budget -= FIRST_BYTES  # what is read at a time may go beyond the header by so much
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
    """The beginning of an answer's body; never reads on for more than it was asked for."""

    def __init__(self, answer: Download, before: bytes = b"") -> None:
        self._chunks = answer.chunks(FIRST_BYTES)
        self._bytes = bytearray(before)

    @property
    def count(self) -> int:
        return len(self._bytes)

    def first(self, length: int) -> bytes:
        """The first `length` bytes. Raises TransferFailed when there are fewer."""
        self.up_to(length)
        return bytes(self._bytes[:length])

    def take_text(self, start: int, end: int) -> str:
        """Bytes of it as Latin-1; they are let go of, since a hostile header is large."""
        text = str(memoryview(self._bytes)[start:end], "latin-1")
        self._bytes = bytearray()
        return text

    def up_to(self, length: int) -> None:
        """Reads until the first `length` bytes are there. Raises TransferFailed when there are fewer."""
        while len(self._bytes) < length:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise TransferFailed(
                    f"the server ended its answer after {len(self._bytes):,} of {length:,} bytes",
                    code="connectionLost",
                    remedy="Run it again.",
                )
            self._bytes += chunk
