"""ComfyUI's model folders: from files to the names that its own loaders take, and back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import folder_paths

from ...lora_resolver import StorageFailed, folded, name_below
from .settings import resolver_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...lora_resolver import ResolverConfig

FOLDERS_OF = {"lora": ("loras",), "checkpoint": ("checkpoints", "diffusion_models"), "vae": ("vae",)}
"""Kind of a file → ComfyUI's names of the folders for it; downloads go to the first."""


def config_for(kind: str, download_to: str | None = None) -> ResolverConfig:
    """The resolver's configuration for files of this kind; `download_to` is another of its folders than the first.

    Raises InvalidInput for a setting that cannot be.
    """
    config = resolver_config()
    if kind == "lora":
        return config
    folders = [Path(folder) for name in FOLDERS_OF[kind] for folder in folder_paths.get_folder_paths(name)]
    target = folder_paths.get_folder_paths(download_to or FOLDERS_OF[kind][0])[0]
    return config.with_changes(kind=kind, download_dir=Path(target), search_dirs=tuple(folders))


def listed_files(kind: str) -> list[str]:
    """The names that ComfyUI's own loaders of this kind of file list."""
    return list(
        dict.fromkeys(file for name in FOLDERS_OF[kind] for file in folder_paths.get_filename_list(name))
    )


def folder_with(kind: str, name: str) -> str | None:
    """The folder, in ComfyUI's words, in which a loader finds this name."""
    found = (folder for folder in FOLDERS_OF[kind] if folder_paths.get_full_path(folder, name) is not None)
    return next(found, None)


def loader_place(path: Path, kind: str) -> tuple[str, str]:
    """(folder, name) under which a loader of this kind of file finds it. Raises StorageFailed where none does."""
    *others, last = FOLDERS_OF[kind]
    for folder in others:
        try:
            return folder, loader_name(path, folder)
        except StorageFailed:  # noqa: PERF203 - it may lie in the next one
            continue
    return last, loader_name(path, last)


def loader_name(path: Path, folder_name: str = "loras") -> str:
    """The name that ComfyUI's own loaders take for this file, letter for letter as they list it, with this system's
    separators.

    Raises StorageFailed for a file that lies in no folder of theirs.
    """
    name = name_below(path, map(Path, folder_paths.get_folder_paths(folder_name)))
    if name is not None:
        return as_listed(name.replace("/", os.sep), folder_paths.get_filename_list(folder_name))
    raise StorageFailed(
        f"{path.name} lies outside the {folder_name} folders, so ComfyUI's own loaders cannot load it",
        code="outsideModelFolders",
        remedy=f"Set AIR_LORA_DIR to a folder inside {folder_name}, or name its folder in extra_model_paths.yaml.",
    )


def lora_folder_of(name: str) -> tuple[str, Path | None]:
    """A file as another pack names it → its name as ComfyUI's own loaders list it, with forward slashes, and None.

    A whole path to a file outside the `loras` folders gives its file name and its folder.
    """
    if not Path(name).is_absolute():
        return name.replace("\\", "/").removeprefix("./"), None
    listed = name_below(Path(name), map(Path, folder_paths.get_folder_paths("loras")))
    return (Path(name).name, Path(name).parent) if listed is None else (listed, None)


def as_listed(name: str, listed: Sequence[str]) -> str:
    """`name`, in the letters in which it is listed: Windows and macOS find a file under others too, a list does not."""
    if name in listed:
        return name
    alike = [each for each in listed if folded(each) == folded(name)]
    return alike[0] if len(alike) == 1 else name
