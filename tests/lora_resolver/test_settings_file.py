"""Settings that outlast a session, including tokens: readable only by their owner, overridden by the environment."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lora_resolver.config import ResolverConfig
from lora_resolver.errors import InvalidInput
from lora_resolver.settings.settings_file import (
    read_settings,
    save_settings,
    user_settings_file,
    with_settings,
)

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "civitai-0123456789abcdef"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "settings.json"


def test_an_unknown_setting_is_said_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_text('{"AIR_LORA_CONNECTION": "2", "AIR_LORA_OFFLINE": "1"}')
    for _ in range(3):
        assert read_settings(path) == {"AIR_LORA_OFFLINE": "1"}
    (line,) = [each for each in caplog.messages if "Unknown setting" in each]
    assert '"AIR_LORA_CONNECTION"' in line
    assert "AIR_LORA_CONNECTIONS?" in line


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_token_is_kept_for_its_owner_alone(path: Path) -> None:
    umask = os.umask(0)
    try:
        save_settings(path, {"CIVITAI_API_TOKEN": f" {TOKEN}\n"})
    finally:
        os.umask(umask)
    assert read_settings(path) == {"CIVITAI_API_TOKEN": TOKEN}
    if os.name == "posix":
        assert mode_of(path) == 0o600


@pytest.mark.skipif(os.name != "posix", reason="Windows keeps a user's own folders closed by other means")
def test_a_file_that_others_could_read_is_closed_to_them(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_settings(path, {"CIVITAI_API_TOKEN": TOKEN})
    path.chmod(0o644)
    assert read_settings(path) == {"CIVITAI_API_TOKEN": TOKEN}
    assert mode_of(path) == 0o600
    assert str(path) in caplog.text
    assert TOKEN not in caplog.text


def test_settings_change_one_by_one(path: Path) -> None:
    save_settings(path, {"CIVITAI_API_TOKEN": TOKEN, "AIR_LORA_CONNECTIONS": "2"})
    save_settings(path, {"HF_TOKEN": "hf_x", "AIR_LORA_CONNECTIONS": None})
    assert read_settings(path) == {"CIVITAI_API_TOKEN": TOKEN, "HF_TOKEN": "hf_x"}
    with pytest.raises(InvalidInput, match="Unknown setting PATH"):
        save_settings(path, {"PATH": "/x"})


def test_the_environment_wins_where_it_says_something(path: Path, tmp_path: Path) -> None:
    save_settings(
        path, {"CIVITAI_API_TOKEN": TOKEN, "AIR_LORA_CONNECTIONS": "2", "AIR_LORA_DIR": "/from/file"}
    )
    environ = {"AIR_LORA_CONNECTIONS": "7", "CIVITAI_API_TOKEN": " ", "AIR_LORA_DIR": str(tmp_path)}
    config = ResolverConfig.from_environment(with_settings(environ, path))
    assert (config.connections, config.civitai_token, config.download_dir) == (7, TOKEN, tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"HF_TOKEN": [5]}', f'{{"HF_TOKEN": "{TOKEN}"', "\x00"])
def test_a_file_that_makes_no_sense_is_named_without_what_it_holds(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        read_settings(path)
    assert str(path) in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_where_it_lies(tmp_path: Path) -> None:
    assert user_settings_file({"AIR_LORA_SETTINGS": "/x/y.json"}).as_posix() == "/x/y.json"
    assert user_settings_file({"XDG_CONFIG_HOME": str(tmp_path)}) == tmp_path / "air-lora" / "settings.json"


def test_a_home_that_is_no_folder_has_no_settings(tmp_path: Path) -> None:
    """Service accounts have /dev/null as their home."""
    home = tmp_path / "null"
    home.touch()
    assert with_settings({"A": "b"}, home / ".config" / "air-lora" / "settings.json") == {"A": "b"}


def test_the_command_line_reads_it(path: Path, tmp_path: Path) -> None:
    save_settings(path, {"AIR_LORA_OFFLINE": "1", "AIR_LORA_DIR": str(tmp_path / "loras")})
    environ = {**os.environ, "AIR_LORA_SETTINGS": str(path)}
    command = [sys.executable, "-m", "lora_resolver", "resolve", "civitai:1@2"]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "offline mode is on" in ran.stderr


def test_numbers_and_switches_may_be_written_as_such(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"AIR_LORA_CONNECTIONS": 8, "AIR_LORA_OFFLINE": true, "HF_TOKEN": "hf_x"}')
    assert read_settings(path) == {"AIR_LORA_CONNECTIONS": "8", "AIR_LORA_OFFLINE": "1", "HF_TOKEN": "hf_x"}
