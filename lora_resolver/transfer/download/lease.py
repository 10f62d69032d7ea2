"""A claim on a download that works where locks don't: between machines that share a folder.

Many network folders limit `flock` to the requesting machine, or let it succeed for everybody. But all of them can
create a file only if it doesn't exist (O_EXCL), so the claim is such a file:

    .locks/<download>.lease     machine, process, a random word, and a counter that increases every two seconds

If the counter stands still for `SILENT_FOR` seconds, by the waiting process's own clock, that process takes over the
lease. Clocks of different machines are never compared. A lease of the same machine whose process has ended is taken
over at once. A holder that was only suspended (such as a laptop) may continue after that: `PartFile.place` makes this
harmless.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import threading
import time
import uuid
from pathlib import Path

from ...safe_files import read_bounded, whole_number

__all__ = ["Lease", "lease_file", "leased"]

_MOST_LEASE = 4096  # bytes; a lease is one line
BEAT_EVERY = 2.0
"""Seconds between two updates of the counter."""

SILENT_FOR = 16.0
"""Seconds without an update until the holder counts as gone. Covers several updates and a network folder's caching."""

FORGOTTEN = 3600.0
"""Seconds since the last change after which `leased` ignores a lease. Long, because clocks of machines differ."""

_held: set[str] = set()
_held_lock = threading.Lock()


def lease_file(lock_file: Path) -> Path:
    """The lease file that belongs to a lock file."""
    return lock_file.with_suffix(".lease")


class Lease:
    """One claim: `take` it, `release` it. In between, a separate thread keeps it alive."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._word = secrets.token_hex(8)
        self._beat = 0
        self._seen: bytes | None = None
        self._seen_at = 0.0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> bool:
        """Whether the lease is now ours; False while another process holds it. Never waits. Raises OSError."""
        try:
            handle = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            self._look()
            return False
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self._text())
        except OSError:  # for example, the disk is full: others must not wait for this lease
            with contextlib.suppress(OSError):
                self._path.unlink()
            raise
        with _held_lock:
            _held.add(self._word)
        self._thread = threading.Thread(target=self._stay_alive, name="air-lora-lease", daemon=True)
        self._thread.start()
        return True

    def release(self) -> None:
        """Releases the lease, if it is still ours."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(OSError):
            if self._is_ours(read_bounded(self._path, _MOST_LEASE)):
                self._path.unlink()
        with _held_lock:
            _held.discard(self._word)

    def _look(self) -> None:
        """Watches the holder, and removes the lease when the holder is gone."""
        try:
            content = read_bounded(self._path, _MOST_LEASE)
        except FileNotFoundError:
            return
        now = time.monotonic()
        if content != self._seen:
            self._seen, self._seen_at = content, now
        if _has_gone(content) or now - self._seen_at >= SILENT_FOR:
            self._clear(content)

    def _clear(self, content: bytes) -> None:
        """Removes a lease, but not one that was taken since it was read."""
        aside = self._path.with_name(f"{self._path.name}.{self._word}")
        try:
            self._path.rename(aside)  # if several processes try, only one succeeds
        except OSError:
            return
        if read_bounded(aside, _MOST_LEASE) != content:
            with contextlib.suppress(OSError):
                os.link(aside, self._path)
        aside.unlink(missing_ok=True)

    def _stay_alive(self) -> None:
        while not self._ended.wait(BEAT_EVERY):
            self._beat += 1
            # Update the file in place: if it were replaced, another machine's cached copy would look silent.
            with contextlib.suppress(OSError), self._path.open("r+b") as file:
                if not self._is_ours(file.read()):
                    return
                file.seek(0)
                file.write(self._text())

    def _is_ours(self, content: bytes) -> bool:
        return self._word.encode() in content

    def _text(self) -> bytes:
        return f"{_machine()} {os.getpid()} {self._word} {self._beat:012d}\n".encode()


def leased(lock_file: Path) -> bool:
    """Whether a live program appears to hold the lease that belongs to a lock, on this or another machine."""
    path = lease_file(lock_file)
    try:
        return (
            not _has_gone(read_bounded(path, _MOST_LEASE))
            and abs(time.time() - path.stat().st_mtime) < FORGOTTEN
        )
    except OSError:
        return False


def _has_gone(content: bytes) -> bool:
    """Whether the holder was a process of this machine that has ended."""
    try:
        machine, process, word, _ = content.decode("ascii").split()
    except ValueError:
        return False
    number = whole_number(process, 1 << 31)
    if number is None:
        return False
    if machine != _machine():
        return False
    if number == os.getpid():
        with _held_lock:
            return word not in _held
    return not _runs(number)


def _runs(process: int) -> bool:
    if os.name != "posix":  # there is no harmless check, and locks between processes on Windows are reliable
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # the process runs as another user
        return True
    return True


@functools.cache
def _machine() -> str:
    """An identifier that two processes share only if they can see each other's process IDs."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        # Containers on one machine have separate process IDs.
        return f"{boot}-{Path('/proc/self/ns/pid').stat().st_ino}"
    return f"{uuid.getnode():012x}"
