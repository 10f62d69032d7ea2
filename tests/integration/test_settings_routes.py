"""Presets, settings, and tokens, as the page reads and changes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import TOKEN
from tests.integration.test_routes import LOCAL, info

if TYPE_CHECKING:
    from tests.integration.conftest import Studio
    from tests.integration.route_client import Routes

pytestmark = pytest.mark.integration


def test_presets(routes: Routes) -> None:
    array = [{"model": "civitai:1@2", "weight": 0.5}]
    saved = routes.found("presets", {"name": "Soft", "lora": array})
    assert saved == {"presets": [{"name": "Soft", "lora": '[{"model": "civitai:1@2", "weight": 0.5}]'}]}
    assert routes.get("presets").json == saved
    assert routes.found("presets/delete", {"name": "Soft"}) == {"presets": []}
    assert routes.post("presets/delete", {"name": "Soft"}).code == "notFound"
    assert routes.post("presets", {"name": "Soft", "lora": '[{"model": 3}]'}).status == 400


def test_a_setting_is_kept_and_counts_at_once(routes: Routes, studio: Studio) -> None:
    assert (
        routes.found("settings", {"key": "AIR_LORA_OFFLINE", "value": "1"})["values"]["AIR_LORA_OFFLINE"]
        == "1"
    )
    try:
        (item,) = info(routes, "civitai:55@66")
        assert (item["state"], item["error"]["code"]) == ("offline", "offline")
        assert info(routes, LOCAL)[0]["state"] == "on_disk"
        assert routes.post("search", {"query": "", "source": "civitai"}).code == "offline"
    finally:
        routes.found("settings", {"key": "AIR_LORA_OFFLINE", "value": None})
    assert info(routes, "civitai:55@66")[0]["state"] == "not_found"
    file = studio.process.base / "user/__air_lora/settings.json"
    assert file.stat().st_mode & 0o077 == 0


def test_the_download_folder_is_one_of_comfyuis(routes: Routes) -> None:
    shown = routes.get("settings").json
    assert shown["choices"]["AIR_LORA_DIR"][0] == {"value": "0", "label": "models/loras"}
    assert routes.found("settings", {"key": "AIR_LORA_DIR", "value": "0"})["values"]["AIR_LORA_DIR"] == "0"
    assert routes.found("settings", {"key": "AIR_LORA_DIR", "value": ""})["values"]["AIR_LORA_DIR"] == ""
    for value in ("/etc", "..", "99", "C:\\"):
        assert routes.post("settings", {"key": "AIR_LORA_DIR", "value": value}).code == "invalidSetting"


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("AIR_LORA_CONNECTIONS", "0", "invalidSetting"),
        ("AIR_LORA_KEPT_BYTES", "lots", "invalidSetting"),
        ("AIR_LORA_OFFLINE", "maybe", "invalidSetting"),
        ("AIR_LORA_PICTURES", "everything", "invalidSetting"),
        ("AIR_LORA_ARCHIVE", "https://evil.example", "invalidSetting"),
        ("AIR_LORA_CIVITAI_URL", "https://evil.example", "unknownSetting"),
        ("HF_ENDPOINT", "https://evil.example", "unknownSetting"),
        ("CIVITAI_API_TOKEN", "x", "unknownSetting"),
        ("PATH", "/", "unknownSetting"),
    ],
)
def test_settings_that_the_page_may_not_make(routes: Routes, key: str, value: str, code: str) -> None:
    before = routes.get("settings").json
    assert routes.post("settings", {"key": key, "value": value}).code == code
    assert routes.get("settings").json == before


def test_a_token_goes_in_and_never_comes_out(routes: Routes) -> None:
    secret = "hf_abcdefghijklmnop"
    answer = routes.post("token", {"service": "huggingface", "token": secret})
    assert answer.json == {"tokens": {"civitai": True, "huggingface": True, "endpoint": False}}
    try:
        shown = [routes.get(path).body for path in ("settings", "presets", "library?limit=200")]
        shown.append(routes.post("parse", {"text": f"huggingface:{secret}"}).body)
        shown.append(
            routes.post("info", {"models": [f"local:{secret}.safetensors", f"civitai:{TOKEN}"]}).body
        )
        shown.append(routes.post("token", {"service": "huggingface", "token": "two words"}).body)
        for body in (*shown, answer.body):
            assert secret.encode() not in body
            assert TOKEN.encode() not in body
    finally:
        assert (
            routes.found("token", {"service": "huggingface", "token": None})["tokens"]["huggingface"] is False
        )
    refused = routes.post("token", {"service": "civitai", "token": "other"})
    assert (refused.status, refused.code) == (409, "setByEnvironment")
    assert "CIVITAI_API_TOKEN" in routes.get("settings").json["from_environment"]
