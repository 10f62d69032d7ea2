"""Where a model's file comes from, according to the workflow.

The page saves it in a node: `"properties": {"models": [{"name": "style.safetensors", "url": "https://…", "directory":
"loras", "hash": "…", "hash_type": "SHA256"}]}` (https://docs.comfy.org/specs/workflow_json).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InvalidIdentifier
from ..identifiers import parse_identifier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..identifiers import Identifier

__all__ = ["Origin", "index_of", "origin_of"]

_ADDRESS = re.compile(r"https?://[^\s\"<>]{1,500}")


@dataclass(frozen=True)
class Origin:
    """The origin of one file."""

    identifier: Identifier | None = None
    """The identifier in one of our sources; the SHA-256 if the workflow contains only that and no address of theirs."""
    address: str = ""
    """The address, if it doesn't belong to one of our sources."""
    sha256: str = ""


def index_of(models: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """File name without folder → the first entry for it in a `loras` folder."""
    index: dict[str, Mapping[str, Any]] = {}
    for entry in models:
        if str(entry.get("directory", "")).startswith("loras"):
            index.setdefault(_bare(str(entry.get("name", ""))), entry)
    return index


def origin_of(file: str, models: Mapping[str, Mapping[str, Any]]) -> Origin:
    """The origin of a LoRA loader's file, from the indexed entries."""
    entry = models.get(_bare(file))
    if entry is None:
        return Origin()
    digest = str(entry.get("hash", "")).lower()
    is_sha = str(entry.get("hash_type", "")).lower().replace("-", "") == "sha256"
    sha256 = digest if is_sha and re.fullmatch("[0-9a-f]{64}", digest) else ""
    by_hash = parse_identifier(f"sha256:{sha256}") if sha256 else None
    url = entry.get("url")
    if not isinstance(url, str):
        return Origin(by_hash, sha256=sha256)
    try:
        return Origin(parse_identifier(url), sha256=sha256)
    except InvalidIdentifier:
        # The query, or the part before an @, may contain a token or a password.
        address = _ADDRESS.match(url.partition("?")[0])
        shown = re.sub(r"//[^/@]*@", "//", address[0]) if address else ""
        return Origin(by_hash, shown, sha256)


def _bare(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]
