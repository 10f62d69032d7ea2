"""What to download, and where to put it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ...errors import LoraResolverError
    from ...records import FileRecord
    from ..transport import Answer

__all__ = ["DownloadRequest"]


@dataclass(frozen=True)
class DownloadRequest:
    """One file to download."""

    file: FileRecord
    target: Path
    explain: Callable[[Answer], LoraResolverError | None]
    """Explains a refusal by this source; returns None if the status alone explains it."""
