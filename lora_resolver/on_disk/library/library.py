"""What the user already has: found by name, by SHA-256, or by what other tools stored next to it.

known      ─▶ a source once returned the SHA-256 for this name, and a file with that SHA-256 is present
claimed    ─▶ a sidecar gives its file this name, and the file's own SHA-256 matches
content    ─▶ a source returns size and SHA-256: files of that size are hashed, each of them only once
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import LoraResolverError, StorageFailed
from ...model_file.architecture import detect_architecture
from ...model_file.safetensors_header import read_header
from ...model_file.suggested_weight import default_weight_of, suggested_weight
from ...model_file.trigger_words import trigger_words
from ...records import SIZE_TOLERANCE
from ...safe_files import FileState, file_state, storage_error
from ...transfer.download import file_sha256
from .index import Index, Row
from .scan import walk
from .sidecars import SIDECARS, claims_beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ...config import ResolverConfig
    from ...identifiers import Identifier
    from ...model_file.suggested_weight import SuggestedWeight
    from ...records import LoraRecord
    from ...transfer.tasks import CancelToken, ProgressTracker
    from .scan import FoundFile
    from .sidecars import Claim

__all__ = ["Library", "LibraryFile", "Owned"]

INDEX_FILE = "index.sqlite3"

_NEWEST_FACT = "default_weight"
"""The fact that is missing from an index made by an older version of this package."""

_AT_A_TIME = 500
"""Files in one transaction. An interrupted scan resumes, and no other process waits long for the index."""


@dataclass(frozen=True)
class Owned:
    """A file on this disk that was verified to be the requested one."""

    path: Path
    sha256: str
    source: str
    """Where its name comes from: "civitai", "huggingface", …, or "local" if only a hash identifies it."""
    record: LoraRecord | None


@dataclass(frozen=True)
class LibraryFile:
    """One file in the configured folders, as the index describes it."""

    path: Path
    name: str
    """Relative to its folder, with "/" between parts, as ComfyUI's own loaders list it."""
    size: int
    mtime_ns: int
    sha256: str | None
    """None if it hasn't been hashed yet and no sidecar contains it."""
    identifiers: tuple[str, ...]
    """Canonical names, as a source or a sidecar gives them."""
    title: str
    """Name and version as the source writes them; empty if unknown."""
    base_model: str
    """As the source writes it: a hint."""
    trigger_words: tuple[str, ...]
    kind: str
    """"lora", "lokr", …; empty if the file is invalid."""
    rank: int | None
    verdict: str
    """As `Architecture.verdict`; "unsound" for a file with an invalid header."""
    families: tuple[str, ...]
    record: LoraRecord | None = field(default=None, repr=False)
    """What a source or a sidecar says about it."""
    default_weight: str = ""
    """The weight that the file's own header suggests, as it is written there."""

    def suggested_weight(self) -> SuggestedWeight | None:
        """The weight that notes next to the file, its header, or its source suggest. Reads the notes now."""
        recorded = self.record.suggested_weight if self.record else None
        return suggested_weight(self.path, self.default_weight, recorded)


