"""Where a workflow says that a model's file comes from.

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

__all__ = ["Origin", "origin_of"]

_ADDRESS = re.compile(r"https?://[^\s\"<>]{1,500}")


@dataclass(frozen=True)
class Origin:
    """What is said of one file."""

    identifier: Identifier | None = None
    """As one of our sources names it."""
    address: str = ""
    """Where it is none of theirs."""
    sha256: str = ""


def origin_of(file: str, models: Sequence[Mapping[str, Any]]) -> Origin:
    """What these entries say of a file that a LoRA loader names."""
    wanted = file.replace("\\", "/").rpartition("/")[2]
    for entry in models:
        directory, name = str(entry.get("directory", "")), str(entry.get("name", ""))
        if not directory.startswith("loras") or name.replace("\\", "/").rpartition("/")[2] != wanted:
            continue
        digest = str(entry.get("hash", "")).lower()
        is_sha = str(entry.get("hash_type", "")).lower().replace("-", "") == "sha256"
        sha256 = digest if is_sha and re.fullmatch("[0-9a-f]{64}", digest) else ""
        url = entry.get("url")
        if not isinstance(url, str):
            return Origin(sha256=sha256)
        try:
            return Origin(parse_identifier(url), sha256=sha256)
        except InvalidIdentifier:
            address = _ADDRESS.match(url)
            # What is behind the ? may be somebody's token.
            return Origin(address=address[0].partition("?")[0] if address else "", sha256=sha256)
    return Origin()
