"""Files on this disk, held against what was recorded when they were verified.

A disk may lose bits, a program may overwrite a file: size and time may still be the same, so all of it is read again.
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
    """One file, and what is on record of it."""

    path: Path
    identifiers: tuple[str, ...]
    sha256: str | None
    """As it was when the file was verified, or as another tool noted it; None where nobody says."""
    size: int
    """Bytes to read; 0 for a file that is gone."""


@dataclass(frozen=True)
class Checked:
    """What became of it."""

    file: FileToCheck
    state: State
    sha256: str | None
    """As it is now; None where that could not be found out."""
    error: LoraResolverError | None
    """Why it is not what it was; None for "ok" and "unrecorded"."""


def files_to_check(config: ResolverConfig, wanted: Sequence[Path | Identifier] = ()) -> list[FileToCheck]:
    """Everything on record in the stores, or the files that are named. Reads no weights.

    Raises NotFound for an identifier that is not on this disk.
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
    """Reads the file again. `on_progress` is called as for `Resolver.resolve`, and may raise to stop."""
    if not file.path.exists():
        gone = NotFound(
            f"{file.path} is gone",
            code="fileMissing",
            remedy="`resolve` downloads it again; `prune` removes what was noted of it.",
        )
        return Checked(file, "missing", None, gone)
    cancel = CancelToken()

    def read(tracker: ProgressTracker) -> str:
        return file_sha256(file.path, tracker, cancel)

    # The reports are about a file, and it may have no name of its own.
    about = Identifier("sha256", file.sha256 or "0" * 64)
    (digest,) = run_side_by_side([(about, read)], cancel, on_progress)
    if isinstance(digest, OSError):
        unreadable = StorageFailed(
            f"{file.path} cannot be read: {digest.strerror or type(digest).__name__}",
            code="fileUnreadable",
            remedy="Check the disk, and that this user may read the file.",
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
        return Checked(file, "unsound", digest, error)
    if file.sha256 is None:
        return Checked(file, "unrecorded", digest, None)
    if digest == file.sha256:
        return Checked(file, "ok", digest, None)
    changed = VerificationFailed(
        f"{file.path} is not what it was: its SHA-256 is {digest}, and was {file.sha256}",
        code="wrongHash",
        remedy="Move or delete it; `resolve` downloads it again.",
    )
    return Checked(file, "changed", digest, changed)


def _named(config: ResolverConfig, wanted: Path | Identifier) -> FileToCheck:
    if not isinstance(wanted, Identifier):
        return _from_sidecars(wanted)
    stored = Downloads(config).find(wanted)  # also where it has changed since
    if stored is not None:
        return FileToCheck(stored.path, stored.identifiers, stored.sha256, _size(stored.path))
    path = Resolver(config).find_local(wanted)
    if path is None:
        raise NotFound(
            f"no file on this disk is known as {wanted}",
            code="notFound",
            remedy="`resolve` downloads it; `list` shows what is there.",
        )
    return _from_sidecars(path)


def _from_sidecars(path: Path) -> FileToCheck:
    """What our own record says, or another tool's."""
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