class Library:
    """The configured folders through their index, for one unit of work. Close it at the end."""

    def __init__(self, config: ResolverConfig, cancel: CancelToken) -> None:
        self._roots = tuple(Path(os.path.abspath(folder)) for folder in config.search_dirs)
        self._index = Index(config.state / INDEX_FILE)
        self._cancel = cancel
        self._scan_lock = threading.Lock()
        self._hash_lock = threading.Lock()
        self._scanned = False

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *_: object) -> None:
        self._index.close()

    def scan(self) -> None:
        """Updates the index, once for this unit of work. Doesn't open unchanged files."""
        with self._scan_lock:
            if self._scanned:
                return
            before = self._index.stamps()
            waiting: list[tuple[FoundFile, Sequence[Claim]]] = []
            for found in walk(self._roots, self._cancel.check):
                known = before.pop(found.path, None)
                if known == (found.size, found.mtime_ns, found.sidecar_stamp):
                    continue
                waiting.append((found, claims_beside(Path(found.path), found.sidecars)))
                if len(waiting) == _AT_A_TIME:
                    self._index.put(waiting)
                    waiting = []
            if waiting:
                self._index.put(waiting)
            # Keep the files of a missing folder (such as a network drive): it may be back later.
            present = [os.path.join(root, "") for root in self._roots if root.is_dir()]
            gone = [path for path in before if path.startswith(tuple(present))] if present else []
            if gone:
                self._index.forget(gone)
            self._scanned = True

    def known(self, identifier: Identifier) -> Owned | None:
        """The file for a name that a source gave before. No scan, no hashing, no network."""
        if identifier.source == "sha256":
            digest, source, record = identifier.id, "local", None
        else:
            said = self._index.name(str(identifier))
            if said is None:
                return None
            digest, source, record = said
        for row in self._index.with_sha256(digest):
            if self._is_ours(row.path) and _unchanged(row):
                return self._owned(Path(row.path), digest, source, record)
        return None

    def find(self, identifier: Identifier, tracker: ProgressTracker) -> Owned | None:
        """The file for a name, if it is known or a sidecar claims it. A claim is verified first.

        Raises Cancelled.
        """
        owned = self.known(identifier)
        if owned is not None:
            return owned
        self.scan()
        if identifier.source == "sha256":
            return self._claimed_hash(identifier.id, tracker)
        for path, claim in self._index.claims_for(str(identifier)):
            if claim.sha256 is not None and self._is_ours(path) and self._proved(path, claim.sha256, tracker):
                return Owned(Path(path), claim.sha256, identifier.source, claim.record)
        return None

    def find_content(self, sha256: str, size: int | None, tracker: ProgressTracker) -> Owned | None:
        """A file with this SHA-256. Hashes files that haven't been hashed yet if they have about this size.

        Raises Cancelled.
        """
        self.scan()
        owned = self._claimed_hash(sha256, tracker)
        if owned is not None or size is None:
            return owned
        return self._hash_through(sha256, (size - SIZE_TOLERANCE, size + SIZE_TOLERANCE), tracker)

    def find_anywhere(self, sha256: str, tracker: ProgressTracker) -> Owned | None:
        """A file with this SHA-256 and unknown size. Hashes every file not hashed yet. Raises Cancelled."""
        self.scan()
        return self._hash_through(sha256, None, tracker)

    def _hash_through(
        self, sha256: str, sizes: tuple[int, int] | None, tracker: ProgressTracker
    ) -> Owned | None:
        for row in self._index.not_hashed(sizes):
            if self._is_ours(row.path) and self._proved(row.path, sha256, tracker):
                return self._owned(Path(row.path), sha256, "local", None)
        return None

    def believed(self, identifier: Identifier, tracker: ProgressTracker) -> Owned | None:
        """A file that a sidecar without a hash gives this name. Used if no source is available. Raises Cancelled."""
        for path, claim in self._index.claims_for(str(identifier)):
            if claim.sha256 is None and self._is_ours(path) and Path(path).is_file():
                return Owned(Path(path), self.sha256(Path(path), tracker), identifier.source, claim.record)
        return None

    def last_sha256(self, identifier: Identifier) -> str | None:
        """The SHA-256 that this name last stood for, whether or not such a file is present."""
        if identifier.source == "sha256":
            return identifier.id
        said = self._index.name(str(identifier))
        if said is not None:
            return said[0]
        return next(
            (claim.sha256 for _, claim in self._index.claims_for(str(identifier)) if claim.sha256), None
        )

    def sha256(self, path: Path, tracker: ProgressTracker) -> str:
        """The SHA-256 of a file, from the index if the file is unchanged. Raises Cancelled or StorageFailed."""
        row = self._index.row(os.fspath(path))
        if row is not None and row.sha256 is not None and _unchanged(row):
            return row.sha256
        with self._hash_lock:  # a disk reads one file at a time faster than two
            try:
                before = path.stat()
                digest = file_sha256(path, tracker, self._cancel)
                after = path.stat()
            except OSError as error:
                raise _unreadable(path, error) from error
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            self._index.hashed(os.fspath(path), after.st_size, after.st_mtime_ns, digest)
        return digest

    def known_state(self, path: Path, sha256: str) -> FileState | None:
        """The file's state, if the file had this SHA-256 when it was hashed in this state."""
        row = self._index.row(os.fspath(path))
        try:
            state = file_state(path)
        except OSError:
            return None
        known = row is not None and (row.size, row.mtime_ns, row.sha256) == (*state[:2], sha256)
        return state if known else None

    def describe(self, path: Path, sha256: str) -> LoraRecord | None:
        """What a source or a sidecar says about a file with this SHA-256."""
        for _, record in self._index.names_of(sha256):
            if record is not None:
                return record
        for claim in self._index.claims_of(os.fspath(path)) or claims_beside(path, tuple(SIDECARS)):
            if claim.record is not None and claim.sha256 in (None, sha256):
                return claim.record
        return None

    def remember(
        self, path: Path, identifiers: Sequence[str], sha256: str, source: str, record: LoraRecord | None
    ) -> None:
        """Stores that a source gives these names to a verified file on this disk."""
        status = path.stat()
        self._index.hashed(os.fspath(path), status.st_size, status.st_mtime_ns, sha256)
        self._index.named(identifiers, sha256, source, record)

    def files(self, on_file: Callable[[str, int, int], None] | None = None) -> list[LibraryFile]:
        """Every file in the configured folders, in the folders' order and then by name.

        Reads only the headers of new and changed files. `on_file(name, done, total)` may raise to stop.
        """
        self.scan()
        rows = {row.path: row for row in self._index.all()}
        undescribed = [
            row
            for row in rows.values()
            if (row.facts is None or _NEWEST_FACT not in row.facts) and self._is_ours(row.path)
        ]
        fresh: list[tuple[str, int, int, dict[str, Any]]] = []
        facts: dict[str, dict[str, Any]] = {}
        try:
            for done, row in enumerate(undescribed):
                if on_file is not None:
                    on_file(os.path.basename(row.path), done, len(undescribed))
                facts[row.path] = _facts(Path(row.path))
                fresh.append((row.path, row.size, row.mtime_ns, facts[row.path]))
                if len(fresh) == _AT_A_TIME:
                    self._index.described(fresh)
                    fresh = []
        finally:
            if fresh:
                self._index.described(fresh)
        claims, names = self._index.all_claims(), self._index.all_names()
        return [
            _listed(rows[path], name, facts.get(path) or rows[path].facts or {}, claims.get(path, ()), names)
            for name, path in self._in_order(rows)
        ]

    def stamp(self) -> str | None:
        """A text that changes whenever the result of `files` may change; None if the index isn't stored on disk."""
        self.scan()
        return self._index.stamp()

    def file(self, path: Path) -> LibraryFile:
        """What is known about one file. Reads it again if it has changed, but hashes nothing. Raises OSError."""
        text = os.path.abspath(path)
        row = self._index.row(text)
        if row is None or not _unchanged(row):
            status = os.stat(text)
            row = Row(text, status.st_size, status.st_mtime_ns, "", None, None)
        facts = row.facts
        if facts is None or _NEWEST_FACT not in facts:
            facts = _facts(path)
            self._index.described([(text, row.size, row.mtime_ns, facts)])
        claims = self._index.claims_of(text) or claims_beside(path, tuple(SIDECARS))
        digest = row.sha256 or next((claim.sha256 for claim in claims if claim.sha256), None)
        names = {digest: self._index.names_of(digest)} if digest else {}
        return _listed(row, self._relative(text), facts, claims, names)

    def claimed(self, identifier: Identifier) -> Path | None:
        """A file that a sidecar gives this name, not verified: for display only."""
        self.scan()
        if identifier.source == "sha256":
            paths = [row.path for row in self._index.with_sha256(identifier.id)]
            paths += [path for path, _ in self._index.claims_with(identifier.id)]
        else:
            paths = [path for path, _ in self._index.claims_for(str(identifier))]
        return next((Path(path) for path in paths if self._is_ours(path) and os.path.isfile(path)), None)

    def _relative(self, path: str) -> str:
        for root in self._roots:
            prefix = os.path.join(root, "")
            if path.startswith(prefix):
                return path[len(prefix) :].replace(os.sep, "/")
        return os.path.basename(path)

    def _in_order(self, rows: dict[str, Row]) -> Iterator[tuple[str, str]]:
        """(relative name, path). A file that is in two folders is listed for the first one."""
        left = dict.fromkeys(sorted(rows))
        for root in self._roots:
            prefix = os.path.join(root, "")
            for path in [path for path in left if path.startswith(prefix)]:
                del left[path]
                yield path[len(prefix) :].replace(os.sep, "/"), path

    def _claimed_hash(self, sha256: str, tracker: ProgressTracker) -> Owned | None:
        paths = [row.path for row in self._index.with_sha256(sha256) if self._is_ours(row.path)]
        paths += [path for path, _ in self._index.claims_with(sha256) if self._is_ours(path)]
        for path in dict.fromkeys(paths):
            if self._proved(path, sha256, tracker):
                return self._owned(Path(path), sha256, "local", None)
        return None

    def _proved(self, path: str, sha256: str, tracker: ProgressTracker) -> bool:
        try:
            return self.sha256(Path(path), tracker) == sha256
        except StorageFailed:  # unreadable or gone: don't offer it
            return False

    def _owned(self, path: Path, sha256: str, source: str, record: LoraRecord | None) -> Owned:
        return Owned(path, sha256, source, record or self.describe(path, sha256))

    def _is_ours(self, path: str) -> bool:
        """Whether the file is in a folder that is configured now."""
        return path.startswith(tuple(os.path.join(root, "") for root in self._roots))


