"""What is worth keeping from one run to the next, bounded by the bytes of the files that it comes from."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Generic, TypeVar

DEFAULT_LIMIT = 2 * 1024**3
"""Bytes; each kind of thing that is kept has this bound for itself. What two kinds share is in memory once."""

_K = TypeVar("_K")
_V = TypeVar("_V")
_limit = DEFAULT_LIMIT


def set_limit(most: int) -> None:
    """Sets the bound, in bytes; 0 keeps the last used thing alone."""
    global _limit
    _limit = most


def limit() -> int:
    """The bound, in bytes."""
    return _limit


class BoundedCache(Generic[_K, _V]):
    """The things used last, as many as the bound allows, and always the very last. May be used from several threads."""

    def __init__(self) -> None:
        self._items: OrderedDict[_K, tuple[_V, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: _K) -> _V | None:
        """The thing, which counts as used now; None where it is not kept."""
        with self._lock:
            found = self._items.get(key)
            if found is None:
                return None
            self._items.move_to_end(key)
            self._let_go()
            return found[0]

    def put(self, key: _K, value: _V, size: int) -> None:
        """Keeps a thing that holds on to so many bytes, and lets go of the oldest beyond the bound."""
        with self._lock:
            self._items[key] = (value, size)
            self._items.move_to_end(key)
            self._let_go()

    def _let_go(self) -> None:
        while len(self._items) > 1 and sum(size for _, size in self._items.values()) > _limit:
            self._items.popitem(last=False)
