"""One call's work on identifiers: found, looked at, or brought; see resolver.py for the order of events."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from .errors import (
    AccessDenied,
    InvalidInput,
    LoraResolverError,
    NotFound,
    Offline,
    StorageFailed,
    TransferFailed,
    VerificationFailed,
)
from .identifiers.file_choice import agrees, traits_of
from .model_file.architecture import detect_architecture
from .model_file.safetensors_header import read_header
from .model_file.trigger_words import trigger_words
from .on_disk.library import Library, Owned
from .on_disk.preview import keep_preview
from .records import FileRecord, LoraRecord, PeekedLora, ResolvedLora
from .safe_files import read_bounded
from .sources import archive, locate
from .sources.context import Alias, OnDisk, RemoteFile, SourceContext
from .sources.shared_store import Entry, NotInStore, SharedStore
from .text import quoted
from .transfer.download import DownloadRequest, download, only_one
from .transfer.peek import RemoteHeader, peek_header

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .config import ResolverConfig
    from .identifiers import Identifier
    from .on_disk.downloads import Downloads
    from .transfer.tasks import CancelToken, ProgressTracker
    from .transfer.transport import Transport

__all__ = ["Found", "Run"]

MAX_ALIASES = 8
"""How many aliases may stand for one another in a row."""

MAX_DOCUMENT_BYTES = 8 * 1024**2
_T = TypeVar("_T")

Found = Owned | RemoteFile
"""A file of this disk, or the shared store's or a source's offer of one."""


class Run:
    """One call's work: what its threads share. Its methods run in worker threads."""

    def __init__(
        self,
        config: ResolverConfig,
        store: Downloads,
        library: Library,
        transport: Transport,
        cancel: CancelToken,
    ) -> None:
        self._config = config
        self._downloads = store
        self._library = library
        self._cancel = cancel
        self._transport = transport
        self._context = SourceContext(config, store, transport)
        self._shared = SharedStore(config, cancel) if config.store else None

    def find(self, asked: Identifier, tracker: ProgressTracker) -> Found:
        """The file on this disk, or who has it. Not a byte of it has come yet."""
        return self._with_store(lambda ask_store: self._find(asked, tracker, ask_store=ask_store))

    def look(self, asked: Identifier, found: Found, tracker: ProgressTracker) -> PeekedLora:
        """What it is, without its weights."""
        try:
            return self._told(lambda: self._look(asked, found, tracker))
        except NotInStore:
            return self._look(asked, self._told(lambda: self._find(asked, tracker, ask_store=False)), tracker)

    def take(self, asked: Identifier, found: Found, tracker: ProgressTracker) -> ResolvedLora:
        """A verified file on this disk: downloaded where it is not there."""
        try:
            lora = self._told(lambda: self._taken(asked, found, tracker))
        except NotInStore:
            again = self._told(lambda: self._find(asked, tracker, ask_store=False))
            lora = self._told(lambda: self._taken(asked, again, tracker))
        tracker.start("done", file_name=lora.path.name, done=lora.size, total=lora.size)
        return lora

    def must_download(self, found: Found) -> bool:
        """Whether taking it would bring its weights from elsewhere."""
        return isinstance(found, RemoteFile) and not self._target(found).exists()

    def share(self, asked: Identifier, tracker: ProgressTracker) -> tuple[str, ...]:
        """Puts a file of this disk into the shared store; what went wrong."""
        stored = self._downloads.find(asked)
        if self._shared is None or stored is None or stored.record is None or not stored.unchanged:
            return (f"{asked} is not on record here, so it was not put into the shared store",)
        document = stored.path.with_suffix(".civitai.info")
        record = replace(stored.record, document=_document(document))
        entry = Entry(
            sha256=stored.sha256,
            size=stored.path.stat().st_size,
            file_name=stored.path.name,
            source=stored.source,
            folder=self._downloads.name_of_folder(stored),
            kind=self._config.kind,
            identifiers=stored.identifiers,
            record=record,
        )
        return () if self._shared.keep(stored.path, entry, tracker) else self._warnings

    def _with_store(self, work: Callable[[bool], _T]) -> _T:
        """`work(True)`, or `work(False)` where the shared store does not give what it has."""
        if self._shared is not None:
            with contextlib.suppress(NotInStore):
                return self._told(lambda: work(True))
        return self._told(lambda: work(False))

    def _told(self, work: Callable[[], _T]) -> _T:
        """What the work gives. Where nothing can be had, the error also says what was wrong with the store."""
        try:
            return work()
        except (Offline, TransferFailed, NotFound) as error:
            raise error.after(self._warnings) from None

    @property
    def _warnings(self) -> tuple[str, ...]:
        return self._shared.warnings if self._shared is not None else ()

    def _taken(self, asked: Identifier, found: Found, tracker: ProgressTracker) -> ResolvedLora:
        if isinstance(found, Owned):
            return self._resolved(asked, found)
        try:
            return self._take(asked, found, tracker)
        except NotFound as gone:
            return self._take_from_archive(asked, found, tracker, gone)

    def _look(self, asked: Identifier, found: Found, tracker: ProgressTracker) -> PeekedLora:
        if isinstance(found, Owned):
            header = read_header(found.path)
            return PeekedLora(
                identifier=asked,
                path=found.path,
                file_name=found.path.name,
                size=header.file_size,
                sha256=found.sha256,
                source=found.source,
                record=found.record,
                header=header,
                bytes_read=0,
            )
        return self._peeked(asked, found, tracker)

    def _peeked(self, asked: Identifier, found: RemoteFile, tracker: ProgressTracker) -> PeekedLora:
        request = DownloadRequest(found.file, self._target(found), found.explain)
        tracker.start("look up", file_name=request.target.name)
        if found.entry is not None and self._shared is not None:
            header = self._shared.header(found.entry)
            remote = RemoteHeader(header, header.file_size, header.data_start)
        else:
            remote = peek_header(request, self._transport, self._config)
        return PeekedLora(
            identifier=asked,
            path=None,
            file_name=request.target.name,
            size=remote.size if remote.size is not None else found.file.size,
            sha256=found.file.sha256,
            source=found.source,
            record=found.record,
            header=remote.header,
            bytes_read=remote.bytes_read,
        )

    def _find(self, asked: Identifier, tracker: ProgressTracker, *, ask_store: bool) -> Found:
        """The file on this disk, or the shared store's or the source's offer of it."""
        identifier = asked
        for _ in range(MAX_ALIASES):
            owned = self._owned(identifier, tracker)
            if owned is not None:
                return owned
            stored = self._stored(identifier) if ask_store else None
            if stored is not None:
                return self._same_content(stored, tracker) or stored
            try:
                finding = locate(identifier, self._context)
            except (NotFound, Offline, TransferFailed) as error:
                last_resort = self._without_its_source(identifier, tracker, error)
                if last_resort is None and ask_store and not isinstance(error, NotFound):
                    last_resort = self._stored(identifier, last_resort=True)
                if last_resort is None:
                    raise
                return last_resort
            if isinstance(finding, Alias):
                identifier = finding.identifier
            elif isinstance(finding, OnDisk):
                digest = self._library.sha256(finding.path, tracker)
                return Owned(finding.path, digest, "local", self._library.describe(finding.path, digest))
            else:
                return self._same_content(finding, tracker) or finding
        raise InvalidInput(
            f"{asked} leads from alias to alias without an end",
            code="badAliases",
            remedy="Correct aliases.json: each name must end at a file or at a source that has one.",
        )

    def _owned(self, identifier: Identifier, tracker: ProgressTracker) -> Owned | None:
        """The file known under this very name, here or beside another tool's notes, if it is still what it was."""
        if identifier.source == "local":
            return None
        stored = self._downloads.find(identifier)
        if stored is not None:
            # A record beside a file is believed for names; its hash counts once the file was read on this machine.
            if stored.unchanged and self._library.known_state(stored.path, stored.sha256) is not None:
                return Owned(stored.path, stored.sha256, stored.source, stored.record)
            if self._library.sha256(stored.path, tracker) == stored.sha256:
                self._downloads.confirm(stored)
                return Owned(stored.path, stored.sha256, stored.source, stored.record)
        return self._library.find(identifier, tracker)

    def _stored(self, identifier: Identifier, *, last_resort: bool = False) -> RemoteFile | None:
        """The shared store's offer of a file."""
        if self._shared is None:
            return None
        entry = self._shared.find(identifier, last_resort=last_resort)
        if entry is None:
            return None
        return RemoteFile(
            source=entry.source,
            folder=entry.folder,
            record=entry.record,
            file=FileRecord(entry.file_name, "", entry.size, entry.sha256),
            identifiers=entry.identifiers,
            explain=lambda _answer: None,
            entry=entry,
        )

    def _same_content(self, remote: RemoteFile, tracker: ProgressTracker) -> Owned | None:
        """The file that the source offers, where the user has it already under whatever name."""
        if remote.file.sha256 is None:
            return None
        owned = self._library.find_content(remote.file.sha256, remote.file.size, tracker)
        if owned is None:
            return None
        self._library.remember(owned.path, remote.identifiers, owned.sha256, remote.source, remote.record)
        return Owned(owned.path, owned.sha256, remote.source, remote.record)

    def _without_its_source(
        self, identifier: Identifier, tracker: ProgressTracker, error: LoraResolverError
    ) -> Owned | RemoteFile | None:
        """What can be had where the source has nothing or cannot be asked."""
        if identifier.source == "sha256":
            owned = self._library.find_anywhere(identifier.id, tracker)
        else:
            owned = self._library.believed(identifier, tracker)
        if owned is not None or not isinstance(error, NotFound):
            return owned
        return archive.locate(self._library.last_sha256(identifier), self._context)

    def _target(self, remote: RemoteFile) -> Path:
        return self._downloads.target(remote.source, remote.folder, remote.file.name, remote.identifiers)

    def _take(self, asked: Identifier, remote: RemoteFile, tracker: ProgressTracker) -> ResolvedLora:
        target = self._target(remote)
        from_store = False
        with only_one(self._downloads.lock_file(target), target, tracker, self._cancel):
            if self._target(remote) != target:  # another file has got this name in the meantime
                return self._take(asked, remote, tracker)
            downloaded = not target.exists()
            if downloaded:
                from_store = self._from_store(remote, target, tracker)
                digest = str(remote.file.sha256) if from_store else self._download(remote, target, tracker)
            else:  # somebody else was faster, or the user put it there
                digest = self._library.sha256(target, tracker)
                if digest != remote.file.sha256:
                    raise _in_the_way(target, asked)
            self._record(target, remote, digest)
        if self._shared is not None and downloaded and remote.entry is None:
            self._shared.keep(target, self._entry(target, remote, digest), tracker)
        return replace(
            self._resolved(asked, Owned(target, digest, remote.source, remote.record)),
            downloaded=downloaded,
            from_store=from_store,
            warnings=(*self._warnings, *_several_files(asked, remote.record)),
        )

    def _from_store(self, remote: RemoteFile, target: Path, tracker: ProgressTracker) -> bool:
        """Whether the shared store gave the file. Raises NotInStore where nobody else can."""
        digest = remote.file.sha256
        given = (
            self._shared is not None and digest is not None and self._shared.fetch(digest, target, tracker)
        )
        if remote.entry is not None and not given:
            raise NotInStore
        return given

    def _entry(self, target: Path, remote: RemoteFile, digest: str) -> Entry:
        """What the shared store is to know of a file."""
        return Entry(
            sha256=digest,
            size=target.stat().st_size,
            file_name=remote.file.name,
            source=remote.source,
            folder=remote.folder,
            kind=self._config.kind,
            identifiers=_names(remote, digest),
            record=remote.record,
        )

    def _take_from_archive(
        self, asked: Identifier, remote: RemoteFile, tracker: ProgressTracker, gone: NotFound
    ) -> ResolvedLora:
        """The file that a source has lost. Where that fails too, the source's own answer is the one to show."""
        archived = archive.locate(remote.file.sha256, self._context, like=remote)
        if archived is not None:
            with contextlib.suppress(NotFound, AccessDenied, TransferFailed, VerificationFailed):
                return self._take(asked, archived, tracker)
        raise gone

    def _download(self, remote: RemoteFile, target: Path, tracker: ProgressTracker) -> str:
        """The SHA-256 of the downloaded file, from the first address that gives it."""
        *others, last = (remote.file.url, *remote.mirrors)
        for url in others:
            request = DownloadRequest(replace(remote.file, url=url), target, remote.explain)
            with contextlib.suppress(NotFound, AccessDenied, TransferFailed, VerificationFailed):
                return download(request, self._transport, self._config, tracker, self._cancel)
        request = DownloadRequest(replace(remote.file, url=last), target, remote.explain)
        return download(request, self._transport, self._config, tracker, self._cancel)

    def _record(self, target: Path, remote: RemoteFile, digest: str) -> None:
        picture, is_above = remote.record.picture(self._config.picture_level)
        record = replace(remote.record, preview_url=picture)
        self._downloads.keep(
            target, identifiers=_names(remote, digest), sha256=digest, source=remote.source, record=record
        )
        self._library.remember(target, remote.identifiers, digest, remote.source, record)
        if remote.entry is None:
            keep_preview("" if is_above else picture, target, self._transport)
        elif self._shared is not None:  # whoever has the store may have no way to the picture's own place
            self._shared.keep_preview(remote.entry, target)

    def _resolved(self, asked: Identifier, owned: Owned) -> ResolvedLora:
        header = read_header(owned.path)
        return ResolvedLora(
            identifier=asked,
            path=owned.path,
            sha256=owned.sha256,
            size=header.file_size,
            source=owned.source,
            downloaded=False,
            record=owned.record,
            architecture=detect_architecture(header),
            trigger_words=trigger_words(
                owned.record.trigger_words if owned.record else (), header.metadata, owned.path
            ),
            state=self._library.known_state(owned.path, owned.sha256),
            warnings=_several_files(asked, owned.record),
        )


