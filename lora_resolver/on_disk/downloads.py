"""Where downloaded files are stored, and how they are found again offline.

    <download_dir>/                                     ComfyUI's first `loras` folder: its own loaders list these files
    └── air/
        ├── civitai/
        │   └── 120096@135931/
        │       ├── pixel-art-xl.safetensors            the file; placed only after it is verified
        │       ├── pixel-art-xl.air.json               what it is: names, SHA-256, size and time when it was verified
        │       ├── pixel-art-xl.civitai.info           the service's own JSON, as other tools keep it
        │       ├── pixel-art-xl.preview.jpeg           its first picture
        │       └── pixel-art-xl.safetensors.air-part   a download in progress, with its `.air-part.json`
        ├── huggingface/
        │   └── org/repo@main/sub/name.safetensors …
        └── .locks/                                     a lock and a lease for each download in progress

`air.json` is trusted while the file has the size and time recorded in it. Otherwise, the file is hashed again.
Every folder in `search_dirs` may contain such a tree. Only `download_dir` is written to.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import StorageFailed
from ..identifiers.file_names import fitted, marked, safe_file_name, safe_folder, short_name
from ..records import LoraRecord
from ..safe_files import contained, read_json_file, storage_error, whole_number, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ..config import ResolverConfig
    from ..identifiers import Identifier

__all__ = ["DownloadedFile", "Downloads", "name_as"]

RECORD_SUFFIX = ".air.json"
LOCK_FOLDER = ".locks"
MAX_RECORD_BYTES = 4 * 1024**2
"""For the record next to a file. A source's own JSON is in a separate file."""
_FORMAT = 1
_LONGEST_LOCK = 100
"""Bytes of a lock file's name without its suffix."""


@dataclass(frozen=True)
class DownloadedFile:
    """A file in a store, as its `air.json` describes it."""

    path: Path
    identifiers: tuple[str, ...]
    """Canonical texts that identify this file."""
    sha256: str
    """The SHA-256 when the file was verified."""
    unchanged: bool
    """Whether size and time are the same as at that moment."""
    source: str
    record: LoraRecord | None

    def is_version(self, identifier: Identifier) -> bool:
        """Whether this is the file of a version that is identified without its model."""
        wanted = str(identifier).partition("@")[2]
        return any(text.partition("@")[2] == wanted for text in self.identifiers)


