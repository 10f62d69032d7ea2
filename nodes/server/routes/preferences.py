"""GET and POST /air_lora/settings, POST /air_lora/token: the settings that the page may see and change.

A token can be set but is never returned. Base addresses are shown but can't be set, because tokens are sent to them.
The download folder is one of ComfyUI's `loras` folders, given by number, so that no path on this disk is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ....lora_resolver import (
    PICTURE_LEVELS,
    SETTING_KEYS,
    InvalidInput,
    ResolverConfig,
    save_settings,
    whole_number,
)
from ..settings import (
    ALLOW_REMOTE,
    checked_key,
    from_environment,
    lora_folders,
    resolver_config,
    settings_file,
    settings_in_force,
    whole_bytes,
)
from . import workers
from .guard import Refused, read_fields, wrong
from .lookups import lookups
from .thumbnails import pictures

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

TOKENS = {"civitai": "CIVITAI_API_TOKEN", "huggingface": "HF_TOKEN", "endpoint": "AIR_LORA_API_KEY"}
FOLDER = "AIR_LORA_DIR"
STORE = "AIR_LORA_STORE"
ELSEWHERE = "elsewhere"
SWITCHES = frozenset({"AIR_LORA_API", "AIR_LORA_ARCHIVE", "AIR_LORA_OFFLINE", ALLOW_REMOTE})
NUMBERS = frozenset({"AIR_LORA_CONNECTIONS", "AIR_LORA_KEPT_BYTES", "AIR_LORA_MAX_BYTES"})
PICTURES = "AIR_LORA_PICTURES"
MAX_VALUE = 200
MAX_TOKEN = 500


async def get_settings(_: web.Request) -> dict[str, Any]:
    """{values: {key: text}, from_environment: [keys], tokens: {service: whether there is one}, choices, editable}."""
    return await workers.disk.do(_shown)


async def post_setting(request: web.Request) -> dict[str, Any]:
    """{key, value: text or null} → the same as GET. Raises Refused or InvalidInput for an invalid value."""
    fields = await read_fields(request)
    key, value = fields.text("key", 60), fields.optional_text("value", MAX_VALUE)
    if key not in SWITCHES | NUMBERS | {FOLDER, PICTURES}:
        raise Refused(
            400,
            "unknownSetting",
            f"{key[:60]!r} can't be set here",
            "Set it as an environment variable.",
            "key",
        )
    return await workers.disk.do(lambda: _save(key, _checked(key, (value or "").strip())))


async def post_token(request: web.Request) -> dict[str, Any]:
    """{service, token: text or null} → {tokens}. The token is never shown again."""
    fields = await read_fields(request)
    service, token = fields.text("service", 20), fields.optional_text("token", MAX_TOKEN)
    if service not in TOKENS:
        raise wrong("service", " or ".join(TOKENS))
    return {
        "tokens": (await workers.disk.do(lambda: _save(TOKENS[service], _checked_token(service, token))))[
            "tokens"
        ]
    }


def _shown() -> dict[str, Any]:
    settings, folders = settings_in_force(), lora_folders()
    shown = sorted(SETTING_KEYS - set(TOKENS.values()))
    values: dict[str, str] = {key: settings.get(key, "") for key in shown}
    values[FOLDER] = _folder_number(values[FOLDER], folders)
    values[STORE] = values[STORE] if _is_remote(values[STORE]) else ELSEWHERE if values[STORE] else ""
    config = resolver_config()
    return {
        "values": values,
        "from_environment": [key for key in sorted(SETTING_KEYS) if from_environment(key)],
        "tokens": {
            "civitai": config.civitai_token is not None,
            "huggingface": config.hf_token is not None,
            "endpoint": bool(settings.get(TOKENS["endpoint"], "").strip()),
        },
        "choices": {
            FOLDER: [
                {"value": str(number), "label": _label(folder)} for number, folder in enumerate(folders)
            ],
            PICTURES: [{"value": name, "label": name} for name in PICTURE_LEVELS],
        },
        "editable": sorted(SWITCHES | NUMBERS | {FOLDER, PICTURES}),
    }


def _save(key: str, value: str | None) -> dict[str, Any]:
    if from_environment(key):
        raise Refused(
            409,
            "setByEnvironment",
            f"{key} is set in ComfyUI's environment",
            "Change it there, and restart ComfyUI.",
            "key",
        )
    save_settings(settings_file(), {key: value})
    lookups.forget()
    pictures.forget_missing()
    return _shown()


def _checked(key: str, value: str) -> str | None:
    """The value as it is stored in the file. Raises InvalidInput."""
    if not value:
        return None
    if key == FOLDER:
        folders = lora_folders()
        if whole_number(value, len(folders) - 1) is None:
            raise InvalidInput(
                f"{value[:40]!r} isn't one of ComfyUI's loras folders",
                code="invalidSetting",
                parameter="value",
                remedy="Add a folder in extra_model_paths.yaml, then choose it here.",
            )
        return str(folders[int(value)])
    if key in SWITCHES:
        if value.lower() not in ("0", "1", "true", "false", "on", "off", "yes", "no"):
            raise InvalidInput(
                f"{value[:40]!r} isn't 1 or 0",
                code="invalidSetting",
                parameter="value",
                remedy="Enter 1 or 0.",
            )
        return value
    if key == "AIR_LORA_KEPT_BYTES":
        whole_bytes(value)
    else:
        ResolverConfig.from_environment({key: value}, download_dir=lora_folders()[0])
    return value


def _checked_token(service: str, token: str | None) -> str | None:
    """The token as it is stored. Raises InvalidInput for invalid characters; the message doesn't repeat them."""
    if token is None or not token.strip():
        return None
    if service == "endpoint":
        return checked_key(token)
    ResolverConfig.from_environment({TOKENS[service]: token}, download_dir=lora_folders()[0])
    return token.strip()


def _folder_number(path: str, folders: list[Path]) -> str:
    if not path:
        return ""
    return next((str(number) for number, folder in enumerate(folders) if str(folder) == path), ELSEWHERE)


def _is_remote(address: str) -> bool:
    return "://" in address and not address.lower().startswith(("file:", "local:"))


def _label(folder: Path) -> str:
    """The last two parts of its path, which are enough to recognize it."""
    return "/".join(folder.parts[-2:]) if len(folder.parts) > 2 else folder.name
