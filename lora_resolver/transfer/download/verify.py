"""The conditions that a file must meet before it gets its final name."""

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
    """What is known about a file that was just verified, so that nothing needs to read it again."""

    sha256: str
    """In lowercase hex."""
    header: SafetensorsHeader


def check_content(request: DownloadRequest, path: Path, sha256: str) -> VerifiedFile:
    """Checks the SHA-256 and that the file is a valid safetensors file. Raises VerificationFailed."""
    if request.file.sha256 is not None and sha256 != request.file.sha256:
        raise VerificationFailed(
            f"Checksum mismatch for {request.file.name!r}: expected SHA-256 {request.file.sha256}, got {sha256}",
            code="wrongHash",
            remedy="The downloaded data was deleted. Try again. If this happens again, the file doesn't match its "
            "published metadata: report it on the model's page.",
        )
    return VerifiedFile(sha256, read_header(path))


def check_free_space(folder: Path, needed: int) -> None:
    """Raises StorageFailed if the disk doesn't have enough space for this many more bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StorageFailed(
            f"Not enough disk space in {folder}: {needed:,} bytes are needed, and {free:,} are free",
            code="diskFull",
            remedy="Free up disk space and try again. Interrupted downloads resume.",
        )
