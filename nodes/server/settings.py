"""ComfyUI's folders, the settings file and the environment → the resolver's configuration."""

from __future__ import annotations

import logging
import os
from math import inf
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import folder_paths

from ...lora_resolver import InvalidInput, name_below, whole_number

if TYPE_CHECKING:
    from ...lora_resolver import ResolverConfig

_log = logging.getLogger(__name__)

ALLOW_REMOTE = "AIR_LORA_ALLOW_REMOTE"
"""1 lets other computers change things: settings, tokens, presets, downloads."""

MODEL_FOLDERS = frozenset({"checkpoints", "diffusion_models", "unet", "unet_gguf"})
"""ComfyUI's names of the folders with whole models."""


def state_folder() -> Path:
    """The folder for the pack's own data, in ComfyUI's system user folder, which no route of ComfyUI serves."""
    return Path(folder_paths.get_system_user_directory("air_lora"))


def settings_file() -> Path:
    """The file with the settings that the page changes."""
    from ...lora_resolver import SETTINGS_FILE  # late: must not slow down ComfyUI's start

    return state_folder() / SETTINGS_FILE


def from_environment(key: str) -> bool:
    """Whether the environment has this setting, which then overrides the file."""
    return bool(os.environ.get(key, "").strip())


def settings_in_force() -> dict[str, str]:
    """The environment's settings, and the file's for the rest. Raises InvalidInput for a file that can't be read."""
    from ...lora_resolver import with_settings  # late, as above

    return with_settings(os.environ, settings_file())


def remote_changes_allowed() -> bool:
    """Whether other computers may change things."""
    return settings_in_force().get(ALLOW_REMOTE, "").strip().lower() in ("1", "true", "yes", "on")


def lora_folders() -> list[Path]:
    """ComfyUI's `loras` folders, in its order."""
    return [Path(folder) for folder in folder_paths.get_folder_paths("loras")]


def lora_names() -> list[str]:
    """LoRA files as ComfyUI's own loaders list them, with forward slashes."""
    return [name.replace("\\", "/") for name in folder_paths.get_filename_list("loras")]


def model_path(folder: str, name: str) -> Path | None:
    """The path of a whole model that ComfyUI's loaders list as `name`; None if it doesn't exist.

    Raises InvalidInput for a folder of another kind and for a name that leads out of its folder.
    """
    if folder not in MODEL_FOLDERS:
        raise InvalidInput(
            f"{folder[:40]!r} isn't a model folder",
            code="invalidValue",
            parameter="checkpoint.folder",
            remedy=f"Use one of these: {', '.join(sorted(MODEL_FOLDERS))}.",
        )
    relative = PurePosixPath(name.replace("\\", "/"))
    if relative.is_absolute() or ".." in relative.parts or not name.isprintable() or ":" in name[:2]:
        raise InvalidInput(
            f"{name[:80]!r} isn't a valid model name",
            code="invalidValue",
            parameter="checkpoint.name",
            remedy="Use the name that ComfyUI's loader lists.",
        )
    if folder not in folder_paths.folder_names_and_paths:
        return None
    path = folder_paths.get_full_path(folder, name)
    return Path(path) if path else None


def private_folders() -> list[Path]:
    """Folders whose paths are private and are removed from messages, the longest first."""
    folders = [*lora_folders(), state_folder(), Path(folder_paths.base_path), Path.home()]
    folders += [Path(folder) for kind in MODEL_FOLDERS for folder in _folders(kind)]
    settings = _readable_settings()
    for key in ("AIR_LORA_DIR", "AIR_LORA_STORE"):
        named = settings.get(key, "").strip().removeprefix("file://")
        if named and "://" not in named:
            folders.append(Path(named).expanduser())
    return sorted({folder for folder in folders if len(folder.parts) > 1}, key=lambda each: -len(str(each)))


def private_texts() -> list[str]:
    """Tokens that are removed from messages, even if the settings file is invalid."""
    try:
        config = resolver_config()  # it also has the token that `hf auth login` saved
    except InvalidInput:
        settings = _readable_settings()
        return [
            settings[key]
            for key in ("CIVITAI_API_TOKEN", "HF_TOKEN", "AIR_LORA_API_KEY")
            if settings.get(key)
        ]
    own = settings_in_force().get("AIR_LORA_API_KEY", "").strip()
    return [token for token in (config.civitai_token, config.hf_token, own) if token]


def _readable_settings() -> dict[str, str]:
    try:
        return settings_in_force()
    except InvalidInput:  # reported elsewhere; here, only the environment counts then
        return dict(os.environ)


