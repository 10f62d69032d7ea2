"""What every source works with, and the three answers that it can give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ..config import ResolverConfig
    from ..errors import LoraResolverError
    from ..identifiers import Identifier
    from ..on_disk.downloads import Downloads
    from ..records import FileRecord, LoraRecord
    from ..transfer.transport import Answer, Transport
    from .shared_store import Entry

__all__ = ["Alias", "Finding", "OnDisk", "RemoteFile", "SourceContext"]


@dataclass(frozen=True)
class SourceContext:
    """What a source may use."""

    config: ResolverConfig
    downloads: Downloads
    transport: Transport


@dataclass(frozen=True)
class OnDisk:
    """The user has it: here."""

    path: Path


@dataclass(frozen=True)
class Alias:
    """The user says that this name stands for another one."""

    identifier: Identifier


@dataclass(frozen=True)
class RemoteFile:
    """The source has it, and this is how to get it."""

    source: str
    folder: str
    """Below `air/<source>/`: "120096@135931"."""
    record: LoraRecord
    file: FileRecord
    identifiers: tuple[str, ...]
    """Canonical texts that this very file answers to."""
    explain: Callable[[Answer], LoraResolverError | None]
    """What a refused download means, or None where the status alone says it."""
    mirrors: tuple[str, ...] = ()
    """Further addresses of the same bytes, for when the file's own does not give them."""
    entry: Entry | None = None
    """What the shared store says of it, where that made the offer: then the file has no address."""


Finding = OnDisk | Alias | RemoteFile
