"""The SQLite file that stores what is known about the files in the library.

It is a cache: every row can be computed again, so the user never has to fix it. A file that is damaged, or was written
by another version, is replaced. If no file can be written, or another process locks it for too long, this run keeps
the index only in memory.

Paths are stored as bytes: a name on Linux need not be Unicode.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ...records import LoraRecord
from ...transfer.tasks import Cancelled
from .sidecars import Claim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from .scan import FoundFile

__all__ = ["Index", "Row"]

FORMAT = 1
"""Increases when the tables change."""

PATIENCE = 10.0
"""Seconds to wait for another process's lock on the index. Its own writes are short."""

_TABLES = """
CREATE TABLE files (
    path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sidecar_stamp TEXT NOT NULL,
    sha256 TEXT, facts TEXT
) WITHOUT ROWID;
CREATE INDEX files_by_size ON files (size);
CREATE INDEX files_by_sha256 ON files (sha256) WHERE sha256 IS NOT NULL;
CREATE TABLE claims (path BLOB NOT NULL, identifier TEXT NOT NULL, sha256 TEXT, record TEXT);
CREATE INDEX claims_by_path ON claims (path);
CREATE INDEX claims_by_identifier ON claims (identifier);
CREATE INDEX claims_by_sha256 ON claims (sha256) WHERE sha256 IS NOT NULL;
CREATE TABLE names (identifier TEXT PRIMARY KEY, sha256 TEXT NOT NULL, source TEXT NOT NULL, record TEXT) WITHOUT ROWID;
CREATE INDEX names_by_sha256 ON names (sha256);
"""

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Row:
    """One file as it was when it was last examined."""

    path: str
    size: int
    mtime_ns: int
    sidecar_stamp: str
    sha256: str | None
    facts: dict[str, Any] | None
    """What its header contains, for listings; None if it hasn't been read yet."""