class Downloads:
    """The trees named `air/` in the configured folders."""

    def __init__(self, config: ResolverConfig) -> None:
        self._download_dir = config.download_dir
        self._roots = tuple(folder / "air" for folder in config.search_dirs)

    def folder(self, source: str, name: str) -> Path:
        """The folder for `name` ("120096@135931") of a source, whether or not it exists.

        Raises StorageFailed for a name that leads outside the store.
        """
        root = self._download_dir / "air"
        return contained(root, root / source / safe_folder(name))

    def target(self, source: str, folder: str, name: str, identifiers: Sequence[str]) -> Path:
        """The path for a file that a source calls `name` and that has these identifiers.

        Two files of one folder may have names that some file systems treat as equal. The second one gets a suffix.
        Raises StorageFailed for a folder that leads outside the store.
        """
        inside = self.folder(source, folder)
        path = inside / fitted(inside, safe_file_name(name))
        there = _read(_record_path(path))
        if there is None or not set(there.identifiers).isdisjoint(identifiers):
            return path
        return inside / fitted(inside, marked(path.name, identifiers[0]))

    def name_of_folder(self, stored: DownloadedFile) -> str:
        """The name that was passed to `folder` for a file: "120096@135931"."""
        root = next(root for root in self._roots if stored.path.is_relative_to(root))
        return stored.path.parent.relative_to(root / stored.source).as_posix()

    def lock_file(self, target: Path) -> Path:
        """The lock file for a download of `target`, also used on a shared folder."""
        inside = target.relative_to(self._download_dir / "air")
        name = short_name("+".join(inside.parts), _LONGEST_LOCK)
        return self._download_dir / "air" / LOCK_FOLDER / f"{name}.lock"

    def find(self, identifier: Identifier) -> DownloadedFile | None:
        """The file recorded with exactly this identifier, in any configured folder."""
        text = str(identifier)
        for folder in self._folders_of(identifier):
            for stored in _records_in(folder):
                if text in stored.identifiers or (not identifier.id and stored.is_version(identifier)):
                    return stored
        return None

    def confirm(self, stored: DownloadedFile) -> None:
        """Records that a file whose time changed (for example, it was copied) was hashed again and is the same."""
        with contextlib.suppress(StorageFailed):  # in a read-only folder, the file is hashed again next time
            self.keep(
                stored.path,
                identifiers=stored.identifiers,
                sha256=stored.sha256,
                source=stored.source,
                record=stored.record,
            )

    def _folders_of(self, identifier: Identifier) -> Iterator[Path]:
        if identifier.source == "sha256":
            yield from self._roots
        elif identifier.version not in (None, "latest"):
            name = safe_folder(f"{identifier.id}@{identifier.version}")
            for root in self._roots:
                if identifier.id:
                    yield root / identifier.source / name
                else:  # a download address contains only the version
                    yield from sorted((root / identifier.source).glob(f"*{name}"))

    def versions(self, source: str, model: str) -> list[str]:
        """The versions of a model that are on disk, newest (highest number) first."""
        found = {
            folder.name.partition("@")[2]
            for root in self._roots
            for folder in (root / source).glob(f"{model}@*")
            if next(_records_in(folder), None) is not None
        }
        return sorted(found, key=lambda version: -1 if (number := whole_number(version)) is None else number)[
            ::-1
        ]

    def all(self) -> Iterator[DownloadedFile]:
        """Every recorded file, in a stable order."""
        for root in self._roots:
            yield from _records_in(root)

    def abandoned(self) -> Iterator[Path]:
        """Records in the download folder whose file is gone."""
        for record_path in sorted((self._download_dir / "air").rglob(f"*{RECORD_SUFFIX}")):
            if not _file_of(record_path).exists():
                yield record_path

    def keep(
        self, path: Path, *, identifiers: Sequence[str], sha256: str, source: str, record: LoraRecord | None
    ) -> None:
        """Writes the record next to a file that was just verified, and the service's own JSON if there is one."""
        status = path.stat()
        content = {
            "format": _FORMAT,
            "identifiers": list(identifiers),
            "sha256": sha256,
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "source": source,
            "record": None if record is None else record.as_dict(),
        }
        write_atomically(_record_path(path), json.dumps(content, indent=1, ensure_ascii=False).encode())
        if record is not None and source == "civitai" and record.document:
            write_atomically(path.with_suffix(".civitai.info"), record.document.encode())


def name_as(path: Path, folder: Path, name: str) -> None:
    """Makes a file also available at `folder/name`, where a loader looks for it: as a hard link where the disk supports
    it, otherwise as a copy. An existing file stays.

    Raises StorageFailed.
    """
    target = contained(folder, folder / name)
    if os.path.lexists(target):
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, target)
        except OSError:
            part = target.with_name(f"{target.name}.air-copy")
            shutil.copyfile(path, part)
            part.replace(target)
    except OSError as error:
        raise storage_error(error, target) from error


def _record_path(path: Path) -> Path:
    return path.with_suffix(RECORD_SUFFIX)


def _file_of(record_path: Path) -> Path:
    return record_path.with_name(f"{record_path.name[: -len(RECORD_SUFFIX)]}.safetensors")


def _records_in(folder: Path) -> Iterator[DownloadedFile]:
    if not folder.is_dir():
        return
    try:
        records = sorted(folder.rglob(f"*{RECORD_SUFFIX}"))
    except OSError:  # the folder was removed in the meantime
        return
    for record_path in records:
        stored = _read(record_path)
        if stored is not None:
            yield stored


def _read(record_path: Path) -> DownloadedFile | None:
    """The record and its file, or None if either is missing or invalid."""
    path = _file_of(record_path)
    try:
        status = path.stat()
        content = read_json_file(record_path, MAX_RECORD_BYTES)
        if content["format"] != _FORMAT:
            return None
        return DownloadedFile(
            path=path,
            identifiers=tuple(str(each) for each in content["identifiers"]),
            sha256=str(content["sha256"]),
            unchanged=(status.st_size, status.st_mtime_ns) == (content["size"], content["mtime_ns"]),
            source=str(content["source"]),
            record=None if content["record"] is None else LoraRecord.from_dict(content["record"]),
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
