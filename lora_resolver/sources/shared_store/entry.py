"""What a shared store contains for a name: which file it is, and what its source said about it.

<store>/
├── names/civitai/120096@135931.json            one for each name of the file
├── names/sha256/7d4e….json
├── files/7d/7d4e….safetensors                  the file, under its SHA-256
├── files/7d/7d4e….preview.jpeg                 its picture
└── uploads/                                    files that are being written, on stores that need it
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...identifiers.rules import check_digest
from ...records import LoraRecord
from ...safe_files import parse_json

if TYPE_CHECKING:
    from ...identifiers import Identifier

__all__ = ["FILES", "NAMES", "Entry", "file_name", "may_be_kept", "name_of", "stands_still"]

FILES = "files"
NAMES = "names"
_FORMAT = 1
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PLAIN = re.compile(r"[A-Za-z0-9@+][A-Za-z0-9@+._-]{0,120}")


@dataclass(frozen=True)
class Entry:
    """One file of a shared store."""

    sha256: str
    size: int
    file_name: str
    """As its source calls it. Not yet safe as a name on this disk."""
    source: str
    folder: str
    """The folder below `air/<source>/` on this disk: "120096@135931"."""
    kind: str
    """One of `config.KINDS`."""
    identifiers: tuple[str, ...]
    record: LoraRecord
    preview: str = ""
    """Extension of the picture's name; empty if there is none."""

    @property
    def title(self) -> str:
        """Name and version as its source writes them."""
        return " ".join(filter(None, (self.record.name, self.record.version_name)))

    def as_json(self, identifier: str) -> bytes:
        """The content that is stored under one of its names."""
        content = {
            "format": _FORMAT,
            "identifier": identifier,
            "sha256": self.sha256,
            "size": self.size,
            "file_name": self.file_name,
            "source": self.source,
            "folder": self.folder,
            "kind": self.kind,
            "identifiers": list(self.identifiers),
            "preview": self.preview,
            "record": {**self.record.as_dict(), "document": self.record.document},
        }
        return json.dumps(content, indent=1, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, text: bytes, identifier: str | None = None) -> Entry | None:
        """Parses the content for a name; None if it is for another name, or not in the format of `as_json`."""
        try:
            content = parse_json(text)
            if content["format"] != _FORMAT or identifier not in (None, content["identifier"]):
                return None
            sha256, preview = str(content["sha256"]), str(content["preview"])
            check_digest(sha256)
            record = LoraRecord.from_dict(content["record"])
            return cls(
                sha256=sha256,
                size=int(content["size"]),
                file_name=str(content["file_name"]),
                source=str(content["source"]),
                folder=str(content["folder"]),
                kind=str(content["kind"]),
                identifiers=tuple(str(each) for each in content["identifiers"]),
                record=replace(record, document=str(content["record"].get("document", ""))),
                preview=preview if preview.isalnum() else "",
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None


def stands_still(identifier: Identifier) -> bool:
    """Whether the name always stands for the same file."""
    if identifier.source == "huggingface":  # a branch or a tag can move, a commit can't
        return identifier.path is not None and _COMMIT.fullmatch(identifier.version or "") is not None
    return identifier.source == "sha256" or (identifier.source == "civitai" and _has_version(identifier))


def may_be_kept(identifier: Identifier) -> bool:
    """Whether a store may contain the name, although the source may return another file for it by now."""
    if identifier.source == "huggingface":
        return identifier.path is not None
    return stands_still(identifier)


def _has_version(identifier: Identifier) -> bool:
    return identifier.version not in (None, "latest")


def name_of(identifier: str) -> str:
    """The path of a name's entry. Every store accepts such a path. A long or unusual name is replaced by its hash."""
    source, _, rest = identifier.partition(":")
    plain = _PLAIN.fullmatch(rest) is not None
    return f"{NAMES}/{source}/{rest if plain else '~' + hashlib.sha256(rest.encode()).hexdigest()}.json"


def file_name(sha256: str, ending: str = "safetensors") -> str:
    """The path of the file with this SHA-256, or of its picture."""
    return f"{FILES}/{sha256[:2]}/{sha256}.{ending}"
