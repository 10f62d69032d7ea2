"""GET and POST /air_lora/settings, POST /air_lora/token: the settings file, as far as the page may see and change it.

A token goes in and never comes out. Base addresses are shown and not taken: a token would travel to them. The folder
for downloads is one of ComfyUI's `loras` folders, by number, so that no place on this disk is named here.
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

TOKENS = {"civitai": "CIVITAI_API_TOKEN", "huggingface": "HF_TOKEN"}
FOLDER = "AIR_LORA_DIR"
STORE = "AIR_LORA_STORE"
ELSEWHERE = "elsewhere"
SWITCHES = frozenset({"AIR_LORA_ARCHIVE", "AIR_LORA_OFFLINE", ALLOW_REMOTE})
NUMBERS = frozenset({"AIR_LORA_CONNECTIONS", "AIR_LORA_KEPT_BYTES", "AIR_LORA_MAX_BYTES"})
PICTURES = "AIR_LORA_PICTURES"
MAX_VALUE = 200
MAX_TOKEN = 500


async def get_settings(_: web.Request) -> dict[str, Any]:
    """{values: {key: text}, from_environment: [keys], tokens: {service: whether there is one}, choices, editable}."""
    return await workers.disk.do(_shown)


async def post_setting(request: web.Request) -> dict[str, Any]:
    """{key, value: text or null} → the same as GET. Raises Refused or InvalidInput for a value that cannot be."""
    fields = await read_fields(request)
    key, value = fields.text("key", 60), fields.optional_text("value", MAX_VALUE)
    if key not in SWITCHES | NUMBERS | {FOLDER, PICTURES}:
        raise Refused(
            400, "unknownSetting", f"{key[:60]!r} is not set here", "Set it in the environment.", "key"
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
        "tokens": {"civitai": config.civitai_token is not None, "huggingface": config.hf_token is not None},
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
            f"{key} is set where ComfyUI was started",
            "Change it there, and restart.",
            "key",
        )
    save_settings(settings_file(), {key: value})
    lookups.forget()
    pictures.forget_missing()
    return _shown()


def _checked(key: str, value: str) -> str | None:
    """The value as the file keeps it. Raises InvalidInput."""
    if not value:
        return None
    if key == FOLDER:
        folders = lora_folders()
        if whole_number(value, len(folders) - 1) is None:
            raise InvalidInput(
                f"{value[:40]!r} is none of ComfyUI's loras folders",
                code="invalidSetting",
                parameter="value",
                remedy="Add a folder in extra_model_paths.yaml, then choose it here.",
            )
        return str(folders[int(value)])
    if key in SWITCHES:
        if value.lower() not in ("0", "1", "true", "false", "on", "off", "yes", "no"):
            raise InvalidInput(
                f"{value[:40]!r} is neither 1 nor 0",
                code="invalidSetting",
                parameter="value",
                remedy="Write 1 or 0.",
            )
        return value
    if key == "AIR_LORA_KEPT_BYTES":
        whole_bytes(value)
    else:
        ResolverConfig.from_environment({key: value}, download_dir=lora_folders()[0])
    return value


def _checked_token(service: str, token: str | None) -> str | None:
    """Raises InvalidInput for characters that no token has; the message does not repeat them."""
    if token is None or not token.strip():
        return None
    ResolverConfig.from_environment({TOKENS[service]: token}, download_dir=lora_folders()[0])
    return token.strip()


def _folder_number(path: str, folders: list[Path]) -> str:
    if not path:
        return ""
    return next((str(number) for number, folder in enumerate(folders) if str(folder) == path), ELSEWHERE)


def _is_remote(address: str) -> bool:
    return "://" in address and not address.lower().startswith(("file:", "local:"))


def _label(folder: Path) -> str:
    """The last two parts of its place: enough to know it by."""
    return "/".join(folder.parts[-2:]) if len(folder.parts) > 2 else folder.name
