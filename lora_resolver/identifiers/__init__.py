"""One identifier: many spellings in, one frozen value with one canonical text out."""

from __future__ import annotations

from .identifier import Identifier, parse_identifier

__all__ = ["Identifier", "parse_identifier"]
