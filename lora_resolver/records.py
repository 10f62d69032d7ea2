"""The values that modules exchange: what a source says about a LoRA, the resolved file, and the progress.

`sources/` converts every response of a service to one of these classes, so that no other module handles its dicts.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from .model_file.suggested_weight import (
    SuggestedWeight,
    default_weight_of,
    suggested_weight,
    suggested_weight_of,
)
from .model_file.trigger_words import trigger_words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .identifiers import Identifier
    from .model_file.architecture import Architecture
    from .model_file.safetensors_header import SafetensorsHeader
    from .safe_files import FileState

__all__ = [
    "FileRecord",
    "LoraRecord",
    "PeekedLora",
    "Phase",
    "Progress",
    "ResolvedLora",
]

Phase = Literal["look up", "wait", "download", "verify", "store", "done"]


@dataclass(frozen=True)
class FileRecord:
    """One downloadable file of a LoRA, as its source describes it."""

    name: str
    """The source's name for it, which isn't yet safe as a file name on this disk."""
    url: str
    size: int | None = None
    """Bytes, or None where the source does not say."""
    sha256: str | None = None
    """64 lower-case hex digits, or None where the source does not say."""
    id: int | None = None
    format: str = ""
    primary: bool = True
    """Whether an identifier without a file ID means this file."""
    traits: tuple[tuple[str, str], ...] = ()
    """What else distinguishes it from the version's other files, in lower case: format, fp, size, type."""
    is_model: bool = True
    """Whether it is a model that can be loaded, and not training data, a text encoder, or an archive."""
    scan: str = ""
    """What the source's own virus and pickle scans found: "Success", "Danger", …"""
    storage_url: str = field(default="", repr=False)
    """The address that `url` redirected to, if the source named it. It saves a redirect until its signature expires."""


@dataclass(frozen=True)
class LoraRecord:
    """What a source says about one version of a LoRA."""

    identifier: str
    """Canonical text, without a file id."""
    name: str = ""
    version_name: str = ""
    base_model: str = ""
    """In the source's own words ("SDXL 1.0"): a hint, since authors get it wrong."""
    trigger_words: tuple[str, ...] = ()
    files: tuple[FileRecord, ...] = ()
    preview_url: str = ""
    """The first picture, or the one next to the file."""
    previews: tuple[tuple[str, int], ...] = ()
    """(address, level) of the pictures, in the source's order; for levels see `config.PICTURE_LEVELS`, 0: not known."""
    only_films: bool = False
    """Its page shows videos, but no picture that could be its preview."""
    page_url: str = ""
    creator: str = ""
    """Who published it. Only the source's lists contain it."""
    model_files: tuple[tuple[str, str, str], ...] = ()
    """(file ID, name, traits as in an address) of the version's models, where it has several, such as Wan's High and
    Low."""
    suggested_weight: SuggestedWeight | None = None
    document: str = field(default="", repr=False)
    """The source's own JSON, for the `.civitai.info` that other tools read."""

    def picture(self, most: int) -> tuple[str, bool]:
        """(address, whether it is above this level): the first picture at or below the level, or else the mildest."""
        mild = [url for url, level in self.previews if level <= most]
        if mild or not self.previews:
            return (mild[0] if mild else self.preview_url), False
        return min(self.previews, key=lambda each: each[1])[0], True

    @property
    def preview_level(self) -> int:
        """The level of `preview_url`; 0 where it is unknown."""
        return dict(self.previews).get(self.preview_url, 0)

    def as_dict(self) -> dict[str, Any]:
        """What a later run can use without the network: no files and addresses, since these go out of date."""
        kept = {name: getattr(self, name) for name in _KEPT}
        return (
            kept
            if self.suggested_weight is None
            else {**kept, "suggested_weight": asdict(self.suggested_weight)}
        )

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> LoraRecord:
        """The record from the result of `as_dict`. Raises AttributeError, TypeError or ValueError for anything else."""
        fields: dict[str, Any] = {name: str(content.get(name, "")) for name in _KEPT}
        fields["only_films"] = content.get("only_films") is True
        fields["trigger_words"] = tuple(str(word) for word in content.get("trigger_words", ()))
        fields["model_files"] = tuple(
            (str(number), str(name), str(traits))
            for number, name, traits in content.get("model_files", ())[:MOST_MODEL_FILES]
        )
        fields["previews"] = tuple(
            (str(url), int(level)) for url, level in content.get("previews", ())[:MOST_PREVIEWS]
        )
        said = content.get("suggested_weight")
        if isinstance(said, dict):
            fields["suggested_weight"] = suggested_weight_of(
                said.get("weight"),
                said.get("least"),
                said.get("most"),
                str(said.get("source", ""))[:_LONGEST_SOURCE],
            )
        return cls(**fields)


