"""The user's existing files are found in any folder and under any name, and never downloaded again."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from lora_resolver.errors import NotFound, Offline
from lora_resolver.resolver import Resolver
from tests.lora_resolver.served_loras import quick_config, write_safetensors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lora_resolver.config import ResolverConfig
    from tests.lora_resolver.civitai_faults import FaultyCivitai
    from tools.civitai_server import CatalogueEntry

INK = "civitai:120096@135931"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with the user's own files, separate from the one for downloads."""
    folder = tmp_path / "own loras"
    folder.mkdir()
    return folder


@pytest.fixture
def config(civitai: FaultyCivitai, tmp_path: Path, own: Path) -> ResolverConfig:
    return quick_config(tmp_path / "loras", civitai_url=civitai.url, search_dirs=(own,))


def downloads(civitai: FaultyCivitai) -> int:
    return sum("/download/" in path for path in civitai.paths())


def put(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return target


@contextmanager
def opened_files(below: Path) -> Iterator[list[str]]:
    """The files below a folder that are opened during the block."""
    opened: list[str] = []
    active = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if active and event == "open" and isinstance(arguments[0], (str, bytes)):
            name = os.fsdecode(arguments[0])
            if name.startswith(os.fspath(below)):
                opened.append(name)

    sys.addaudithook(hook)
    try:
        yield opened
    finally:
        active = False


def test_the_right_file_under_another_name_in_another_folder_is_not_downloaded(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry, own: Path
) -> None:
    mine = put(ink.file, own / "styles" / "my favourite.safetensors")
    write_safetensors(own / "same size.safetensors", 300_000, seed=9)
    lora = Resolver(config).resolve(INK)
    assert (lora.path, lora.downloaded, lora.sha256) == (mine, False, ink.sha256)
    assert lora.trigger_words == ("ink", "pen drawing")
    assert downloads(civitai) == 0
    assert not (config.download_dir / "air").exists()


def test_once_found_it_is_known_without_the_network(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry, own: Path
) -> None:
    mine = put(ink.file, own / "mine.safetensors")
    Resolver(config).resolve(INK)
    asked = len(civitai.requests)
    with opened_files(own) as opened:
        assert Resolver(config).find_local(INK) == mine
    assert opened == []
    again = Resolver(config.with_changes(offline=True)).resolve(INK)
    assert (again.path, again.trigger_words, len(civitai.requests)) == (mine, ("ink", "pen drawing"), asked)
    assert Resolver(config).find_local(f"sha256:{ink.sha256}") == mine
    assert Resolver(config).find_local("https://civitai.com/api/download/models/135931") == mine


@pytest.mark.skipif(os.name == "nt", reason="Windows has no folders that their owner cannot write to")
def test_a_read_only_folder_is_searched_and_left_alone(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry, own: Path
) -> None:
    mine = put(ink.file, own / "mine.safetensors")
    own.chmod(0o555)
    try:
        assert Resolver(config).resolve(INK).path == mine
        assert [path.name for path in own.iterdir()] == ["mine.safetensors"]
    finally:
        own.chmod(0o755)
    assert downloads(civitai) == 0


def sidecar(kind: str, path: Path, ink: CatalogueEntry, civitai: FaultyCivitai) -> Path:
    """The file that another tool writes next to a file that it has identified as Ink."""
    version = civitai.version_document(ink)
    digest = ink.sha256
    if kind == "civitai.info":
        note, content = path.with_suffix(".civitai.info"), version
    elif kind == "metadata.json":
        note = path.with_suffix(".metadata.json")
        content = {"file_name": path.stem, "sha256": digest, "from_civitai": True, "civitai": version}
    elif kind == "metadata.json without files":
        note = path.with_suffix(".metadata.json")
        content = {"sha256": digest, "civitai": {**version, "files": []}}
    else:
        note = path.with_name(path.name + ".rgthree-info.json")
        content = {"file": path.name, "sha256": digest, "raw": {"civitai": version}}
    note.write_text(json.dumps(content), "utf-8")
    return note


KINDS = ["civitai.info", "metadata.json", "metadata.json without files", "rgthree-info.json"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_notes_of_other_tools_are_read(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry, own: Path, kind: str
) -> None:
    mine = put(ink.file, own / "mine.safetensors")
    sidecar(kind, mine, ink, civitai)
    lora = Resolver(config.with_changes(offline=True)).resolve(INK)
    assert (lora.path, lora.sha256, lora.trigger_words) == (mine, ink.sha256, ("ink", "pen drawing"))
    assert lora.record is not None
    assert (lora.record.name, lora.record.base_model) == ("Ink", "SDXL 1.0")
    assert civitai.requests == []


@pytest.mark.parametrize("kind", KINDS)
def test_notes_about_another_content_are_not_believed(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry, own: Path, kind: str
) -> None:
    wrong = write_safetensors(own / "mine.safetensors", 300_000, seed=9)
    sidecar(kind, wrong, ink, civitai)
    with pytest.raises(Offline):
        Resolver(config.with_changes(offline=True)).resolve(INK)
    assert Resolver(config).resolve(INK).downloaded


def test_a_note_without_a_hash_counts_only_where_nobody_can_be_asked(
    config: ResolverConfig, ink: CatalogueEntry, own: Path
) -> None:
    other = write_safetensors(own / "mine.safetensors", 9_000, seed=9)
    other.with_suffix(".civitai.info").write_text(
        json.dumps({"id": 135931, "modelId": 120096, "name": "v1.1"})
    )
    assert Resolver(config.with_changes(offline=True)).resolve(INK).path == other
    assert Resolver(config).resolve(INK).sha256 == ink.sha256


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"id": "x"}', '{"sha256": 5, "civitai": []}', "[" * 100_000]
)
def test_notes_that_make_no_sense_do_no_harm(
    config: ResolverConfig, ink: CatalogueEntry, own: Path, text: str
) -> None:
    mine = put(ink.file, own / "mine.safetensors")
    for suffix in (".civitai.info", ".metadata.json", ".air.json", ".safetensors.rgthree-info.json"):
        mine.with_name("mine" + suffix).write_text(text)
    assert Resolver(config).resolve(INK).path == mine


