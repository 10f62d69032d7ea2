"""CivArchive, https://civarchive.com: finds files that CivitAI no longer has. Used only if the user enables it.

    GET <archive>/sha256/<64 hex>   →   somewhere in it: {"sha256": …, "mirrors": [{"url", "filename", "deletedAt"}, …]}

The response format isn't documented, so it is read leniently. The SHA-256 of the downloaded file decides. Mirrors can
be anybody's servers: they must follow the rules for addresses that come from a server.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..errors import LoraResolverError
from ..identifiers.file_names import is_safetensors
from ..records import FileRecord, LoraRecord
from .context import RemoteFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .context import FetchableFile, SourceContext

__all__ = ["locate"]

MAX_MIRRORS = 5
_MAX_NODES = 20_000


def locate(
    sha256: str | None, context: SourceContext, *, like: FetchableFile | None = None
) -> RemoteFile | None:
    """Mirrors of the file with this SHA-256; None if the archive is disabled or doesn't know any.

    `like` is the offer of a source that no longer has the file. Its metadata is kept.
    """
    address = context.config.archive_url
    if address is None or sha256 is None or context.config.offline:
        return None
    try:
        answer = context.transport.get_json(f"{address}/sha256/{sha256}")
    except LoraResolverError:
        return None  # the source's own response is the one to show
    if answer.status != 200:
        return None
    urls, names = _mirrors(answer.body, sha256)
    if not urls:
        return None
    if like is not None:
        source, folder, record, identifiers = like.source, like.folder, like.record, like.identifiers
        name, size = like.file.name, like.file.size
    else:
        source, folder, identifiers = "archive", sha256, (f"sha256:{sha256}",)
        name, size = next(iter(names), "lora.safetensors"), None
        record = LoraRecord(f"sha256:{sha256}", name=_title(answer.body) or name)
    return RemoteFile(
        source=source,
        folder=folder,
        record=record,
        file=FileRecord(name=name, url=urls[0], size=size, sha256=sha256, format="SafeTensor"),
        identifiers=identifiers,
        explain=lambda _answer: None,
        mirrors=tuple(urls[1:MAX_MIRRORS]),
    )


def _mirrors(body: Any, sha256: str) -> tuple[list[str], list[str]]:
    """(addresses, file names) of the mirrors that are listed for exactly this file."""
    urls: list[str] = []
    names: list[str] = []
    for node in _objects(body):
        if str(node.get("sha256", "")).lower() != sha256 or not isinstance(node.get("mirrors"), list):
            continue
        for mirror in node["mirrors"]:
            if not isinstance(mirror, dict) or mirror.get("deletedAt"):
                continue
            url, name = mirror.get("url"), mirror.get("filename")
            if isinstance(url, str) and re.match(r"https?://", url):
                urls.append(url)
            if isinstance(name, str) and is_safetensors(name):
                names.append(name)
    return list(dict.fromkeys(urls)), names


def _title(body: Any) -> str:
    for node in _objects(body):
        if isinstance(node.get("name"), str):
            return str(node["name"])
    return ""


def _objects(body: Any) -> Iterator[dict[str, Any]]:
    """Every object in the JSON, outer ones first."""
    waiting = [body]
    for _ in range(_MAX_NODES):
        if not waiting:
            return
        node = waiting.pop(0)
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
