"""Walks the configured folders and lists their files, without opening them."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from ...identifiers.file_names import is_safetensors
from .sidecars import SIDECARS, sidecar_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

__all__ = ["FoundFile", "walk"]

_ENDINGS = tuple(SIDECARS)


class FoundFile(NamedTuple):
    """A .safetensors file as its folder lists it."""

    path: str
    size: int
    mtime_ns: int
    sidecars: tuple[str, ...]
    """Suffixes of the sidecars that exist."""
    sidecar_stamp: str
    """Changes when a sidecar is changed, added, or removed."""


def walk(roots: Sequence[Path], check: Callable[[], None]) -> Iterator[FoundFile]:
    """Every .safetensors file below the roots. Follows links, visits each real folder once, and skips hidden folders.

    `check` is called for each folder and may raise to stop. A folder that can't be listed counts as empty.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [os.fspath(root) for root in reversed(roots)]
    while waiting:
        check()
        folder = waiting.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen and status.st_ino:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listing:
                entries = {entry.name: entry for entry in listing}
        except OSError:
            continue
        inside = sorted(name for name, entry in entries.items() if _is_folder(entry) and name[:1] != ".")
        waiting += [os.path.join(folder, name) for name in reversed(inside)]
        has_sidecars = any(name.endswith(_ENDINGS) for name in entries)
        for name in sorted(entries):
            if is_safetensors(name) and name not in inside:
                try:
                    yield _found(entries, name, look_for_sidecars=has_sidecars)
                except OSError:  # a FIFO, a device, a broken link, or removed after the listing
                    continue


def _found(entries: dict[str, os.DirEntry[str]], name: str, *, look_for_sidecars: bool) -> FoundFile:
    entry = entries[name]
    status = entry.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", entry.path)
    if not look_for_sidecars:
        return FoundFile(entry.path, status.st_size, status.st_mtime_ns, (), "")
    present = [
        (suffix, entries[sidecar])
        for suffix, sidecar in zip(SIDECARS, sidecar_names(name))
        if sidecar in entries
    ]
    stamps = []
    for suffix, sidecar in present:
        about = sidecar.stat()
        stamps.append(f"{suffix} {about.st_size} {about.st_mtime_ns}")
    return FoundFile(
        path=entry.path,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        sidecars=tuple(suffix for suffix, _ in present),
        sidecar_stamp="\n".join(stamps),
    )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
