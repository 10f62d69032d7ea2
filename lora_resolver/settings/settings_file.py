"""Settings that outlast a session: one small JSON file, for its owner alone, since it holds the tokens.

    {"CIVITAI_API_TOKEN": "…", "AIR_LORA_CONNECTIONS": "2"}

The keys are the names of the environment variables, which win over the file. ComfyUI's settings page writes one in
ComfyUI's system user folder, which no route serves; the command line has one in the user's own folder.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import ResolverConfig
from ..errors import InvalidInput
from ..safe_files import open_regular, parse_json, storage_error, write_atomically

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
"""What the file may set."""

MAX_BYTES = 1024**2

_log = logging.getLogger(__name__)


def user_settings_file(environ: Mapping[str, str]) -> Path:
    """Where the command line's settings lie: AIR_LORA_SETTINGS, or the system's folder for a user's settings."""
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
    """The environment, with what the file says wherever the environment says nothing.

    Raises InvalidInput for a file that cannot be read.
    """
    return {**read_settings(path), **{key: value for key, value in environ.items() if value.strip()}}


def read_settings(path: Path) -> dict[str, str]:
    """What the file says; nothing where there is none. A file that others could read is closed to them.

    Raises InvalidInput for a file that cannot be read or is not a JSON object of texts.
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
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise _unreadable(path, "it must be an object of texts")
    return {key: value for key, value in content.items() if key in SETTING_KEYS}


def save_settings(path: Path, changes: Mapping[str, str | None]) -> None:
    """Changes some settings and leaves the others; None or an empty text removes one. The file gets mode 0600.

    Raises InvalidInput for a key that is no setting, StorageFailed where the file cannot be written.
    """
    from filelock import FileLock  # only whoever writes needs it

    unknown = sorted(set(changes) - SETTING_KEYS)
    if unknown:
        raise InvalidInput(
            f"{unknown[0]} is no setting",
            code="unknownSetting",
            remedy=f"Settings are: {', '.join(sorted(SETTING_KEYS))}.",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock"), mode=0o600):
            settings = {**read_settings(path), **{key: value or "" for key, value in changes.items()}}
            kept = {key: value.strip() for key, value in sorted(settings.items()) if value.strip()}
            content = json.dumps(kept, indent=1).encode()
            if len(content) > MAX_BYTES:
                raise InvalidInput(
                    f"with it the settings would take {len(content):,} bytes, and {MAX_BYTES:,} are read",
                    code="invalidSetting",
                    remedy="Write a shorter value.",
                )
            write_atomically(path, content, private=True)
    except OSError as error:
        raise storage_error(error, path) from error


def _close_to_others(path: Path, mode: int) -> None:
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        _log.warning("%s could be read by other users of this machine; now only its owner can", path)
        with contextlib.suppress(OSError):
            path.chmod(0o600)


def _unreadable(path: Path, why: str) -> InvalidInput:
    return InvalidInput(
        f"the settings in {path} cannot be read ({why})",
        code="invalidSetting",
        remedy='Correct the file, or delete it. It looks like {"CIVITAI_API_TOKEN": "…"}.',
    )
