"""The work of one call on its identifiers, in three steps: find, peek, take.

find   the file on this disk, or who has it     disk ─▶ shared store ─▶ its source ─▶ disk again, under another name
peek   what it is, without its weights          the first of these places that has it
take   a verified file on this disk             shared store ─▶ its source ─▶ the archive of files that sources lost
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

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
from .model_file.safetensors_header import SafetensorsHeader, read_header
from .model_file.trigger_words import trigger_words
from .on_disk.library import Library, Owned
from .records import FileRecord, LoraRecord, PeekedLora, ResolvedLora
from .safe_files import read_bounded
from .sources import locate
from .sources.context import Alias, NoSharedStore, NotInStore, OnDisk, RemoteFile, SourceContext
from .text import quoted
from .transfer.download import only_one

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .config import ResolverConfig
    from .identifiers import Identifier
    from .model_file.safetensors_header import SafetensorsHeader
    from .on_disk.downloads import Downloads
    from .sources.context import FetchableFile, SharedFiles
    from .transfer.download import VerifiedFile
    from .transfer.tasks import CancelToken, ProgressTracker
    from .transfer.transport import Transport

    Found = Owned | FetchableFile  # a file on this disk, or who has it

__all__ = ["ResolveSession"]

MAX_ALIASES = 8
"""The most aliases that are followed in a row."""

MAX_DOCUMENT_BYTES = 8 * 1024**2


class ResolveSession:
    """The state that the threads of one call share. Its methods run in worker threads."""

    def __init__(
        self,
        config: ResolverConfig,
        downloads: Downloads,
        library: Library,
        transport: Transport,
        cancel: CancelToken,
    ) -> None:
        self._config = config
        self._downloads = downloads
        self._library = library
        self._cancel = cancel
        self._context = SourceContext(config, downloads, transport, cancel)
        self._shared = _shared_files(config, cancel)

    # ---- find

    def find(self, asked: Identifier, tracker: ProgressTracker, *, ask_store: bool = True) -> Found:
        """The file on this disk, or who has it. Downloads nothing of the file itself."""
        with self._store_s_warnings():
            identifier = asked
            for _ in range(MAX_ALIASES):
                found: Found | Alias | None = self._owned(identifier, tracker)
                if found is None and ask_store:
                    found = self._shared.find(identifier)
                if found is None:
                    found = self._ask_source(identifier, tracker, ask_store=ask_store)
                if not isinstance(found, Alias):
                    return self._same_content(found, tracker)
                identifier = found.identifier
        raise InvalidInput(
            f"Circular alias: {asked}",
            code="badAliases",
            remedy="Fix aliases.json so that each name leads to a file, or to a source that has the file.",
        )

    def _owned(self, identifier: Identifier, tracker: ProgressTracker) -> Owned | None:
        """The file that a download record or another tool's notes list under this name, if it is unchanged."""
        if identifier.source == "local":
            return None
        there = self._downloads.find(identifier)
        if there is not None:
            # The names in a record next to a file are trusted. Its hash is trusted after a read on this machine.
            if there.unchanged and self._library.known_state(there.path, there.sha256) is not None:
                return Owned(there.path, there.sha256, there.source, there.record)
            if self._library.sha256(there.path, tracker) == there.sha256:
                self._downloads.confirm(there)
                return Owned(there.path, there.sha256, there.source, there.record)
        return self._library.find(identifier, tracker)

    def _ask_source(
        self, identifier: Identifier, tracker: ProgressTracker, *, ask_store: bool
    ) -> Found | Alias:
        try:
            finding = locate(identifier, self._context)
        except (NotFound, Offline, TransferFailed) as error:
            last_resort = self._without_its_source(identifier, tracker, error, ask_store=ask_store)
            if last_resort is None:
                raise
            return last_resort
        if isinstance(finding, OnDisk):
            digest = self._library.sha256(finding.path, tracker)
            return Owned(finding.path, digest, "local", self._library.describe(finding.path, digest))
        return finding

    def _without_its_source(
        self,
        identifier: Identifier,
        tracker: ProgressTracker,
        error: LoraResolverError,
        *,
        ask_store: bool,
    ) -> Found | None:
        """The fallback where the source has nothing or can't be reached."""
        if identifier.source == "sha256":
            owned = self._library.find_anywhere(identifier.id, tracker)
        else:
            owned = self._library.believed(identifier, tracker)
        if owned is not None:
            return owned
        if isinstance(error, NotFound):
            return self._archived(self._library.last_sha256(identifier))
        return self._shared.find(identifier, last_resort=True) if ask_store else None

    def _same_content(self, found: Found, tracker: ProgressTracker) -> Found:
        """The file on this disk, if the user already has the same content under any name; otherwise `found`."""
        if isinstance(found, Owned) or found.file.sha256 is None:
            return found
        owned = self._library.find_content(found.file.sha256, found.file.size, tracker)
        if owned is None:
            return found
        self._library.remember(owned.path, found.identifiers, owned.sha256, found.source, found.record)
        return Owned(owned.path, owned.sha256, found.source, found.record)

    # ---- peek

    def peek(self, asked: Identifier, found: Found, tracker: ProgressTracker) -> PeekedLora:
        """What the LoRA is, without its weights."""
        if isinstance(found, Owned):
            with self._store_s_warnings():
                header = _header_of(found)
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
        target = self._target(found)
        tracker.start("look up", file_name=target.name)
        try:
            with self._store_s_warnings():
                remote = found.header(target, self._context)
        except NotInStore:
            return self.peek(asked, self.find(asked, tracker, ask_store=False), tracker)
        return PeekedLora(
            identifier=asked,
            path=None,
            file_name=target.name,
            size=remote.size if remote.size is not None else found.file.size,
            sha256=found.file.sha256,
            source=found.source,
            record=found.record,
            header=remote.header,
            bytes_read=remote.bytes_read,
        )

    # ---- take

    def must_download(self, found: Found) -> bool:
        """Whether `take` would have to fetch its weights."""
        return not isinstance(found, Owned) and not self._target(found).exists()

    def take(self, asked: Identifier, found: Found, tracker: ProgressTracker) -> ResolvedLora:
        """A verified file on this disk, fetched from the store or its source if necessary."""
        if isinstance(found, Owned):
            with self._store_s_warnings():
                lora = self._resolved(asked, found, _header_of(found))
        else:
            try:
                with self._store_s_warnings():
                    lora = self._fetch(asked, found, tracker)
            except NotInStore:
                return self.take(asked, self.find(asked, tracker, ask_store=False), tracker)
        tracker.start("done", file_name=lora.path.name, done=lora.size, total=lora.size)
        return lora

    def _fetch(self, asked: Identifier, found: FetchableFile, tracker: ProgressTracker) -> ResolvedLora:
        try:
            return self._fetch_it(asked, found, tracker)
        except NotFound as gone:
            archived = self._archived(found.file.sha256, like=found)
            if archived is not None:
                with suppress(NotFound, AccessDenied, TransferFailed, VerificationFailed):
                    return self._fetch_it(asked, archived, tracker)
            raise gone  # show the source's own error

    def _fetch_it(self, asked: Identifier, found: FetchableFile, tracker: ProgressTracker) -> ResolvedLora:
        target = self._target(found)
        with only_one(self._downloads.lock_file(target), target, tracker, self._cancel):
            if self._target(found) != target:  # another file has got this name in the meantime
                return self._fetch_it(asked, found, tracker)
            is_new, from_store = not target.exists(), False
            if is_new:
                digest, header, from_store = self._bring(found, target, tracker)
            else:  # another process was faster, or the user put it there
                digest = self._library.sha256(target, tracker)
                if digest != found.file.sha256:
                    raise _in_the_way(target, asked)
                header = read_header(target)
            self._record(target, found, digest)
        if is_new and isinstance(found, RemoteFile):
            self._shared.keep(target, found, digest, tracker)
        lora = self._resolved(asked, Owned(target, digest, found.source, found.record), header)
        return replace(
            lora,
            downloaded=is_new,
            from_store=from_store,
            warnings=(*self._shared.warnings, *lora.warnings),
        )

    def _bring(
        self, found: FetchableFile, target: Path, tracker: ProgressTracker
    ) -> tuple[str, SafetensorsHeader, bool]:
        """SHA-256, header, and whether it came from the shared store, which may have the file that a source names."""
        verified: VerifiedFile | None = None
        if isinstance(found, RemoteFile) and found.file.sha256 is not None:
            verified = self._shared.fetch(found.file.sha256, target, tracker)
        from_store = verified is not None or not isinstance(found, RemoteFile)
        return *(verified or found.fetch(target, self._context, tracker)), from_store

    def _record(self, target: Path, found: FetchableFile, digest: str) -> None:
        picture, is_above = found.record.picture(self._config.picture_level)
        record = replace(found.record, preview_url=picture)
        names = tuple(dict.fromkeys([*found.identifiers, f"sha256:{digest}"]))
        self._downloads.keep(target, identifiers=names, sha256=digest, source=found.source, record=record)
        self._library.remember(target, found.identifiers, digest, found.source, record)
        found.fetch_picture("" if is_above else picture, target, self._context)

    def _resolved(self, asked: Identifier, owned: Owned, header: SafetensorsHeader) -> ResolvedLora:
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
            header=header,
            state=self._library.known_state(owned.path, owned.sha256),
            warnings=_several_files(asked, owned.record),
        )

    # ---- the shared store and the archive

    def share(self, asked: Identifier, tracker: ProgressTracker) -> tuple[str, ...]:
        """Copies a file from this disk to the shared store. Returns the warnings."""
        there = self._downloads.find(asked)
        if there is None or there.record is None or not there.unchanged or not self._config.store:
            return (f"{asked} has no download record here, so it wasn't copied to the shared store",)
        document = _document(there.path.with_suffix(".civitai.info"))
        found = RemoteFile(
            source=there.source,
            folder=self._downloads.name_of_folder(there),
            record=replace(there.record, document=document),
            file=FileRecord(there.path.name, "", there.path.stat().st_size, there.sha256),
            identifiers=there.identifiers,
            explain=lambda _answer: None,
        )
        is_there = self._shared.keep(there.path, found, there.sha256, tracker)
        return () if is_there else self._shared.warnings

    def _archived(self, sha256: str | None, *, like: FetchableFile | None = None) -> RemoteFile | None:
        """The archive's copy of a file that its source no longer has."""
        if self._config.archive_url is None:
            return None
        from .sources import archive  # used only if the user turned it on

        return archive.locate(sha256, self._context, like=like)

    @contextmanager
    def _store_s_warnings(self) -> Iterator[None]:
        """Adds the shared store's warnings to the error where the file isn't available."""
        try:
            yield
        except (Offline, TransferFailed, NotFound) as error:
            raise error.after(self._shared.warnings) from None

    def _target(self, found: FetchableFile) -> Path:
        return self._downloads.target(found.source, found.folder, found.file.name, found.identifiers)


