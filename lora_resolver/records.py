"""The values that travel between the parts: what a source says of a LoRA, what came of it, how far the work is.

Everything that a service answers becomes one of these at the edge, in `sources/`; no dict travels further in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from .model_file.trigger_words import trigger_words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .identifiers import Identifier
    from .model_file.architecture import Architecture
    from .model_file.safetensors_header import SafetensorsHeader
    from .safe_files import FileState

__all__ = ["FileRecord", "LoraRecord", "PeekedLora", "Phase", "Progress", "ResolvedLora"]

Phase = Literal["look up", "wait", "download", "verify", "store", "done"]


@dataclass(frozen=True)
class FileRecord:
    """One downloadable file of a LoRA, as its source describes it."""

    name: str
    """The name that the source gives it; not yet safe as a name on this disk."""
    url: str
    size: int | None = None
    """Bytes, or None where the source does not say."""
    sha256: str | None = None
    """64 lower-case hex digits, or None where the source does not say."""
    id: int | None = None
    format: str = ""
    primary: bool = True
    """What the name without a file id stands for."""
    traits: tuple[tuple[str, str], ...] = ()
    """What else tells it from the version's other files, in lower case: format, fp, size, type."""
    is_model: bool = True
    """Whether it is a model that can be loaded, and no training data, text encoder or archive beside one."""
    scan: str = ""
    """What the source's own virus and pickle scans found: "Success", "Danger", …"""
    storage_url: str = field(default="", repr=False)
    """Where `url` led a moment ago, if the source said so: a way that is shorter for as long as it is signed."""


@dataclass(frozen=True)
class LoraRecord:
    """What a source says of one version of a LoRA."""

    identifier: str
    """Canonical text, without a file id."""
    name: str = ""
    version_name: str = ""
    base_model: str = ""
    """In the source's own words ("SDXL 1.0"): a hint, since authors get it wrong."""
    trigger_words: tuple[str, ...] = ()
    files: tuple[FileRecord, ...] = ()
    preview_url: str = ""
    """The first picture, or the one that lies beside the file."""
    previews: tuple[tuple[str, int], ...] = ()
    """(address, level) of the pictures, in the source's order; for levels see `config.PICTURE_LEVELS`, 0: not known."""
    only_films: bool = False
    """Its page shows films, and no picture that could stand for it."""
    page_url: str = ""
    creator: str = ""
    """Who published it; known from lists of the source alone."""
    model_files: tuple[tuple[str, str, str], ...] = ()
    """(file id, name, traits as an address says them) of the version's models, where it has several: Wan's High and
    Low, say."""
    document: str = field(default="", repr=False)
    """The source's own JSON, for the `.civitai.info` that other tools read."""

    def picture(self, most: int) -> tuple[str, bool]:
        """The first picture at or below this level, and whether there is none: then it is the mildest of the others."""
        mild = [url for url, level in self.previews if level <= most]
        if mild or not self.previews:
            return (mild[0] if mild else self.preview_url), False
        return min(self.previews, key=lambda each: each[1])[0], True

    @property
    def preview_level(self) -> int:
        """The level of `preview_url`; 0 where nobody said."""
        return dict(self.previews).get(self.preview_url, 0)

    def as_dict(self) -> dict[str, Any]:
        """What a later run can use without the network; files and their addresses would only grow old."""
        return {name: getattr(self, name) for name in _KEPT}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> LoraRecord:
        """The record that `as_dict` gave. Raises AttributeError, TypeError or ValueError for something else."""
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
        return cls(**fields)


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
    """A verified file on this disk, and what is known of it."""

    identifier: Identifier
    path: Path
    sha256: str
    size: int
    source: str
    """Which source answered: "civitai", "huggingface", "local", …"""
    downloaded: bool
    """True when this very call brought it over the network."""
    record: LoraRecord | None
    architecture: Architecture
    trigger_words: tuple[str, ...]
    header: SafetensorsHeader | None = field(default=None, repr=False)
    """As it was when the file was verified; None where that was not in this call."""
    from_store: bool = False
    """True when this very call brought it from the shared store."""
    state: FileState | None = None
    """Of the file when its content was known to have this SHA-256; None where that has to be read again."""
    warnings: tuple[str, ...] = ()
    """What went wrong on the way and did no harm, such as a shared store that was lost."""


@dataclass(frozen=True)
class Progress:
    """How far the work on one identifier is."""

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
    """What is known of a LoRA before a byte of its weights is downloaded."""

    identifier: Identifier
    path: Path | None
    """Where it lies, if it is on this disk already."""
    file_name: str
    size: int | None
    sha256: str | None
    """As the source promises it, or as it was when the file on this disk was verified; None where nobody has said."""
    source: str
    record: LoraRecord | None
    header: SafetensorsHeader | None
    """None where the source does not let it be read without the whole file."""
    bytes_read: int
    """Bytes of the file that came over the network for this."""

    @cached_property
    def architecture(self) -> Architecture | None:
        """From the header, once somebody asks; None without one."""
        from .model_file.architecture import (
            detect_architecture,
        )  # late: no start of ComfyUI waits for the table of families

        return None if self.header is None else detect_architecture(self.header)

    @property
    def trigger_words(self) -> tuple[str, ...]:
        """As of a resolved file."""
        recorded = self.record.trigger_words if self.record else ()
        return trigger_words(recorded, self.header.metadata if self.header else None, self.path)
