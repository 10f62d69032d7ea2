"""Persistent settings: one small JSON file that only its owner can read, because it contains the tokens.

    {"CIVITAI_API_TOKEN": "…", "AIR_LORA_CONNECTIONS": "2"}

The keys are the names of the environment variables, which win over the file. ComfyUI's settings page writes such a file
in ComfyUI's system user folder, which no route serves. The command line uses a file in the user's own folder.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import ResolverConfig
from ..errors import InvalidInput
from ..safe_files import open_regular, parse_json, storage_error, write_atomically
from ..text import nearest, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "SETTINGS_FILE",
    "SETTING_KEYS",
    "read_settings",
    "save_settings",
    "user_config",
    "user_settings_file",
    "with_settings",
]

SETTINGS_FILE = "settings.json"

SETTING_KEYS = frozenset(
    {
        "AIR_LORA_ALLOW_REMOTE",
        "AIR_LORA_API",
        "AIR_LORA_API_KEY",
        "AIR_LORA_ARCHIVE",
        "AIR_LORA_BYPASS_COSTS",
        "AIR_LORA_CIVITAI_URL",
        "AIR_LORA_CONNECTIONS",
        "AIR_LORA_DIR",
        "AIR_LORA_KEPT_BYTES",
        "AIR_LORA_MAX_BYTES",
        "AIR_LORA_OFFLINE",
        "AIR_LORA_PICTURES",
        "AIR_LORA_STORE",
        "CIVITAI_API_TOKEN",
        "HF_ENDPOINT",
        "HF_TOKEN",
    }
)
"""The settings that the file may contain."""

MAX_BYTES = 1024**2

_log = logging.getLogger(__name__)


def user_settings_file(environ: Mapping[str, str]) -> Path:
    """The path of the command line's settings: AIR_LORA_SETTINGS, or in the system's folder for a user's settings."""
    named = environ.get("AIR_LORA_SETTINGS", "").strip()
    if named:
        return Path(named).expanduser()
    # The XDG Base Directory Specification, or Windows.
    folder = environ.get("XDG_CONFIG_HOME") or environ.get("APPDATA")
    return (Path(folder) if folder else Path.home() / ".config") / "air-lora" / SETTINGS_FILE


def user_config() -> ResolverConfig:
    """The configuration of a program that runs for this user outside ComfyUI. Raises InvalidInput."""
    return ResolverConfig.from_environment(with_settings(os.environ, user_settings_file(os.environ)))


def with_settings(environ: Mapping[str, str], path: Path) -> dict[str, str]:
    """The environment variables, with the file's settings for variables that aren't set.

    Raises InvalidInput if the file can't be read.
    """
    return {**read_settings(path), **{key: value for key, value in environ.items() if value.strip()}}


def read_settings(path: Path) -> dict[str, str]:
    """The settings in the file; none if there is no file. If others can read the file, their permissions are removed.

    Raises InvalidInput if the file can't be read or isn't a JSON object with texts or numbers.
    """
    try:
        with open_regular(path) as file:
            _close_to_others(path, os.fstat(file.fileno()).st_mode)
            content = parse_json(file.read(MAX_BYTES))
    except (FileNotFoundError, NotADirectoryError):  # the latter: a home folder that is /dev/null
        return {}
    except (OSError, ValueError) as error:
        # Not the parser's message: it may quote a token.
        raise _unreadable(path, type(error).__name__) from None
    if not isinstance(content, dict):
        raise _unreadable(path, 'it must be an object, such as {"AIR_LORA_CONNECTIONS": 8}')
    for key in sorted(set(content) - SETTING_KEYS):
        _tell_unknown(path, key)
    return {key: _as_text(path, key, value) for key, value in content.items() if key in SETTING_KEYS}


@cache
def _tell_unknown(path: Path, key: str) -> None:
    """Logs once that a setting has no effect."""
    meant = nearest(key, {each.lower(): each for each in SETTING_KEYS})
    hint = f" Did you mean {meant.upper()}?" if meant else ""
    _log.warning("[AIR LoRA] %s: Unknown setting %s, which has no effect.%s", path, quoted(key, 60), hint)


def _as_text(path: Path, key: str, value: object) -> str:
    """The value as an environment variable would have it. Raises InvalidInput, without the value: it may be a token."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if not isinstance(value, (str, int, float)):
        raise _unreadable(path, f"{key} must be a text or a number")
    return str(value)


def save_settings(path: Path, changes: Mapping[str, str | None]) -> None:
    """Changes some settings and keeps the others. None or an empty text removes a setting. The file gets mode 0600.

    Raises InvalidInput for an unknown key, StorageFailed if the file can't be written.
    """
    from filelock import FileLock  # needed only for writing

    unknown = sorted(set(changes) - SETTING_KEYS)
    if unknown:
        raise InvalidInput(
            f"Unknown setting {unknown[0]}",
            code="unknownSetting",
            remedy=f"The settings are {', '.join(sorted(SETTING_KEYS))}.",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock"), mode=0o600):
            settings = {**read_settings(path), **{key: value or "" for key, value in changes.items()}}
            kept = {key: value.strip() for key, value in sorted(settings.items()) if value.strip()}
            content = json.dumps(kept, indent=1).encode()
            if len(content) > MAX_BYTES:
                raise InvalidInput(
                    f"The settings would take {len(content):,} bytes, but the limit is {MAX_BYTES:,}",
                    code="invalidSetting",
                    remedy="Use a shorter value.",
                )
            write_atomically(path, content, private=True)
    except OSError as error:
        raise storage_error(error, path) from error


def _close_to_others(path: Path, mode: int) -> None:
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        _log.warning("Other users of this machine could read %s. Now only its owner can.", path)
        with contextlib.suppress(OSError):
            path.chmod(0o600)


def _unreadable(path: Path, why: str) -> InvalidInput:
    return InvalidInput(
        f"Could not read the settings in {path} ({why})",
        code="invalidSetting",
        remedy='Fix the file, or delete it. It should look like {"CIVITAI_API_TOKEN": "…"}.',
    )