def test_the_words_of_a_note_come_with_a_local_name(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry, own: Path
) -> None:
    mine = put(ink.file, own / "mine.safetensors")
    sidecar("civitai.info", mine, ink, civitai)
    assert Resolver(config).resolve("local:mine.safetensors").trigger_words == ("ink", "pen drawing")


def test_a_hash_is_found_offline_though_nobody_noted_it(
    config: ResolverConfig, ink: CatalogueEntry, own: Path
) -> None:
    mine = put(ink.file, own / "deep" / "er" / "mine.safetensors")
    offline = Resolver(config.with_changes(offline=True))
    assert offline.resolve(f"sha256:{ink.sha256}").path == mine
    with pytest.raises(Offline):
        offline.resolve(f"sha256:{'0' * 64}")
    with pytest.raises(NotFound):
        Resolver(config).resolve(f"sha256:{'0' * 64}")


def test_a_file_that_was_replaced_is_not_taken_for_what_it_was(
    config: ResolverConfig, ink: CatalogueEntry, own: Path
) -> None:
    mine = put(ink.file, own / "mine.safetensors")
    Resolver(config).resolve(INK)
    write_safetensors(mine, 300_000, seed=9)
    assert Resolver(config).find_local(INK) is None
    assert Resolver(config).resolve(INK).downloaded


def test_a_file_that_was_moved_is_found_again(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry, own: Path
) -> None:
    mine = put(ink.file, own / "mine.safetensors")
    Resolver(config).resolve(INK)
    moved = mine.rename(own / "moved.safetensors")
    assert Resolver(config).resolve(INK).path == moved
    assert downloads(civitai) == 0


