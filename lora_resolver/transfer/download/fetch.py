"""Requests for the ranges of one file, and the bytes that they bring."""

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
"""Bytes that are taken from a connection at once: what fits a core's cache is written to the file from there."""

_ENOUGH = 1 << 16
"""Bytes that a connection must have brought for its end to count as a new start and not as one more failure."""

_FINAL = frozenset({"redirectRefused", "redirectLoop", "badAnswer", "wrongLength"})
"""Failures that another try at once would only repeat."""

_EXPIRED = frozenset({400, 401, 403, 404, 410})
"""What storage services say to a signed address whose time is over."""


class Fetch:
    """Fetches pieces of one file into its part file; its methods may be called from several threads."""

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
        # The system lets one thread at a time write to a file; the others would spin, on cores that the hash needs.
        self._writing = threading.Lock()
        # Where the service sent us: asking it for every piece would annoy it.
        self._direct: str | None = request.file.storage_url or None

    def begin(self, *, ranged: bool) -> tuple[Piece, Download]:
        """Sends the first request, learns what the server has and plans the pieces.

        Returns the piece that the open answer brings.
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
        """Brings the rest of the piece, over as many connections as it takes.

        Raises TransferFailed when trying again does not help, RangesRefused or FileChanged when all must start anew.
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
            else:  # the whole, whatever was asked for: what an earlier run left is of no use
                facts = whole_facts(answer)
                pieces = Pieces.in_one(facts.size)
            check_size(self._request, facts.size, self._config.max_bytes)
            self._part.begin(facts, pieces)
            piece = pieces.take()
            if piece is None:
                raise TransferFailed(
                    f"{self._request.file.name!r} is empty at its source",
                    code="wrongLength",
                    remedy="Run it again later.",
                )
        except BaseException:
            answer.__exit__()
            raise
        return piece, answer

    def _open_piece(self, piece: Piece) -> Download:
        if not self._part.pieces.resumable:
            raise RangesRefused  # a whole that broke off must be fetched from its beginning
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
        """An answer with bytes: 200, or 206 where a range was asked for."""
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
                # The service sent us to a signed address that its storage does not take: ask for a fresh one, once.
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
        # Two storage services of one site give one file different ETags; an expected hash is the better judge.
        if self._request.file.sha256 is None and facts.etag != known.etag:
            raise FileChanged

    def _receive(self, piece: Piece, answer: Download) -> None:
        """Writes what comes; returns at the end of the piece or of the answer."""
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
                f"the server ended {self._request.file.name!r} after {piece.position:,} of {piece.end:,} bytes",
                code="connectionLost",
                remedy="Run it again; what was downloaded is kept.",
            )

    def _trying(self, action: Callable[[], _T], gained: Callable[[], int]) -> _T:
        """The action again and again, until it works or has failed too often in a row without gaining bytes."""
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
                    raise  # all would start anew, and the reason is worth more than that it broke off
                self._transport.pause(failures - 1, wanted)


class _Pace:
    """Notices a server that drips: never silent long enough to time out, never done either."""

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
                f"the server sends only {self._count / (now - self._since):,.0f} bytes a second",
                code="tooSlow",
                remedy="Run it again later; what was downloaded is kept.",
            )
        self._since, self._count = now, 0


def is_final(error: TransferFailed) -> bool:
    """Whether another try at once would only fail in the same way."""
    return error.code in _FINAL
