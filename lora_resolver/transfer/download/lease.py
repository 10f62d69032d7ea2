"""A claim on a download that holds where locks do not: between machines that share a folder.

Many network folders keep `flock` to the machine that asks, or let it succeed for everybody. What they all do is to make
a file only if there is none (O_EXCL), so that is the claim:

    .locks/<download>.lease     machine, process, a word of its own, and a count that goes up every two seconds

Whoever finds the count standing still for `SILENT_FOR` seconds by its own clock takes the lease over: no two clocks are
held against each other. A lease of this very machine whose process has gone is taken over at once. A holder that was
only asleep (a suspended laptop) may wake up then: `PartFile.place` keeps that harmless.
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
"""Seconds between two signs of life."""

SILENT_FOR = 16.0
"""Seconds without one until the holder counts as gone: several beats, and what network folders remember of a file."""

FORGOTTEN = 3600.0
"""Seconds since the last change after which `leased` no longer asks who holds it; clocks of machines differ."""

_held: set[str] = set()
_held_lock = threading.Lock()


def lease_file(lock_file: Path) -> Path:
    """The lease that goes with a lock."""
    return lock_file.with_suffix(".lease")


class Lease:
    """One claim; `take` it, `release` it. Keeps itself alive in a thread of its own in between."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._word = secrets.token_hex(8)
        self._beat = 0
        self._seen: bytes | None = None
        self._seen_at = 0.0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> bool:
        """Whether it is ours now; False while somebody else has it. Never waits. Raises OSError."""
        try:
            handle = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            self._look()
            return False
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self._text())
        except OSError:  # the disk is full, say: nobody shall wait for us
            with contextlib.suppress(OSError):
                self._path.unlink()
            raise
        with _held_lock:
            _held.add(self._word)
        self._thread = threading.Thread(target=self._stay_alive, name="air-lora-lease", daemon=True)
        self._thread.start()
        return True

    def release(self) -> None:
        """Lets go of it, if it still is ours."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(OSError):
            if self._is_ours(read_bounded(self._path, _MOST_LEASE)):
                self._path.unlink()
        with _held_lock:
            _held.discard(self._word)

    def _look(self) -> None:
        """Watches the holder, and clears the way when it has gone."""
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
        """Removes a lease, but not one that somebody has taken since we looked."""
        aside = self._path.with_name(f"{self._path.name}.{self._word}")
        try:
            self._path.rename(aside)  # of several who try, one succeeds
        except OSError:
            return
        if read_bounded(aside, _MOST_LEASE) != content:
            with contextlib.suppress(OSError):
                os.link(aside, self._path)
        aside.unlink(missing_ok=True)

    def _stay_alive(self) -> None:
        while not self._ended.wait(BEAT_EVERY):
            self._beat += 1
            # In place, and not by a new file: what another machine remembers of the old one would look silent.
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
    """Whether a live program seems to hold the lease that goes with a lock, here or on another machine."""
    path = lease_file(lock_file)
    try:
        return (
            not _has_gone(read_bounded(path, _MOST_LEASE))
            and abs(time.time() - path.stat().st_mtime) < FORGOTTEN
        )
    except OSError:
        return False


def _has_gone(content: bytes) -> bool:
    """Whether the holder was a process of this machine that is no more."""
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
    if os.name != "posix":  # there is no harmless question, and locks between Windows' own processes are real
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it runs, for another user
        return True
    return True


@functools.cache
def _machine() -> str:
    """The same for two processes that see one another's numbers, and for no others."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        # Containers of one machine count their processes apart.
        return f"{boot}-{Path('/proc/self/ns/pid').stat().st_ino}"
    return f"{uuid.getnode():012x}"
