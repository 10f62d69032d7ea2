"""ComfyUI's folders, the settings file and the environment → the resolver's configuration."""

from __future__ import annotations

import os
from pathlib import Path

import folder_paths

from ...lora_resolver import SETTINGS_FILE, ResolverConfig, with_settings


def resolver_config() -> ResolverConfig:
    """Read anew at each run, so that a folder or a token set meanwhile counts.

    Downloads go to AIR_LORA_DIR, else to ComfyUI's first `loras` folder; LoRAs are looked for in all of them.
    Raises InvalidInput for a setting that cannot be.
    """
    folders = [Path(folder) for folder in folder_paths.get_folder_paths("loras")]
    state = Path(folder_paths.get_system_user_directory("air_lora"))
    environment = with_settings(os.environ, state / SETTINGS_FILE)
    named = environment.get("AIR_LORA_DIR", "").strip()
    return ResolverConfig.from_environment(
        environment,
        download_dir=Path(named).expanduser() if named else folders[0],
        search_dirs=tuple(folders),
        state_dir=state,
    )


def listed_name(path: Path) -> str:
    """The name under which ComfyUI's own loaders list the file, with forward slashes; never an absolute path."""
    for folder in folder_paths.get_folder_paths("loras"):
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    return path.name
