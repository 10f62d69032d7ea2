"""What services say of LoRAs before one is chosen: search, versions, one record, a preview picture.

For showing: answers within seconds or not at all, and no weights come over the network.
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
from ..transfer.services import services
from ..transfer.tasks import Cancelled, CancelToken
from ..transfer.transport import Transport
from . import civitai, locate
from .civitai import SORTS, Listing
from .context import Alias, RemoteFile, SourceContext

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ..config import ResolverConfig
    from ..identifiers import Identifier
    from ..records import LoraRecord

__all__ = ["SORTS", "Listing", "describe", "fetch_picture", "list_versions", "search_civitai"]

MAX_PICTURE_BYTES = 8 * 1024**2

_MAX_HOPS = 8
# CivitAI's picture service takes the wanted size in the address: /<uuid>/original=true/<name>.
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
    """A page of LoRAs for these words, and the cursor of the next; each in its newest version that is declared for one
    of `families`. `sort` is "relevance", "downloads" or "newest". Raises Offline, AccessDenied or TransferFailed.
    """
    with _context(config, seconds) as context:
        return civitai.search(context, query, families=families, sort=sort, cursor=cursor, limit=limit)


def list_versions(config: ResolverConfig, identifier: Identifier, *, seconds: float = 20) -> list[Listing]:
    """Every version of the model that the identifier names, the newest first.

    Where its source knows no versions, the one that is named. Raises a LoraResolverError.
    """
    with _context(config, seconds) as context:
        if identifier.source == "civitai" and identifier.id:
            return civitai.listed_versions(identifier.id, context)
        record = _described(identifier, context)
        model = parse_identifier(record.identifier)
        return civitai.listed_versions(model.id, context) if model.source == "civitai" else [Listing(record)]


def describe(config: ResolverConfig, identifier: Identifier, *, seconds: float = 20) -> LoraRecord:
    """What its source says of one LoRA. Raises a LoraResolverError."""
    with _context(config, seconds) as context:
        return _described(identifier, context)


def fetch_picture(config: ResolverConfig, url: str, *, width: int = 512, seconds: float = 20) -> bytes:
    """A preview picture, as bytes that nobody has looked at yet; about `width` wide where its service can scale.

    `url` is what a service gave, and is held to the rules for such addresses. Raises TransferFailed.
    """
    address = _PICTURE_SIZE.sub(rf"\1/width={width}/", url, count=1)
    with (
        _context(config, seconds) as context,
        context.transport.open(address, given_by_server=True) as answer,
    ):
        if answer.status != 200:
            raise TransferFailed(
                f"the picture's server answered with status {answer.status}",
                code="badAnswer",
                remedy="Try later.",
            )
        content = bytearray()
        for chunk in answer.chunks():
            content += chunk
            if len(content) > MAX_PICTURE_BYTES:
                raise TransferFailed(
                    f"the picture has more than {MAX_PICTURE_BYTES:,} bytes",
                    code="tooLarge",
                    remedy="Do without.",
                )
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
        f"no service is asked about {identifier}",
        code="notFound",
        remedy="What is known of it is in its file.",
    )


@contextlib.contextmanager
def _context(config: ResolverConfig, seconds: float) -> Iterator[SourceContext]:
    """What a source works with, taken away after `seconds`."""
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
            f"there was no answer within {seconds:.0f} s", code="timedOut", remedy="Try again later."
        ) from None
    finally:
        timer.cancel()
