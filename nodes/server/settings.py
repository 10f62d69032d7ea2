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
"""Of ComfyUI's kinds of folders, those with whole models."""


def state_folder() -> Path:
    """Where the pack keeps what it knows: in ComfyUI's system user folder, which no route of ComfyUI serves."""
    return Path(folder_paths.get_system_user_directory("air_lora"))


def settings_file() -> Path:
    """The settings that the page changes."""
    from ...lora_resolver import SETTINGS_FILE  # late: no start of ComfyUI waits for the settings

    return state_folder() / SETTINGS_FILE


def from_environment(key: str) -> bool:
    """Whether the environment says this setting, which then wins over the file."""
    return bool(os.environ.get(key, "").strip())


def settings_in_force() -> dict[str, str]:
    """The environment, and the file where that says nothing. Raises InvalidInput for a file that cannot be read."""
    from ...lora_resolver import with_settings  # late, as above

    return with_settings(os.environ, settings_file())


def remote_changes_allowed() -> bool:
    """Whether other computers may change things."""
    return settings_in_force().get(ALLOW_REMOTE, "").strip().lower() in ("1", "true", "yes", "on")


def lora_folders() -> list[Path]:
    """ComfyUI's `loras` folders, the first one first."""
    return [Path(folder) for folder in folder_paths.get_folder_paths("loras")]


def lora_names() -> list[str]:
    """LoRA files as ComfyUI's own loaders list them, with forward slashes."""
    return [name.replace("\\", "/") for name in folder_paths.get_filename_list("loras")]


def model_path(folder: str, name: str) -> Path | None:
    """The file of a whole model, as ComfyUI's loaders name it; None where there is none.

    Raises InvalidInput for a folder of another kind and for a name that leads out of its folder.
    """
    if folder not in MODEL_FOLDERS:
        raise InvalidInput(
            f"{folder[:40]!r} is no folder of models",
            code="invalidValue",
            parameter="checkpoint.folder",
            remedy=f"It may be {', '.join(sorted(MODEL_FOLDERS))}.",
        )
    relative = PurePosixPath(name.replace("\\", "/"))
    if relative.is_absolute() or ".." in relative.parts or not name.isprintable() or ":" in name[:2]:
        raise InvalidInput(
            f"{name[:80]!r} is no name of a model",
            code="invalidValue",
            parameter="checkpoint.name",
            remedy="Write it as ComfyUI's loader lists it.",
        )
    if folder not in folder_paths.folder_names_and_paths:
        return None
    path = folder_paths.get_full_path(folder, name)
    return Path(path) if path else None


def private_folders() -> list[Path]:
    """Folders whose place on this disk is nobody's business: longest first, to be cut out of messages."""
    folders = [*lora_folders(), state_folder(), Path(folder_paths.base_path), Path.home()]
    folders += [Path(folder) for kind in MODEL_FOLDERS for folder in _folders(kind)]
    settings = _readable_settings()
    for key in ("AIR_LORA_DIR", "AIR_LORA_STORE"):
        named = settings.get(key, "").strip().removeprefix("file://")
        if named and "://" not in named:
            folders.append(Path(named).expanduser())
    return sorted({folder for folder in folders if len(folder.parts) > 1}, key=lambda each: -len(str(each)))


def private_texts() -> list[str]:
    """Tokens, to be cut out of messages; whatever state the settings file is in."""
    try:
        config = resolver_config()  # it knows the token too that `hf auth login` has saved
    except InvalidInput:
        settings = _readable_settings()
        return [settings[key] for key in ("CIVITAI_API_TOKEN", "HF_TOKEN") if settings.get(key)]
    return [token for token in (config.civitai_token, config.hf_token) if token]


def _readable_settings() -> dict[str, str]:
    try:
        return settings_in_force()
    except InvalidInput:  # told where it matters; here only the environment counts then
        return dict(os.environ)


def _folders(kind: str) -> list[str]:
    return folder_paths.get_folder_paths(kind) if kind in folder_paths.folder_names_and_paths else []


def resolver_config() -> ResolverConfig:
    """Read anew at each run, so that a folder or a token set meanwhile counts.

    Downloads go to AIR_LORA_DIR, else to ComfyUI's first `loras` folder; LoRAs are looked for in all of them.
    Raises InvalidInput for a setting that cannot be.
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
    """AIR_LORA_KEPT_BYTES: how much of the files read may stay in memory between runs; 0 keeps the last one alone.

    Raises InvalidInput for what is no whole number.
    """
    text = settings_in_force().get("AIR_LORA_KEPT_BYTES", "").strip()
    return whole_bytes(text) if text else default


def whole_bytes(text: str) -> int:
    """The number that AIR_LORA_KEPT_BYTES says. Raises InvalidInput for what is none."""
    number = whole_number(text)
    if number is None:
        raise InvalidInput(
            f"AIR_LORA_KEPT_BYTES: {text!r} is not a whole number from 0 up",
            code="invalidSetting",
            remedy="Set it to a number of bytes, such as 2147483648.",
        )
    return number


BYPASS_COSTS = "AIR_LORA_BYPASS_COSTS"


def bypass_costs() -> dict[str, float]:
    """AIR_LORA_BYPASS_COSTS: device and data type → what a bypass costs there, as it was measured or set.

    Raises InvalidInput for what is no list of `name=number`.
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
                f"{BYPASS_COSTS}: {item.strip()[:80]!r} is no device, data type and positive number",
                code="invalidSetting",
                remedy="Write it as: cpu float32=0.9, NVIDIA H200 bfloat16=0.2. Or remove it, and it is measured.",
            )
    return costs


def keep_bypass_cost(name: str, cost: float) -> None:
    """Adds what was measured to the settings file, unless the environment has the list."""
    if from_environment(BYPASS_COSTS):
        return
    from ...lora_resolver import LoraResolverError, save_settings  # late, as above

    costs = {**bypass_costs(), name: cost}
    text = ", ".join(f"{each}={number:.3g}" for each, number in sorted(costs.items()))
    try:
        save_settings(settings_file(), {BYPASS_COSTS: text})
    except LoraResolverError as error:  # it is measured again, then
        _log.warning("What a bypass costs on %s is not kept: %s", name, error)


def listed_name(path: Path) -> str:
    """The name under which ComfyUI's own loaders list the file, with forward slashes; never an absolute path."""
    return name_below(path, lora_folders()) or path.name
