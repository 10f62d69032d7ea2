"""POST /air_lora/details: everything known about one LoRA, for the page to show.

    {"item": ITEM, "page": {"description", "creator", "tags": [texts], "licence": {…}, "versions": [VERSION]} | null,
     "page_error": {…} | null, "pictures": [{"address", "hidden"}],
     "file": {"tensors", "dtypes": [texts], "notes": [[name, text]], "long": [names], "tags": [[tag, count]]} | null}

VERSION: {"model", "version", "base_model", "published", "about", "is_newer"}. Texts from services are plain text, cut
to sane lengths. Addresses are this server's own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ....lora_resolver import LoraResolverError, common_tags, parse_identifier, read_header, training_notes
from ..settings import resolver_config
from . import workers
from .checkpoints import known_checkpoint, named_checkpoint
from .guard import read_fields
from .info import items_of, local_files
from .items import error_facts, name_of_file, plain, plain_paragraphs, weight_facts, with_fit
from .lookups import lookups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from ....lora_resolver import (
        Identifier,
        LibraryFile,
        LoraRecord,
        ModelPage,
        ResolverConfig,
        SafetensorsHeader,
        VersionPage,
    )

MAX_DESCRIPTION = 20_000
MAX_ABOUT = 2000
MAX_TAGS = 40
MAX_VERSIONS = 100
MAX_PICTURES = 12
PAGE_SECONDS = 10.0


async def details(request: web.Request) -> dict[str, Any]:
    """{model, checkpoint?} → as above."""
    fields = await read_fields(request)
    try:
        identifier = parse_identifier(fields.text("model", 4096, least=1))
    except LoraResolverError as error:
        raise error.at("model") from None
    named = named_checkpoint(fields)
    config = resolver_config()
    checkpoint = await workers.disk.do(lambda: known_checkpoint(named))
    (item,) = await items_of([str(identifier)])
    file = (await workers.disk.do(lambda: local_files([identifier], config)))[identifier]
    page, header = await asyncio.gather(
        workers.details.do(lambda: _page(identifier, file, config)),
        workers.disk.do(lambda: _header(identifier, file, config)),
    )
    weight = page.pop("weight", None)
    return {
        "item": with_fit({**item, "suggested_weight": item["suggested_weight"] or weight}, checkpoint),
        **page,
        "pictures": _pictures(identifier, _record_of(identifier, file, config), config.picture_level),
        "file": None if header is None else _file_facts(header),
    }


def published_name(identifier: Identifier, file: LibraryFile | None, config: ResolverConfig) -> Identifier:
    """The source's own identifier for a file that is named only by its path, its hash, or its version; otherwise
    `identifier`.
    """
    if identifier.source not in ("local", "sha256") and identifier.id:
        return identifier
    record = _record_of(identifier, file, config)
    name = record.identifier if record is not None else name_of_file(file) if file is not None else None
    if not name:
        return identifier
    try:
        return parse_identifier(name)
    except LoraResolverError:
        return identifier


def version_facts(version: VersionPage, own: str = "", *, is_newer: bool = False) -> dict[str, Any]:
    """A version as responses show it; `own` is the identifier of the one in use."""
    file = next((file for file in version.record.files if file.primary), None)
    return {
        "model": version.record.identifier,
        "version": plain(version.record.version_name),
        "base_model": plain(version.record.base_model, 80),
        "published": version.published,
        "about": plain_paragraphs(version.about, MAX_ABOUT),
        "size": file.size if file is not None else None,
        "is_current": version.record.identifier == own,
        "is_newer": is_newer,
    }


def _page(identifier: Identifier, file: LibraryFile | None, config: ResolverConfig) -> dict[str, Any]:
    from ....lora_resolver import search

    named = published_name(identifier, file, config)
    if named.source in ("local", "sha256") and file is not None:
        return {"page": None, "page_error": None}
    try:
        page = search.model_page(config, named, seconds=PAGE_SECONDS)
    except LoraResolverError as error:
        return {"page": None, "page_error": error_facts(error)}
    own = next((each.record for each in page.versions if each.record.identifier == _name(named)), None)
    return {
        "page": _page_facts(page, named),
        "page_error": None,
        "weight": weight_facts(own.suggested_weight) if own is not None else None,
    }


def _name(named: Identifier) -> str:
    return f"civitai:{named.id}@{named.version}" if named.source == "civitai" else str(named)


def _page_facts(page: ModelPage, named: Identifier) -> dict[str, Any]:
    own = _name(named)
    newer = page.newer_than(own)
    licence = asdict(page.licence)
    licence["name"] = plain(licence["name"], 100)
    if licence["commercial"] is not None:
        licence["commercial"] = [plain(each, 40) for each in licence["commercial"][:10]]
    return {
        "description": plain_paragraphs(page.description, MAX_DESCRIPTION),
        "creator": plain(page.creator, 80),
        "tags": [plain(tag, 60) for tag in page.tags[:MAX_TAGS]],
        "licence": licence,
        "versions": [
            version_facts(each, own, is_newer=each in newer) for each in page.versions[:MAX_VERSIONS]
        ],
    }


def _header(
    identifier: Identifier, file: LibraryFile | None, config: ResolverConfig
) -> SafetensorsHeader | None:
    if file is None:
        return lookups.header(identifier, config)
    try:
        return read_header(file.path)
    except LoraResolverError:
        return None


def _record_of(identifier: Identifier, file: LibraryFile | None, config: ResolverConfig) -> LoraRecord | None:
    return file.record if file is not None else lookups.record(identifier, config)


def _pictures(identifier: Identifier, record: LoraRecord | None, level: int) -> list[dict[str, Any]]:
    previews: Sequence[tuple[str, int]] = record.previews if record is not None else ()
    model = quote(str(identifier), safe="")
    return [
        {
            "address": f"/air_lora/thumbnail?model={model}&level={level}&number={number}",
            "hidden": shown > level,
        }
        for number, (_, shown) in enumerate(previews[:MAX_PICTURES])
    ]


def _file_facts(header: SafetensorsHeader) -> dict[str, Any]:
    notes, long = training_notes(header.metadata)
    dtypes = Counter(tensor.dtype for tensor in header.tensors.values())
    return {
        "tensors": len(header.tensors),
        "dtypes": [plain(name, 20) for name, _ in dtypes.most_common(5)],
        "notes": [[plain(name, 60), plain(text, 400)] for name, text in notes],
        "long": [plain(name, 60) for name in long[:50]],
        "tags": [[plain(tag, 80), count] for tag, count in common_tags(header.metadata)],
    }
