"""What every source works with, the three results that it can return, and the interface of a shared store."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from ..errors import AccessDenied, NotFound, TransferFailed, VerificationFailed
from ..on_disk.preview import keep_preview
from ..transfer.download import DownloadRequest, download
from ..transfer.peek import peek_header

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ..config import ResolverConfig
    from ..errors import LoraResolverError
    from ..identifiers import Identifier
    from ..on_disk.downloads import Downloads
    from ..records import FileRecord, LoraRecord
    from ..transfer.download import VerifiedFile
    from ..transfer.peek import RemoteHeader
    from ..transfer.tasks import CancelToken, ProgressTracker
    from ..transfer.transport import Answer, Transport

__all__ = [
    "Alias",
    "FetchableFile",
    "Finding",
    "NoSharedStore",
    "NotInStore",
    "OnDisk",
    "RemoteFile",
    "SharedFiles",
    "SourceContext",
]


@dataclass(frozen=True)
class SourceContext:
    """What a source may use."""

    config: ResolverConfig
    downloads: Downloads
    transport: Transport
    cancel: CancelToken


@dataclass(frozen=True)
class OnDisk:
    """The file is on this disk."""

    path: Path


@dataclass(frozen=True)
class Alias:
    """The user has mapped this name to another one."""

    identifier: Identifier


class FetchableFile(Protocol):
    """A file that isn't on this disk, and how to get it."""

    @property
    def source(self) -> str:
        """The source of the file: "civitai", "huggingface", …"""

    @property
    def folder(self) -> str:
        """The folder below `air/<source>/`: "120096@135931"."""

    @property
    def record(self) -> LoraRecord:
        """What its source says about it."""

    @property
    def file(self) -> FileRecord:
        """Its name, size, and SHA-256, as far as they are known."""

    @property
    def identifiers(self) -> tuple[str, ...]:
        """Canonical texts that identify exactly this file."""

    def header(self, target: Path, context: SourceContext) -> RemoteHeader:
        """Its header, without its weights, which would go to `target`. Raises what a download would."""

    def fetch(self, target: Path, context: SourceContext, tracker: ProgressTracker) -> VerifiedFile:
        """Puts the verified file at `target`. The caller holds the lock on `target`. Raises what `download` does."""

    def fetch_picture(self, url: str, target: Path, context: SourceContext) -> None:
        """Puts its picture next to `target`. A picture that isn't available isn't an error."""


@dataclass(frozen=True)
class RemoteFile:
    """A source has the file, and this is how to get it: a FetchableFile."""

    source: str
    folder: str
    record: LoraRecord
    file: FileRecord
    identifiers: tuple[str, ...]
    explain: Callable[[Answer], LoraResolverError | None]
    """Explains a refused download; returns None if the status alone explains it."""
    mirrors: tuple[str, ...] = ()
    """More addresses of the same bytes, used if the file's own address fails."""

    def header(self, target: Path, context: SourceContext) -> RemoteHeader:
        """Reads only from the file's own address."""
        request = DownloadRequest(self.file, target, self.explain)
        return peek_header(request, context.transport, context.config)

    def fetch(self, target: Path, context: SourceContext, tracker: ProgressTracker) -> VerifiedFile:
        """Downloads from the first address that works."""

        def from_address(url: str) -> VerifiedFile:
            request = DownloadRequest(replace(self.file, url=url), target, self.explain)
            return download(request, context.transport, context.config, tracker, context.cancel)

        *others, last = (self.file.url, *self.mirrors)
        for url in others:
            with contextlib.suppress(NotFound, AccessDenied, TransferFailed, VerificationFailed):
                return from_address(url)
        return from_address(last)

    def fetch_picture(self, url: str, target: Path, context: SourceContext) -> None:
        """Downloads from the picture's own address; "" means that there is no picture."""
        keep_preview(url, target, context.transport)


Finding = OnDisk | Alias | RemoteFile


class NotInStore(Exception):
    """The shared store lists a file but doesn't deliver it. The file's own source must be used instead."""


class SharedFiles(Protocol):
    """A store that several machines share. Its failures never stop a run."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """The problems so far, without duplicates, for people."""

    def find(self, identifier: Identifier, *, last_resort: bool = False) -> FetchableFile | None:
        """The file under this name; its `header` and `fetch` may raise NotInStore. A name that may stand for another
        file by now is a last resort, for when its source isn't available."""

    def fetch(self, sha256: str, target: Path, tracker: ProgressTracker) -> VerifiedFile | None:
        """Puts the file with this SHA-256 at `target`, if the store has it undamaged. Raises StorageFailed."""

    def keep(self, path: Path, found: FetchableFile, sha256: str, tracker: ProgressTracker) -> bool:
        """Puts a verified file from this disk into the store. Returns whether the store now has all of it."""


class NoSharedStore:
    """Used if no shared store is configured."""

    warnings: tuple[str, ...] = ()

    def find(self, _identifier: Identifier, *, last_resort: bool = False) -> None:
        """Returns None."""

    def fetch(self, _sha256: str, _target: Path, _tracker: ProgressTracker) -> None:
        """Returns None."""

    def keep(self, _path: Path, _found: FetchableFile, _sha256: str, _tracker: ProgressTracker) -> bool:
        """Returns False: nothing is stored."""
        return False
