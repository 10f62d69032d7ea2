"""`local:sub/name.safetensors`: a file in one of the configured folders, named as ComfyUI's own loaders list it."""

from __future__ import annotations

import difflib
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ..config import KINDS
from ..errors import NotFound
from ..identifiers.file_names import folded, is_safetensors, without_ending
from .context import OnDisk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..identifiers import Identifier
    from .context import SourceContext

__all__ = ["find", "list_names", "locate"]


def locate(identifier: Identifier, context: SourceContext) -> OnDisk:
    """The file. Raises NotFound with similar names."""
    name = identifier.id
    path = find(name, context.config.search_dirs)
    if path is not None:
        return OnDisk(path)
    close = _close_names(name, sorted(set(list_names(context.config.search_dirs))))
    if close:
        remedy = f"Did you mean {' or '.join(f'local:{each}' for each in close)}?"
    else:
        remedy = (
            f"Put the file in {context.config.download_dir}, or use the name shown in ComfyUI's own loader."
        )
    called = KINDS[context.config.kind]
    raise NotFound(f"No {called} file {name!r} in the {called} folders", code="notFound", remedy=remedy)


def find(name: str, folders: Sequence[Path]) -> Path | None:
    """The first file with this relative name; None for a name that leads outside its folder.

    Workflows are used on different systems. If no file has exactly this name, a file whose name Windows or macOS would
    treat as equal counts, unless there are several.
    """
    relative = PurePosixPath(name.replace("\\", "/"))
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        return None
    for folder in folders:
        path = folder.joinpath(*relative.parts)
        if is_safetensors(path.name) and path.is_file():
            return path
    for folder in folders:
        alike = _alike(folder, relative.parts)
        if alike:
            return alike[0] if len(alike) == 1 else None
    return None


def _alike(folder: Path, parts: Sequence[str]) -> list[Path]:
    """The files below the folder whose names are equal to these parts after folding."""
    if not parts:
        return [folder] if is_safetensors(folder.name) and folder.is_file() else []
    wanted = folded(parts[0])
    try:
        there = sorted(path for path in folder.iterdir() if folded(path.name) == wanted)
    except OSError:  # not a folder, or not readable
        return []
    return [file for path in there for file in _alike(path, parts[1:])]


def list_names(folders: Sequence[Path]) -> Iterator[str]:
    """Relative names of all .safetensors files, with "/" between folders. Follows links, but skips cycles."""
    for root in folders:
        seen: set[str] = set()
        for folder, folders_inside, files in os.walk(root, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen:
                folders_inside[:] = []
                continue
            seen.add(real)
            folders_inside[:] = sorted(each for each in folders_inside if not each.startswith("."))
            for file in files:
                if is_safetensors(file):
                    yield Path(folder, file).relative_to(root).as_posix()


def _close_names(name: str, names: Sequence[str]) -> list[str]:
    """Up to three names: the same file name in other folders first, then similar spellings."""
    stem = without_ending(PurePosixPath(name.replace("\\", "/")).name.lower())
    same = [each for each in names if without_ending(PurePosixPath(each).name.lower()) == stem]
    by_stem = {without_ending(PurePosixPath(each).name.lower()): each for each in names}
    similar = [by_stem[each] for each in difflib.get_close_matches(stem, by_stem, n=3, cutoff=0.6)]
    return list(dict.fromkeys([*same, *similar]))[:3]
