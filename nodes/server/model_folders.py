"""ComfyUI's model folders: from files to the names that its own loaders use, and back."""

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

FOLDERS_OF = {
    "lora": ("loras",),
    "checkpoint": ("checkpoints", "diffusion_models"),
    "vae": ("vae",),
    "text_encoder": ("text_encoders",),
    "embedding": ("embeddings",),
}
"""Kind of file → ComfyUI's names of its folders. Downloads go to the first."""


def config_for(kind: str, download_to: str | None = None) -> ResolverConfig:
    """The resolver's configuration for files of this kind. `download_to` names a folder to use instead of the first.

    Raises InvalidInput for an invalid setting.
    """
    config = resolver_config()
    if kind == "lora":
        return config
    folders = [Path(folder) for name in FOLDERS_OF[kind] for folder in folder_paths.get_folder_paths(name)]
    target = folder_paths.get_folder_paths(download_to or FOLDERS_OF[kind][0])[0]
    return config.with_changes(kind=kind, download_dir=Path(target), search_dirs=tuple(folders))


def listed_files(kind: str) -> list[str]:
    """The names that ComfyUI's own loaders list for this kind of file."""
    return list(
        dict.fromkeys(file for name in FOLDERS_OF[kind] for file in folder_paths.get_filename_list(name))
    )


def folder_with(kind: str, name: str) -> str | None:
    """ComfyUI's name of the folder in which a loader finds this file; None if there is none."""
    found = (folder for folder in FOLDERS_OF[kind] if folder_paths.get_full_path(folder, name) is not None)
    return next(found, None)


def model_file(folder: str, name: str) -> Path | None:
    """The path of this file in the folder that ComfyUI calls `folder`; None if it doesn't exist."""
    found = folder_paths.get_full_path(folder, name)
    return None if found is None else Path(found)


def loader_place(path: Path, kind: str) -> tuple[str, str]:
    """(folder, name) under which a loader of this kind of file finds it. Raises StorageFailed if none does."""
    *others, last = FOLDERS_OF[kind]
    for folder in others:
        try:
            return folder, loader_name(path, folder)
        except StorageFailed:  # noqa: PERF203 - it may be in the next one
            continue
    return last, loader_name(path, last)


def loader_name(path: Path, folder_name: str = "loras") -> str:
    """The name that ComfyUI's own loaders use for this file, exactly as they list it, with this system's separators.

    Raises StorageFailed for a file outside their folders.
    """
    name = name_below(path, map(Path, folder_paths.get_folder_paths(folder_name)))
    if name is not None:
        return as_listed(name.replace("/", os.sep), folder_paths.get_filename_list(folder_name))
    raise StorageFailed(
        f"{path.name} is outside the {folder_name} folders, so ComfyUI's own loaders can't load it",
        code="outsideModelFolders",
        remedy=f"Set AIR_LORA_DIR to a folder inside {folder_name}, or add its folder to extra_model_paths.yaml.",
    )


def lora_folder_of(name: str) -> tuple[str, Path | None]:
    """A file as another pack names it → its name as ComfyUI's own loaders list it, with forward slashes, and None.

    For an absolute path to a file outside the `loras` folders, returns its file name and its folder.
    """
    if not Path(name).is_absolute():
        return name.replace("\\", "/").removeprefix("./"), None
    listed = name_below(Path(name), map(Path, folder_paths.get_folder_paths("loras")))
    return (Path(name).name, Path(name).parent) if listed is None else (listed, None)


def as_listed(name: str, listed: Sequence[str]) -> str:
    """`name`, spelled as it is listed. Windows and macOS also find a file under other spellings; a list doesn't."""
    if name in listed:
        return name
    alike = [each for each in listed if folded(each) == folded(name)]
    return alike[0] if len(alike) == 1 else name


KEEP_SECONDS = 3.0


PATIENCE_SECONDS = 0.03
"""How long a search waits for a new scan of the folders after each typed key."""


_UNUSABLE = ("unsound", "not_a_diffusion_lora")


@dataclass(frozen=True)
class FolderListing:
    """All LoRA files, sorted by name."""

    files: list[LibraryFile]
    stamp: str | None
    """The value of `Resolver.library_stamp`."""

    @cached_property
    def _texts(self) -> list[tuple[str, str]]:
        """For each file: its names, and all text that is searched."""
        return [_texts_of(file) for file in self.files]

    def search(self, query: str, families: Collection[str]) -> list[LibraryFile]:
        """The files that contain all these words and fit, or might fit, one of the families. No families means all.

        Files with the words in their names come before files that have them only in identifiers or trigger words.
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
    """Drops the stored listing, so that the next request sees a new download."""
    global _kept, _walk
    with _lock:
        _kept = _walk = None


def listing(config: ResolverConfig) -> FolderListing:
    """The files, at most KEEP_SECONDS old. Calls during a scan of the folders wait for the same list."""
    found = _begin(config)
    return found.result() if isinstance(found, Future) else found


def listing_soon(config: ResolverConfig) -> tuple[FolderListing, bool]:
    """The result of `listing` and True; or the last list and False if a scan takes longer than PATIENCE_SECONDS."""
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
    """The stored listing if it is recent enough; otherwise the running scan, which is started if there is none."""
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
        # If `forget_listing` was called meanwhile, this scan may have missed a new file, so it isn't stored.
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
