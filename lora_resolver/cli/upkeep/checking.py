"""Compares files on this disk with what was recorded when they were verified.

A disk can lose bits, or a program can overwrite a file, without a change in size and time. So each file is read again
completely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ...errors import LoraResolverError, NotFound, StorageFailed, VerificationFailed
from ...identifiers import Identifier
from ...model_file.safetensors_header import read_header
from ...on_disk.downloads import Downloads
from ...on_disk.library.sidecars import SIDECARS, claims_beside
from ...resolver import Resolver
from ...transfer.download import file_sha256
from ...transfer.tasks import CancelToken, run_side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ...config import ResolverConfig
    from ...records import Progress
    from ...transfer.tasks import ProgressTracker

__all__ = ["Checked", "FileToCheck", "State", "check", "files_to_check"]

State = Literal["ok", "unrecorded", "changed", "unsound", "missing", "unreadable"]


@dataclass(frozen=True)
class FileToCheck:
    """One file, and what is recorded about it."""

    path: Path
    identifiers: tuple[str, ...]
    sha256: str | None
    """The SHA-256 when the file was verified, or as another tool recorded it; None if it is unknown."""
    size: int
    """Bytes to read; 0 for a file that no longer exists."""


@dataclass(frozen=True)
class Checked:
    """The result of the check of one file."""

    file: FileToCheck
    state: State
    sha256: str | None
    """The current SHA-256; None if it couldn't be computed."""
    error: LoraResolverError | None
    """What is wrong with the file; None for "ok" and "unrecorded"."""


def files_to_check(config: ResolverConfig, wanted: Sequence[Path | Identifier] = ()) -> list[FileToCheck]:
    """Every recorded file in the download folders, or only the given files. Reads no weights.

    Raises NotFound for an identifier that isn't on this disk.
    """
    if wanted:
        return [_named(config, each) for each in wanted]
    store = Downloads(config)
    present = [
        FileToCheck(stored.path, stored.identifiers, stored.sha256, _size(stored.path))
        for stored in store.all()
    ]
    gone = [_from_sidecars(record.with_name(_file_name(record.name))) for record in store.abandoned()]
    return present + gone


def check(file: FileToCheck, *, on_progress: Callable[[Progress], None] | None = None) -> Checked:
    """Reads the file again. `on_progress` is called as in `Resolver.resolve`, and may raise to stop."""
    if not file.path.exists():
        gone = NotFound(
            f"{file.path} no longer exists",
            code="fileMissing",
            remedy="To download it again, use `resolve`. To remove its record, use `prune`.",
        )
        return Checked(file, "missing", None, gone)
    cancel = CancelToken()

    def read(tracker: ProgressTracker) -> str:
        return file_sha256(file.path, tracker, cancel)

    # Progress reports need an identifier, and the file may not have one.
    about = Identifier("sha256", file.sha256 or "0" * 64)
    (digest,) = run_side_by_side([(about, read)], cancel, on_progress)
    if isinstance(digest, OSError):
        unreadable = StorageFailed(
            f"{file.path} can't be read: {digest.strerror or type(digest).__name__}",
            code="fileUnreadable",
            remedy="Check the disk and the permissions of the file.",
        )
        return Checked(file, "unreadable", None, unreadable)
    if isinstance(digest, BaseException):
        raise digest
    return _judged(file, digest)


def _judged(file: FileToCheck, digest: str) -> Checked:
    try:
        read_header(file.path)
    except StorageFailed as error:
        return Checked(file, "unreadable", digest, error)
    except LoraResolverError as error:
        return Checked(file, "unsound", digest, error.about(str(file.path)))
    if file.sha256 is None:
        return Checked(file, "unrecorded", digest, None)
    if digest == file.sha256:
        return Checked(file, "ok", digest, None)
    changed = VerificationFailed(
        f"{file.path} has changed: expected SHA-256 {file.sha256}, got {digest}",
        code="wrongHash",
        remedy="Move or delete the file. To download it again, use `resolve`.",
    )
    return Checked(file, "changed", digest, changed)


def _named(config: ResolverConfig, wanted: Path | Identifier) -> FileToCheck:
    if not isinstance(wanted, Identifier):
        return _from_sidecars(wanted)
    stored = Downloads(config).find(wanted)  # finds it even if it has changed since
    if stored is not None:
        return FileToCheck(stored.path, stored.identifiers, stored.sha256, _size(stored.path))
    path = Resolver(config).find_local(wanted)
    if path is None:
        raise NotFound(
            f"{wanted} isn't on this disk",
            code="notFound",
            remedy="To download it, use `resolve`. To see the available files, use `list`.",
        )
    return _from_sidecars(path)


def _from_sidecars(path: Path) -> FileToCheck:
    """The file with what our own record contains, or another tool's."""
    claims = claims_beside(path, tuple(SIDECARS))
    digest = next((claim.sha256 for claim in claims if claim.sha256), None)
    names = dict.fromkeys(claim.identifier for claim in claims if claim.identifier)
    return FileToCheck(path, tuple(names), digest, _size(path))


def _file_name(record_name: str) -> str:
    return record_name.removesuffix(".air.json") + ".safetensors"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