def _shared_files(config: ResolverConfig, cancel: CancelToken) -> SharedFiles:
    if not config.store:
        return NoSharedStore()
    from .sources.shared_store import SharedStore  # needs fsspec, which few users have

    return SharedStore(config, cancel)


def _several_files(asked: Identifier, record: LoraRecord | None) -> tuple[str, ...]:
    """A warning where the version has several models and the identifier doesn't choose one: one may be for Wan's High,
    the other for its Low."""
    if record is None or asked.source != "civitai" or asked.file_id is not None:
        return ()
    wanted = traits_of(asked.choice or "")
    alike = [file for file in record.model_files if agrees(wanted, traits_of(file[2]))]
    if len(alike) < 2:
        return ()
    named = ", ".join(f"{record.identifier}+{number} is {quoted(name, 60)}" for number, name, _ in alike)
    return (
        f"{asked}: This version has {len(alike)} files. CivitAI's primary file is used. The files: {named}",
    )


def _document(path: Path) -> str:
    """The service's own JSON, stored next to the file; "" where there is none."""
    try:
        return read_bounded(path, MAX_DOCUMENT_BYTES).decode("utf-8")
    except (OSError, ValueError):
        return ""


def _header_of(owned: Owned) -> SafetensorsHeader:
    """The header of a file on this disk. Raises VerificationFailed with the file's name."""
    try:
        return read_header(owned.path)
    except VerificationFailed as error:
        raise error.about(owned.path.name) from None


def _in_the_way(target: Path, asked: Identifier) -> StorageFailed:
    return StorageFailed(
        f"{target} already exists, but it isn't the file for {asked}",
        code="fileInTheWay",
        remedy="Move or delete that file, then run again.",
    )
