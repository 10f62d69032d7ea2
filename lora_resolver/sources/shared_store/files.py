"""The files of a shared store, through fsspec and its drivers, none of which is imported before a store is used.

Whatever a driver does, a call ends: in its own time, or given up after a bounded one, or when the work is stopped. A
call that is given up stays behind in its thread and can do no harm there: it writes to a file that nobody uses.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from ...config import KEY, protocol_of, shown_address
from ...errors import InvalidInput
from ...transfer.log_privacy import drivers_hushed, queries_hidden

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ...transfer.tasks import CancelToken

__all__ = ["Files", "StoreLost", "StoreRefused"]

ANSWER_WITHIN = 10.0
"""Seconds that a small request may take."""

SILENT_DOWN = 20.0
"""Seconds without a byte until a file that is read counts as lost."""

SILENT_UP = 120.0
"""The same for one that is written: drivers send up to 100 MB in one request, and tell nothing before it is done."""

MAX_DOCUMENT = 4 * 1024**2
"""Bytes of a small file that are read."""

TEMPORARY = "uploads"
"""The folder for what is being written, where a file does not appear whole by itself."""

# Stores that show a new object when all of it is there, and not before. Elsewhere: a temporary name, then a move.
_WHOLE_OR_NOT_AT_ALL = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"})

# What others have put there since would not be seen. Drivers of other stores may not know the option.
_LISTINGS_REMEMBERED = _WHOLE_OR_NOT_AT_ALL - {"memory"}

_EXTRAS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}

_POLL = 0.05

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class StoreLost(Exception):
    """The store cannot be asked now. Its text names no secret."""


class StoreRefused(Exception):
    """The store answers, and does not let us do that. Its text names no secret."""


class _GivenUp(Exception):
    """Ends a transfer that nobody waits for any more."""


class Files:
    """Names are relative to the store's address, with "/" between folders."""

    def __init__(self, address: str, cancel: CancelToken) -> None:
        self._address = address
        self._protocol = protocol_of(address)
        self._cancel = cancel
        self._lock = threading.Lock()
        self._opened: tuple[Any, str] | None = None

    def small(self, name: str) -> bytes | None:
        """The content of a small file; None where there is none. Raises StoreLost, StoreRefused or Cancelled."""
        return self.part(name, 0, MAX_DOCUMENT)

    def part(self, name: str, start: int, end: int) -> bytes | None:
        """Some bytes of a file; None where there is none."""
        filesystem, root = self._open()
        return self._absent_or(
            lambda: bytes(filesystem.cat_file(f"{root}/{name}", start=start, end=end)), "read"
        )

    def size(self, name: str) -> int | None:
        """Bytes of a file; None where there is none."""
        filesystem, root = self._open()
        return self._absent_or(lambda: int(filesystem.info(f"{root}/{name}")["size"]), "read")

    def names(self, folder: str) -> dict[str, tuple[int, float | None]]:
        """Every file below a folder: its size, and when it was written (seconds since 1970) where the store says so."""
        filesystem, root = self._open()

        def find() -> dict[str, tuple[int, float | None]]:
            found = filesystem.find(f"{root}/{folder}", detail=True)
            return {
                path[len(root) + 1 :]: (int(about["size"]), _written(about)) for path, about in found.items()
            }

        return self._absent_or(find, "read", within=SILENT_UP) or {}

    def fetch(self, name: str, target: Path, on_bytes: Callable[[int], None]) -> bool:
        """Brings a file to a place on this disk; False where the store has none. `on_bytes` gets each new count."""
        filesystem, root = self._open()
        watch = _Watch(on_bytes, self._cancel)

        def get() -> bool:
            filesystem.get_file(f"{root}/{name}", str(target), callback=watch.callback())
            return True

        return self._absent_or(get, "read", within=SILENT_DOWN, watch=watch) or False

    def put(self, name: str, source: Path | bytes, on_bytes: Callable[[int], None] | None = None) -> None:
        """Writes a file, seen whole or not at all, over whatever has the name."""
        filesystem, root = self._open()
        watch = _Watch(on_bytes or (lambda _count: None), self._cancel)
        whole = self._protocol in _WHOLE_OR_NOT_AT_ALL
        target = f"{root}/{name}"
        first = target if whole else f"{root}/{TEMPORARY}/{secrets.token_hex(8)}"

        def write() -> None:
            for place in (
                () if whole else (target, first)
            ):  # where there are no folders, it would make a bucket
                filesystem.makedirs(place.rpartition("/")[0], exist_ok=True)
            try:
                if isinstance(source, bytes):
                    filesystem.pipe_file(first, source)
                else:
                    filesystem.put_file(str(source), first, callback=watch.callback())
                if not whole:
                    self._move(filesystem, first, target)
            except BaseException:
                if not whole:
                    with contextlib.suppress(Exception):
                        filesystem.rm_file(first)
                raise

        within = ANSWER_WITHIN if isinstance(source, bytes) else SILENT_UP
        try:
            self._bounded(write, within=within, watch=watch)
        except FileNotFoundError:
            raise StoreRefused(f"{self._shown} is not there, so nothing can be kept in it") from None
        except PermissionError:
            raise StoreRefused(f"{self._shown} may not be written to") from None

    def remove(self, name: str) -> None:
        """Removes a file, if there is one."""
        filesystem, root = self._open()
        try:
            self._absent_or(lambda: filesystem.rm_file(f"{root}/{name}"), "removed")
        except PermissionError:
            raise StoreRefused(f"{self._shown} may not be written to") from None

    @property
    def _shown(self) -> str:
        return f"the shared store ({shown_address(self._address)})"

    def _move(self, filesystem: Any, first: str, target: str) -> None:
        if self._protocol in ("file", "local"):
            from pathlib import Path

            Path(first).replace(target)  # over what is there, on Windows too
            return
        with contextlib.suppress(FileNotFoundError):
            filesystem.rm_file(target)
        filesystem.mv(first, target)

    def _absent_or(
        self, call: Callable[[], _T], what: str, *, within: float = ANSWER_WITHIN, watch: _Watch | None = None
    ) -> _T | None:
        try:
            return self._bounded(call, within=within, watch=watch)
        except FileNotFoundError:
            return None
        except PermissionError:
            raise StoreRefused(f"{self._shown} does not let its files be {what}") from None

    def _bounded(self, call: Callable[[], _T], *, within: float, watch: _Watch | None = None) -> _T:
        """The result of `call`. Raises FileNotFoundError, PermissionError, StoreLost or Cancelled, and nothing else.

        `within` seconds, counted from the last byte that `watch` has seen.
        """
        done = threading.Event()
        results: list[_T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                with queries_hidden():
                    results.append(call())
            except BaseException as error:  # handed over, whatever a driver raises
                errors.append(error)
            done.set()

        threading.Thread(target=run, name="air-lora-store", daemon=True).start()
        began = time.monotonic()
        try:
            while not done.wait(_POLL):
                self._cancel.check()
                latest = max(began, watch.latest) if watch is not None else began
                if time.monotonic() - latest > within:
                    raise StoreLost(f"{self._shown} does not answer")
        except BaseException:
            if watch is not None:
                watch.give_up()
            raise
        if not errors:
            return results[0]
        (error,) = errors
        if isinstance(error, FileNotFoundError | PermissionError):
            raise error
        # The driver's own words stay out: they may quote an address that is signed. The class says enough.
        _log.debug("%s failed: %s", self._shown, type(error).__name__)
        raise StoreLost(f"{self._shown} cannot be reached ({type(error).__name__})") from None

    def _open(self) -> tuple[Any, str]:
        """The file system and the store's place in it. Raises InvalidInput where its driver is not installed."""
        with self._lock:
            if self._opened is None:
                self._opened = self._connect()
            return self._opened

    def _connect(self) -> tuple[Any, str]:
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise self._no_driver(["fsspec", *self._driver()]) from None
        drivers_hushed()
        options: dict[str, Any] = {}
        if self._protocol in _LISTINGS_REMEMBERED:
            options["use_listings_cache"] = False
        if self._protocol in ("s3", "s3a"):
            patience = {"connect_timeout": 5, "read_timeout": 15, "retries": {"max_attempts": 1}}
            options |= {"config_kwargs": patience}
        try:
            filesystem, root = self._bounded(lambda: _connected(url_to_fs, self._address, options), within=60)
        except (FileNotFoundError, PermissionError) as error:
            raise StoreLost(f"{self._shown} cannot be reached ({type(error).__name__})") from None
        if filesystem is None:
            raise self._no_driver(self._driver(), unknown=root)
        return filesystem, root.rstrip("/")

    def _driver(self) -> list[str]:
        return [_EXTRAS[self._protocol]] if self._protocol in _EXTRAS else []

    def _no_driver(self, packages: list[str], *, unknown: str = "") -> InvalidInput:
        remedy = (
            f"Run `python -m pip install {' '.join(packages)}` in ComfyUI's Python."
            if packages
            else f"Install the package that gives fsspec {self._protocol}:// addresses. {unknown}".rstrip()
        )
        return InvalidInput(
            f"{KEY} is a {self._protocol}:// address, and the package that reads those is not installed",
            code="storeDriverMissing",
            remedy=remedy,
        )


def _connected(url_to_fs: Any, address: str, options: dict[str, Any]) -> tuple[Any, str]:
    """(None, what fsspec says) where it has no driver."""
    try:
        filesystem, root = url_to_fs(address, **options)
    except ImportError as error:
        return None, f"It says: {error}."
    except ValueError as error:
        if "Protocol not known" in str(error):
            return None, ""
        raise
    return filesystem, str(root)


def _written(about: dict[str, Any]) -> float | None:
    value = about.get("LastModified") or about.get("mtime") or about.get("updated") or about.get("created")
    if isinstance(value, int | float):
        return float(value)
    timestamp = getattr(value, "timestamp", None)
    return float(timestamp()) if callable(timestamp) else None


class _Watch:
    """Sees a transfer's bytes go by, and can end it."""

    def __init__(self, on_bytes: Callable[[int], None], cancel: CancelToken) -> None:
        self.latest = 0.0
        self._on_bytes = on_bytes
        self._cancel = cancel
        self._given_up = False

    def give_up(self) -> None:
        """The next byte ends the transfer."""
        self._given_up = True

    def seen(self, count: int) -> None:
        """So many more bytes went by."""
        if self._given_up or self._cancel.requested:
            raise _GivenUp
        self.latest = time.monotonic()
        self._on_bytes(count)

    def callback(self) -> Any:
        """As fsspec takes it."""
        from fsspec.callbacks import Callback

        watch = self

        class Watching(Callback):  # type: ignore[misc]  # fsspec is not always there, so mypy sees no class
            def relative_update(self, inc: int = 1) -> None:
                watch.seen(inc)

            def absolute_update(self, value: int) -> None:
                watch.seen(value - self.total_seen)
                self.total_seen = value

            total_seen = 0

        return Watching()
