"""Where LoRAs come from: one module per source, and the table of sources.

A source is a function `locate(identifier, context)`. It returns where the file of an identifier is available: on this
disk, under another identifier, or as a file to download. It raises the errors of `errors.py`, and never downloads
weights itself. To add a source, add one module and one line in `SOURCES`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import civitai, hosted, huggingface, local

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..identifiers import Identifier
    from .context import Finding, SourceContext

__all__ = ["SOURCES", "locate"]

SOURCES: Mapping[str, Callable[[Identifier, SourceContext], Finding]] = {
    "civitai": civitai.locate,
    "sha256": civitai.locate_by_hash,
    "huggingface": huggingface.locate,
    "local": local.locate,
}
"""Identifier source → function. Every other name is a provider whose weights aren't public."""


def locate(identifier: Identifier, context: SourceContext) -> Finding:
    """Calls the source of the identifier."""
    return SOURCES.get(identifier.source, hosted.locate)(identifier, context)
