"""The files of a shared store, through fsspec and its drivers. None of them is imported before a store is used.

Whatever a driver does, each call ends: by itself, after a time limit, or when the work is stopped. A call that is given
up remains in its thread, but it is harmless there: it writes to a file that nothing uses.
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
"""Seconds without a byte until a file that is being read counts as lost."""

SILENT_UP = 120.0
"""The same for a file that is being written: drivers send up to 100 MB in one request without reporting progress."""

MAX_DOCUMENT = 4 * 1024**2
"""Maximum number of bytes read from a small file."""

TEMPORARY = "uploads"
"""The folder for files that are being written, on stores where an incomplete file is visible."""

# On these stores, a new object appears only when it is complete. On others, write to a temporary name and then move.
_WHOLE_OR_NOT_AT_ALL = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"})

# A listings cache would hide files that others have added. Drivers of other stores may not have this option.
_LISTINGS_REMEMBERED = _WHOLE_OR_NOT_AT_ALL - {"memory"}

_EXTRAS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}

_POLL = 0.05

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class StoreLost(Exception):
    """The store can't be reached now. The message contains no secret."""


class StoreRefused(Exception):
    """The store is reachable but doesn't allow the request. The message contains no secret."""


class _GivenUp(Exception):
    """Ends a transfer that no thread waits for anymore."""


