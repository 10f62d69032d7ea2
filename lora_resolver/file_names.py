"""Names of files that came over the network, made safe to create on any disk."""

from __future__ import annotations

import hashlib
import re
import unicodedata

__all__ = ["safe_file_name"]

MAX_BYTES = 150
"""Longest name in UTF-8 bytes. File systems allow 255; sidecars and temporary files add to it."""

# Not allowed in names on Windows, or with a meaning in paths anywhere.
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_FORBIDDEN = frozenset('<>:"/\\|?*')
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)


def safe_file_name(name: str, *, fallback: str = "lora") -> str:
    """A name that means the same file on Linux, macOS and Windows, ends in `.safetensors` and has no path in it.

    Letters of all scripts are kept. What separates, controls, hides or folds into a separator becomes `_`.

    >>> safe_file_name("../../evil.safetensors")
    'evil.safetensors'
    >>> safe_file_name("Ränder & Töne.safetensors")
    'Ränder & Töne.safetensors'
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    kept = "".join(character if _harmless(character) else "_" for character in last)
    stem = re.sub(r"\.safetensors$", "", kept, flags=re.IGNORECASE)
    # Windows drops dots and spaces at the end; a leading dot hides the file, a leading dash looks like an option.
    stem = stem.strip(" .").lstrip("-")
    if not stem.strip("_"):
        stem = fallback
    if _RESERVED.match(stem):
        stem = f"_{stem}"
    return f"{_shortened(stem)}.safetensors"


def _harmless(character: str) -> bool:
    category = unicodedata.category(character)
    if category[0] == "C" or category in (
        "Zl",
        "Zp",
    ):  # control, format, surrogate, unassigned; line separators
        return False
    # A full-width "／" or "．．" turns into the ASCII one on file systems and in tools that fold names (NFKC).
    folded = unicodedata.normalize("NFKC", character)
    return not (_FORBIDDEN & set(folded)) and not (folded != character and "." in folded)


def _shortened(stem: str) -> str:
    if len(stem.encode()) <= MAX_BYTES:
        return stem
    # The mark keeps two long names with one beginning apart.
    mark = hashlib.sha256(stem.encode()).hexdigest()[:8]
    head = stem.encode()[: MAX_BYTES - len(mark) - 1].decode(errors="ignore").rstrip(" .")
    return f"{head}~{mark}"
