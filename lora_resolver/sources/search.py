"""What services say about LoRAs before one is chosen: search, versions, one record, a preview picture.

For display: the response takes seconds or fails, and no weights are downloaded.
"""

from __future__ import annotations

import contextlib
import re
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import NotFound, TransferFailed
from ..identifiers import parse_identifier
from ..on_disk.downloads import Downloads
from ..transfer.address_rules import check_address, check_name
from ..transfer.services import services
from ..transfer.tasks import Cancelled, CancelToken
from ..transfer.transport import Transport
from . import civitai, huggingface, locate
from .civitai import SORTS, Listing
from .context import Alias, RemoteFile, SourceContext
from .model_page import ModelPage, VersionPage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ..config import ResolverConfig
    from ..identifiers import Identifier
    from ..records import LoraRecord

__all__ = [
    "SORTS",
    "Listing",
    "ModelPage",
    "describe",
    "fetch_from_anywhere",
    "fetch_picture",
    "list_versions",
    "model_page",
    "search_civitai",
]

MAX_PICTURE_BYTES = 8 * 1024**2
_NOWHERE = "https://service.invalid"

_MAX_HOPS = 8
# CivitAI's picture service reads the requested size from the address: /<uuid>/original=true/<name>.
_PICTURE_SIZE = re.compile(
    r"(https://image\.civitai\.com/[^/]+/[^/]+)/(?:[\w=,.-]*(?:width|original)=[^/]*)/"
)


def search_civitai(
    config: ResolverConfig,
    query: str,
    *,
    families: Collection[str] = (),
    sort: str = "relevance",
    cursor: str | None = None,
    limit: int = 20,
    seconds: float = 20,
) -> tuple[list[Listing], str | None]:
    """A page of LoRAs for this query, and the cursor of the next page. Each LoRA is in its newest version that is
    declared for one of `families`. `sort` is "relevance", "downloads" or "newest". Raises Offline, AccessDenied or
    TransferFailed.
    """
    with _context(config, seconds) as context:
        return civitai.search(context, query, families=families, sort=sort, cursor=cursor, limit=limit)


def list_versions(config: ResolverConfig, identifier: Identifier, *, seconds: float = 20) -> list[Listing]:
    """Every version of the model that the identifier belongs to, newest first.

    If its source has no versions, returns only the identified LoRA. Raises a LoraResolverError.
    """
    with _context(config, seconds) as context:
        if identifier.source == "civitai" and identifier.id:
            return civitai.listed_versions(identifier.id, context)
        record = _described(identifier, context)
        model = parse_identifier(record.identifier)
        return civitai.listed_versions(model.id, context) if model.source == "civitai" else [Listing(record)]


def model_page(config: ResolverConfig, identifier: Identifier, *, seconds: float = 20) -> ModelPage:
    """The content of this model's page, for people to read. Raises a LoraResolverError."""
    with _context(config, seconds) as context:
        if identifier.source == "civitai" and identifier.id:
            return civitai.model_page(identifier.id, identifier.version, context)
        record = _described(identifier, context)
        model = parse_identifier(record.identifier)
        if model.source == "civitai":
            return civitai.model_page(model.id, model.version, context)
        if model.source == "huggingface":
            return huggingface.model_page(model, record, context)
        return ModelPage(record.name, creator=record.creator, versions=(VersionPage(record),))


def describe(config: ResolverConfig, identifier: Identifier, *, seconds: float = 20) -> LoraRecord:
    """What its source says about one LoRA. Raises a LoraResolverError."""
    with _context(config, seconds) as context:
        return _described(identifier, context)


def fetch_picture(config: ResolverConfig, url: str, *, width: int = 512, seconds: float = 20) -> bytes:
    """A preview picture as unchecked bytes, about `width` pixels wide if its service can scale pictures.

    `url` comes from a service and must follow the rules for such addresses. Raises TransferFailed.
    """
    address = _PICTURE_SIZE.sub(rf"\1/width={width}/", url, count=1)
    with (
        _context(config, seconds) as context,
        context.transport.open(address, given_by_server=True) as answer,
    ):
        if answer.status != 200:
            raise TransferFailed(
                f"The image server returned status {answer.status}",
                code="badAnswer",
                remedy="Try again later.",
            )
        content = bytearray()
        for chunk in answer.chunks():
            content += chunk
            if len(content) > MAX_PICTURE_BYTES:
                raise TransferFailed(
                    f"The preview image is larger than {MAX_PICTURE_BYTES:,} bytes",
                    code="tooLarge",
                    remedy="Continue without a preview.",
                )
        return bytes(content)


def fetch_from_anywhere(config: ResolverConfig, url: str, most: int, *, seconds: float = 60) -> bytes:
    """A picture from an address in a request: only from https and public hosts, and without any token.

    Configured services on the local network aren't exempt. The addresses that the name resolves to are checked before
    a connection is made. Raises TransferFailed.
    """
    plain = replace(
        config,
        civitai_token=None,
        hf_token=None,
        archive_url=None,
        civitai_url=_NOWHERE,
        hf_endpoint=_NOWHERE,
    )
    check_address(url, ())
    check_name(url)
    with _context(plain, seconds) as context, context.transport.open(url, given_by_server=True) as answer:
        if answer.status != 200:
            raise TransferFailed(
                f"The server returned status {answer.status}",
                code="badAnswer",
                remedy="Try again later.",
            )
        content = bytearray()
        for chunk in answer.chunks():
            content += chunk
            if len(content) > most:
                raise TransferFailed(f"The file is larger than {most:,} bytes", code="tooLarge", remedy="")
        return bytes(content)


def _described(identifier: Identifier, context: SourceContext) -> LoraRecord:
    for _ in range(_MAX_HOPS):
        finding = locate(identifier, context)
        if isinstance(finding, RemoteFile):
            return finding.record
        if not isinstance(finding, Alias):
            break
        identifier = finding.identifier
    raise NotFound(
        f"No service has information about {identifier}",
        code="notFound",
        remedy="All available information is in its file.",
    )


@contextlib.contextmanager
def _context(config: ResolverConfig, seconds: float) -> Iterator[SourceContext]:
    """The context for a source; canceled after `seconds`."""
    patience = replace(config, tries=2, retry_delay=0.5, connect_timeout=min(config.connect_timeout, 5.0))
    cancel = CancelToken()
    timer = threading.Timer(seconds, cancel.now)
    timer.daemon = True
    timer.start()
    try:
        with Transport(patience, services(patience), cancel) as transport:
            yield SourceContext(patience, Downloads(patience), transport, cancel)
    except Cancelled:
        raise TransferFailed(
            f"No response within {seconds:.0f} seconds", code="timedOut", remedy="Try again later."
        ) from None
    finally:
        timer.cancel()