class Files:
    """Names are relative to the store's address, with "/" between folders."""

    def __init__(self, address: str, cancel: CancelToken) -> None:
        self._address = address
        self._protocol = protocol_of(address)
        self._cancel = cancel
        self._lock = threading.Lock()
        self._opened: tuple[Any, str] | None = None

    def small(self, name: str) -> bytes | None:
        """The content of a small file; None if it doesn't exist. Raises StoreLost, StoreRefused or Cancelled."""
        return self.part(name, 0, MAX_DOCUMENT)

    def part(self, name: str, start: int, end: int) -> bytes | None:
        """A range of bytes of a file; None if it doesn't exist."""
        filesystem, root = self._open()
        return self._absent_or(
            lambda: bytes(filesystem.cat_file(f"{root}/{name}", start=start, end=end)), "read"
        )

    def size(self, name: str) -> int | None:
        """The size of a file in bytes; None if it doesn't exist."""
        filesystem, root = self._open()
        return self._absent_or(lambda: int(filesystem.info(f"{root}/{name}")["size"]), "read")

    def names(self, folder: str) -> dict[str, tuple[int, float | None]]:
        """Every file below a folder: its size, and its time (seconds since 1970) if the store provides one."""
        filesystem, root = self._open()

        def find() -> dict[str, tuple[int, float | None]]:
            found = filesystem.find(f"{root}/{folder}", detail=True)
            return {
                path[len(root) + 1 :]: (int(about["size"]), _written(about)) for path, about in found.items()
            }

        return self._absent_or(find, "read", within=SILENT_UP) or {}

    def fetch(self, name: str, target: Path, on_bytes: Callable[[int], None]) -> bool:
        """Copies a file to this disk; False if the store doesn't have it. `on_bytes` gets each new count."""
        filesystem, root = self._open()
        watch = _Watch(on_bytes, self._cancel)

        def get() -> bool:
            filesystem.get_file(f"{root}/{name}", str(target), callback=watch.callback())
            return True

        return self._absent_or(get, "read", within=SILENT_DOWN, watch=watch) or False

    def put(self, name: str, source: Path | bytes, on_bytes: Callable[[int], None] | None = None) -> None:
        """Writes a file, replacing any file with this name. Other machines see either all of it or nothing."""
        filesystem, root = self._open()
        watch = _Watch(on_bytes or (lambda _count: None), self._cancel)
        whole = self._protocol in _WHOLE_OR_NOT_AT_ALL
        target = f"{root}/{name}"
        first = target if whole else f"{root}/{TEMPORARY}/{secrets.token_hex(8)}"

        def write() -> None:
            for place in (
                () if whole else (target, first)
            ):  # object stores have no folders: this would create a bucket
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
            raise StoreRefused(f"{self._shown} doesn't exist, so files can't be saved to it") from None
        except PermissionError:
            raise StoreRefused(f"{self._shown} denied permission to write files") from None

    def remove(self, name: str) -> None:
        """Removes a file, if there is one."""
        filesystem, root = self._open()
        try:
            self._absent_or(lambda: filesystem.rm_file(f"{root}/{name}"), "remove")
        except PermissionError:
            raise StoreRefused(f"{self._shown} denied permission to write files") from None

    @property
    def _shown(self) -> str:
        return f"The shared store ({shown_address(self._address)})"

    def _move(self, filesystem: Any, first: str, target: str) -> None:
        if self._protocol in ("file", "local"):
            from pathlib import Path

            Path(first).replace(target)  # replaces an existing file, on Windows too
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
            raise StoreRefused(f"{self._shown} denied permission to {what} files") from None

    def _bounded(self, call: Callable[[], _T], *, within: float, watch: _Watch | None = None) -> _T:
        """The result of `call`. Raises FileNotFoundError, PermissionError, StoreLost or Cancelled, and nothing else.

        The limit is `within` seconds, counted from the last byte that `watch` has seen.
        """
        done = threading.Event()
        results: list[_T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                with queries_hidden():
                    results.append(call())
            except BaseException as error:  # passed on, whatever a driver raises
                errors.append(error)
            done.set()

        threading.Thread(target=run, name="air-lora-store", daemon=True).start()
        began = time.monotonic()
        try:
            while not done.wait(_POLL):
                self._cancel.check()
                latest = max(began, watch.latest) if watch is not None else began
                if time.monotonic() - latest > within:
                    raise StoreLost(f"{self._shown} doesn't respond")
        except BaseException:
            if watch is not None:
                watch.give_up()
            raise
        if not errors:
            return results[0]
        (error,) = errors
        if isinstance(error, FileNotFoundError | PermissionError):
            raise error
        # The driver's message is left out, because it may contain a signed address. The class is enough.
        _log.debug("%s failed: %s", self._shown, type(error).__name__)
        raise StoreLost(f"{self._shown} can't be reached ({type(error).__name__})") from None

    def _open(self) -> tuple[Any, str]:
        """The file system and the store's path in it. Raises InvalidInput if the driver isn't installed."""
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
            raise StoreLost(f"{self._shown} can't be reached ({type(error).__name__})") from None
        if filesystem is None:
            raise self._no_driver(self._driver(), unknown=root)
        return filesystem, root.rstrip("/")

    def _driver(self) -> list[str]:
        return [_EXTRAS[self._protocol]] if self._protocol in _EXTRAS else []

    def _no_driver(self, packages: list[str], *, unknown: str = "") -> InvalidInput:
        remedy = (
            f"Run `python -m pip install {' '.join(packages)}` in ComfyUI's Python."
            if packages
            else f"Install the fsspec driver for {self._protocol}:// addresses. {unknown}".rstrip()
        )
        return InvalidInput(
            f"{KEY} is a {self._protocol}:// address, but the package for such addresses isn't installed",
            code="storeDriverMissing",
            remedy=remedy,
        )


def _connected(url_to_fs: Any, address: str, options: dict[str, Any]) -> tuple[Any, str]:
    """(None, fsspec's message) if fsspec has no driver."""
    try:
        filesystem, root = url_to_fs(address, **options)
    except ImportError as error:
        return None, f"fsspec reports: {error}."
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
    """Counts the bytes of a transfer and can end it."""

    def __init__(self, on_bytes: Callable[[int], None], cancel: CancelToken) -> None:
        self.latest = 0.0
        self._on_bytes = on_bytes
        self._cancel = cancel
        self._given_up = False

    def give_up(self) -> None:
        """Ends the transfer at its next byte."""
        self._given_up = True

    def seen(self, count: int) -> None:
        """Records that `count` more bytes were transferred."""
        if self._given_up or self._cancel.requested:
            raise _GivenUp
        self.latest = time.monotonic()
        self._on_bytes(count)

    def callback(self) -> Any:
        """The watch as an fsspec callback."""
        from fsspec.callbacks import Callback

        watch = self

        class Watching(Callback):  # type: ignore[misc]  # fsspec may not be installed, so mypy sees no class
            def relative_update(self, inc: int = 1) -> None:
                watch.seen(inc)

            def absolute_update(self, value: int) -> None:
                watch.seen(value - self.total_seen)
                self.total_seen = value

            total_seen = 0

        return Watching()
