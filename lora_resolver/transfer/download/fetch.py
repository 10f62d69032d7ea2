"""Requests for the ranges of one file, and the bytes that they return."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

from ...errors import TransferFailed
from ..transport import MAX_RETRY_AFTER, ServerBusy
from .answers import (
    FileChanged,
    RangesRefused,
    check_kind,
    check_size,
    range_facts,
    refusal,
    too_large,
    whole_facts,
)
from .pieces import Pieces

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...config import ResolverConfig
    from ..tasks import CancelToken, ProgressTracker
    from ..transport import Download, Transport
    from .partial import Facts, PartFile
    from .pieces import Piece
    from .request import DownloadRequest

__all__ = ["Fetch", "is_final"]

_T = TypeVar("_T")

_CHUNK = 1 << 18
"""Bytes read from a connection at once: they fit in a core's cache and are written to the file from there."""

_ENOUGH = 1 << 16
"""Bytes that a connection must deliver for its end to reset the count of failures instead of adding to it."""

_FINAL = frozenset({"redirectRefused", "redirectLoop", "badAnswer", "wrongLength"})
"""Failures that an immediate retry would only repeat."""

_EXPIRED = frozenset({400, 401, 403, 404, 410})
"""Statuses that storage services return for an expired signed address."""


class Fetch:
    """Downloads pieces of one file into its part file. Its methods may be called from several threads."""

    def __init__(
        self,
        request: DownloadRequest,
        part: PartFile,
        transport: Transport,
        config: ResolverConfig,
        tracker: ProgressTracker,
        cancel: CancelToken,
    ) -> None:
        self._request = request
        self._part = part
        self._transport = transport
        self._config = config
        self._tracker = tracker
        self._cancel = cancel
        # The system lets only one thread at a time write to a file. The others would spin on cores that hashing needs.
        self._writing = threading.Lock()
        # Where the service redirected us. Later pieces use it, so that the service isn't asked for each piece.
        self._direct: str | None = request.file.storage_url or None

    def begin(self, *, ranged: bool) -> tuple[Piece, Download]:
        """Sends the first request, reads what the server has, and plans the pieces.

        Returns a piece and the open response that contains it.
        """
        resumed = self._part.pieces.take()
        if resumed is not None:
            start, end = resumed.position, resumed.end
        else:
            size = self._request.file.size
            first = None if size is None else self._plan(size).take()
            start, end = 0, self._config.min_piece_bytes if first is None else first.end
        return self._trying(lambda: self._begin(start, end, resumed, ranged), lambda: 0)

    def fetch(self, piece: Piece, answer: Download | None = None) -> None:
        """Downloads the rest of the piece, over as many connections as necessary.

        Raises TransferFailed when retrying doesn't help, RangesRefused or FileChanged when everything must start over.
        """
        first = [answer] if answer is not None else []
        while not piece.complete:
            self._trying(
                lambda: self._receive(piece, first.pop() if first else self._open_piece(piece)),
                lambda: piece.done,
            )

    def _plan(self, size: int) -> Pieces:
        return Pieces.plan(size, self._config.connections, self._config.min_piece_bytes)

    def _begin(
        self, start: int, end: int | None, resumed: Piece | None, ranged: bool
    ) -> tuple[Piece, Download]:
        answer = self._open(start, end, ranged=ranged)
        try:
            if answer.status == 206:
                facts = range_facts(answer, start)
                if resumed is not None:
                    self._check_same(facts)
                    return resumed, answer
                pieces = self._plan(facts.size or 0)
            else:  # the whole file, whatever range was requested: bytes of an earlier run are of no use
                facts = whole_facts(answer)
                pieces = Pieces.in_one(facts.size)
            check_size(self._request, facts.size, self._config.max_bytes)
            self._part.begin(facts, pieces)
            piece = pieces.take()
            if piece is None:
                raise TransferFailed(
                    f"{self._request.file.name!r} is empty on the server",
                    code="wrongLength",
                    remedy="Try again later.",
                )
        except BaseException:
            answer.__exit__()
            raise
        return piece, answer

    def _open_piece(self, piece: Piece) -> Download:
        if not self._part.pieces.resumable:
            raise RangesRefused  # an interrupted download without ranges must start from the beginning
        answer = self._open(piece.position, piece.end, ranged=True)
        try:
            if answer.status != 206:
                raise RangesRefused
            self._check_same(range_facts(answer, piece.position))
        except BaseException:
            answer.__exit__()
            raise
        return answer

    def _open(self, start: int, end: int | None, *, ranged: bool) -> Download:
        """A response with bytes: 200, or 206 if a range was requested."""
        headers = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if ranged else {}
        direct = self._direct
        answer = None
        if direct is not None:
            answer = self._transport.open(direct, headers, given_by_server=True)
            if answer.status in _EXPIRED:
                answer.__exit__()
                answer, self._direct = None, None
        if answer is None:
            answer = self._transport.open(self._request.file.url, headers)
            if answer.status in _EXPIRED and answer.url != self._request.file.url:
                # The service redirected to a signed address that its storage rejects. Ask once for a new one.
                answer.__exit__()
                answer = self._transport.open(self._request.file.url, headers)
        try:
            if answer.status == 416:
                raise FileChanged
            if answer.status not in (200, 206):
                raise refusal(self._request, answer)
            check_kind(self._request, answer)
        except BaseException:
            answer.__exit__()
            raise
        if answer.url != self._request.file.url:
            self._direct = answer.url
        return answer

    def _check_same(self, facts: Facts) -> None:
        known = self._part.facts
        if known is None or facts.size != known.size:
            raise FileChanged
        # Two storage services of one site give the same file different ETags. An expected hash is more reliable.
        if self._request.file.sha256 is None and facts.etag != known.etag:
            raise FileChanged

    def _receive(self, piece: Piece, answer: Download) -> None:
        """Writes the bytes that arrive. Returns at the end of the piece or of the response."""
        pace = _Pace(self._config)
        with answer, self._part.open() as file:
            file.seek(piece.position)
            for chunk in answer.chunks(_CHUNK):
                wanted = len(chunk) if piece.end is None else piece.end - piece.position
                content = memoryview(chunk)[:wanted]
                while content:
                    with self._writing:
                        written = file.write(content) or 0
                    self._part.pieces.wrote(piece, written)
                    self._tracker.add(written)
                    content = content[written:]
                if piece.complete:
                    return
                if piece.position > self._config.max_bytes:
                    raise too_large(self._request, piece.position, self._config.max_bytes)
                pace.check(len(chunk))
        if piece.end is None:
            self._part.pieces.ended(piece)
        elif not piece.complete and answer.length is None:
            raise TransferFailed(
                f"The server closed the connection after {piece.position:,} of {piece.end:,} bytes of "
                f"{self._request.file.name!r}",
                code="connectionLost",
                remedy="Try again. Interrupted downloads resume.",
            )

    def _trying(self, action: Callable[[], _T], gained: Callable[[], int]) -> _T:
        """Repeats the action until it works, or fails too often in a row without gaining bytes."""
        failures = 0
        while True:
            before = gained()
            try:
                return action()
            except TransferFailed as error:
                wanted = error.retry_after if isinstance(error, ServerBusy) else None
                failures = 1 if gained() - before >= _ENOUGH else failures + 1
                if failures >= self._config.tries or is_final(error) or (wanted or 0) > MAX_RETRY_AFTER:
                    raise
                if error.code == "tooSlow" and not self._part.pieces.resumable:
                    raise  # everything would start over, and this reason says more than a lost connection
                self._transport.pause(failures - 1, wanted)


class _Pace:
    """Detects a server that sends too slowly: never silent long enough to time out, but never finished."""

    def __init__(self, config: ResolverConfig) -> None:
        self._window = config.read_timeout
        self._least = config.min_bytes_per_second * config.read_timeout
        self._since = time.monotonic()
        self._count = 0

    def check(self, count: int) -> None:
        self._count += count
        now = time.monotonic()
        if now - self._since < self._window:
            return
        if self._count < self._least:
            raise TransferFailed(
                f"The download is too slow: {self._count / (now - self._since):,.0f} bytes per second",
                code="tooSlow",
                remedy="Try again later. Interrupted downloads resume if the server supports it.",
            )
        self._since, self._count = now, 0


def is_final(error: TransferFailed) -> bool:
    """Whether an immediate retry would only fail in the same way."""
    return error.code in _FINAL
