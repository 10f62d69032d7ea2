"""What a service's page says about a model besides its files. For people to read; it proves nothing."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..records import LoraRecord

__all__ = ["Licence", "ModelPage", "VersionPage", "text_of_html"]


@dataclass(frozen=True)
class Licence:
    """What the author allows. None: the page doesn't say."""

    name: str = ""
    """As a model card writes it: "apache-2.0"."""
    credit_needed: bool | None = None
    commercial: tuple[str, ...] | None = None
    """CivitAI's values for what may be sold: "Image", "RentCivit", "Rent", "Sell". Empty: nothing."""
    derivatives: bool | None = None
    same_licence: bool | None = None
    """Whether derivatives must have the same terms."""


@dataclass(frozen=True)
class VersionPage:
    """One version, as the page shows it."""

    record: LoraRecord
    published: str = ""
    """The day, such as 2026-01-31."""
    about: str = ""
    """What is new in it, as the author writes it."""
    refused: bool = False
    """Whether its service already says that it isn't available."""


@dataclass(frozen=True)
class ModelPage:
    """A model with all of its versions, newest first."""

    name: str
    description: str = ""
    creator: str = ""
    tags: tuple[str, ...] = ()
    licence: Licence = Licence()
    versions: tuple[VersionPage, ...] = ()

    def newer_than(self, identifier: str) -> tuple[VersionPage, ...]:
        """Available versions for the same base model that were published on a later day, newest first.

        The order on the page doesn't matter, because the author chooses it. The high-noise and low-noise versions of
        one LoRA don't count as updates of each other.
        """
        own = next((each for each in self.versions if each.record.identifier == identifier), None)
        if own is None or not own.published:
            return ()
        later = [
            each
            for each in self.versions
            if each.record.base_model == own.record.base_model
            and each.published > own.published
            and not each.refused
            and _noise(each.record.version_name) == _noise(own.record.version_name)
        ]
        return tuple(sorted(later, key=lambda each: each.published, reverse=True))

    def with_weight(self, identifier: str, weight: Any) -> ModelPage:
        """The same page with a suggested weight from elsewhere for one version."""
        return replace(
            self,
            versions=tuple(
                replace(each, record=replace(each.record, suggested_weight=weight))
                if each.record.identifier == identifier
                else each
                for each in self.versions
            ),
        )


def _noise(version_name: str) -> str:
    """Which expert of a high-noise and low-noise pair the version is for, according to its name."""
    found = re.search(r"(?:\b|_)(high|low)(?:\b|_)|\b(h|l)n\b", version_name.lower())
    return (found[1] or found[2])[0] if found else ""


_LONGEST_HTML = 60_000
_TAG = re.compile(r"(<[/!?a-zA-Z][^<>]*>)")
_NAME = re.compile(r"</?\s*([a-zA-Z][a-zA-Z0-9]{0,20})")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,30});")
_BREAKS = frozenset(
    {"p", "br", "div", "li", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "tr", "pre"}
)
_SILENT = frozenset({"script", "style"})


def text_of_html(content: object) -> str:
    """The text of a description, with a line for each paragraph, without links and pictures.

    Makes a single pass over the text: an HTML parser can take minutes for text that is designed to slow it down.
    """
    if not isinstance(content, str):
        return ""
    parts: list[str] = []
    silent = ""
    for part in _TAG.split(content[:_LONGEST_HTML]):
        named = _NAME.match(part) if part.startswith("<") and part.endswith(">") else None
        name = named[1].lower() if named else ""
        if silent:
            silent = "" if name == silent and part.startswith("</") else silent
        elif not part.startswith("<") or not part.endswith(">"):
            plain = _ENTITY.sub(lambda found: html.unescape(found[0]), part)
            parts.append(re.sub(r"\s+", " ", plain))
        elif name in _SILENT and not part.endswith("/>"):
            silent = name
        elif name in _BREAKS:
            parts.append("\n- " if name == "li" and not part.startswith("</") else "\n")
    lines = [" ".join(line.split()) for line in "".join(parts).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line for line in lines if line != "-")).strip()