def test_sft_is_read_as_safetensors_is(config: ResolverConfig, own: Path) -> None:
    mine = write_safetensors(own / "mine.safetensors", 50_000).rename(own / "other.SFT")
    lora = Resolver(config).resolve("local:other.SFT")
    assert lora.path == mine
    assert [file.path.name for file in Resolver(config).library()] == ["other.SFT"]
    assert Resolver(config).peek("local:other.sft").path == lora.path, "in any case of letters"
    assert Resolver(config).find_local(f"sha256:{lora.sha256}") == lora.path


def test_a_local_file_is_hashed_once(config: ResolverConfig, own: Path) -> None:
    mine = write_safetensors(own / "mine.safetensors", 50_000)
    first = Resolver(config).resolve("local:mine.safetensors")
    with opened_files(own) as opened:
        assert Resolver(config).resolve("local:mine.safetensors").sha256 == first.sha256
    assert opened == [os.fspath(mine)]  # to read its header


def library_of(folder: Path, count: int) -> None:
    content = write_safetensors(folder / "0.safetensors", 200).read_bytes()
    for number in range(count):
        path = folder / f"{number % 10}" / f"{number}.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        path.with_suffix(".civitai.info").write_text(json.dumps({"id": number, "modelId": 5}))


def test_a_second_scan_opens_no_file_and_a_third_only_what_changed(config: ResolverConfig, own: Path) -> None:
    library_of(own, 300)
    with opened_files(own) as opened:
        first = Resolver(config).library()
    assert len(first) == 301
    assert len(opened) >= 600
    with opened_files(own) as opened:
        assert Resolver(config).library() == first
    assert opened == []
    write_safetensors(own / "3" / "13.safetensors", 500, seed=4)
    (own / "4" / "14.civitai.info").write_text("{}")
    (own / "5" / "15.safetensors").unlink()
    with opened_files(own) as opened:
        third = Resolver(config).library()
    assert {name.rpartition(os.sep)[2] for name in opened} == {
        "13.safetensors",
        "13.civitai.info",
        "14.civitai.info",
    }
    assert len(third) == 300
    by_name = {file.name: file for file in third}
    assert by_name["1/11.safetensors"].identifiers == ("civitai:5@11",)
    assert by_name["4/14.safetensors"].identifiers == ()
    assert "sdxl" in by_name["3/13.safetensors"].families


@pytest.mark.parametrize("change", ["added", "removed", "replaced", "noted", "hashed"])
def test_the_stamp_tells_whether_the_list_would_say_something_else(
    config: ResolverConfig, own: Path, change: str
) -> None:
    library_of(own, 20)
    Resolver(config).library()
    before = Resolver(config).library_stamp()
    assert before == Resolver(config).library_stamp() is not None
    Resolver(config).library()
    assert before == Resolver(config).library_stamp()
    if change == "added":
        write_safetensors(own / "new.safetensors", 100)
    elif change == "removed":
        (own / "5" / "15.safetensors").unlink()
    elif change == "replaced":
        write_safetensors(own / "3" / "13.safetensors", 500, seed=4)
    elif change == "noted":
        (own / "4" / "14.civitai.info").write_text("{}")
    else:
        Resolver(config).resolve("local:1/11.safetensors")
    assert before != Resolver(config).library_stamp()


def test_without_an_index_nobody_can_tell(config: ResolverConfig, own: Path, tmp_path: Path) -> None:
    library_of(own, 3)
    (tmp_path / "file").write_text("")
    assert Resolver(config.with_changes(state_dir=tmp_path / "file" / "state")).library_stamp() is None


def test_an_interrupted_scan_goes_on_where_it_was(
    config: ResolverConfig, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_resolver.on_disk.library.library._AT_A_TIME", 50)
    library_of(own, 200)

    def stop_at(_name: str, done: int, _total: int) -> None:
        if done == 120:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Resolver(config).library(on_file=stop_at)
    with opened_files(own) as opened:
        assert len(Resolver(config).library()) == 201
    assert len(opened) == 201 - 120


def test_files_that_are_not_sound_are_listed_as_such(config: ResolverConfig, own: Path) -> None:
    (own / "broken.safetensors").write_bytes(b"\x00" * 20)
    listed = Resolver(config).library()
    assert [(file.name, file.verdict, file.families) for file in listed] == [
        ("broken.safetensors", "unsound", ())
    ]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="only Linux has names that are not Unicode")
