"""The one place that puts the parts together: an identifier in, a verified file on this disk out.

identifier ─▶ on this disk? ─▶ ask its source ─▶ one download per file ─▶ verify ─▶ place, record ─▶ ResolvedLora
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .architecture import detect_architecture
from .download import Order, download, file_sha256, only_one
from .errors import InvalidInput, LoraResolverError, SeveralErrors, StorageFailed
from .file_names import safe_file_name
from .identifiers import Identifier, parse_identifier
from .preview import keep_preview
from .records import ResolvedLora
from .safetensors_header import read_header
from .services import services
from .sources import local, locate
from .sources.desk import Desk, Elsewhere, OnDisk
from .store import Store
from .transport import Transport
from .work import Stop, run_side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .config import ResolverConfig
    from .records import LoraRecord, Progress
    from .sources.desk import Offer
    from .store import StoredFile
    from .work import Meter

__all__ = ["Resolver"]

MAX_ALIASES = 8
"""How many aliases may stand for one another in a row."""


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
    ) -> list[ResolvedLora]:
        """The same for several at once, side by side; one that is named twice is resolved once.

        `places` ("lora[1].model") mark the errors, each at its entry. One failure raises its own error, several raise
        SeveralErrors; either way the others are finished first, so that nothing is fetched twice.
        """
        wanted = [parse_identifier(each) if isinstance(each, str) else each for each in identifiers]
        distinct = list(dict.fromkeys(wanted))
        if not distinct:
            return []
        stop = Stop()
        with Transport(self._config, services(self._config), stop) as transport:
            run = _Run(self._config, self._store, transport, stop)
            tasks = [(each, _task(run, each)) for each in distinct]
            outcomes = dict(zip(distinct, run_side_by_side(tasks, stop, on_progress)))
        results: list[ResolvedLora] = []
        errors: list[LoraResolverError] = []
        for position, identifier in enumerate(wanted):
            outcome = outcomes[identifier]
            if isinstance(outcome, ResolvedLora):
                results.append(outcome)
            elif isinstance(outcome, LoraResolverError):
                errors.append(outcome.at(places[position]) if places else outcome)
            else:
                raise outcome
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise SeveralErrors(errors)
        return results

    def find_local(self, identifier: Identifier | str) -> Path | None:
        """Where the file lies if it is on this disk and known under this name. No network, no hashing, no error."""
        wanted = parse_identifier(identifier) if isinstance(identifier, str) else identifier
        if wanted.source == "local":
            return local.find(wanted.id, self._config.search_dirs)
        stored = self._store.find(wanted)
        return stored.path if stored is not None and stored.unchanged else None


class _Run:
    """One call's work: what its threads share."""

    def __init__(self, config: ResolverConfig, store: Store, transport: Transport, stop: Stop) -> None:
        self._config = config
        self._store = store
        self._stop = stop
        self._transport = transport
        self._desk = Desk(config, store, transport)

    def resolve(self, asked: Identifier, meter: Meter) -> ResolvedLora:
        """Runs in a worker thread."""
        identifier = asked
        for _ in range(MAX_ALIASES):
            stored = self._stored(identifier, meter)
            if stored is not None:
                return _resolved(asked, stored.path, stored.sha256, stored.source, stored.record)
            finding = locate(identifier, self._desk)
            if isinstance(finding, Elsewhere):
                identifier = finding.identifier
            elif isinstance(finding, OnDisk):
                digest = file_sha256(finding.path, meter, self._stop)
                return _resolved(asked, finding.path, digest, "local", None)
            else:
                return self._take(asked, finding, meter)
        raise InvalidInput(
            f"{asked} leads from alias to alias without an end",
            code="badAliases",
            remedy="Correct aliases.json: each name must end at a file or at a source that has one.",
        )

    def _stored(self, identifier: Identifier, meter: Meter) -> StoredFile | None:
        """The file recorded under this very name, if it is still what it was."""
        stored = self._store.find(identifier)
        if stored is None:
            return None
        if not stored.unchanged:
            if file_sha256(stored.path, meter, self._stop) != stored.sha256:
                return None
            self._store.confirm(stored)
        return stored

    def _take(self, asked: Identifier, offer: Offer, meter: Meter) -> ResolvedLora:
        target = self._store.folder(offer.source, offer.folder) / safe_file_name(offer.file.name)
        with only_one(self._store.lock_file(target), target, meter, self._stop):
            downloaded = not target.exists()
            if downloaded:
                order = Order(offer.file, target, offer.explain)
                digest = download(order, self._transport, self._config, meter, self._stop)
            else:  # somebody else was faster, or the user put it there
                digest = file_sha256(target, meter, self._stop)
                if digest != offer.file.sha256:
                    raise _in_the_way(target, asked)
            self._record(target, offer, digest)
        return _resolved(asked, target, digest, offer.source, offer.record, downloaded=downloaded)

    def _record(self, target: Path, offer: Offer, digest: str) -> None:
        self._store.keep(
            target,
            identifiers=[*offer.identifiers, f"sha256:{digest}"],
            sha256=digest,
            source=offer.source,
            record=offer.record,
        )
        keep_preview(offer.record.preview_url, target, self._transport)


def _task(run: _Run, identifier: Identifier) -> Callable[[Meter], ResolvedLora]:
    def task(meter: Meter) -> ResolvedLora:
        lora = run.resolve(identifier, meter)
        meter.start("done", file_name=lora.path.name, done=lora.size, total=lora.size)
        return lora

    return task


def _resolved(
    asked: Identifier,
    path: Path,
    sha256: str,
    source: str,
    record: LoraRecord | None,
    *,
    downloaded: bool = False,
) -> ResolvedLora:
    header = read_header(path)
    return ResolvedLora(
        identifier=asked,
        path=path,
        sha256=sha256,
        size=header.file_size,
        source=source,
        downloaded=downloaded,
        record=record,
        architecture=detect_architecture(header),
        trigger_words=record.trigger_words if record is not None else (),
    )


def _in_the_way(target: Path, asked: Identifier) -> StorageFailed:
    return StorageFailed(
        f"{target} exists, but is not the file that {asked} stands for",
        code="fileInTheWay",
        remedy="Move it to another folder, or delete it, and run again.",
    )