def _folders(kind: str) -> list[str]:
    return folder_paths.get_folder_paths(kind) if kind in folder_paths.folder_names_and_paths else []


def resolver_config() -> ResolverConfig:
    """The configuration, read on each run, so that a changed folder or token takes effect.

    Downloads go to AIR_LORA_DIR, or else to ComfyUI's first `loras` folder. LoRAs are searched for in all `loras`
    folders. Raises InvalidInput for an invalid setting.
    """
    from ...lora_resolver import ResolverConfig  # late, as above

    folders = lora_folders()
    environment = settings_in_force()
    named = environment.get("AIR_LORA_DIR", "").strip()
    return ResolverConfig.from_environment(
        environment,
        download_dir=Path(named).expanduser() if named else folders[0],
        search_dirs=tuple(folders),
        state_dir=state_folder(),
    )


def kept_bytes(default: int) -> int:
    """AIR_LORA_KEPT_BYTES: how many bytes of files may stay in memory between runs; 0 keeps only the last file.

    Raises InvalidInput if it isn't a whole number.
    """
    text = settings_in_force().get("AIR_LORA_KEPT_BYTES", "").strip()
    return whole_bytes(text) if text else default


def whole_bytes(text: str) -> int:
    """The value of AIR_LORA_KEPT_BYTES as a number. Raises InvalidInput if it isn't one."""
    number = whole_number(text)
    if number is None:
        raise InvalidInput(
            f"AIR_LORA_KEPT_BYTES: {text!r} isn't a whole number of 0 or more",
            code="invalidSetting",
            remedy="Set it to a number of bytes, such as 2147483648.",
        )
    return number


SHORTEST_KEY = 25
"""Minimum characters of AIR_LORA_API_KEY. One of Runware's clients rejects shorter keys, and nobody can guess it."""


def checked_key(key: str) -> str:
    """The endpoint's API key. Raises InvalidInput if it is too short or isn't printable ASCII without spaces."""
    key = key.strip()
    if len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidInput(
            f"The endpoint's API key must have at least {SHORTEST_KEY} ASCII characters and no spaces",
            code="invalidSetting",
            parameter="token",
            remedy="To generate one, run python -c 'import secrets; print(secrets.token_urlsafe(32))' in a terminal.",
        )
    return key


BYPASS_COSTS = "AIR_LORA_BYPASS_COSTS"


def bypass_costs() -> dict[str, float]:
    """AIR_LORA_BYPASS_COSTS: device and data type → the cost of a bypass there, as measured or set.

    Raises InvalidInput if it isn't a list of `name=number`.
    """
    costs: dict[str, float] = {}
    for item in filter(str.strip, settings_in_force().get(BYPASS_COSTS, "").split(",")):
        name, equals, number = item.strip().rpartition("=")
        try:
            costs[name.strip()] = float(number)
        except ValueError:
            equals = ""
        if not equals or not name.strip() or not 0 < costs[name.strip()] < inf:
            raise InvalidInput(
                f"{BYPASS_COSTS}: {item.strip()[:80]!r} isn't a device, a data type, and a positive number",
                code="invalidSetting",
                remedy="Use this format: cpu float32=0.9, NVIDIA H200 bfloat16=0.2. Or remove it to measure "
                "the cost.",
            )
    return costs


def keep_bypass_cost(name: str, cost: float) -> None:
    """Adds a measured cost to the settings file, unless the environment has the list."""
    if from_environment(BYPASS_COSTS):
        return
    from ...lora_resolver import LoraResolverError, save_settings  # late, as above

    costs = {**bypass_costs(), name: cost}
    text = ", ".join(f"{each}={number:.3g}" for each, number in sorted(costs.items()))
    try:
        save_settings(settings_file(), {BYPASS_COSTS: text})
    except LoraResolverError as error:  # then it is measured again
        _log.warning("Couldn't save the cost of a bypass on %s: %s", name, error)


def input_folder() -> Path:
    """The folder from which LoadImage reads pictures."""
    return Path(folder_paths.get_input_directory())


def saved_in(kind: str) -> Path:
    """The folder that a node's output names: "output", "temp" or "input"."""
    known = {"temp": folder_paths.get_temp_directory, "input": folder_paths.get_input_directory}
    return Path(known.get(kind, folder_paths.get_output_directory)())


def user_folder(name: str) -> Path:
    """A folder in ComfyUI's user folder, which users may look into."""
    return Path(folder_paths.get_user_directory()) / name


def listed_name(path: Path) -> str:
    """The name under which ComfyUI's own loaders list the file, with forward slashes; never an absolute path."""
    return name_below(path, lora_folders()) or path.name
