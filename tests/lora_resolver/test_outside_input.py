"""External input is accepted only within limits: numbers, JSON, addresses, and files of every kind."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lora_resolver import (
    InvalidInput,
    LoraResolverError,
    Resolver,
    ResolverConfig,
    StorageFailed,
    parse_identifier,
    read_header,
)
from lora_resolver.errors import MOST_SHOWN
from lora_resolver.on_disk.library.scan import walk
from lora_resolver.safe_files import open_regular, parse_json, read_bounded, read_json_file, whole_number
from lora_resolver.settings.presets import MAX_PRESETS, read_presets, save_preset
from lora_resolver.settings.settings_file import read_settings, save_settings
from lora_resolver.transfer.address_rules import check_peer
from lora_resolver.transfer.transport import _as_sent
from tests import lora_files

if TYPE_CHECKING:
    from collections.abc import Callable

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has neither FIFOs nor sockets among its files")


@pytest.mark.parametrize("text", ["²", "٣", "1" * 5000, "-1", "+1", "1.0", "1e3", " 1", "1_000", "", "0x10"])
def test_only_plain_digits_within_bounds_are_a_number(text: str) -> None:
    assert whole_number(text) is None


def test_a_number_and_its_bounds() -> None:
    assert whole_number("0042", 42) == 42
    assert whole_number("43", 42) is None
    assert whole_number("0", 42, least=1) is None


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 50_000, "[" + "[]," * 200_000 + "0]", "1" * 5000, "nothing", '{"a": NaN'],
    ids=["deep", "deep objects", "a bomb of lists", "digits", "no JSON", "half"],
)
def test_json_is_read_or_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - callers catch exactly this
        parse_json(text)


def test_halves_of_surrogate_pairs_become_question_marks() -> None:
    assert parse_json('{"name": "a\\ud800b", "good": "\\ud83d\\ude00"}') == {"name": "a?b", "good": "😀"}


@pytest.mark.parametrize("setting", ["5000000", "²", "65", "-1", "1" * 5000])
def test_a_setting_has_bounds(setting: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        ResolverConfig.from_environment({"AIR_LORA_CONNECTIONS": setting, "HOME": "/nowhere"})
    assert caught.value.code == "invalidSetting"
    assert len(str(caught.value)) < 300


# ---- files


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def unix_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's name is limited to about a hundred characters
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def folder(path: Path) -> None:
    path.mkdir()


NO_FILES = [fifo, device, unix_socket, folder]


def in_time(work: Callable[[], object]) -> object:
    """The result, or the error, of work that must not hang."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(work())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(120)
    assert outcome, "it hangs"
    return outcome[0]