def test_names_that_are_not_unicode(config: ResolverConfig, own: Path) -> None:
    write_safetensors(own / "0.safetensors", 200).rename(
        os.fsdecode(os.fsencode(own) + b"/\xff\xfe.safetensors")
    )
    assert len(Resolver(config).library()) == 1
    assert len(Resolver(config).library()) == 1


def test_links_in_a_circle_end(config: ResolverConfig, own: Path) -> None:
    write_safetensors(own / "0.safetensors", 200)
    try:
        (own / "loop").symlink_to(own, target_is_directory=True)
    except OSError:
        pytest.skip("this system lets no user make links")
    assert len(Resolver(config).library()) == 1


def index_of(config: ResolverConfig) -> Path:
    return config.state / "index.sqlite3"


def _garbage(path: Path) -> None:
    path.write_bytes(b"this is no database " * 500)


def _torn(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\xff" * 3000)


def _scribbled(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[200:-200:7] = b"\xa5" * len(content[200:-200:7])
    path.write_bytes(bytes(content))


def _of_another_program(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE files (x)")
    db.close()


def _with_bad_rows(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE names SET record = '{'")
        db.execute("UPDATE files SET facts = 'no json'")
    db.close()


@pytest.mark.parametrize(
    "spoil", [_garbage, _torn, _scribbled, _of_another_program, _with_bad_rows, lambda path: path.unlink()]
)
def test_a_broken_index_is_begun_afresh(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry, own: Path, spoil: Any
) -> None:
    mine = put(ink.file, own / "mine.safetensors")
    library_of(own, 100)
    Resolver(config).resolve(INK)
    before = Resolver(config).library()
    spoil(index_of(config))
    assert Resolver(config).resolve(INK).path == mine
    assert [file.name for file in Resolver(config).library()] == [file.name for file in before]
    assert downloads(civitai) == 0


def test_an_index_that_another_process_holds_is_waited_for(
    config: ResolverConfig, ink: CatalogueEntry, own: Path
) -> None:
    mine = put(ink.file, own / "mine.safetensors")
    Resolver(config).library()
    holder = sqlite3.connect(index_of(config), isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(0.5, lambda: holder.execute("ROLLBACK"))
    timer.start()
    assert Resolver(config).resolve(INK).path == mine
    timer.join()
    holder.close()
    assert Resolver(config).find_local(INK) == mine


def test_an_index_that_is_held_for_good_is_done_without(
    config: ResolverConfig, ink: CatalogueEntry, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_resolver.on_disk.library.index.PATIENCE", 0.1)
    mine = put(ink.file, own / "mine.safetensors")
    Resolver(config).library()
    holder = sqlite3.connect(index_of(config), isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    assert Resolver(config).resolve(INK).path == mine
    holder.close()


def test_a_state_folder_that_cannot_be_made_is_done_without(
    config: ResolverConfig, ink: CatalogueEntry, own: Path, tmp_path: Path
) -> None:
    mine = put(ink.file, own / "mine.safetensors")
    (tmp_path / "file").write_text("")
    assert Resolver(config.with_changes(state_dir=tmp_path / "file" / "state")).resolve(INK).path == mine


SCANNER = """
import sys
from pathlib import Path
from lora_resolver import Resolver, ResolverConfig
config = ResolverConfig(Path(sys.argv[1]), search_dirs=(Path(sys.argv[2]),), state_dir=Path(sys.argv[3]))
for _ in range(3):
    print(len(Resolver(config).library()))
"""


def test_two_processes_share_it(config: ResolverConfig, own: Path) -> None:
    library_of(own, 200)
    command = [sys.executable, "-c", SCANNER, str(config.download_dir), str(own), str(config.state)]
    scanners = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    for scanner in scanners:
        out, error = scanner.communicate(timeout=240)
        assert (out.split(), error) == ([b"201"] * 3, b"")
    with opened_files(own) as opened:
        assert len(Resolver(config).library()) == 201
    assert opened == []
