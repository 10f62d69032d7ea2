"""Parses any spelling of an identifier into one immutable value with one canonical text."""

from __future__ import annotations

from .identifier import Identifier, parse_identifier

__all__ = ["Identifier", "parse_identifier"]
