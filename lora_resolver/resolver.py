"""Coordinates the other modules: resolves an identifier to a verified file on this disk.

identifier ─▶ on this disk? ─▶ in the shared store? ─▶ ask its source ─▶ on this disk under another name?
                                        └──────────────────────────────▶─┘            └▶ or only look at its header
           ─▶ fetch it from the store, or download it, once ─▶ place, record ─▶ copy it to the store

There are three steps: find, peek (where something must be downloaded), and take. Each step is done for the whole array
before the next one begins. `resolve_session` implements the steps; this module contains the methods that callers use.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from .errors import (
    LoraResolverError,
    one_or_several,
)
from .identifiers import Identifier, parse_identifier
from .on_disk.downloads import Downloads
from .on_disk.library import Library
from .records import PeekedLora, ResolvedLora
from .resolve_session import ResolveSession
from .sources import local
from .transfer.services import services
from .transfer.tasks import CancelToken, SideBySide
from .transfer.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from .config import ResolverConfig
    from .on_disk.library import LibraryFile
    from .records import Progress
    from .resolve_session import Found
    from .transfer.tasks import ProgressTracker

    BeforeDownloads = Callable[
        [Mapping[Identifier, PeekedLora | LoraResolverError]], Mapping[Identifier, LoraResolverError]
    ]

__all__ = ["Resolver"]

_S = TypeVar("_S")
_T = TypeVar("_T")


class Resolver:
    """Finds or downloads LoRAs. It stores only its configuration, so it is cheap to create and safe to share."""

    def __init__(self, config: ResolverConfig) -> None:
        self._config = config
        self._downloads = Downloads(config)

    def resolve(
        self, identifier: Identifier | str, *, on_progress: Callable[[Progress], None] | None = None
    ) -> ResolvedLora:
        """A verified file for the identifier, from this disk or downloaded.

        `on_progress` is called only in this thread, four to ten times a second during the work, whether or not bytes
        arrive. If it raises, all work stops within a second, resumable data is kept, and this method raises the same
        exception.

        Raises a LoraResolverError without `parameter`: NotFound, AccessDenied, HostedOnly, Offline, TransferFailed,
        VerificationFailed or StorageFailed.
        """
        return self.resolve_all([identifier], on_progress=on_progress)[0]

    def resolve_all(
        self,
        identifiers: Sequence[Identifier | str],
        *,
        places: Sequence[str] = (),
        on_progress: Callable[[Progress], None] | None = None,
        before_downloads: BeforeDownloads | None = None,
    ) -> list[ResolvedLora]:
        """Resolves several identifiers in parallel. An identifier that is listed twice is resolved once.

        `places` ("lora[1].model") are the places for the errors, one for each identifier. One failure raises its own
        error, several raise SeveralErrors. In both cases the others are finished first, so that nothing is downloaded
        twice. For `before_downloads`, see `resolve_each`.
        """
        outcomes = self.resolve_each(identifiers, on_progress=on_progress, before_downloads=before_downloads)
        results: list[ResolvedLora] = []
        errors: list[LoraResolverError] = []
        for position, outcome in enumerate(outcomes):
            if isinstance(outcome, ResolvedLora):
                results.append(outcome)
            else:
                errors.append(outcome.at(places[position]) if places else outcome)
        if errors:
            raise one_or_several(errors)
        return results

    def resolve_each(
        self,
        identifiers: Sequence[Identifier | str],
        *,
        on_progress: Callable[[Progress], None] | None = None,
        before_downloads: BeforeDownloads | None = None,
    ) -> list[ResolvedLora | LoraResolverError]:
        """Like `resolve_all`, but returns one result for each identifier: the file, or the error.

        If something must be downloaded, `before_downloads` first gets what each LoRA is, or its error. It runs in this
        thread, before any weights are downloaded. LoRAs for which it returns an error aren't downloaded. If it raises,
        nothing is downloaded, and this method raises the same exception.
        """
        wanted = _parsed(identifiers)
        with self._session() as (session, side_by_side):
            found, failed = side_by_side(
                _each(wanted), lambda each, _, tracker: session.find(each, tracker), on_progress
            )
            refused: dict[Identifier, LoraResolverError] = {}
            if before_downloads and any(map(session.must_download, found.values())):
                peeked, unseen = side_by_side(found, session.peek, on_progress)
                refused = dict(before_downloads({**failed, **unseen, **peeked}))
            welcome = {name: each for name, each in found.items() if name not in refused}
            taken, lost = side_by_side(welcome, session.take, on_progress)
        outcomes: dict[Identifier, ResolvedLora | LoraResolverError] = {**failed, **refused, **lost, **taken}
        return [outcomes[each] for each in wanted]

    def peek(
        self, identifier: Identifier | str, *, on_progress: Callable[[Progress], None] | None = None
    ) -> PeekedLora:
        """What the LoRA is, from its source's record and its header. Of a file that isn't on this disk, at most 1 % or
        512 KiB (whichever is more) is downloaded.

        Raises the same errors as `resolve`, including the one for a download that requires a token.
        """
        outcome = self.peek_all([identifier], on_progress=on_progress)[0]
        if isinstance(outcome, LoraResolverError):
            raise outcome
        return outcome

    def peek_all(
        self,
        identifiers: Sequence[Identifier | str],
        *,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> list[PeekedLora | LoraResolverError]:
        """Peeks at several identifiers in parallel. Returns for each what is known about it, or the error."""
        wanted = _parsed(identifiers)
        with self._session() as (session, side_by_side):
            found, failed = side_by_side(
                _each(wanted), lambda each, _, tracker: session.find(each, tracker), on_progress
            )
            peeked, unseen = side_by_side(found, session.peek, on_progress)
        outcomes: dict[Identifier, PeekedLora | LoraResolverError] = {**failed, **unseen, **peeked}
        return [outcomes[each] for each in wanted]

    def share(
        self,
        identifiers: Sequence[Identifier | str],
        *,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> list[tuple[str, ...] | LoraResolverError]:
        """Copies files with a download record from this disk to the shared store, unless they are already there.
        Returns the warnings for each. Contacts no source.
        """
        wanted = _parsed(identifiers)
        with self._session() as (session, side_by_side):
            warnings, failed = side_by_side(
                _each(wanted), lambda each, _, tracker: session.share(each, tracker), on_progress
            )
        outcomes: dict[Identifier, tuple[str, ...] | LoraResolverError] = {**failed, **warnings}
        return [outcomes[each] for each in wanted]

    def library(self, *, on_file: Callable[[str, int, int], None] | None = None) -> list[LibraryFile]:
        """Every .safetensors file in the configured folders. Works in this thread, without the network.

        `on_file(name, done, total)` is called before the header of each new or changed file is read; it may raise.
        """
        with Library(self._config, CancelToken()) as library:
            return library.files(on_file)

    def library_stamp(self) -> str | None:
        """A text that changes whenever the result of `library` may change; None if unknown. Opens no file."""
        with Library(self._config, CancelToken()) as library:
            return library.stamp()

    def find_local(self, identifier: Identifier | str) -> Path | None:
        """The path of the file if it is on this disk and known under this name, or None. No network, no hashing."""
        wanted = parse_identifier(identifier) if isinstance(identifier, str) else identifier
        if wanted.source == "local":
            return local.find(wanted.id, self._config.search_dirs)
        stored = self._downloads.find(wanted)
        if stored is not None and stored.unchanged:
            return stored.path
        with Library(self._config, CancelToken()) as library:
            owned = library.known(wanted)
            return owned.path if owned is not None else None

    def local_files(self, identifiers: Sequence[Identifier | str]) -> list[LibraryFile | None]:
        """What is known about these files where they are on this disk; None for the others. For display only: no
        network, no hashing, and the contents of sidecars are trusted.
        """
        wanted = [parse_identifier(each) if isinstance(each, str) else each for each in identifiers]
        with Library(self._config, CancelToken()) as library:
            return [self._local_file(each, library) for each in wanted]

    def _local_file(self, identifier: Identifier, library: Library) -> LibraryFile | None:
        if identifier.source == "local":
            path = local.find(identifier.id, self._config.search_dirs)
        else:
            stored, owned = self._downloads.find(identifier), library.known(identifier)
            path = stored.path if stored else owned.path if owned else library.claimed(identifier)
        try:
            return None if path is None else library.file(path)
        except OSError:  # deleted in the meantime
            return None

    @contextmanager
    def _session(self) -> Iterator[tuple[ResolveSession, SideBySide]]:
        """The session of one call, and the runner that does a step for several identifiers in parallel."""
        cancel = CancelToken()
        with (
            Transport(self._config, services(self._config), cancel) as transport,
            Library(self._config, cancel) as library,
        ):
            session = ResolveSession(self._config, self._downloads, library, transport, cancel)
            yield session, SideBySide(cancel)


def _parsed(identifiers: Sequence[Identifier | str]) -> list[Identifier]:
    return [parse_identifier(each) if isinstance(each, str) else each for each in identifiers]


def _each(wanted: Sequence[Identifier]) -> dict[Identifier, None]:
    return dict.fromkeys(wanted)


def _find(session: ResolveSession) -> Callable[[Identifier, None, ProgressTracker], Found]:
    return lambda each, _, tracker: session.find(each, tracker)
