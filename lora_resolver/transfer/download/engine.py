"""The order of steps in one download.

free space ─▶ first request ─▶ pieces, several at once ─▶ SHA-256, header ─▶ fsync ─▶ rename
                    ▲                    │
                    └── starts over if the server doesn't support ranges, or the file has changed
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

from ...errors import LoraResolverError, TransferFailed, VerificationFailed
from ...model_file.safetensors_header import read_header
from ...safe_files import storage_error
from ..tasks import CancelToken
from .answers import FileChanged, RangesRefused
from .digest import FollowingDigest
from .fetch import Fetch, is_final
from .flush import FollowingFlush
from .partial import PartFile, sha256_of
from .verify import VerifiedFile, check_content, check_free_space

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ...config import ResolverConfig
    from ..tasks import ProgressTracker
    from ..transport import Transport
    from .request import DownloadRequest

__all__ = ["download"]

MAX_CHANGES = 2
"""How many times a file may change during its download before the download fails."""


def download(
    request: DownloadRequest,
    transport: Transport,
    config: ResolverConfig,
    tracker: ProgressTracker,
    cancel: CancelToken,
) -> VerifiedFile:
    """Downloads and verifies the file and puts it at `request.target`.

    The caller holds the lock on the target. If this function raises, there is no file at the target, and only what
    another run can resume from remains in the folder.

    Raises TransferFailed, AccessDenied, NotFound, VerificationFailed, StorageFailed or Cancelled.
    """
    part = PartFile(request)
    try:
        request.target.parent.mkdir(parents=True, exist_ok=True)
        verified = _until_it_works(request, part, transport, config, tracker, cancel)
        cancel.check()
        with part.open() as file:
            os.fsync(file.fileno())
        part.place(request.target, verified.sha256)
        _sync_folder(request.target.parent)
    except (OSError, LoraResolverError) as error:
        part.keep_or_clear()
        made = _made_by_another(request)
        if made is not None:
            part.clear()
            return made
        if isinstance(error, OSError):
            raise storage_error(error, request.target) from error
        raise
    except BaseException:
        part.keep_or_clear()
        raise
    return verified


def _made_by_another(request: DownloadRequest) -> VerifiedFile | None:
    """The expected file, if another machine that the lock doesn't reach has placed it in the meantime."""
    try:
        digest = sha256_of(request.target)
        is_it = digest == request.file.sha256
        return VerifiedFile(digest, read_header(request.target)) if is_it else None
    except (OSError, LoraResolverError):
        return None


def _until_it_works(
    request: DownloadRequest,
    part: PartFile,
    transport: Transport,
    config: ResolverConfig,
    tracker: ProgressTracker,
    cancel: CancelToken,
) -> VerifiedFile:
    ranged, changes, failures = True, 0, 0
    part.load()
    while True:
        resumed = part.resumed
        try:
            digest = _fetch_all(request, part, transport, config, tracker, cancel, ranged=ranged)
            return check_content(request, part.path, digest)
        except RangesRefused:
            failures += not ranged
            ranged = False
            if failures >= config.tries:
                raise TransferFailed(
                    f"The connection was lost {'once' if failures == 1 else f'{failures} times'}, and the server "
                    "doesn't support resuming",
                    code="connectionLost",
                    remedy="Try again later.",
                ) from None
        except FileChanged:
            changes += 1
            if changes > MAX_CHANGES:
                raise TransferFailed(
                    f"{request.file.name!r} changed on the server during the download",
                    code="fileChanged",
                    remedy="Try again later.",
                ) from None
        except VerificationFailed:
            # The bytes of an earlier run may be wrong: from another file, or lost in a power cut.
            if not resumed:
                part.clear()
                raise
        except TransferFailed as error:
            failures += 1
            if part.pieces.resumable or is_final(error) or failures >= config.tries:
                raise
            transport.pause(failures - 1)
        part.clear()


def _fetch_all(
    request: DownloadRequest,
    part: PartFile,
    transport: Transport,
    config: ResolverConfig,
    tracker: ProgressTracker,
    cancel: CancelToken,
    *,
    ranged: bool,
) -> str:
    """Downloads every missing byte into the part file and returns the SHA-256 of the whole file."""
    inner = CancelToken()  # ends only this download's threads and connections when one of them fails
    cancel.also(inner.now)
    with transport.fork(inner) as own, contextlib.ExitStack() as opened:
        fetch = Fetch(request, part, own, config, tracker, inner)
        whole = part.facts is not None and part.pieces.waiting == 0  # killed just before the end
        first = None if whole else fetch.begin(ranged=ranged)
        if first is not None:
            opened.enter_context(first[1])  # closed even if it is never read
        size, done = part.pieces.size, part.pieces.done
        if size is not None:
            check_free_space(part.path.parent, size - done)
        tracker.start("download", file_name=request.target.name, done=done, total=size)
        with FollowingDigest(part, inner) as digest, FollowingFlush(part):

            def work() -> None:
                if first is not None and threading.current_thread() is main:
                    fetch.fetch(*first)
                while (piece := part.pieces.take()) is not None:
                    fetch.fetch(piece)

            main = threading.current_thread()
            _in_threads(work, min(config.connections, part.pieces.waiting + 1), inner)
            tracker.start("verify", done=digest.hashed, total=part.pieces.size)
            part.save()
            return digest.result(tracker)


def _in_threads(work: Callable[[], None], count: int, cancel: CancelToken) -> None:
    """Runs `work` in this thread and in `count - 1` others. The first failure stops all of them and is raised."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # raised below, in the waiting thread
            errors.append(error)
            cancel.now()

    threads = [threading.Thread(target=guarded, name="air-lora-range", daemon=True) for _ in range(count - 1)]
    for thread in threads:
        thread.start()
    guarded()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _sync_folder(folder: Path) -> None:
    """Makes the new name survive a power cut, where folders can be synchronized (not on Windows)."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
