"""Prepares text for error messages: user input is safe to print, short, and without secrets."""

from __future__ import annotations

import difflib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SETTINGS_ON_THE_PAGE", "nearest", "quoted", "setting", "version"]

# Every repetition is bounded, so that a hostile text can't slow down the search.
_SECRETS = (
    # A query or fragment with values: download addresses contain `?token=…` and signatures.
    re.compile(r"[?#](?=[^?#\s]{0,2000}(?:=|%3d)).*", re.IGNORECASE | re.DOTALL),
    re.compile(
        r"(?:(?:token|secret|passw(?:or)?d|api[_-]?key|signature|credential)[^=\s]{0,40}?(?:=|%3d)|bearer\s{1,8})"
        r"[^&\s]+",
        re.IGNORECASE,
    ),
    re.compile(r"(?<=//)[^/@\s]{1,400}(?=@)"),  # https://user:password@host
    re.compile(r"\bhf_[A-Za-z0-9]{8,400}"),  # a Hugging Face access token
)
# Long enough for every secret pattern to match, and short enough to search quickly.
_LOOKED_AT = 4096


def quoted(text: str, limit: int = 90) -> str:
    """`text` in double quotes for a one-line message.

    Secrets become `…`, unprintable characters become escapes, and text after `limit` characters is cut off.
    """
    shown = text[:_LOOKED_AT]
    for secret in _SECRETS:
        shown = secret.sub("…", shown)
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)
    if len(shown) > limit or len(text) > _LOOKED_AT:
        shown = shown[: limit - 1] + "…"
    return f'"{shown}"'


def nearest(word: str, choices: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The one of `choices` that `word` most likely means, or None."""
    by_lower = {choice.lower(): choice for choice in choices}
    matches = difflib.get_close_matches(word[:64].lower(), list(by_lower), n=1, cutoff=cutoff)
    return by_lower[matches[0]] if matches else None


SETTINGS_ON_THE_PAGE = {
    "AIR_LORA_DIR": "Download folder",
    "AIR_LORA_OFFLINE": "Offline",
    "CIVITAI_API_TOKEN": "CivitAI token",
    "HF_TOKEN": "Hugging Face token",
}


def setting(key: str) -> str:
    """The name of a setting on ComfyUI's page, with the environment variable that the command line reads."""
    return f'the setting "{SETTINGS_ON_THE_PAGE[key]}" (on the command line: {key})'


@cache
def version() -> str:
    """The pack's version from its pyproject.toml; "" where that file is missing."""
    try:
        text = (Path(__file__).resolve().parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    except OSError:
        return ""
    found = re.search(r'^version = "([^"]+)"', text, re.MULTILINE)
    return found[1] if found else ""