def _unchanged(row: Row) -> bool:
    try:
        status = os.stat(row.path)
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (row.size, row.mtime_ns)


def _listed(
    row: Row,
    name: str,
    facts: dict[str, Any],
    claims: Sequence[Claim],
    names: dict[str, list[tuple[str, LoraRecord | None]]],
) -> LibraryFile:
    # If the file has been hashed, a claim with another SHA-256 is out of date.
    claims = [claim for claim in claims if row.sha256 is None or claim.sha256 in (None, row.sha256)]
    digest = row.sha256 or next((claim.sha256 for claim in claims if claim.sha256), None)
    said = names.get(digest, []) if digest else []
    identifiers = [identifier for identifier, _ in said] + [claim.identifier for claim in claims]
    records = [record for _, record in said] + [claim.record for claim in claims]
    record = next((each for each in records if each is not None), None)
    return LibraryFile(
        path=Path(row.path),
        name=name,
        size=row.size,
        mtime_ns=row.mtime_ns,
        sha256=digest,
        identifiers=tuple(
            dict.fromkeys(each for each in identifiers if each and not each.startswith("sha256:"))
        ),
        title=" ".join(filter(None, (record.name, record.version_name))) if record else "",
        base_model=record.base_model if record else "",
        trigger_words=(record.trigger_words if record else ()) or tuple(facts.get("trigger_words", ())),
        kind=facts.get("kind", ""),
        rank=facts.get("rank"),
        verdict=facts.get("verdict", "unsound"),
        families=tuple(facts.get("families", ())),
        record=record,
        default_weight=facts.get("default_weight", ""),
    )


def _facts(path: Path) -> dict[str, Any]:
    try:
        header = read_header(path)
        architecture = detect_architecture(header)
    except LoraResolverError:
        return {"verdict": "unsound", "trigger_words": [], "default_weight": ""}
    return {
        "kind": architecture.kind,
        "rank": architecture.rank,
        "verdict": architecture.verdict,
        "families": list(architecture.families),
        "trigger_words": list(trigger_words((), header.metadata, path)),
        "default_weight": default_weight_of(header.metadata),
    }


def _unreadable(path: Path, error: OSError) -> StorageFailed:
    if isinstance(error, FileNotFoundError):
        return StorageFailed(f"{path} no longer exists", code="fileUnreadable", remedy="Try again.")
    if isinstance(error, PermissionError):
        return StorageFailed(
            f"No permission to read {path}", code="fileUnreadable", remedy="Grant this user read permission."
        )
    return storage_error(error, path)
