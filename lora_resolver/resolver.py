"""The one place that puts the parts together: an identifier in, a verified file on this disk out.

identifier ─▶ on this disk? ─▶ in the shared store? ─▶ ask its source ─▶ on this disk under another name?
                                        └──────────────────────────────▶─┘            └▶ or only look at its header
           ─▶ bring it from the store, or download it, once ─▶ place, record ─▶ keep it in the store

`resolving` has the steps; here is who may ask for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from .errors import (
    LoraResolverError,
    SeveralErrors,
)
from .identifiers import Identifier, parse_identifier
from .library import Library
from .network.services import services
from .network.transport import Transport
from .records import PeekedLora, ResolvedLora
from .resolving import Run
from .sources import local
from .store import Store
from .work import Stop, run_side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .config import ResolverConfig
    from .library import LibraryFile
    from .records import Progress
    from .work import Meter

__all__ = ["Resolver"]

_T = TypeVar("_T")


class Resolver:
    """Finds or downloads LoRAs. Keeps nothing but its configuration, so it is cheap to make and safe to share."""

    def __init__(self, config: ResolverConfig) -> None:
        self._config = config
        self._store = Store(config)

    def resolve(
        self, identifier: Identifier | str, *, on_progress: Callable[[Progress], None] | None = None
    ) -> ResolvedLora:
        """A verified file for the identifier: found on this disk, else downloaded.

        `on_progress` is called in this thread only, four to ten times a second while there is work, whether or not
        bytes arrive. If it raises, all work stops within a second, what can be resumed is kept, and the same
        exception comes out.

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
        before_download: Callable[[PeekedLora], None] | None = None,
    ) -> list[ResolvedLora]:
        """The same for several at once, side by side; one that is named twice is resolved once.

        `places` ("lora[1].model") mark the errors, each at its entry. One failure raises its own error, several raise
        SeveralErrors; either way the others are finished first, so that nothing is fetched twice.
        `before_download` is shown what a file that must be downloaded is, before a byte of its weights has come; it
        runs in a worker thread and refuses the file by raising a LoraResolverError.
        """
        outcomes = self.resolve_each(identifiers, on_progress=on_progress, before_download=before_download)
        results: list[ResolvedLora] = []
        errors: list[LoraResolverError] = []
        for position, outcome in enumerate(outcomes):
            if isinstance(outcome, ResolvedLora):
                results.append(outcome)
            else:
                errors.append(outcome.at(places[position]) if places else outcome)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise SeveralErrors(errors)
        return results

    def resolve_each(
        self,
        identifiers: Sequence[Identifier | str],
        *,
        on_progress: Callable[[Progress], None] | None = None,
        before_download: Callable[[PeekedLora], None] | None = None,
    ) -> list[ResolvedLora | LoraResolverError]:
        """As `resolve_all`, but with one outcome for each identifier: the file, or why it cannot be had."""

        def resolve(run: Run, identifier: Identifier, meter: Meter) -> ResolvedLora:
            return run.resolve(identifier, meter, before_download)

        return self._side_by_side(identifiers, resolve, on_progress)

    def peek(
        self, identifier: Identifier | str, *, on_progress: Callable[[Progress], None] | None = None
    ) -> PeekedLora:
        """What the LoRA is, from its source's record and its header; of a file that is not on this disk, no more than
        1 % of its bytes or 512 KiB (whichever is more) come over the network.

        Raises as `resolve` does, and says so in the same way when a download would need a token.
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
        """The same for several at once, side by side: for each what is known of it, or why it cannot be had."""
        return self._side_by_side(identifiers, Run.peek, on_progress)

    def share(
        self,
        identifiers: Sequence[Identifier | str],
        *,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> list[tuple[str, ...] | LoraResolverError]:
        """Puts files of this disk that are on record into the shared store, unless they are there: for each, what went
        wrong. Asks no source.
        """
        return self._side_by_side(identifiers, Run.share, on_progress)

    def library(self, *, on_file: Callable[[str, int, int], None] | None = None) -> list[LibraryFile]:
        """Every .safetensors file in the configured folders. Works in this thread, without the network.

        `on_file(name, done, total)` is called before the header of each new or changed file is read; it may raise.
        """
        with Library(self._config, Stop()) as library:
            return library.files(on_file)

    def find_local(self, identifier: Identifier | str) -> Path | None:
        """Where the file lies if it is on this disk and known under this name. No network, no hashing, no error."""
        wanted = parse_identifier(identifier) if isinstance(identifier, str) else identifier
        if wanted.source == "local":
            return local.find(wanted.id, self._config.search_dirs)
        stored = self._store.find(wanted)
        if stored is not None and stored.unchanged:
            return stored.path
        with Library(self._config, Stop()) as library:
            owned = library.known(wanted)
            return owned.path if owned is not None else None

    def local_files(self, identifiers: Sequence[Identifier | str]) -> list[LibraryFile | None]:
        """What is known of these files where they are on this disk; None for the others. For showing: the network is
        not asked, nothing is hashed, and what a sidecar says is believed.
        """
        wanted = [parse_identifier(each) if isinstance(each, str) else each for each in identifiers]
        with Library(self._config, Stop()) as library:
            return [self._local_file(each, library) for each in wanted]

    def _local_file(self, identifier: Identifier, library: Library) -> LibraryFile | None:
        if identifier.source == "local":
            path = local.find(identifier.id, self._config.search_dirs)
        else:
            stored, owned = self._store.find(identifier), library.known(identifier)
            path = stored.path if stored else owned.path if owned else library.claimed(identifier)
        try:
            return None if path is None else library.file(path)
        except OSError:  # gone since
            return None

    def _side_by_side(
        self,
        identifiers: Sequence[Identifier | str],
        work: Callable[[Run, Identifier, Meter], _T],
        on_progress: Callable[[Progress], None] | None,
    ) -> list[_T | LoraResolverError]:
        """`work` for each identifier, once for one that is named twice; results in order."""
        wanted = [parse_identifier(each) if isinstance(each, str) else each for each in identifiers]
        distinct = list(dict.fromkeys(wanted))
        if not distinct:
            return []
        stop = Stop()
        with (
            Transport(self._config, services(self._config), stop) as transport,
            Library(self._config, stop) as library,
        ):
            run = Run(self._config, self._store, library, transport, stop)
            tasks = [(each, _task(run, work, each)) for each in distinct]
            outcomes = dict(zip(distinct, run_side_by_side(tasks, stop, on_progress)))
        results: list[_T | LoraResolverError] = []
        for identifier in wanted:
            outcome = outcomes[identifier]
            if isinstance(outcome, BaseException) and not isinstance(outcome, LoraResolverError):
                raise outcome
            results.append(outcome)
        return results


def _task(
    run: Run, work: Callable[[Run, Identifier, Meter], _T], identifier: Identifier
) -> Callable[[Meter], _T]:
    def task(meter: Meter) -> _T:
        return work(run, identifier, meter)

    return task
