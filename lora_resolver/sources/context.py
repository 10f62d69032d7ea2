"""What every source works with, the three answers that it can give, and what a shared store is to whoever asks it."""

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
    """The user has it: here."""

    path: Path


@dataclass(frozen=True)
class Alias:
    """The user says that this name stands for another one."""

    identifier: Identifier


class FetchableFile(Protocol):
    """A file that is not on this disk, and how to get it."""

    @property
    def source(self) -> str:
        """Whose file it is: "civitai", "huggingface", …"""

    @property
    def folder(self) -> str:
        """Below `air/<source>/`: "120096@135931"."""

    @property
    def record(self) -> LoraRecord:
        """What its source says of it."""

    @property
    def file(self) -> FileRecord:
        """Its name, size and SHA-256, as far as they are known."""

    @property
    def identifiers(self) -> tuple[str, ...]:
        """Canonical texts that this very file answers to."""

    def header(self, target: Path, context: SourceContext) -> RemoteHeader:
        """What its header says, without its weights, which would go to `target`. Raises what a download would."""

    def fetch(self, target: Path, context: SourceContext, tracker: ProgressTracker) -> VerifiedFile:
        """Puts the verified file at `target`, on which whoever calls it holds the lock. Raises what `download` does."""

    def fetch_picture(self, url: str, target: Path, context: SourceContext) -> None:
        """Puts its picture beside `target`; a picture that cannot be had is no failure."""


@dataclass(frozen=True)
class RemoteFile:
    """A source has the file, and this is how to get it: a FetchableFile."""

    source: str
    folder: str
    record: LoraRecord
    file: FileRecord
    identifiers: tuple[str, ...]
    explain: Callable[[Answer], LoraResolverError | None]
    """What a refused download means, or None where the status alone says it."""
    mirrors: tuple[str, ...] = ()
    """Further addresses of the same bytes, for when the file's own does not give them."""

    def header(self, target: Path, context: SourceContext) -> RemoteHeader:
        """From the file's own address alone."""
        request = DownloadRequest(self.file, target, self.explain)
        return peek_header(request, context.transport, context.config)

    def fetch(self, target: Path, context: SourceContext, tracker: ProgressTracker) -> VerifiedFile:
        """From the first address that gives it."""

        def from_address(url: str) -> VerifiedFile:
            request = DownloadRequest(replace(self.file, url=url), target, self.explain)
            return download(request, context.transport, context.config, tracker, context.cancel)

        *others, last = (self.file.url, *self.mirrors)
        for url in others:
            with contextlib.suppress(NotFound, AccessDenied, TransferFailed, VerificationFailed):
                return from_address(url)
        return from_address(last)

    def fetch_picture(self, url: str, target: Path, context: SourceContext) -> None:
        """From its own address; "" is none."""
        keep_preview(url, target, context.transport)


Finding = OnDisk | Alias | RemoteFile


class NotInStore(Exception):
    """The shared store said that it has a file, and does not give it: the file's own source is to be asked."""


class SharedFiles(Protocol):
    """A store that several machines share, and that fails no run."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What went wrong so far, each once, for people."""

    def find(self, identifier: Identifier, *, last_resort: bool = False) -> FetchableFile | None:
        """What it has under this name; its `header` and `fetch` may raise NotInStore. A name whose file may be another
        one by now is a last resort: for when its source cannot be asked."""

    def fetch(self, sha256: str, target: Path, tracker: ProgressTracker) -> VerifiedFile | None:
        """Puts the file with this SHA-256 at `target`, if the store has it, sound. Raises StorageFailed."""

    def keep(self, path: Path, found: FetchableFile, sha256: str, tracker: ProgressTracker) -> bool:
        """Puts a verified file of this disk into the store; whether all of it is there now."""


class NoSharedStore:
    """For whoever has set none."""

    warnings: tuple[str, ...] = ()

    def find(self, _identifier: Identifier, *, last_resort: bool = False) -> None:
        """Nothing."""

    def fetch(self, _sha256: str, _target: Path, _tracker: ProgressTracker) -> None:
        """Nothing."""

    def keep(self, _path: Path, _found: FetchableFile, _sha256: str, _tracker: ProgressTracker) -> bool:
        """Not kept."""
        return False
