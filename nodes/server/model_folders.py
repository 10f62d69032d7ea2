"""ComfyUI's model folders: from files to the names that its own loaders take, and back."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as StillWalking
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import folder_paths

from ...lora_resolver import StorageFailed, folded, name_below
from .settings import resolver_config

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ...lora_resolver import LibraryFile, ResolverConfig

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


KEEP_SECONDS = 3.0


PATIENCE_SECONDS = 0.03
"""What a key that is typed waits for a new walk of the folders."""


_UNUSABLE = ("unsound", "not_a_diffusion_lora")


@dataclass(frozen=True)
class FolderListing:
    """Every LoRA file, by name."""

    files: list[LibraryFile]
    stamp: str | None
    """As `Resolver.library_stamp`."""

    @cached_property
    def _texts(self) -> list[tuple[str, str]]:
        """Of each file: its names, and all that is searched."""
        return [_texts_of(file) for file in self.files]

    def search(self, query: str, families: Collection[str]) -> list[LibraryFile]:
        """The files with all these words that fit one of the families, or may; all families where there is none.

        What has the words in its name comes before what has them in its trigger words alone.
        """
        words = query.casefold().split()
        wanted = set(families)
        named, others = [], []
        for file, (name, text) in zip(self.files, self._texts):
            if file.verdict in _UNUSABLE or (wanted and file.families and wanted.isdisjoint(file.families)):
                continue
            if all(word in name for word in words):
                named.append(file)
            elif all(word in text for word in words):
                others.append(file)
        return named + others


@dataclass(frozen=True)
class _Kept:
    config: ResolverConfig
    read_at: float
    listing: FolderListing


_lock = threading.Lock()


_kept: _Kept | None = None


_walk: tuple[ResolverConfig, Future[FolderListing]] | None = None


def forget_listing() -> None:
    """After a download, the next one to ask sees it."""
    global _kept, _walk
    with _lock:
        _kept = _walk = None


def listing(config: ResolverConfig) -> FolderListing:
    """The folders as they are, or were a moment ago. Whoever asks while they are walked waits for the same list."""
    found = _begin(config)
    return found.result() if isinstance(found, Future) else found


def listing_soon(config: ResolverConfig) -> tuple[FolderListing, bool]:
    """What `listing` gives, or the last list where that takes a while; and whether it is the first of the two."""
    with _lock:
        last = _kept.listing if _kept is not None and _kept.config == config else None
    found = _begin(config)
    if not isinstance(found, Future):
        return found, True
    if last is None:
        return found.result(), True
    try:
        return found.result(PATIENCE_SECONDS), True
    except StillWalking:
        return last, False


def _begin(config: ResolverConfig) -> FolderListing | Future[FolderListing]:
    """What is kept and young enough, or the walk that is under way, which begins now where there is none."""
    global _walk
    with _lock:
        if _kept is not None and _kept.config == config and time.monotonic() - _kept.read_at < KEEP_SECONDS:
            return _kept.listing
        if _walk is not None and _walk[0] == config:
            return _walk[1]
        before = _kept.listing if _kept is not None and _kept.config == config else None
        future: Future[FolderListing] = Future()
        _walk = (config, future)
    threading.Thread(target=_finish, args=(config, future, before), name="air-lora-walk", daemon=True).start()
    return future


def _finish(config: ResolverConfig, future: Future[FolderListing], before: FolderListing | None) -> None:
    global _kept, _walk
    found: FolderListing | None = None
    error: BaseException | None = None
    try:
        found = _read(config, before)
    except BaseException as raised:
        error = raised
    with _lock:
        # `forget` was called meanwhile: this walk may have missed what the next one to ask must see.
        if _walk is not None and _walk[1] is future:
            _walk = None
            if found is not None:
                _kept = _Kept(config, time.monotonic(), found)
    if found is not None:
        future.set_result(found)
    else:
        future.set_exception(error)


def _read(config: ResolverConfig, before: FolderListing | None) -> FolderListing:
    from ...lora_resolver import Resolver

    resolver = Resolver(config)
    stamp = resolver.library_stamp()
    if before is not None and stamp is not None and before.stamp == stamp:
        return before
    return FolderListing(sorted(resolver.library(), key=lambda file: file.name.casefold()), stamp)


def _texts_of(file: LibraryFile) -> tuple[str, str]:
    name = f"{file.title} {file.name}".casefold()
    return name, f"{name} {' '.join((*file.identifiers, *file.trigger_words)).casefold()}"
