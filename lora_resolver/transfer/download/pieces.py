"""A file in pieces. One request at a time fetches a piece, and the first missing piece is always next.

Pieces are assigned in order, so that the beginning of the file is complete early and SHA-256 can follow.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Piece", "Pieces"]

LARGEST = 32 * 1024**2
"""Bytes. With larger pieces, SHA-256 would fall far behind, and the end would wait for one slow connection."""

ROUNDS = 4
"""Pieces per connection, if the file is large enough. Compensates for connections of different speeds."""


@dataclass
class Piece:
    """The bytes `start` ≤ x < `end`, of which the first `done` are present. `end` is None if it is unknown."""

    start: int
    end: int | None
    done: int = 0

    @property
    def complete(self) -> bool:
        return self.end is not None and self.start + self.done >= self.end

    @property
    def position(self) -> int:
        """The offset of the next byte."""
        return self.start + self.done


class Pieces:
    """All pieces of one file. Safe to use from several threads."""

    def __init__(self, pieces: Sequence[Piece], *, resumable: bool = True) -> None:
        self._pieces = list(pieces)
        self._changed = threading.Condition()
        self._taken: set[int] = set()
        self.resumable = resumable

    @classmethod
    def plan(cls, size: int, connections: int, smallest: int) -> Pieces:
        """Splits a file of `size` bytes for this many connections. Only the last piece may be below `smallest`."""
        length = max(smallest, min(LARGEST, -(-size // (connections * ROUNDS))))
        return cls([Piece(start, min(start + length, size)) for start in range(0, size, length)])

    @classmethod
    def in_one(cls, size: int | None) -> Pieces:
        """One piece, for a server that doesn't support ranges."""
        return cls([Piece(0, size)], resumable=False)

    @classmethod
    def from_record(cls, record: Sequence[Sequence[int]]) -> Pieces:
        """From `as_record`. Raises ValueError for pieces that aren't contiguous."""
        pieces = [Piece(int(start), int(end), int(done)) for start, end, done in record]
        expected = 0
        for piece in pieces:
            if piece.start != expected or piece.end is None or not 0 <= piece.done <= piece.end - piece.start:
                raise ValueError("pieces must lie side by side")
            expected = piece.end
        return cls(pieces)

    def as_record(self) -> list[list[Any]]:
        with self._changed:
            return [[piece.start, piece.end, piece.done] for piece in self._pieces]

    @property
    def size(self) -> int | None:
        return self._pieces[-1].end if self._pieces else 0

    @property
    def done(self) -> int:
        """The number of bytes present."""
        with self._changed:
            return sum(piece.done for piece in self._pieces)

    @property
    def waiting(self) -> int:
        """The number of incomplete pieces that no thread has taken."""
        with self._changed:
            return sum(self._free(number) for number in range(len(self._pieces)))

    def take(self) -> Piece | None:
        """The first incomplete piece that no thread has taken; None if there are no more."""
        with self._changed:
            for number, piece in enumerate(self._pieces):
                if self._free(number):
                    self._taken.add(number)
                    return piece
        return None

    def wrote(self, piece: Piece, count: int) -> None:
        """Records that `count` more bytes of the piece are in the file."""
        with self._changed:
            piece.done += count
            self._changed.notify_all()

    def ended(self, piece: Piece) -> None:
        """Records that a piece of unknown length ends here."""
        with self._changed:
            piece.end = piece.position
            self._changed.notify_all()

    def frontier(self, after: int, timeout: float) -> tuple[int, bool]:
        """The number of bytes present without a gap, and whether they are the whole file.

        Waits up to `timeout` seconds until there are more than `after`.
        """
        with self._changed:
            reached, whole = self._frontier()
            if reached <= after and not whole:
                self._changed.wait(timeout)
                reached, whole = self._frontier()
            return reached, whole

    def _free(self, number: int) -> bool:
        return number not in self._taken and not self._pieces[number].complete

    def _frontier(self) -> tuple[int, bool]:
        reached = 0
        for piece in self._pieces:
            reached = piece.position
            if not piece.complete:
                return reached, False
        return reached, True