@posix
@pytest.mark.parametrize("make", NO_FILES, ids=lambda make: make.__name__)
def test_what_is_no_regular_file_is_never_waited_for(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    make(path)
    assert isinstance(in_time(lambda: open_regular(path)), OSError)
    assert isinstance(in_time(lambda: read_header(path)), StorageFailed)


@posix
@pytest.mark.parametrize("make", NO_FILES, ids=lambda make: make.__name__)
def test_a_folder_with_one_is_listed_without_it(make: Callable[[Path], None], tmp_path: Path) -> None:
    sound = lora_files.sd15_lora(tmp_path / "sound.safetensors")
    make(tmp_path / "odd.safetensors")
    for suffix in (".metadata.json", ".civitai.info", ".rgthree-info.json"):
        make(tmp_path / f"sound{suffix}")
    make(tmp_path / "sound.safetensors.rgthree-info.json")
    found = in_time(lambda: [entry.path for entry in walk([tmp_path], lambda: None)])
    assert found == [os.fspath(sound)]
    config = ResolverConfig(download_dir=tmp_path, state_dir=tmp_path / "state")
    resolved = in_time(lambda: Resolver(config).resolve_all([parse_identifier("local:sound.safetensors")]))
    assert isinstance(resolved, list), resolved
    refused = in_time(lambda: Resolver(config).resolve_all([parse_identifier("local:odd.safetensors")]))
    assert isinstance(refused, LoraResolverError), refused


@posix
@pytest.mark.parametrize("make", NO_FILES, ids=lambda make: make.__name__)
def test_presets_and_settings_that_are_no_files(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "kept.json")
    for read in (read_presets, read_settings):
        assert isinstance(in_time(lambda read=read: read(tmp_path / "kept.json")), InvalidInput)


RECORDS = {
    "deep": b"[" * 100_000,
    "a list": b"[1, 2]",
    "a number": b"7",
    "large": b'"' + b"x" * (9 << 20) + b'"',
    "odd types": b'{"format": 1, "identifiers": 7, "sha256": [], "record": "x", "size": {}, "mtime_ns": null}',
    "surrogates": b'{"civitai": {"modelId": "\\ud800", "trainedWords": ["\\udc00"]}, "sha256": "\\ud800"}',
    "bytes": bytes(range(256)),
}


@pytest.mark.parametrize("record", RECORDS)
def test_one_bad_record_breaks_no_look_up(record: str, tmp_path: Path) -> None:
    sound = lora_files.sd15_lora(tmp_path / "sound.safetensors")
    lora_files.sd15_lora(tmp_path / "other.safetensors", seed=1)
    for name in ("other.air.json", "other.metadata.json", "other.civitai.info", "sound.metadata.json"):
        (tmp_path / name).write_bytes(RECORDS[record])
    (tmp_path / "air" / "civitai" / "1@2").mkdir(parents=True)
    (tmp_path / "air" / "civitai" / "1@2" / "a.air.json").write_bytes(RECORDS[record])
    config = ResolverConfig(download_dir=tmp_path, state_dir=tmp_path / "state")
    resolver = Resolver(config)
    assert resolver.resolve_all([parse_identifier("local:sound.safetensors")])[0].path == sound
    assert {file.path.name for file in resolver.library()} >= {"sound.safetensors", "other.safetensors"}


def test_a_file_larger_than_its_kind_may_be(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 101)
    with pytest.raises(OSError, match="larger than 100 bytes"):
        read_bounded(tmp_path / "large", 100)
    (tmp_path / "small").write_text(json.dumps({"a": 1}))
    assert read_json_file(tmp_path / "small", 100) == {"a": 1}


def test_presets_never_outgrow_what_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lora_resolver.settings.presets.MAX_BYTES", 100_000)
    path = tmp_path / "presets.json"
    long = json.dumps([{"model": f"local:{'x' * 200}{number}.safetensors"} for number in range(60)])
    saved, refused = 0, None

    def outcome(work: Callable[[], object]) -> str | None:
        try:
            work()
        except InvalidInput as error:
            return error.code
        return None

    while refused is None and saved <= MAX_PRESETS:
        refused = outcome(lambda: save_preset(path, f"preset {saved}", long))  # noqa: B023 - called immediately
        saved += refused is None
    assert refused == "presetRefused"
    assert len(read_presets(path)) == saved


def test_settings_never_outgrow_what_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    save_settings(path, {"AIR_LORA_CONNECTIONS": "2"})
    with pytest.raises(InvalidInput):
        save_settings(path, {"AIR_LORA_STORE": "x" * 10_000_000})
    assert read_settings(path) == {"AIR_LORA_CONNECTIONS": "2"}


# ---- addresses


@pytest.mark.parametrize(
    "address",
    [
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2002:c0a8:1::1",
        "::ffff:10.0.0.1",
    ],
)
def test_addresses_that_lead_to_a_private_one_are_private(address: str) -> None:
    with pytest.raises(LoraResolverError):
        check_peer("files.example", address, ())


@pytest.mark.parametrize("address", ["64:ff9b::808:808", "2002:808:808::1", "2606:4700::1111", "8.8.8.8"])
def test_public_ones_are_not(address: str) -> None:
    assert ipaddress.ip_address(address)
    check_peer("files.example", address, ())


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.example\\@civitai.com/",
        "https://civitai.com\\.evil.example/x",
        "https://evil.example\\\\civitai.com/",
        "https:///nowhere",
        "https://[::1/",
        "https://a b/",
    ],
)
def test_an_address_that_two_parsers_read_differently_is_refused(url: str) -> None:
    with pytest.raises(LoraResolverError) as caught:
        _as_sent(url)
    assert caught.value.code == "redirectRefused"


def test_an_address_is_sent_as_it_was_judged() -> None:
    assert _as_sent("https://civitai.com/api?x=a\\b").startswith("https://civitai.com/api?x=a")
    assert _as_sent("https://CIVITAI.com/a b") == "https://civitai.com/a%20b"


# ---- the length of messages


def test_thousands_of_faults_make_a_short_message() -> None:
    from lora_resolver import parse_lora_array

    with pytest.raises(LoraResolverError) as caught:
        parse_lora_array(json.dumps([{"model": 7}] * 25_000))
    assert len(str(caught.value)) < 6_000
    assert str(caught.value).count("\n") == MOST_SHOWN
    assert len(caught.value.each()) > MOST_SHOWN


# ---- a hash is computed from the bytes


def record_beside(path: Path, sha256: str) -> None:
    """Writes the record of a download with this hash."""
    status = path.stat()
    content = {
        "format": 1, "identifiers": ["civitai:1@2"], "sha256": sha256, "source": "civitai", "record": None,
        "size": status.st_size, "mtime_ns": status.st_mtime_ns,
    }  # fmt: skip
    path.with_suffix(".air.json").write_text(json.dumps(content))


@pytest.mark.parametrize("name", ["sha256", "civitai"])
def test_a_record_beside_a_file_is_never_believed_for_its_hash(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "air" / "civitai" / "1@2"
    folder.mkdir(parents=True)
    path = lora_files.sd15_lora(folder / "a.safetensors")
    true, false = hashlib.sha256(path.read_bytes()).hexdigest(), "f" * 64
    resolver = Resolver(ResolverConfig(download_dir=tmp_path, state_dir=tmp_path / "state", offline=True))
    record_beside(path, false)
    with pytest.raises(LoraResolverError):
        resolver.resolve(parse_identifier(f"sha256:{false}" if name == "sha256" else "civitai:1@2"))
    record_beside(path, true)
    found = resolver.resolve(parse_identifier(f"sha256:{true}" if name == "sha256" else "civitai:1@2"))
    assert (found.sha256, found.path) == (true, path)
    assert found.state is not None