def _several_files(asked: Identifier, record: LoraRecord | None) -> tuple[str, ...]:
    """Says so where the version has several models, and nothing that the user wrote tells them apart: one may be for
    Wan's High, the other for its Low."""
    if record is None or asked.source != "civitai" or asked.file_id is not None:
        return ()
    wanted = traits_of(asked.choice or "")
    alike = [file for file in record.model_files if agrees(wanted, traits_of(file[2]))]
    if len(alike) < 2:
        return ()
    named = ", ".join(f"{record.identifier}+{number} is {quoted(name, 60)}" for number, name, _ in alike)
    return (
        f"{asked}: this version has {len(alike)} files, and the one that CivitAI calls the first is taken; {named}",
    )


def _document(path: Path) -> str:
    """The service's own JSON, kept beside the file; "" where there is none."""
    try:
        return read_bounded(path, MAX_DOCUMENT_BYTES).decode("utf-8")
    except (OSError, ValueError):
        return ""


def _names(remote: RemoteFile, digest: str) -> tuple[str, ...]:
    """Every name that the file answers to."""
    return tuple(dict.fromkeys([*remote.identifiers, f"sha256:{digest}"]))


def _in_the_way(target: Path, asked: Identifier) -> StorageFailed:
    return StorageFailed(
        f"{target} exists, but is not the file that {asked} stands for",
        code="fileInTheWay",
        remedy="Move it to another folder, or delete it, and run again.",
    )
