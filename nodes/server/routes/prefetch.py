"""POST /air_lora/prefetch and /air_lora/prefetch/cancel: downloads in the background."""

from __future__ import annotations

import logging
import secrets
import threading
from typing import TYPE_CHECKING, Any

from ....lora_resolver import Identifier, InvalidIdentifier, LoraResolverError, NotFound, parse_identifier
from ..events import ProgressEvents
from ..model_folders import forget_listing
from ..settings import resolver_config
from . import workers
from .guard import Refused, read_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from ....lora_resolver import Progress, ResolvedLora

MAX_MODELS = 200
MAX_JOBS = 300
"""Running or queued. A page with that many rows may start one for each."""

_log = logging.getLogger(__name__)
_jobs: dict[str, threading.Event] = {}
_lock = threading.Lock()


async def start(request: web.Request) -> dict[str, Any]:
    """{models} → {job}. Its progress is sent as events."""
    fields = await read_fields(request, 1024**2)
    identifiers = [
        _parsed(position, text) for position, text in enumerate(fields.texts("models", MAX_MODELS))
    ]
    if not identifiers:
        raise Refused(400, "invalidValue", "The list models is empty", "Add at least one model.", "models")
    job, stop = secrets.token_urlsafe(9), threading.Event()
    with _lock:
        if len(_jobs) >= MAX_JOBS:
            raise Refused(
                429, "busy", f"{MAX_JOBS} downloads are already running", "Wait until some of them finish."
            )
        _jobs[job] = stop
    try:
        workers.downloads.submit(lambda: _run(job, stop, identifiers))
    except Refused:
        with _lock:
            del _jobs[job]
        raise
    return {"job": job}


async def cancel(request: web.Request) -> dict[str, Any]:
    """{job} → {job}. Interrupted downloads are kept, and resume the next time."""
    fields = await read_fields(request)
    job = fields.text("job", 100, least=1)
    with _lock:
        stop = _jobs.get(job)
    if stop is None:
        raise NotFound(
            "There is no such download", code="notFound", parameter="job", remedy="It might have finished."
        )
    stop.set()
    return {"job": job}


class _Cancelled(Exception):
    """Raised in the resolver's progress callback, to stop its work."""


def _run(job: str, stop: threading.Event, identifiers: Sequence[Identifier]) -> None:
    events = ProgressEvents(job=job)
    error: LoraResolverError | None = None
    try:
        for identifier, outcome in zip(identifiers, _download(stop, identifiers, events)):
            if isinstance(outcome, LoraResolverError):
                events.failed(identifier, outcome)
    except LoraResolverError as refusal:
        error = refusal
    except _Cancelled:
        error = LoraResolverError(
            "The download was canceled", code="cancelled", remedy="Start the download again."
        )
    except Exception:
        _log.exception("[AIR LoRA] A download failed")
        error = LoraResolverError(
            "Something went wrong", code="internalError", remedy="For details, see ComfyUI's log."
        )
    finally:
        with _lock:
            del _jobs[job]
        forget_listing()
    if error is not None:
        for identifier in identifiers:
            events.failed(identifier, error)


def _download(
    stop: threading.Event, identifiers: Sequence[Identifier], events: ProgressEvents
) -> Sequence[ResolvedLora | LoraResolverError]:
    from ....lora_resolver import Resolver

    def watch(progress: Progress) -> None:
        if stop.is_set():
            raise _Cancelled
        events(progress)

    if stop.is_set():
        raise _Cancelled
    return Resolver(resolver_config()).resolve_each(identifiers, on_progress=watch)


def _parsed(position: int, text: str) -> Identifier:
    try:
        return parse_identifier(text)
    except InvalidIdentifier as error:
        raise error.at(f"models[{position}]") from None
