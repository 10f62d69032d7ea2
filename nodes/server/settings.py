"""ComfyUI's folders, the settings file and the environment → the resolver's configuration."""

from __future__ import annotations

import os
from pathlib import Path

import folder_paths

from ...lora_resolver import SETTINGS_FILE, InvalidInput, ResolverConfig, with_settings


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


def kept_bytes(default: int) -> int:
    """AIR_LORA_KEPT_BYTES: how much of the files read may stay in memory between runs; 0 keeps the last one alone.

    Raises InvalidInput for what is no whole number.
    """
    state = Path(folder_paths.get_system_user_directory("air_lora"))
    text = with_settings(os.environ, state / SETTINGS_FILE).get("AIR_LORA_KEPT_BYTES", "").strip()
    if not text:
        return default
    if not text.isdecimal():
        raise InvalidInput(
            f"AIR_LORA_KEPT_BYTES: {text!r} is not a whole number from 0 up",
            code="invalidSetting",
            remedy="Set it to a number of bytes, such as 2147483648.",
        )
    return int(text)


def listed_name(path: Path) -> str:
    """The name under which ComfyUI's own loaders list the file, with forward slashes; never an absolute path."""
    for folder in folder_paths.get_folder_paths("loras"):
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    return path.name
