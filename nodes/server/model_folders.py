"""ComfyUI's model folders: from files to the names that its own loaders take, and back."""

from __future__ import annotations

from pathlib import Path

import folder_paths

from ...lora_resolver import StorageFailed


def loader_name(path: Path, folder_name: str = "loras") -> str:
    """The name that ComfyUI's own loaders take for this file, with this system's separators.

    Raises StorageFailed for a file that lies in no folder of theirs.
    """
    for folder in folder_paths.get_folder_paths(folder_name):
        if path.is_relative_to(folder):
            return str(path.relative_to(folder))
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
        return name.replace("\\", "/"), None
    for folder in folder_paths.get_folder_paths("loras"):
        for path, root in ((Path(name), Path(folder)), (Path(name).resolve(), Path(folder).resolve())):
            if path.is_relative_to(root):
                return path.relative_to(root).as_posix(), None
    return Path(name).name, Path(name).parent
