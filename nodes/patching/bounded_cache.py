"""A cache for objects that are reused in later runs, limited by the size of the files that they come from."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Generic, TypeVar

DEFAULT_LIMIT = 2 * 1024**3
"""In bytes. The limit applies to each cache separately. Memory that two caches share is allocated only once."""

_K = TypeVar("_K")
_V = TypeVar("_V")
_limit = DEFAULT_LIMIT


def set_limit(most: int) -> None:
    """Sets the limit, in bytes; 0 keeps only the item used last."""
    global _limit
    _limit = most


def limit() -> int:
    """The limit, in bytes."""
    return _limit


class BoundedCache(Generic[_K, _V]):
    """Keeps the most recently used items, as many as the limit allows, but at least one. It is thread-safe."""

    def __init__(self) -> None:
        self._items: OrderedDict[_K, tuple[_V, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: _K) -> _V | None:
        """Returns the item and marks it as used, or returns None if it isn't in the cache."""
        with self._lock:
            found = self._items.get(key)
            if found is None:
                return None
            self._items.move_to_end(key)
            self._let_go()
            return found[0]

    def put(self, key: _K, value: _V, size: int) -> None:
        """Adds an item of this size in bytes, and drops the oldest items beyond the limit."""
        with self._lock:
            self._items[key] = (value, size)
            self._items.move_to_end(key)
            self._let_go()

    def _let_go(self) -> None:
        while len(self._items) > 1 and sum(size for _, size in self._items.values()) > _limit:
            self._items.popitem(last=False)