class Index:
    """The tables. The methods may be called from several threads. Each one is one short transaction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._opened: sqlite3.Connection | None = None
        self._closed = False

    def close(self) -> None:
        """Closes the index. A worker that uses it afterward gets Cancelled."""
        with self._lock:
            self._closed = True
            self._disconnect()

    def stamps(self) -> dict[str, tuple[int, int, str]]:
        """Path → (size, time, stamp of the sidecars) for every file."""

        def read(db: sqlite3.Connection) -> dict[str, tuple[int, int, str]]:
            rows = db.execute("SELECT path, size, mtime_ns, sidecar_stamp FROM files")
            return {os.fsdecode(path): (size, mtime, stamp) for path, size, mtime, stamp in rows}

        return self._do(read)

    def stamp(self) -> str | None:
        """A text that differs after each change by any process; None if the index is only in memory."""
        with self._lock:
            if self._do(lambda db: db.execute("PRAGMA database_list").fetchone()[2] == ""):
                return None
            try:
                with self._path.open("rb") as file:
                    counter = file.read(_CHANGE_COUNTER.stop)[_CHANGE_COUNTER]
                    return f"{os.fstat(file.fileno()).st_ino} {counter.hex()}"
            except OSError:
                return None

    def put(self, changed: Sequence[tuple[FoundFile, Sequence[Claim]]]) -> None:
        """Adds files that are new or have changed, with what their sidecars claim.

        The hash and the facts of a file are kept only if its size and time are the same.
        """

        def write(db: sqlite3.Connection) -> None:
            for found, claims in changed:
                key = os.fsencode(found.path)
                db.execute(
                    "INSERT INTO files (path, size, mtime_ns, sidecar_stamp) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (path) DO UPDATE SET sidecar_stamp = excluded.sidecar_stamp, "
                    "sha256 = CASE WHEN (size, mtime_ns) = (excluded.size, excluded.mtime_ns) THEN sha256 END, "
                    "facts = CASE WHEN (size, mtime_ns) = (excluded.size, excluded.mtime_ns) THEN facts END, "
                    "size = excluded.size, mtime_ns = excluded.mtime_ns",
                    (key, found.size, found.mtime_ns, found.sidecar_stamp),
                )
                db.execute("DELETE FROM claims WHERE path = ?", (key,))
                db.executemany(
                    "INSERT INTO claims (path, identifier, sha256, record) VALUES (?, ?, ?, ?)",
                    [(key, claim.identifier, claim.sha256, _text(claim.record)) for claim in claims],
                )

        self._do(write)

    def forget(self, paths: Iterable[str]) -> None:
        """Removes files that are gone."""
        keys = [(os.fsencode(path),) for path in paths]

        def write(db: sqlite3.Connection) -> None:
            db.executemany("DELETE FROM files WHERE path = ?", keys)
            db.executemany("DELETE FROM claims WHERE path = ?", keys)

        self._do(write)

    def hashed(self, path: str, size: int, mtime_ns: int, sha256: str) -> None:
        """Stores the SHA-256 of a file with this size and time."""
        self._do(
            lambda db: db.execute(
                "INSERT INTO files (path, size, mtime_ns, sidecar_stamp, sha256) VALUES (?, ?, ?, '?', ?) "
                "ON CONFLICT (path) DO UPDATE SET sha256 = excluded.sha256, "
                "facts = CASE WHEN (size, mtime_ns) = (excluded.size, excluded.mtime_ns) THEN facts END, "
                "size = excluded.size, mtime_ns = excluded.mtime_ns",
                (os.fsencode(path), size, mtime_ns, sha256),
            )
        )

    def described(self, facts: Sequence[tuple[str, int, int, dict[str, Any]]]) -> None:
        """Stores what headers contain: (path, size, time, facts) for each."""
        self._do(
            lambda db: db.executemany(
                "UPDATE files SET facts = ? WHERE path = ? AND size = ? AND mtime_ns = ?",
                [(json.dumps(each), os.fsencode(path), size, mtime) for path, size, mtime, each in facts],
            )
        )

    def named(self, identifiers: Sequence[str], sha256: str, source: str, record: LoraRecord | None) -> None:
        """Stores a source's result: these names stand for the file with this SHA-256."""
        self._do(
            lambda db: db.executemany(
                "INSERT OR REPLACE INTO names (identifier, sha256, source, record) VALUES (?, ?, ?, ?)",
                [(identifier, sha256, source, _text(record)) for identifier in identifiers],
            )
        )

    def name(self, identifier: str) -> tuple[str, str, LoraRecord | None] | None:
        """(SHA-256, source, record) that a source gave for this name."""
        where = "identifier LIKE '%@' || ?" if identifier.startswith("civitai:@") else "identifier = ?"
        wanted = identifier.removeprefix("civitai:@")

        def read(db: sqlite3.Connection) -> tuple[str, str, LoraRecord | None] | None:
            row = db.execute(
                f"SELECT sha256, source, record FROM names WHERE {where}",  # noqa: S608 - one of two constants
                (wanted,),
            ).fetchone()
            return None if row is None else (row[0], row[1], _record(row[2]))

        return self._do(read)

    def names_of(self, sha256: str) -> list[tuple[str, LoraRecord | None]]:
        """Every name that a source gave for a file, with its record."""

        def read(db: sqlite3.Connection) -> list[tuple[str, LoraRecord | None]]:
            rows = db.execute(
                "SELECT identifier, record FROM names WHERE sha256 = ? ORDER BY identifier", (sha256,)
            )
            return [(identifier, _record(record)) for identifier, record in rows]

        return self._do(read)

    def claims_for(self, identifier: str) -> list[tuple[str, Claim]]:
        """(path, claim) of every sidecar that gives its file this name."""
        where = "identifier LIKE '%@' || ?" if identifier.startswith("civitai:@") else "identifier = ?"
        wanted = identifier.removeprefix("civitai:@")
        return self._claims(where, wanted)

    def claims_with(self, sha256: str) -> list[tuple[str, Claim]]:
        """(path, claim) of every sidecar that gives its file this SHA-256."""
        return self._claims("sha256 = ?", sha256)

    def claims_of(self, path: str) -> list[Claim]:
        """What the sidecars of one file claim."""
        return [claim for _, claim in self._claims("path = ?", os.fsencode(path))]

    def all_claims(self) -> dict[str, list[Claim]]:
        """Path → what the sidecars of that file claim."""
        claims: dict[str, list[Claim]] = {}
        for path, claim in self._claims("? IS NOT NULL", ""):
            claims.setdefault(path, []).append(claim)
        return claims

    def all_names(self) -> dict[str, list[tuple[str, LoraRecord | None]]]:
        """SHA-256 → every name that a source gave for that file, with its record."""

        def read(db: sqlite3.Connection) -> dict[str, list[tuple[str, LoraRecord | None]]]:
            names: dict[str, list[tuple[str, LoraRecord | None]]] = {}
            for digest, identifier, record in db.execute(
                "SELECT sha256, identifier, record FROM names ORDER BY identifier"
            ):
                names.setdefault(digest, []).append((identifier, _record(record)))
            return names

        return self._do(read)

    def row(self, path: str) -> Row | None:
        """What is known about one file."""
        return next(iter(self._rows("path = ?", (os.fsencode(path),))), None)

    def with_sha256(self, sha256: str) -> list[Row]:
        """The files that had this SHA-256 when they were last hashed."""
        return self._rows("sha256 = ?", (sha256,))

    def not_hashed(self, sizes: tuple[int, int] | None) -> list[Row]:
        """The files that haven't been hashed yet. `sizes` (from, to) limits them to a range of sizes."""
        if sizes is None:
            return self._rows("sha256 IS NULL", ())
        return self._rows("sha256 IS NULL AND size BETWEEN ? AND ?", sizes)

    def all(self) -> list[Row]:
        """Every file."""
        return self._rows("1", ())

    def _rows(self, where: str, values: Sequence[Any]) -> list[Row]:
        def read(db: sqlite3.Connection) -> list[Row]:
            rows = db.execute(
                "SELECT path, size, mtime_ns, sidecar_stamp, sha256, facts FROM files "  # noqa: S608 - our own words
                f"WHERE {where} ORDER BY path",
                tuple(values),
            )
            return [
                Row(
                    os.fsdecode(path),
                    size,
                    mtime,
                    stamp,
                    sha256,
                    None if facts is None else json.loads(facts),
                )
                for path, size, mtime, stamp, sha256, facts in rows
            ]

        return self._do(read)

    def _claims(self, where: str, value: str | bytes) -> list[tuple[str, Claim]]:
        def read(db: sqlite3.Connection) -> list[tuple[str, Claim]]:
            rows = db.execute(
                "SELECT path, identifier, sha256, record FROM claims "  # noqa: S608 - our own words
                f"WHERE {where} ORDER BY path, rowid",
                (value,),
            )
            return [
                (os.fsdecode(path), Claim(identifier, sha256, _record(record)))
                for path, identifier, sha256, record in rows
            ]

        return self._do(read)

    def _do(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Runs one transaction: with a new file if the old one is damaged, in memory if no file can be written."""
        with self._lock:
            if self._closed:
                raise Cancelled
            for renew in (self._begin_anew, self._remember_in_memory):
                try:
                    return self._transaction(work)
                except sqlite3.ProgrammingError:  # noqa: PERF203 - at most three rounds
                    raise
                except _BROKEN as error:
                    renew(error)
            return self._transaction(work)

    def _transaction(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        db = self._opened
        if db is None:
            db = self._opened = _open(os.fspath(self._path))
        db.execute("BEGIN IMMEDIATE")
        try:
            result = work(db)
            db.execute("COMMIT")
            return result
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise

    def _begin_anew(self, error: Exception) -> None:
        """Removes a damaged file. A file that is only inaccessible is kept."""
        if isinstance(error, sqlite3.OperationalError) and any(word in str(error) for word in _OUT_OF_REACH):
            self._remember_in_memory(error)
            return
        self._disconnect()
        _log.warning(
            "The index %s is damaged (%s). It is rebuilt, and no files are lost", self._path.name, error
        )
        try:
            for suffix in ("-journal", ""):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        except OSError:
            self._remember_in_memory(error)

    def _remember_in_memory(self, error: Exception) -> None:
        _log.info("Keeping the index in memory for this run: %s", error)
        self._disconnect()
        self._opened = _open(":memory:")

    def _disconnect(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None


_CHANGE_COUNTER = slice(24, 28)
"""The counter of transactions that wrote (https://www.sqlite.org/fileformat.html#file_change_counter)."""

_BROKEN = (sqlite3.Error, ValueError, TypeError, AttributeError)
"""Raised for a database with unexpected content: SQLite's own errors, and those of reading our JSON in it."""

_OUT_OF_REACH = ("locked", "busy", "unable to open", "readonly", "full", "I/O")
"""Parts of SQLite's messages: another process locks the file, the folder isn't writable, or the disk fails."""


def _open(path: str) -> sqlite3.Connection:
    """A connection to a database with our tables. Raises sqlite3.Error."""
    if path != ":memory:":
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(path), exist_ok=True)
    db = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        # Not WAL, which doesn't work on network folders. Without fsync: data lost in a power cut is computed again.
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN IMMEDIATE")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, FORMAT):
            for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                db.execute(f'DROP TABLE "{name}"')
        if version != FORMAT:
            for statement in filter(str.strip, _TABLES.split(";")):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {FORMAT}")
        db.execute("COMMIT")
    except BaseException:
        db.close()
        raise
    return db


def _text(record: LoraRecord | None) -> str | None:
    return None if record is None else json.dumps(record.as_dict(), ensure_ascii=True)


def _record(text: str | None) -> LoraRecord | None:
    return None if text is None else LoraRecord.from_dict(json.loads(text))
