"""`python -m lora_resolver verify | list | prune`: maintaining the store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from lora_resolver.cli import main
from lora_resolver.resolver import Resolver
from tests.conftest import ROOT
from tests.lora_resolver.civitai_faults import slowly
from tests.lora_resolver.served_loras import everything_in, write_safetensors

if TYPE_CHECKING:
    from collections.abc import Callable

    from lora_resolver.config import ResolverConfig
    from lora_resolver.records import Progress
    from tests.lora_resolver.civitai_faults import FaultyCivitai
    from tools.civitai_server import CatalogueEntry

    Command = Callable[..., tuple[int, Any]]

INK, NEWER, CHALK = "civitai:120096@135931", "civitai:120096@140000", "civitai:7@70"
LONG_AGO = time.time() - 7200


@pytest.fixture(autouse=True)
def loras(civitai: FaultyCivitai, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The download folder that the command line uses."""
    monkeypatch.setenv("AIR_LORA_DIR", str(tmp_path / "loras"))
    monkeypatch.setenv("AIR_LORA_CIVITAI_URL", civitai.url)
    monkeypatch.setenv("AIR_LORA_SETTINGS", str(tmp_path / "none.json"))
    return tmp_path / "loras"


@pytest.fixture
def store(config: ResolverConfig) -> dict[str, Path]:
    """Two downloaded LoRAs."""
    with_state_inside = config.with_changes(state_dir=None)
    resolved = Resolver(with_state_inside).resolve_all([INK, CHALK])
    return {str(lora.identifier): lora.path for lora in resolved}


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    def run(name: str, *arguments: str) -> tuple[int, Any]:
        code = main([name, "--json", *arguments])
        return code, json.loads(capsys.readouterr().out)

    return run


def told(document: dict[str, Any]) -> dict[str, str]:
    return {each["path"]: each["state"] for each in document["files"]}


# verify


def test_an_untouched_store_is_as_recorded(
    command: Command, store: dict[str, Path], ink: CatalogueEntry
) -> None:
    code, document = command("verify")
    assert code == 0
    assert told(document) == {str(path): "ok" for path in store.values()}
    report = next(each for each in document["files"] if INK in each["identifiers"])
    assert report["sha256"] == report["recorded"] == ink.sha256


def test_whatever_happened_to_a_file_is_named(command: Command, store: dict[str, Path]) -> None:
    path = store[INK]
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-5] ^= 1  # flips one bit and keeps the time, like a failing disk
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    code, document = command("verify")
    assert (code, told(document)[str(path)], told(document)[str(store[CHALK])]) == (1, "changed", "ok")

    path.write_bytes(content[:-5])
    store[CHALK].unlink()
    code, document = command("verify")
    assert (code, told(document)) == (1, {str(path): "unsound", str(store[CHALK]): "missing"})
    assert all(each["error"]["remedy"] for each in document["files"])


def test_one_file_by_name_or_identifier(
    command: Command, store: dict[str, Path], loras: Path, ink: CatalogueEntry
) -> None:
    own = write_safetensors(loras / "own.safetensors", 400)
    code, document = command("verify", INK, str(own), f"sha256:{ink.sha256}")
    assert code == 0
    assert [(each["path"], each["state"]) for each in document["files"]] == [
        (str(store[INK]), "ok"),
        (str(own), "unrecorded"),
        (str(store[INK]), "ok"),
    ]


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [("civitai:9@9", 1, "notFound"), ("own.safetensors", 2, "missingSource")],
)
@pytest.mark.usefixtures("store")
def test_a_name_that_is_not_here(command: Command, name: str, status: int, error: str) -> None:
    code, document = command("verify", name, CHALK)
    assert (code, [each["code"] for each in document["errors"]]) == (status, [error])
    assert len(document["files"]) == 1


def test_verify_for_people(store: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    store[CHALK].unlink()
    assert main(["verify"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"ok          {store[INK]}",
        "2 files, 300.3 kB: 1 failed",
    ]
    assert err.startswith(f"missing     {store[CHALK]} no longer exists.")


# list


@pytest.mark.usefixtures("store")
def test_the_library_is_listed(command: Command, loras: Path) -> None:
    write_safetensors(loras / "styles" / "own.safetensors", 400)
    (loras / "broken.safetensors").write_bytes(b"<html>")
    code, files = command("list")
    assert code == 0
    assert {each["name"]: (each["title"], each["trigger_words"], each["verdict"]) for each in files} == {
        "air/civitai/120096@135931/ink.safetensors": ("Ink v1.1", ["ink", "pen drawing"], "ambiguous"),
        "air/civitai/7@70/chalk.safetensors": ("Chalk v1.0", ["chalk"], "ambiguous"),
        "broken.safetensors": ("", [], "unsound"),
        "styles/own.safetensors": ("", [], "ambiguous"),
    }
    assert next(each["identifiers"] for each in files if "ink" in each["name"])[0] == INK


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["PEN", "ink"], ["ink.safetensors"]),
        (["civitai:7@70"], ["chalk.safetensors"]),
        (["nothing"], []),
        (["--family", "flux1"], []),
        (["--family", "SDXL", "--family", "flux1", "chalk"], ["chalk.safetensors"]),
    ],
)
@pytest.mark.usefixtures("store")
def test_the_list_can_be_narrowed(command: Command, arguments: list[str], expected: list[str]) -> None:
    code, files = command("list", *arguments)
    assert (code, [each["name"].rpartition("/")[2] for each in files]) == (0, expected)


