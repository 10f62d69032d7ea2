"""POST /air_lora/search, POST /air_lora/versions, GET /air_lora/library: the LoRAs to choose from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ....lora_resolver import InvalidIdentifier, parse_identifier, whole_number
from ..model_folders import listing, listing_soon
from ..settings import resolver_config
from . import workers
from .checkpoints import known_checkpoint, named_checkpoint
from .guard import query_number, read_fields, wrong
from .info import local_files
from .items import item_of_file, item_of_record, name_of_file, plain, plain_paragraphs, with_fit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aiohttp import web

    from ....lora_resolver import LibraryFile, Listing, ResolverConfig
    from .checkpoints import KnownCheckpoint
    from .items import Item

PAGE = 24
MAX_PAGE = 200
MAX_QUERY = 200
MAX_OFFSET = 10_000_000
MAX_ABOUT = 1000

_CURSOR = re.compile(r"[\w|.:=+/ -]{1,200}", re.ASCII)


async def search(request: web.Request) -> dict[str, Any]:
    """{query, source: "local" | "civitai", checkpoint?, sort?, cursor?} → {items, next}: LoRAs that fit.

    `sort` is for CivitAI: "relevance", "downloads" or "newest". Files on this disk are sorted by name; `current` is
    false if the folders are being scanned again and the items are from the previous scan.
    """
    fields = await read_fields(request)
    query = plain(fields.text("query", MAX_QUERY))
    source = fields.text("source", 20)
    cursor = fields.optional_text("cursor", 200)
    sort = fields.optional_text("sort", 20) or "relevance"
    named = named_checkpoint(fields)
    if source not in ("local", "civitai"):
        raise wrong("source", '"local" or "civitai"')
    if cursor is not None and not _CURSOR.fullmatch(cursor):
        raise wrong("cursor", "the value from the last response")
    checkpoint = await workers.disk.do(lambda: known_checkpoint(named))
    if source == "local":
        start = whole_number(cursor or "", 10**8) or 0
        return await workers.library.do(lambda: _search_local(query, checkpoint, start))
    return await workers.network.do(lambda: _search_civitai(query, checkpoint, sort, cursor))


async def library(request: web.Request) -> dict[str, Any]:
    """?offset=&limit= → {items, total}: every LoRA in the loras folders, by name."""
    offset = query_number(request, "offset", 0, MAX_OFFSET)
    limit = query_number(request, "limit", PAGE, MAX_PAGE)
    files = (await workers.library.do(lambda: listing(resolver_config()))).files
    page = files[offset : offset + limit]
    return {"items": await workers.disk.do(lambda: items_of_files(page, None)), "total": len(files)}


async def versions(request: web.Request) -> dict[str, Any]:
    """{model} → {versions: [ITEM]}: every version of this model, the newest first."""
    fields = await read_fields(request)
    try:
        identifier = parse_identifier(fields.text("model", 4096, least=1))
    except InvalidIdentifier as error:
        raise error.at("model") from None
    config = resolver_config()
    if identifier.source == "local":
        file = (await workers.disk.do(lambda: local_files([identifier], config)))[identifier]
        name = name_of_file(file) if file is not None else None
        if file is None or name is None or name.startswith("local:"):
            items = [item_of_file(str(identifier), file)] if file is not None else []
            return {"versions": [with_fit(each, None) for each in items]}
        identifier = parse_identifier(name)

    def listed() -> dict[str, Any]:
        from ....lora_resolver import search as services

        return {"versions": _listed(services.list_versions(config, identifier), config, None)}

    return await workers.network.do(listed)


def _search_local(query: str, checkpoint: KnownCheckpoint | None, start: int) -> dict[str, Any]:
    families = checkpoint.families if checkpoint is not None else ()
    files, is_current = listing_soon(resolver_config())
    found = files.search(query, families)
    page = found[start : start + PAGE]
    following = start + PAGE
    return {
        "items": items_of_files(page, checkpoint),
        "next": str(following) if following < len(found) else None,
        "current": is_current,
    }


def find_local(query: str) -> list[Item]:
    """ITEMs of the files in the loras folders that contain these words, for programs."""
    files, _ = listing_soon(resolver_config())
    return items_of_files(files.search(query, ()), None)


def find_civitai(query: str, limit: int) -> list[Item]:
    """ITEMs of CivitAI's first page of results, for programs. Raises LoraResolverError."""
    from ....lora_resolver import search as services

    config = resolver_config()
    found, _ = services.search_civitai(config, query, limit=limit)
    return _listed(found, config, None)


def items_of_files(files: Iterable[LibraryFile], checkpoint: KnownCheckpoint | None) -> list[Item]:
    """ITEMs for the page, without files that no identifier can name."""
    named = ((name_of_file(file), file) for file in files)
    return [with_fit(item_of_file(name, file), checkpoint) for name, file in named if name is not None]


def _search_civitai(
    query: str, checkpoint: KnownCheckpoint | None, sort: str, cursor: str | None
) -> dict[str, Any]:
    from ....lora_resolver import search as services

    if sort not in services.SORTS:
        raise wrong("sort", f"one of {', '.join(services.SORTS)}")
    config = resolver_config()
    families = checkpoint.families if checkpoint is not None else ()
    found, following = services.search_civitai(
        config, query, families=families, sort=sort, cursor=cursor, limit=PAGE
    )
    return {"items": _listed(found, config, checkpoint), "next": following}


def _listed(
    found: Sequence[Listing], config: ResolverConfig, checkpoint: KnownCheckpoint | None
) -> list[Item]:
    """ITEMs of a service's results. Those that are on this disk are marked so."""
    from .thumbnails import pictures

    identifiers = [parse_identifier(each.record.identifier) for each in found]
    files = local_files(identifiers, config)
    items = []
    for identifier, each in zip(identifiers, found):
        model, file = str(identifier), files[identifier]
        pictures.remember(identifier, each.record.picture(config.picture_level)[0])
        made = item_of_record(model, each.record, each.refused)
        if file is not None:
            here = item_of_file(model, file)
            made |= {
                key: here[key] for key in ("state", "local_name", "size", "sha256", "kind", "rank", "error")
            }
            if here["families_from"] == "file":
                made |= {key: here[key] for key in ("families", "family_names", "families_from")}
        made |= {"published": each.published, "about": plain_paragraphs(each.about, MAX_ABOUT)}
        items.append(with_fit(made, checkpoint))
    return items
