"""Lookups of LoRAs that aren't on this disk: requested once, kept for minutes, limited in time and number."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ....lora_resolver import LoraResolverError, Offline, TransferFailed
from . import workers

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ....lora_resolver import (
        Identifier,
        LoraRecord,
        PeekedLora,
        Progress,
        ResolverConfig,
        SafetensorsHeader,
    )

SECONDS = 25.0
"""Time limit for the lookup of one LoRA, whatever its source does."""

MAX_KEPT = 2000
KEEP_FOUND = 600.0
KEEP_REFUSED = 60.0
KEEP_FAILED = 10.0


@dataclass(frozen=True)
class Looked:
    """The result of a lookup: the LoRA, or why it isn't available, with what is known about it nevertheless."""

    lora: PeekedLora | None = None
    record: LoraRecord | None = None
    error: LoraResolverError | None = None

    @property
    def keep_seconds(self) -> float:
        """How long the result stays valid."""
        if self.error is None:
            return KEEP_FOUND
        return KEEP_FAILED if isinstance(self.error, (TransferFailed, Offline)) else KEEP_REFUSED


class Lookups:
    """Running and finished lookups."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._futures: OrderedDict[tuple[object, ...], tuple[float, Future[Looked]]] = OrderedDict()

    def look(self, identifier: Identifier, config: ResolverConfig) -> Future[Looked]:
        """The lookup of this LoRA. All callers share it while its result is valid. Raises Refused when busy."""
        key = (str(identifier), config.civitai_url, config.hf_endpoint, config.offline)
        with self._lock:
            until, future = self._futures.get(key, (0.0, None))
            if future is not None and (not future.done() or time.monotonic() < until):
                return future
            future = workers.lookups.submit(lambda: self._looked(key, identifier, config))
            self._keep(key, float("inf"), future)
            return future

    def forget(self) -> None:
        """Drops all results. Call it after a change of settings or tokens, which may change every result."""
        with self._lock:
            self._futures.clear()

    def record(self, identifier: Identifier, config: ResolverConfig) -> LoraRecord | None:
        """The record that is already known, without a request."""
        looked = self._had(identifier, config)
        if looked is None:
            return None
        return looked.lora.record if looked.lora is not None else looked.record

    def header(self, identifier: Identifier, config: ResolverConfig) -> SafetensorsHeader | None:
        """The file's header, if a lookup has already read it."""
        looked = self._had(identifier, config)
        return looked.lora.header if looked is not None and looked.lora is not None else None

    def _had(self, identifier: Identifier, config: ResolverConfig) -> Looked | None:
        key = (str(identifier), config.civitai_url, config.hf_endpoint, config.offline)
        with self._lock:
            _, future = self._futures.get(key, (0.0, None))
        return (
            None if future is None or not future.done() or future.exception() is not None else future.result()
        )

    def _looked(self, key: tuple[object, ...], identifier: Identifier, config: ResolverConfig) -> Looked:
        looked = look_now(identifier, config)
        with self._lock:
            if key in self._futures:
                self._keep(key, time.monotonic() + looked.keep_seconds, self._futures[key][1])
        return looked

    def _keep(self, key: tuple[object, ...], until: float, future: Future[Looked]) -> None:
        self._futures[key] = (until, future)
        self._futures.move_to_end(key)
        while len(self._futures) > MAX_KEPT:
            self._futures.popitem(last=False)


class _TooLong(Exception):
    """Raised in the resolver's progress callback, to stop its work."""


def look_now(identifier: Identifier, config: ResolverConfig) -> Looked:
    """Runs the lookup in this thread. Never raises an error that a source can cause."""
    from ....lora_resolver import Resolver, search

    patience = replace(config, tries=2, retry_delay=0.5, connect_timeout=min(config.connect_timeout, 5.0))
    deadline = time.monotonic() + SECONDS

    def watch(_: Progress) -> None:
        if time.monotonic() > deadline:
            raise _TooLong

    try:
        return Looked(lora=Resolver(patience).peek(identifier, on_progress=watch))
    except _TooLong:
        return Looked(error=_timed_out())
    except (TransferFailed, Offline) as error:
        return Looked(error=error)
    except LoraResolverError as error:
        refused = error
    try:  # its name and picture are worth a second request
        return Looked(record=search.describe(patience, identifier, seconds=5), error=refused)
    except LoraResolverError:
        return Looked(error=refused)


def still_looking() -> TransferFailed:
    """The error for a lookup that takes longer than a response may wait."""
    return TransferFailed(
        "Its source hasn't responded yet",
        code="stillLooking",
        remedy="The request is repeated automatically.",
    )


def _timed_out() -> TransferFailed:
    return TransferFailed(
        f"Its source didn't respond within {SECONDS:.0f} s", code="timedOut", remedy="Try again later."
    )


lookups = Lookups()