_LONGEST_SOURCE = 40
_KEPT = (
    "identifier",
    "name",
    "version_name",
    "base_model",
    "trigger_words",
    "preview_url",
    "previews",
    "only_films",
    "page_url",
    "model_files",
)
SIZE_TOLERANCE = 1024
"""Bytes by which a file may differ from the size that a source states: services give sizes in KB, some rounded."""

MOST_MODEL_FILES = 20
MOST_PREVIEWS = 20


@dataclass(frozen=True)
class ResolvedLora:
    """A verified file on this disk, and what is known about it."""

    identifier: Identifier
    path: Path
    sha256: str
    size: int
    source: str
    """Which source answered: "civitai", "huggingface", "local", …"""
    downloaded: bool
    """True when this call fetched it over the network."""
    record: LoraRecord | None
    architecture: Architecture
    trigger_words: tuple[str, ...]
    header: SafetensorsHeader | None = field(default=None, repr=False)
    """As read when the file was verified; None where this call didn't verify it."""
    from_store: bool = False
    """True when this call fetched it from the shared store."""
    state: FileState | None = None
    """The state of the file when its content was known to have this SHA-256; None where it must be read again."""
    warnings: tuple[str, ...] = ()
    """Problems that didn't stop the call, such as a lost connection to the shared store."""


@dataclass(frozen=True)
class Progress:
    """The progress of the work on one identifier."""

    identifier: Identifier
    file_name: str = ""
    phase: Phase = "look up"
    done: int = 0
    """Bytes of this phase that are done."""
    total: int | None = None
    bytes_per_second: float = 0.0
    seconds_left: float | None = None


@dataclass(frozen=True)
class PeekedLora:
    """What is known about a LoRA before any of its weights are downloaded."""

    identifier: Identifier
    path: Path | None
    """Its path, if it is already on this disk."""
    file_name: str
    size: int | None
    sha256: str | None
    """From the source, or from the verification of the file on this disk; None where it is unknown."""
    source: str
    record: LoraRecord | None
    header: SafetensorsHeader | None
    """None where the source doesn't allow reading it without the whole file."""
    bytes_read: int
    """Bytes of the file that were downloaded for this."""

    @cached_property
    def architecture(self) -> Architecture | None:
        """Detected from the header on first use; None without a header."""
        from .model_file.architecture import (
            detect_architecture,
        )  # imported late, so that ComfyUI's start doesn't wait for the table of families

        return None if self.header is None else detect_architecture(self.header)

    @property
    def trigger_words(self) -> tuple[str, ...]:
        """The same as for a resolved file."""
        recorded = self.record.trigger_words if self.record else ()
        return trigger_words(recorded, self.header.metadata if self.header else None, self.path)

    @property
    def suggested_weight(self) -> SuggestedWeight | None:
        """The weight that notes next to the file, its header, or its source suggest."""
        default = default_weight_of(self.header.metadata) if self.header else ""
        return suggested_weight(self.path, default, self.record.suggested_weight if self.record else None)
