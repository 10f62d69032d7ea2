"""POST /air_lora/info: what the rows of the page show, and whether each fits the checkpoint.

Files on this disk don't need the network. Others are looked up for as long as a response may wait. Those that take
longer are marked "pending", and are known when the page asks again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ....lora_resolver import InvalidIdentifier, parse_identifier
from ..settings import listed_name, resolver_config
from . import workers
from .checkpoints import known_checkpoint, named_checkpoint
from .guard import read_fields
from .items import item_of_error, item_of_file, item_of_peek, item_of_record, plain, with_fit
from .lookups import lookups, still_looking

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiohttp import web

    from ....lora_resolver import Identifier, LibraryFile, ResolverConfig
    from .items import Item
    from .lookups import Looked

MAX_MODELS = 200
MAX_BODY = 1024**2
WAIT_SECONDS = 6.0


async def info(request: web.Request) -> dict[str, Any]:
    """{models, checkpoint?} → {items: [ITEM with "fits" and "reason"], checkpoint}."""
    fields = await read_fields(request, MAX_BODY)
    models = fields.texts("models", MAX_MODELS)
    named = named_checkpoint(fields)
    checkpoint = await workers.disk.do(lambda: known_checkpoint(named))
    items = await items_of(models)
    return {
        "items": [with_fit(each, checkpoint) for each in items],
        "checkpoint": None if checkpoint is None else checkpoint.as_dict(),
    }


async def items_of(models: Sequence[str]) -> list[Item]:
    """An ITEM for each text, in order."""
    config = resolver_config()
    parsed = {model: _parsed(model) for model in models}
    identifiers = [each for each in parsed.values() if not isinstance(each, InvalidIdentifier)]
    files = await workers.disk.do(lambda: local_files(identifiers, config))
    looks = {
        identifier: asyncio.wrap_future(lookups.look(identifier, config))
        for identifier, file in files.items()
        if file is None
    }
    if looks:
        await asyncio.wait(looks.values(), timeout=WAIT_SECONDS)
    return await workers.disk.do(lambda: _made(models, parsed, files, looks))


def _made(
    models: Sequence[str],
    parsed: Mapping[str, Identifier | InvalidIdentifier],
    files: Mapping[Identifier, LibraryFile | None],
    looks: Mapping[Identifier, asyncio.Future[Looked]],
) -> list[Item]:
    items = []
    for model in models:
        identifier = parsed[model]
        if isinstance(identifier, InvalidIdentifier):
            items.append(item_of_error(plain(model), identifier))
            continue
        file = files[identifier]
        if file is not None:
            items.append(item_of_file(str(identifier), file))
        elif looks[identifier].done():
            items.append(item_of_look(identifier, looks[identifier].result()))
        else:
            items.append(item_of_error(str(identifier), still_looking(), pending=True))
    return items


def local_files(
    identifiers: Sequence[Identifier], config: ResolverConfig
) -> dict[Identifier, LibraryFile | None]:
    """Each identifier → its file on this disk, or None."""
    from ....lora_resolver import Resolver

    distinct = list(dict.fromkeys(identifiers))
    return dict(zip(distinct, Resolver(config).local_files(distinct))) if distinct else {}


def item_of_look(identifier: Identifier, looked: Looked) -> Item:
    """The ITEM of a LoRA that was looked up."""
    model = str(identifier)
    if looked.lora is not None:
        made = item_of_peek(model, looked.lora)
        if looked.lora.path is not None:
            made |= {"state": "on_disk", "local_name": listed_name(looked.lora.path)}
        return made
    assert looked.error is not None  # noqa: S101 - for the type checker: it is one or the other
    if looked.record is not None:
        return item_of_record(model, looked.record, looked.error)
    return item_of_error(model, looked.error)


def _parsed(model: str) -> Identifier | InvalidIdentifier:
    try:
        return parse_identifier(model)
    except InvalidIdentifier as error:
        return error
