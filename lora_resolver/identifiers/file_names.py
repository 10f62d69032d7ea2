"""Names of files: those that came over the network made safe to create on any disk, those of users made comparable."""

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
"""Characters of a whole path on Windows unless longer ones are switched on: MAX_PATH without its NUL.
https://learn.microsoft.com/windows/win32/fileio/maximum-file-path-limitation"""

_ENDING = ".safetensors"
_ENDINGS = (_ENDING, ".sft")
"""ComfyUI's loaders list both (folder_paths.supported_pt_extensions)."""
_LONGEST_ENDING = f"{_ENDING}.air-part.json"
"""Of all that is written beside a file."""
_SHORTEST_STEM = 16
"""Where a folder leaves no room at all, the system says so."""

# Not allowed in names on Windows, or with a meaning in paths anywhere.
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_FORBIDDEN = frozenset('<>:"/\\|?*')
# Windows looks at what stands before the first dot, without spaces at its end.
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|$)", re.IGNORECASE)
_MARK_DIGITS = 8


def is_safetensors(name: str) -> bool:
    """Whether a name ends as the files do that are read here, in whatever case.

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
    """A name that means the same file on Linux, macOS and Windows, ends in `.safetensors` and has no path in it.

    Letters of all scripts are kept. What separates, controls, hides or folds into a separator becomes `_`.

    >>> safe_file_name("../../evil.safetensors")
    'evil.safetensors'
    >>> safe_file_name("Ränder & Töne.safetensors")
    'Ränder & Töne.safetensors'
    """
    last = _harmless_text(re.split(r"[/\\]", name)[-1])
    return _safe_part(without_ending(last), fallback) + _ENDING


def safe_folder(name: str) -> str:
    """The same for a folder with forward slashes between its parts: `org/repo@main`. What leads out of it stays, to be
    refused.

    >>> safe_folder("con/repo@main")
    '_con/repo@main'
    """
    parts = name.split("/")
    return "/".join(
        part if part in ("", ".", "..") else _safe_part(_harmless_text(part), "folder") for part in parts
    )


def short_name(name: str, most_bytes: int) -> str:
    """`name`, or its end with a mark of the whole, in at most so many bytes of UTF-8."""
    if len(name.encode()) <= most_bytes:
        return name
    mark = f"{_mark(name)}~"
    return mark + name.encode()[len(mark) - most_bytes :].decode(errors="ignore")


def marked(name: str, of: str) -> str:
    """`name.safetensors` → `name~0a1b2c3d.safetensors`, with a mark of another text: for a name that is taken."""
    return f"{name.removesuffix(_ENDING)}~{_mark(of)}{_ENDING}"


def fitted(folder: PurePath, name: str) -> str:
    """`name.safetensors`, cut where the whole path would be too long for Windows, sidecars included."""
    if not isinstance(folder, PureWindowsPath):
        return name
    room = WINDOWS_MAX_PATH - len(str(folder)) - 1 - len(_LONGEST_ENDING)
    stem = name.removesuffix(_ENDING)
    if len(stem) <= room:
        return name
    head = stem[: max(room, _SHORTEST_STEM) - _MARK_DIGITS - 1].rstrip(" .")
    return marked(f"{head}{_ENDING}", stem)


def folded(name: str) -> str:
    """What two names have in common that macOS or Windows takes for one: letters' case, and how accents are written."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def listed_name(name: str, names: Sequence[str]) -> str:
    """The file among these names that a shorter one means: its path without the ending, or its bare name; exactly, or
    in any case of letters. The name itself, with the ending, where there is none."""
    return name_finder(names)(name)


def name_finder(names: Sequence[str]) -> Callable[[str], str]:
    """`listed_name` for many names among the same files, which are looked at once."""
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
    """The path relative to the first of these folders that it lies in, with "/" between parts; links are followed
    only where the paths as they are written do not tell. None for a path outside all of them."""
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
    # A full-width "／" or "．．" turns into the ASCII one on file systems and in tools that fold names (NFKC).
    folded_character = unicodedata.normalize("NFKC", character)
    return not (_FORBIDDEN & set(folded_character)) and not (
        folded_character != character and "." in folded_character
    )


def _shortened(stem: str) -> str:
    if len(stem.encode()) <= MAX_BYTES:
        return stem
    # The mark keeps two long names with one beginning apart.
    head = stem.encode()[: MAX_BYTES - _MARK_DIGITS - 1].decode(errors="ignore").rstrip(" .")
    return f"{head}~{_mark(stem)}"


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_MARK_DIGITS]
