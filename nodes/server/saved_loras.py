"""Writes LoRAs that nodes create to ComfyUI's first `loras` folder, atomically."""

from __future__ import annotations

import contextlib
import os
import tempfile
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...lora_resolver import InvalidInput, StorageFailed, safe_file_name, storage_error, without_ending
from .settings import lora_folders

if TYPE_CHECKING:
    from collections.abc import Iterator

KEEP_BOTH, STOP, REPLACE = "keep both", "stop", "replace"
IF_EXISTS = (KEEP_BOTH, STOP, REPLACE)

ENDING = ".safetensors"
_MOST_NUMBERS = 10_000
_MOST_FOLDERS = 8


@dataclass
class Target:
    """A file that is being written."""

    temporary: Path
    path: Path
    """The final path, which is certain only after the `with` block."""
    listed: str
    """The name under which ComfyUI's own loaders list it, with forward slashes."""


def checked_name(name: str) -> str:
    """`name`, which may contain folders, with forward slashes and its ending.

    Raises InvalidInput with code `invalidFileName` for a name that leads out of the folder or isn't valid on every
    system.
    """
    # An accented letter may be typed as one character or as two. Both are the same name.
    parts = unicodedata.normalize("NFC", name).strip().replace("\\", "/").split("/")
    *folders, last = parts
    last = without_ending(last) + ENDING
    sound = len(folders) <= _MOST_FOLDERS and all(
        safe_file_name(part).removesuffix(ENDING) == part for part in folders
    )
    if not sound or safe_file_name(last) != last:
        raise InvalidInput(
            f"{name[:80]!r} isn't a valid name for a file in the loras folder",
            code="invalidFileName",
            parameter="file_name",
            remedy="Enter a name such as my-style or styles/my-style.",
        )
    return "/".join([*folders, last])


@contextlib.contextmanager
def new_lora_file(name: str, if_exists: str) -> Iterator[Target]:
    """Yields a temporary file to write. At the end of the block it is renamed to `name`, below the `loras` folder.

    If the file already exists, "keep both" adds a number to the new name, "stop" raises StorageFailed with code
    `fileExists`, before the block or after it, and "replace" replaces it. Raises InvalidInput for an invalid name.
    """
    listed = checked_name(name)
    folder = lora_folders()[0]
    path = folder / listed
    if if_exists == STOP and path.exists():
        raise _exists(listed)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.parent.resolve().is_relative_to(folder.resolve()):
            raise StorageFailed(
                f"{listed} is outside the loras folder, because its folder is a link",
                code="outsideModelFolders",
                parameter="file_name",
                remedy="Choose a different folder.",
            )
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:40]}.", suffix=".tmp")
        os.close(handle)
    except OSError as error:
        raise storage_error(error, path) from error
    target = Target(Path(temporary), path, listed)
    try:
        yield target
        _into_place(target, folder, if_exists)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        target.temporary.unlink(missing_ok=True)


def _into_place(target: Target, folder: Path, if_exists: str) -> None:
    with target.temporary.open("rb+") as file:
        os.fsync(file.fileno())
    mask = os.umask(0o022)  # mkstemp creates files that only the owner can access
    os.umask(mask)
    target.temporary.chmod(0o666 & ~mask)
    if if_exists != REPLACE:
        target.path = _reserved(target, if_exists)
        target.listed = target.path.relative_to(folder).as_posix()
    target.temporary.replace(target.path)


def _reserved(target: Target, if_exists: str) -> Path:
    """Reserves an unused name, so that two files that are written at the same time don't collide."""
    first = target.path
    for number in range(1, _MOST_NUMBERS):
        path = first if number == 1 else first.with_name(f"{first.stem}-{number}{ENDING}")
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            if if_exists == STOP:
                raise _exists(target.listed) from None
        else:
            return path
    raise _exists(target.listed)


def _exists(listed: str) -> StorageFailed:
    return StorageFailed(
        f"The file {listed} already exists",
        code="fileExists",
        parameter="file_name",
        remedy=f"Choose a different name, or set if_exists to {KEEP_BOTH} or {REPLACE}.",
    )
