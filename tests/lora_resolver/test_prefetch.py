"""`python -m lora_resolver prefetch`: checks what is needed first, and then downloads it."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lora_resolver.cli import main
from lora_resolver.settings.settings_file import user_config
from tests.conftest import ROOT
from tests.lora_resolver.civitai_faults import status
from tests.lora_resolver.served_loras import write_safetensors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.lora_resolver.civitai_faults import FaultyCivitai
    from tools.civitai_server import CatalogueEntry, Exchange

    Told = tuple[int, dict[str, Any]]

INK, CHALK = "civitai:120096@135931", "civitai:7@70"


def array(*names: str, **more: object) -> str:
    return json.dumps([{"model": name, **more} for name in names])


@pytest.fixture(autouse=True)
def settings(civitai: FaultyCivitai, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIR_LORA_DIR", str(tmp_path / "loras"))
    monkeypatch.setenv("AIR_LORA_CIVITAI_URL", civitai.url)
    monkeypatch.setenv("AIR_LORA_SETTINGS", str(tmp_path / "none.json"))


@pytest.fixture
def prefetch(capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    def run(*arguments: str) -> Told:
        code = main(["prefetch", "--json", *arguments])
        return code, json.loads(capsys.readouterr().out)

    return run


def states(document: dict[str, Any]) -> dict[str, str]:
    return {each["identifier"]: each["state"] for each in document["loras"]}


def test_a_dry_run_downloads_nothing_and_says_how_large_it_is(
    prefetch: Callable[..., Told], ink: CatalogueEntry, tmp_path: Path
) -> None:
    code, document = prefetch("--dry-run", array(INK, CHALK))
    size = ink.file.stat().st_size
    assert code == 0
    assert states(document) == {INK: "download", CHALK: "download"}
    first = document["loras"][0]
    assert (first["size"], first["file_name"], first["sha256"], first["path"]) == (
        size,
        "ink.safetensors",
        ink.sha256,
        None,
    )
    assert document["bytes_to_download"] == sum(each["size"] for each in document["loras"]) > size
    assert list((tmp_path / "loras").rglob("*.safetensors*")) == []


def test_what_a_workflow_needs_is_downloaded_once(prefetch: Callable[..., Told], tmp_path: Path) -> None:
    file = tmp_path / "pixel.json"
    nodes = {"4": {"class_type": "AirLoraApply", "inputs": {"lora": array(INK)}}}
    file.write_text(json.dumps(nodes))
    page = "https://civitai.com/models/120096?modelVersionId=135931"
    code, document = prefetch(str(file), page)
    assert code == 0
    (lora,) = document["loras"]
    assert (lora["state"], lora["places"]) == ("downloaded", [f"{file} node 4, lora[0].model"])
    assert lora["path"] == str(tmp_path / "loras/air/civitai/120096@135931/ink.safetensors")
    assert document["bytes_to_download"] == lora["size"]

    code, document = prefetch(str(file))
    assert (code, states(document), document["bytes_to_download"]) == (0, {INK: "local"}, 0)


def test_pictures_and_standard_input(
    prefetch: Callable[..., Told], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = PngInfo()
    nodes = {"4": {"class_type": "AirLoraApply", "inputs": {"lora": array(INK)}}}
    info.add_text("prompt", json.dumps(nodes))
    Image.new("RGB", (8, 8)).save(tmp_path / "ink.png", pnginfo=info)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(array(CHALK).encode())))
    code, document = prefetch("--dry-run", str(tmp_path / "ink.png"), "-")
    assert code == 0
    assert [each["places"] for each in document["loras"]] == [
        [f"{tmp_path / 'ink.png'} node 4, lora[0].model"],
        ["standard input, lora[0].model"],
    ]


def test_everything_that_cannot_be_had_is_named_and_the_rest_comes(
    prefetch: Callable[..., Told], civitai: FaultyCivitai, tmp_path: Path
) -> None:
    refuse = status(401, {"error": "Unauthorized"})

    def wants_a_token(server: FaultyCivitai, exchange: Exchange) -> bool:
        return exchange.request.path.endswith("/140000") and refuse(server, exchange)

    civitai.faults["download"] = wants_a_token
    write_safetensors(tmp_path / "loras" / "own.safetensors", 400)
    code, document = prefetch(
        array("civitai:120096@140000", "civitai:9@9", "runware:100@1", "local:own.safetensors", INK),
        array(CHALK, weight=0),
    )
    assert code == 1
    assert states(document) == {
        "civitai:120096@140000": "token",
        "civitai:9@9": "missing",
        "runware:100@1": "hosted",
        "local:own.safetensors": "local",
        INK: "downloaded",
        CHALK: "unneeded",
    }
    errors = {each["identifier"]: each["error"] for each in document["loras"] if each["error"]}
    assert {name: (error["code"], error["parameter"]) for name, error in errors.items()} == {
        "civitai:120096@140000": ("loginNeeded", "lora[0].model"),
        "civitai:9@9": ("notFound", "lora[1].model"),
        "runware:100@1": ("hostedOnly", "lora[2].model"),
    }
    assert not [path for path in civitai.paths() if "/70" in path]


def test_offline_says_what_is_missing(prefetch: Callable[..., Told], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIR_LORA_OFFLINE", "1")
    code, document = prefetch(array(INK))
    assert (code, states(document)) == (1, {INK: "offline"})


def test_a_download_that_fails_is_told(prefetch: Callable[..., Told], civitai: FaultyCivitai) -> None:
    looked = []

    def gone_after_the_look(server: FaultyCivitai, exchange: Exchange) -> bool:
        looked.append(exchange.request.path)
        return len(looked) > 1 and status(404)(server, exchange)

    civitai.faults["download"] = gone_after_the_look
    code, document = prefetch(array(CHALK))
    assert (code, states(document)) == (1, {CHALK: "missing"})


@pytest.mark.parametrize(
    ("argument", "code", "place"),
    [
        ("missing.json", "unreadableInput", ""),
        ("120096@135931", "missingSource", ""),
        ('[{"model": ', "invalidJson", "lora"),
        ('[{"model": "civitai:1@2", "weight": 9}]', "valueOutOfRange", "lora[0].weight"),
    ],
)
def test_bad_input_is_status_2_and_what_is_good_comes_all_the_same(
    prefetch: Callable[..., Told], argument: str, code: str, place: str
) -> None:
    status_, document = prefetch(argument, array(INK))
    assert status_ == 2
    assert [(error["code"], error["parameter"]) for error in document["errors"]] == [(code, place)]
    assert states(document) == {INK: "downloaded"}


def test_for_people(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source = array(INK, "civitai:9@9")
    assert main(["prefetch", "--dry-run", source]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"to download    {INK}  ink.safetensors, 300.3 kB"
    assert out[1] == "not found      civitai:9@9"
    assert out[2].strip().startswith("lora[1].model: CivitAI has no version 9")
    folder = user_config().download_dir
    assert out[3] == f"1 file to download to {folder}: 300.3 kB"

    assert main(["prefetch", source]) == 1
    out = capsys.readouterr().out.splitlines()
    path = tmp_path / "loras" / "air" / "civitai" / "120096@135931" / "ink.safetensors"
    assert out[-1] == f"downloaded     {INK}  {path}"


def test_a_workflow_without_loras(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prefetch", '{"1": {"class_type": "KSampler", "inputs": {"seed": 1}}}']) == 0
    assert capsys.readouterr().out == "No LoRAs found.\n"


def test_an_example_workflow(prefetch: Callable[..., Told]) -> None:
    code, document = prefetch("--dry-run", str(ROOT / "example_workflows" / "sdxl-mixed-loras.json"))
    assert code == 1
    assert states(document) == {INK: "download", "civitai:245889@277389": "missing"}
