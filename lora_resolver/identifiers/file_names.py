"""File names: makes names from the network safe to create on any disk, and users' names comparable."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from pathlib import Path, PurePath, PureWindowsPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "fitted",
    "folded",
    "is_safetensors",
    "listed_name",
    "marked",
    "name_below",
    "name_finder",
    "safe_file_name",
    "safe_folder",
    "short_name",
    "without_ending",
]

MAX_BYTES = 150
"""Longest name in UTF-8 bytes. File systems allow 255; sidecars and temporary files add to it."""

WINDOWS_MAX_PATH = 259
"""Maximum length of a whole path on Windows, in characters, unless long paths are enabled: MAX_PATH without its NUL.
https://learn.microsoft.com/windows/win32/fileio/maximum-file-path-limitation"""

_ENDING = ".safetensors"
_ENDINGS = (_ENDING, ".sft")
"""ComfyUI's loaders list both (folder_paths.supported_pt_extensions)."""
_LONGEST_ENDING = f"{_ENDING}.air-part.json"
"""The longest ending of the files that are written next to a model."""
_SHORTEST_STEM = 16
"""Names aren't cut below this length. If the path is still too long, the system reports it."""

# Not allowed in names on Windows, or with a special meaning in paths on any system.
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_FORBIDDEN = frozenset('<>:"/\\|?*')
# Windows compares the part before the first dot, without trailing spaces.
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|$)", re.IGNORECASE)
_MARK_DIGITS = 8


def is_safetensors(name: str) -> bool:
    """Whether a name ends in `.safetensors` or `.sft`, in any case.

    >>> is_safetensors("flux/a.SFT")
    True
    """
    return name.lower().endswith(_ENDINGS)


def without_ending(name: str) -> str:
    """`name` without `.safetensors` or `.sft` at its end.

    >>> without_ending("flux/a.sft")
    'flux/a'
    """
    return next((name[: -len(each)] for each in _ENDINGS if name.lower().endswith(each)), name)


def safe_file_name(name: str, *, fallback: str = "lora") -> str:
    """A name that means the same file on Linux, macOS and Windows, ends in `.safetensors`, and contains no path.

    Letters of all scripts are kept. Separators, control characters, invisible characters, and characters that fold
    into a separator become `_`.

    >>> safe_file_name("../../evil.safetensors")
    'evil.safetensors'
    >>> safe_file_name("Ränder & Töne.safetensors")
    'Ränder & Töne.safetensors'
    """
    last = _harmless_text(re.split(r"[/\\]", name)[-1])
    return _safe_part(without_ending(last), fallback) + _ENDING


def safe_folder(name: str) -> str:
    """The same for a folder with forward slashes between its parts: `org/repo@main`. Parts such as `..` stay, so that
    they are rejected later.

    >>> safe_folder("con/repo@main")
    '_con/repo@main'
    """
    parts = name.split("/")
    return "/".join(
        part if part in ("", ".", "..") else _safe_part(_harmless_text(part), "folder") for part in parts
    )


def short_name(name: str, most_bytes: int) -> str:
    """`name`, or if it is too long, a hash of it and its end, in at most `most_bytes` bytes of UTF-8."""
    if len(name.encode()) <= most_bytes:
        return name
    mark = f"{_mark(name)}~"
    return mark + name.encode()[len(mark) - most_bytes :].decode(errors="ignore")


def marked(name: str, of: str) -> str:
    """`name.safetensors` → `name~0a1b2c3d.safetensors`, with a hash of another text, for a name that is taken."""
    return f"{name.removesuffix(_ENDING)}~{_mark(of)}{_ENDING}"


def fitted(folder: PurePath, name: str) -> str:
    """`name.safetensors`, shortened if its whole path, or that of a sidecar, would be too long for Windows."""
    if not isinstance(folder, PureWindowsPath):
        return name
    room = WINDOWS_MAX_PATH - len(str(folder)) - 1 - len(_LONGEST_ENDING)
    stem = name.removesuffix(_ENDING)
    if len(stem) <= room:
        return name
    head = stem[: max(room, _SHORTEST_STEM) - _MARK_DIGITS - 1].rstrip(" .")
    return marked(f"{head}{_ENDING}", stem)


def folded(name: str) -> str:
    """The name without the differences that macOS or Windows ignores: case, and how accents are encoded."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def listed_name(name: str, names: Sequence[str]) -> str:
    """The one of `names` that a shorter name means: its path without the ending, or only its file name. An exact match
    comes first, then a match in any case. Without a match, the name itself, with the ending."""
    return name_finder(names)(name)


def name_finder(names: Sequence[str]) -> Callable[[str], str]:
    """`listed_name` for many names among the same files, which are indexed only once."""
    listed = set(names)
    by_path: dict[str, str] = {}
    by_name: dict[str, str] = {}

    def find(name: str) -> str:
        whole = name if is_safetensors(name) else name + _ENDING
        for exact in (whole.replace("\\", "/"), name.replace("\\", "/")):
            if exact in listed:
                return exact
        if names and not by_path:
            for each in reversed(names):
                by_path[_stem(each)] = each
                by_name[_stem(each).rpartition("/")[2]] = each
        wanted = _stem(name)
        return by_path.get(wanted) or by_name.get(wanted.rpartition("/")[2]) or whole

    return find


def _stem(name: str) -> str:
    return without_ending(folded(name.replace("\\", "/")))


def name_below(path: PurePath, folders: Iterable[PurePath]) -> str | None:
    """The path relative to the first of these folders that contains it, with "/" between parts. Links are followed only
    if the paths as they are written don't match. None for a path outside all of them."""
    folders = list(folders)
    for folder in folders if ".." not in path.parts else ():
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    if isinstance(path, Path):
        real = Path(os.path.realpath(path))
        for folder in folders:
            real_folder = Path(os.path.realpath(folder))
            if real.is_relative_to(real_folder):
                return real.relative_to(real_folder).as_posix()
    return None


def _harmless_text(text: str) -> str:
    return "".join(
        character if _harmless(character) else "_" for character in unicodedata.normalize("NFC", text)
    )


def _safe_part(text: str, fallback: str) -> str:
    # Windows drops dots and spaces at the end; a leading dot hides the file, a leading dash looks like an option.
    stem = text.rstrip(" .").lstrip(" .-")
    if not stem.strip("_"):
        stem = fallback
    if _RESERVED.match(stem):
        stem = f"_{stem}"
    return _shortened(stem)


def _harmless(character: str) -> bool:
    category = unicodedata.category(character)
    if category[0] == "C" or category in (
        "Zl",
        "Zp",
    ):  # control, format, surrogate, unassigned; line separators
        return False
    # A full-width "／" or "．．" becomes the ASCII one on file systems and in tools that normalize names (NFKC).
    folded_character = unicodedata.normalize("NFKC", character)
    return not (_FORBIDDEN & set(folded_character)) and not (
        folded_character != character and "." in folded_character
    )


def _shortened(stem: str) -> str:
    if len(stem.encode()) <= MAX_BYTES:
        return stem
    # The hash distinguishes long names that begin alike.
    head = stem.encode()[: MAX_BYTES - _MARK_DIGITS - 1].decode(errors="ignore").rstrip(" .")
    return f"{head}~{_mark(stem)}"


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_MARK_DIGITS]
