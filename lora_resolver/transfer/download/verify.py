"""What a file must be before it gets its name."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, NamedTuple

from ...errors import StorageFailed, VerificationFailed
from ...model_file.safetensors_header import read_header

if TYPE_CHECKING:
    from pathlib import Path

    from ...model_file.safetensors_header import SafetensorsHeader
    from .request import DownloadRequest

__all__ = ["VerifiedFile", "check_content", "check_free_space"]


class VerifiedFile(NamedTuple):
    """What is known of a file that has just been verified: nobody reads it again for that."""

    sha256: str
    """In lower-case hex."""
    header: SafetensorsHeader


def check_content(request: DownloadRequest, path: Path, sha256: str) -> VerifiedFile:
    """The expected bytes, and a safetensors file that can be believed. Raises VerificationFailed."""
    if request.file.sha256 is not None and sha256 != request.file.sha256:
        raise VerificationFailed(
            f"{request.file.name!r} arrived with SHA-256 {sha256}, but {request.file.sha256} was expected",
            code="wrongHash",
            remedy="Nothing was kept. Run it again; if it stays so, the source serves a file that is not its own.",
        )
    return VerifiedFile(sha256, read_header(path))


def check_free_space(folder: Path, needed: int) -> None:
    """Raises StorageFailed when the disk has no room for so many more bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StorageFailed(
            f"the disk of {folder} has {free:,} bytes left, and {needed:,} are needed",
            code="diskFull",
            remedy="Free some space and run it again; what was downloaded is kept.",
        )