def test_a_family_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--family", "sdlx"]) == 2
    assert "Did you mean sdxl?" in capsys.readouterr().err


def test_the_list_for_people_holds_no_control_characters(
    civitai: FaultyCivitai, config: ResolverConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = civitai.catalogue[2]
    object.__setattr__(entry, "trigger_words", ("chalk\x1b[2J",))
    Resolver(config).resolve(CHALK)
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.startswith("air/civitai/7@70/chalk.safetensors  (7.3 kB, SD 1.x or SD 2.x or SDXL")
    assert out.splitlines()[-1] == f"1 file, 7.3 kB, in {config.download_dir}"


# prune


def removed(document: dict[str, Any], loras: Path) -> dict[str, str]:
    """Name in the store → kind of what was removed."""
    return {
        Path(each["path"]).relative_to(loras / "air").as_posix(): each["what"] for each in document["removed"]
    }


def leave_a_partial(loras: Path) -> Path:
    folder = loras / "air" / "civitai" / "9@9"
    folder.mkdir(parents=True)
    (folder / "big.safetensors.air-part").write_bytes(bytes(5000))
    (folder / "big.safetensors.air-part.json").write_text("{}")
    return folder / "big.safetensors"


@pytest.mark.usefixtures("store")
def test_nothing_goes_from_a_store_in_good_order(command: Command, loras: Path) -> None:
    before = everything_in(loras)
    code, document = command("prune")
    assert (code, set(removed(document, loras).values()) <= {"lock"}, document["freed"]) == (0, True, 0)
    assert everything_in(loras) == before
    assert command("prune")[1]["removed"] == []
    assert command("verify")[0] == 0


def test_what_was_left_behind_goes(command: Command, store: dict[str, Path], loras: Path) -> None:
    leave_a_partial(loras)
    (loras / "big.safetensors.air-part").write_bytes(b"not in air")
    store[INK].unlink()
    empty = loras / "air" / "civitai" / "5@5"
    empty.mkdir()
    os.utime(empty, (LONG_AGO, LONG_AGO))
    (loras / "air" / "civitai" / "6@6").mkdir()  # new, so it might be about to be used
    temporary = store[CHALK].with_name(".chalk.air.json.abc123.tmp")
    temporary.write_bytes(b"12345")
    os.utime(temporary, (LONG_AGO, LONG_AGO))
    (store[CHALK].parent / "notes.txt").write_text("mine")
    before = everything_in(loras)

    code, dry = command("prune", "--dry-run")
    assert (code, everything_in(loras)) == (0, before)
    code, document = command("prune")
    assert code == 0
    expected = {
        "civitai/9@9/big.safetensors.air-part": "partial",
        "civitai/9@9/big.safetensors.air-part.json": "partial",
        "civitai/7@70/.chalk.air.json.abc123.tmp": "partial",
        "civitai/120096@135931/ink.air.json": "record",
        "civitai/120096@135931/ink.civitai.info": "record",
        "civitai/120096@135931/ink.preview.png": "record",
        "civitai/120096@135931": "folder",
        "civitai/9@9": "folder",
        "civitai/5@5": "folder",
    }
    for each in (dry, document):
        assert {k: v for k, v in removed(each, loras).items() if v != "lock"} == expected
        assert each["freed"] == sum(item["size"] for item in each["removed"]) > 5000
    gone = {name for name in before if name.removeprefix("air/") in expected}
    assert everything_in(loras) == {name: content for name, content in before.items() if name not in gone}
    assert list((loras / "air" / ".locks").iterdir()) == []


@pytest.mark.parametrize("at_the_end", [False, True])
def test_what_somebody_downloads_now_stays(command: Command, loras: Path, at_the_end: bool) -> None:
    target = leave_a_partial(loras)
    if at_the_end:  # complete, and about to get its final name
        bytes_so_far = target.with_name("big.safetensors.air-part")
        bytes_so_far.rename(target.with_name("big.safetensors.c410b395.air-part"))
    lock = loras / "air" / ".locks" / "civitai+9@9+big.safetensors.lock"
    lock.parent.mkdir()
    with FileLock(lock):
        before = everything_in(loras)
        for arguments in (["--dry-run"], []):
            code, document = command("prune", *arguments)
            assert (code, document["removed"], document["in_use"]) == (0, [], [str(target)])
        assert everything_in(loras) == before
    assert set(removed(command("prune")[1], loras).values()) == {"partial", "lock", "folder"}


def test_only_what_something_needs_is_kept(
    command: Command, store: dict[str, Path], loras: Path, tmp_path: Path
) -> None:
    own = write_safetensors(loras / "air" / "own.safetensors", 400)  # without a record
    workflow = tmp_path / "workflow.json"
    array = json.dumps([{"model": INK, "enabled": False}])
    workflow.write_text(json.dumps({"1": {"class_type": "AirLoraApply", "inputs": {"lora": array}}}))
    code, dry = command("prune", "--dry-run", "--keep", str(workflow))
    assert store[CHALK].exists()
    code, document = command("prune", "--keep", str(workflow))
    assert code == 0
    names = {k for k, v in removed(document, loras).items() if v == "unneeded"}
    assert names == {k for k, v in removed(dry, loras).items() if v == "unneeded"}
    assert names == {f"civitai/7@70/chalk{end}" for end in (".safetensors", ".air.json", ".civitai.info")}
    assert [path.exists() for path in (store[INK], store[CHALK].parent, own)] == [True, False, True]
    assert command("verify")[0] == 0


@pytest.mark.parametrize(
    "name",
    [
        "civitai:120096",
        "civitai:120096@latest",
        "runware:1@1",
        "https://civitai.com/api/download/models/135931",
    ],
)
def test_a_name_that_means_a_file_in_another_way_keeps_it(
    command: Command, store: dict[str, Path], loras: Path, name: str
) -> None:
    (loras / "air" / "aliases.json").write_text(json.dumps({"runware:1@1": INK}))
    command("prune", "--keep", name)
    assert (store[INK].exists(), store[CHALK].exists()) == (True, False)


def test_a_local_name_and_a_hash_keep_it(
    command: Command, store: dict[str, Path], ink: CatalogueEntry
) -> None:
    command("prune", "--keep", f"sha256:{ink.sha256}", "local:air/civitai/7@70/chalk.safetensors")
    assert all(path.exists() for path in store.values())


def test_a_file_that_is_no_longer_what_was_downloaded_stays(command: Command, store: dict[str, Path]) -> None:
    write_safetensors(store[CHALK], 600, seed=9)
    code, document = command("prune", "--keep", INK)
    assert (code, document["left"]) == (0, [str(store[CHALK])])
    assert store[CHALK].exists()


@pytest.mark.parametrize(
    "keep",
    ["missing.json", "[{]", "[]", '{"1": {"class_type": "AirLoraApply", "inputs": {"lora": ["2", 0]}}}'],
)
def test_where_it_is_not_known_what_is_needed_nothing_goes(
    command: Command, store: dict[str, Path], keep: str
) -> None:
    code, document = (
        command("prune", "--keep", keep, CHALK) if keep != "[]" else command("prune", "--keep", keep)
    )
    assert (code, document["removed"], len(document["errors"])) == (2, [], 1)
    assert all(path.exists() for path in store.values())


def test_a_folder_in_the_store_that_leads_elsewhere_is_left_alone(
    command: Command, store: dict[str, Path], loras: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    store[CHALK].parent.rename(elsewhere)
    (loras / "air" / "civitai" / "7@70").symlink_to(elsewhere, target_is_directory=True)
    (elsewhere / "x.safetensors.air-part").write_bytes(b"1")
    before = everything_in(elsewhere)
    command("prune", "--keep", INK)
    assert everything_in(elsewhere) == before


@pytest.mark.usefixtures("store")
def test_prune_for_people(loras: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = leave_a_partial(loras)
    assert main(["prune"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"{target}.air-part  (interrupted download, 5.0 kB)"
    assert out[-1].startswith("Removed ")
    assert out[-1].endswith(" and 1 folder: 5.0 kB")
    assert main(["prune"]) == 0
    assert capsys.readouterr().out == "Nothing to remove.\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows tells a broken pipe in other ways")
def test_output_that_nobody_reads_is_no_crash() -> None:
    Path(os.environ["AIR_LORA_DIR"]).mkdir(parents=True)
    reader, writer = os.pipe()
    os.close(reader)  # as `| head` does when it has enough lines
    run = subprocess.run(
        [sys.executable, "-m", "lora_resolver", "list"],
        cwd=ROOT,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (run.returncode, run.stderr) == (141, b"")


def test_pruning_all_the_while_a_download_runs(
    command: Command, civitai: FaultyCivitai, config: ResolverConfig, ink: CatalogueEntry
) -> None:
    civitai.faults["deliver"] = slowly(30_000)
    rounds = 0

    def prune(_: Progress) -> None:
        nonlocal rounds
        rounds += 1
        assert command("prune")[1]["errors"] == []

    lora = Resolver(config).resolve(INK, on_progress=prune)
    assert rounds > 2
    assert lora.path.read_bytes() == ink.file.read_bytes()
