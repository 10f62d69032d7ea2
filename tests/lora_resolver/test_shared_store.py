"""A store shared by several machines, at addresses that need no server. For S3, see test_shared_store_s3.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from lora_resolver.cli import main
from lora_resolver.config import ResolverConfig
from lora_resolver.errors import InvalidInput, NotFound, Offline
from lora_resolver.resolver import Resolver
from lora_resolver.sources.shared_store.upkeep import check_store, prune_store, store_entries
from tests.conftest import ROOT
from tests.lora_resolver.served_loras import everything_in, quick_config, write_safetensors
from tools.huggingface_server import HuggingFaceServer, Repository

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lora_resolver.civitai_faults import FaultyCivitai
    from tools.civitai_server import CatalogueEntry

INK = "civitai:120096@135931"


@pytest.fixture(params=["file", "path", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return {
        "file": f"file://{tmp_path}/store",
        "path": f"{tmp_path}/store",
        "memory": f"memory://{uuid.uuid4().hex}",
    }[request.param]


@pytest.fixture
def filled(store: str, config: ResolverConfig) -> str:
    """A store that one worker has filled."""
    assert Resolver(config.with_changes(store=store)).resolve(INK).warnings == ()
    return store


def worker(tmp_path: Path, civitai: FaultyCivitai, store: str, **changes: Any) -> ResolverConfig:
    """A separate machine."""
    name = uuid.uuid4().hex[:6]
    return quick_config(tmp_path / name / "loras", civitai_url=civitai.url, store=store, **changes)


def test_what_one_worker_downloads_the_next_has_without_civitai(
    filled: str, civitai: FaultyCivitai, ink: CatalogueEntry, tmp_path: Path
) -> None:
    civitai.requests.clear()
    lora = Resolver(worker(tmp_path, civitai, filled, offline=True)).resolve(INK)
    assert (lora.from_store, lora.downloaded, lora.source) == (True, True, "civitai")
    assert lora.path.read_bytes() == ink.file.read_bytes()
    assert lora.record is not None
    assert (lora.record.name, lora.trigger_words) == ("Ink", ("ink", "pen drawing"))
    assert civitai.requests == []
    names = {path.name for path in lora.path.parent.iterdir()}
    assert names == {"ink.safetensors", "ink.air.json", "ink.civitai.info", "ink.preview.png"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights than read and write for three")
def test_what_comes_from_it_can_be_read_by_whom_the_umask_lets(
    filled: str, civitai: FaultyCivitai, tmp_path: Path
) -> None:
    before = os.umask(0o002)
    try:
        lora = Resolver(worker(tmp_path, civitai, filled, offline=True)).resolve(INK)
    finally:
        os.umask(before)
    assert {
        path.name: oct(path.stat().st_mode & 0o777) for path in lora.path.parent.iterdir()
    } == dict.fromkeys(("ink.safetensors", "ink.air.json", "ink.civitai.info", "ink.preview.png"), "0o664")


def test_each_of_its_names_finds_it(
    filled: str, civitai: FaultyCivitai, ink: CatalogueEntry, tmp_path: Path
) -> None:
    for name in (f"{INK}+{ink.file_id}", f"sha256:{ink.sha256}", f"urn:air:sdxl:lora:{INK}"):
        config = worker(tmp_path, civitai, filled, offline=True)
        assert Resolver(config).resolve(name).path.read_bytes() == ink.file.read_bytes(), name


def test_a_name_that_may_mean_another_file_tomorrow_is_asked_about_at_civitai(
    filled: str, civitai: FaultyCivitai, tmp_path: Path
) -> None:
    with pytest.raises((Offline, NotFound)):
        Resolver(worker(tmp_path, civitai, filled, offline=True)).resolve("civitai:120096@latest")
    lora = Resolver(worker(tmp_path, civitai, filled)).resolve("civitai:7@latest")
    assert lora.from_store is False
    civitai.requests.clear()
    again = Resolver(worker(tmp_path, civitai, filled)).resolve("civitai:7@latest")
    assert again.from_store is True, "CivitAI says which file it is, the store has it"
    assert not [path for path in civitai.paths() if path.startswith("/delivery/")]


def test_a_look_at_it_brings_its_header_and_no_more(
    filled: str, civitai: FaultyCivitai, ink: CatalogueEntry, tmp_path: Path
) -> None:
    config = worker(tmp_path, civitai, filled, offline=True)
    peeked = Resolver(config).peek(INK)
    assert peeked.header is not None
    assert peeked.size == ink.file.stat().st_size
    assert peeked.bytes_read < 10_000
    assert not list(config.download_dir.rglob("*.safetensors"))


def test_what_the_user_has_under_another_name_is_not_fetched_from_the_store(
    filled: str, civitai: FaultyCivitai, ink: CatalogueEntry, tmp_path: Path
) -> None:
    config = worker(tmp_path, civitai, filled, offline=True)
    mine = config.download_dir / "mine.safetensors"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(ink.file.read_bytes())
    lora = Resolver(config).resolve(INK)
    assert (lora.path, lora.from_store, lora.downloaded) == (mine, False, False)


def test_files_that_are_gone_from_it_are_asked_for_at_civitai(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    Resolver(config.with_changes(store=str(store))).resolve(INK)
    (file,) = store.rglob("*.safetensors")
    file.unlink()
    lora = Resolver(worker(tmp_path, civitai, str(store))).resolve(INK)
    assert (lora.from_store, lora.sha256) == (False, ink.sha256)
    assert file.read_bytes() == ink.file.read_bytes(), "and put back"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:100],
        lambda text: text.replace(b'"format": 1', b'"format": 2'),
        lambda text: text.replace(b'"identifier": "civitai:120096@135931"', b'"identifier": "civitai:7@70"'),
        lambda text: text.replace(b'"sha256": "', b'"sha256": "../'),
        lambda _text: b"[" * 100_000,
    ],
    ids=["half", "of another format", "about another name", "a path for a hash", "nested"],
)
def test_a_note_that_cannot_be_read_is_left_alone(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry, tmp_path: Path, spoil: Any
) -> None:
    store = tmp_path / "store"
    Resolver(config.with_changes(store=str(store))).resolve(INK)
    note = store / "names" / "civitai" / "120096@135931.json"
    note.write_bytes(spoil(note.read_bytes()))
    lora = Resolver(worker(tmp_path, civitai, str(store))).resolve(INK)
    assert lora.sha256 == ink.sha256
    assert "can't be read" in " ".join(lora.warnings)


@pytest.mark.parametrize(
    "name", ["../../../evil.safetensors", "/etc/evil.safetensors", "C:\\evil.safetensors"]
)
def test_a_note_names_no_place_outside_the_folder(
    config: ResolverConfig, civitai: FaultyCivitai, tmp_path: Path, name: str
) -> None:
    store = tmp_path / "store"
    Resolver(config.with_changes(store=str(store))).resolve(INK)
    note = store / "names" / "civitai" / "120096@135931.json"
    content = json.loads(note.read_bytes())
    note.write_text(json.dumps({**content, "file_name": name}))
    one = worker(tmp_path, civitai, str(store), offline=True)
    assert one.download_dir / "air" in Resolver(one).resolve(INK).path.parents
    note.write_text(json.dumps({**content, "folder": "../../../../elsewhere"}))
    other = worker(tmp_path, civitai, str(store), offline=True)
    outcome = Resolver(other).resolve_each([INK])
    assert getattr(outcome[0], "code", "") == "outsideStore"
    assert not (tmp_path / "elsewhere").exists()


def test_what_is_larger_than_the_limit_stays_there(
    filled: str, civitai: FaultyCivitai, tmp_path: Path
) -> None:
    with pytest.raises(Offline):
        Resolver(worker(tmp_path, civitai, filled, offline=True, max_bytes=1000)).resolve(INK)


def test_a_store_without_its_driver_says_what_to_install(config: ResolverConfig) -> None:
    with pytest.raises(InvalidInput) as caught:
        Resolver(config.with_changes(store="abfs://container/loras")).resolve(INK)
    assert caught.value.code == "storeDriverMissing"
    assert "pip install adlfs" in caught.value.remedy
    with pytest.raises(InvalidInput, match="nonesuch://"):
        Resolver(config.with_changes(store="nonesuch://container/loras")).resolve(INK)


def test_without_fsspec_it_says_so_too_and_nothing_else_needs_it(
    config: ResolverConfig, civitai: FaultyCivitai
) -> None:
    code = (
        "import sys\nsys.modules['fsspec'] = None\n"
        "from lora_resolver.cli import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    environment = {
        **os.environ,
        "AIR_LORA_DIR": str(config.download_dir),
        "AIR_LORA_CIVITAI_URL": civitai.url,
        "AIR_LORA_STORE": "s3://bucket/loras",
    }
    command = [sys.executable, "-c", code, "resolve", "--json", INK]
    first = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert "python -m pip install fsspec s3fs" in first.stdout
    del environment["AIR_LORA_STORE"]
    second = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr


@pytest.mark.parametrize(
    "address",
    [
        "s3://AKIA:hush-hush@bucket/loras",
        "s3://bucket/loras?token=hush-hush",
        "sftp://me:hush-hush@host/loras",
        "simplecache::s3://bucket/hush-hush",
        "s3://",
        "hush-hush",
    ],
)
def test_an_address_with_a_secret_in_it_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(InvalidInput, match="AIR_LORA_STORE") as caught:
        ResolverConfig.from_environment({"AIR_LORA_STORE": address})
    assert "hush-hush" not in str(caught.value)


@pytest.mark.parametrize("place", ["/mnt/loras", "~/loras", "D:\\loras", "D:/loras", "\\\\nas\\loras"])
def test_a_folder_of_any_system_is_a_store(place: str) -> None:
    assert ResolverConfig.from_environment({"AIR_LORA_STORE": place}).store == place


def test_it_is_read_from_the_environment() -> None:
    config = ResolverConfig.from_environment({"AIR_LORA_STORE": " s3://bucket/loras/ "})
    assert config.store == "s3://bucket/loras"
    assert ResolverConfig.from_environment({"AIR_LORA_STORE": " "}).store is None


def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **values: str) -> None:
    monkeypatch.setenv("AIR_LORA_SETTINGS", str(tmp_path / "settings.json"))
    for key, value in values.items():
        monkeypatch.setenv(key, value)


def test_prefetch_puts_what_is_here_into_the_store(
    config: ResolverConfig,
    civitai: FaultyCivitai,
    ink: CatalogueEntry,
    store: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Resolver(config).resolve(INK)
    settings(monkeypatch, tmp_path, AIR_LORA_DIR=str(config.download_dir), AIR_LORA_STORE=store)
    monkeypatch.setenv("AIR_LORA_CIVITAI_URL", civitai.url)
    civitai.requests.clear()
    assert main(["prefetch", "--store", "--json", INK]) == 0
    (report,) = json.loads(capsys.readouterr().out)["loras"]
    assert (report["state"], report["warnings"]) == ("local", [])
    assert civitai.requests == []
    lora = Resolver(worker(tmp_path, civitai, store, offline=True)).resolve(INK)
    assert (lora.sha256, lora.trigger_words) == (ink.sha256, ("ink", "pen drawing"))
    assert lora.path.parent.name == "120096@135931"


def test_store_options_without_a_store_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings(monkeypatch, tmp_path, AIR_LORA_DIR=str(tmp_path / "loras"))
    for command in (
        ["prefetch", "--store", INK],
        ["list", "--store"],
        ["verify", "--store"],
        ["prune", "--store"],
    ):
        assert main(command) in (1, 2)
        assert "AIR_LORA_STORE" in capsys.readouterr().err, command


def test_list_verify_and_prune_know_the_store(
    filled: str,
    ink: CatalogueEntry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings(monkeypatch, tmp_path, AIR_LORA_DIR=str(tmp_path / "none"), AIR_LORA_STORE=filled)
    assert main(["list", "--store", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["name"], listed["sha256"], listed["title"]) == ("ink.safetensors", ink.sha256, "Ink v1.1")
    assert main(["list", "--store", "nothing like it"]) == 0
    assert "0 files" in capsys.readouterr().out
    assert main(["list", "--store", "--family", "sdxl", "ink"]) == 0
    assert "ink.safetensors" in capsys.readouterr().out
    assert main(["verify", "--store"]) == 0
    assert "1 file in the shared store: no problems found" in capsys.readouterr().out
    assert main(["prune", "--store"]) == 0
    assert "Nothing to remove" in capsys.readouterr().out


def test_verify_finds_what_is_damaged_or_gone_and_prune_what_leads_nowhere(
    config: ResolverConfig, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    config = config.with_changes(store=str(store))
    Resolver(config).resolve_all([INK, "civitai:7@70"])
    ink, chalk = (next(store.glob(f"files/*/{entry.sha256}.safetensors")) for entry in store_entries(config))
    ink.write_bytes(ink.read_bytes()[:-1] + b"?")
    chalk.unlink()
    assert sorted(checked.state for checked in check_store(config)) == ["changed", "missing"]
    (store / "uploads" / "new").write_bytes(b"somebody writes it now")
    (store / "uploads" / "old").write_bytes(b"somebody wrote it")
    days_ago = time.time() - 200_000
    os.utime(store / "uploads" / "old", (days_ago, days_ago))
    before = everything_in(store)
    would = prune_store(config, dry_run=True)
    assert everything_in(store) == before
    assert prune_store(config) == would
    gone = before.keys() - everything_in(store).keys()
    assert gone == {name for name, _ in would}
    assert "uploads/old" in gone
    assert {name.partition("/")[0] for name in gone} == {"uploads", "names"}
    assert [entry.file_name for entry in store_entries(config)] == ["ink.safetensors"]


def test_a_branch_is_asked_about_and_the_store_remembers_it(
    store: str, ink: CatalogueEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    name = "huggingface:ink-org/ink-lora@main/weights/ink.safetensors"
    newer = write_safetensors(tmp_path / "newer.safetensors", 9_000, seed=9)

    def machine(number: int, address: str, **changes: Any) -> Resolver:
        folder = tmp_path / f"machine {number}" / "loras"
        # The storage is on another host, and on loopback only configured hosts are contacted.
        addresses = {"hf_endpoint": address, "civitai_url": "http://localhost:9"}
        return Resolver(quick_config(folder, **addresses, store=store, **changes))

    with HuggingFaceServer([Repository("ink-org/ink-lora", {"weights/ink.safetensors": ink.file})]) as hub:
        assert machine(1, hub.url).resolve(name).from_store is False
        assert machine(2, hub.url).resolve(name).from_store is True
    assert machine(3, hub.url, offline=True).resolve(name).sha256 == ink.sha256
    assert machine(4, hub.url).resolve(name).sha256 == ink.sha256, "nobody answers there any more"
    moved = Repository("ink-org/ink-lora", {"weights/ink.safetensors": newer}, {"main": "2" * 40})
    with HuggingFaceServer([moved]) as hub:
        assert machine(5, hub.url).resolve(name).path.read_bytes() == newer.read_bytes()


def test_nothing_is_left_of_what_was_written_on_the_way(config: ResolverConfig, tmp_path: Path) -> None:
    store = tmp_path / "store"
    Resolver(config.with_changes(store=str(store))).resolve(INK)
    assert list((store / "uploads").iterdir()) == []
