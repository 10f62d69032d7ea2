"""POST /air_lora/newer: whether services have newer versions of some LoRAs, for the same base model.

Each model is looked up at most once a day, for the first page that asks, and never in offline mode. The answers are
stored in the pack's own folder: the newer version, and the weight that the author suggests.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from ....lora_resolver import (
    InvalidIdentifier,
    LoraResolverError,
    TransferFailed,
    parse_identifier,
    parse_json,
    read_bounded,
    write_atomically,
)
from ..settings import resolver_config, state_folder
from . import workers
from .details import published_name, version_facts
from .guard import read_fields
from .info import MAX_BODY, MAX_MODELS, local_files
from .items import weight_facts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aiohttp import web

    from ....lora_resolver import Identifier, ResolverConfig

DAY = 24 * 3600.0
SECONDS = 20.0
"""Time limit of one request. What isn't known by then is looked up for the next page."""

ONE_SECONDS = 5.0
AGAIN = 3600.0
"""Seconds until the next attempt after a service didn't respond."""

MAX_KEPT = 2000
MAX_FILE = 8 * 1024**2

_log = logging.getLogger(__name__)


async def newer(request: web.Request) -> dict[str, Any]:
    """{models} → {newer: {model: VERSION}, weights: {model: {"weight", …}}, unknown: [models to ask about again]}."""
    fields = await read_fields(request, MAX_BODY)
    models = fields.texts("models", MAX_MODELS)
    config = resolver_config()
    if config.offline:
        return {"newer": {}, "weights": {}, "unknown": []}
    return await workers.versions.do(lambda: asked.about(models, config))


class AskedVersions:
    """The service's answer for each version, and when it was given."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, Any]] | None = None

    def about(self, models: Sequence[str], config: ResolverConfig) -> dict[str, Any]:
        """The answers for these models, as far as the time limit allows; the rest is `unknown`."""
        deadline = time.monotonic() + SECONDS
        newer: dict[str, Any] = {}
        weights: dict[str, Any] = {}
        unknown: list[str] = []
        has_changed = False
        for model, identifier in _published(models, config).items():
            said, is_fresh = self._of(identifier, config, may_ask=time.monotonic() < deadline)
            has_changed |= is_fresh
            if said is None:
                unknown.append(model)
                continue
            if said.get("newer"):
                newer[model] = said["newer"]
            if said.get("weight"):
                weights[model] = said["weight"]
        if has_changed:
            self._keep()
        return {"newer": newer, "weights": weights, "unknown": unknown}

    def _of(
        self, identifier: Identifier, config: ResolverConfig, *, may_ask: bool
    ) -> tuple[dict[str, Any] | None, bool]:
        """What is known about a version, and whether that was requested just now."""
        name = f"civitai:{identifier.id}@{identifier.version}"
        key = f"{config.civitai_url} {name}"
        with self._lock:
            kept = self._all().get(key)
        if kept is not None and 0 <= time.time() - kept["asked"] < DAY:
            return kept, False
        if not may_ask:
            return kept, False
        said = _asked(identifier, name, config)
        if said is None:
            said = {**(kept or {}), "asked": time.time() - DAY + AGAIN}
        with self._lock:
            known = self._all()
            known.pop(key, None)
            known[key] = said
            for old in list(known)[: max(0, len(known) - MAX_KEPT)]:
                del known[old]
        return said, True

    def _keep(self) -> None:
        with self._lock:
            content = json.dumps(self._all(), ensure_ascii=False).encode()
        try:
            write_atomically(_file(), content)
        except LoraResolverError as error:  # it is requested again after the next start
            _log.info("[AIR LoRA] Couldn't save the list of newer versions: %s", error.message)

    def _all(self) -> dict[str, dict[str, Any]]:
        if self._known is None:
            try:
                content = parse_json(read_bounded(_file(), MAX_FILE))
            except (OSError, ValueError):
                content = {}
            self._known = {
                key: each
                for key, each in (content.items() if isinstance(content, dict) else ())
                if isinstance(each, dict) and isinstance(each.get("asked"), (int, float))
            }
        return self._known


def _published(models: Sequence[str], config: ResolverConfig) -> dict[str, Identifier]:
    """The models that are versions at CivitAI, including those that the array names by a file on this disk."""
    parsed: dict[str, Identifier] = {}
    for model in models:
        try:
            parsed[model] = parse_identifier(model)
        except InvalidIdentifier:  # noqa: PERF203 - there are a few hundred at most
            continue
    files = local_files(list(parsed.values()), config)
    named = {
        model: published_name(identifier, files[identifier], config) for model, identifier in parsed.items()
    }
    return {
        model: each
        for model, each in named.items()
        if each.source == "civitai" and each.id and (each.version or "").isdecimal()
    }


def _asked(identifier: Identifier, name: str, config: ResolverConfig) -> dict[str, Any] | None:
    """The service's current answer; None if it didn't respond. An unknown model is looked up again after a day."""
    from ....lora_resolver import search

    try:
        page = search.model_page(config, identifier, seconds=ONE_SECONDS)
    except LoraResolverError as error:
        _log.debug("[AIR LoRA] Couldn't get the versions of %s: %s", identifier, error.code)
        return None if isinstance(error, TransferFailed) else {"asked": time.time()}
    newer = next(iter(page.newer_than(name)), None)
    own = next((each for each in page.versions if each.record.identifier == name), None)
    shown = ("model", "version", "base_model", "published")
    return {
        "asked": time.time(),
        "newer": None if newer is None else {key: version_facts(newer)[key] for key in shown},
        "weight": weight_facts(own.record.suggested_weight) if own is not None else None,
    }


def _file() -> Path:
    return state_folder() / "versions.json"


asked = AskedVersions()
