"""Where a download is placed: folders that can't be written to, names that are taken, and names that can't be."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from lora_resolver.errors import StorageFailed
from lora_resolver.resolver import Resolver
from tests.lora_resolver.served_loras import write_safetensors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lora_resolver.config import ResolverConfig
    from tests.lora_resolver.civitai_faults import Exchange, FaultyCivitai
    from tools.civitai_server import CatalogueEntry

pytestmark = pytest.mark.integration  # they start processes, or wait for a stalled server

INK = "civitai:120096@135931"


@pytest.fixture
def closed_folder(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A read-only folder: by its mode, or, for root, which ignores modes, by its disk."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        folder = request.getfixturevalue("small_disk")
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        yield folder
        return
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no mode that closes a folder to its owner")
def test_a_folder_that_may_not_be_written_to(config: ResolverConfig, closed_folder: Path) -> None:
    with pytest.raises(StorageFailed) as caught:
        Resolver(config.with_changes(download_dir=closed_folder, search_dirs=())).resolve(INK)
    assert caught.value.code == "folderNotWritable"
    assert "AIR_LORA_DIR" in caught.value.remedy
    assert Resolver(config).resolve(INK).downloaded


def test_a_file_where_the_folder_should_be(config: ResolverConfig) -> None:
    config.download_dir.parent.mkdir(parents=True, exist_ok=True)
    config.download_dir.write_text("mine")
    with pytest.raises(StorageFailed):
        Resolver(config).resolve(INK)
    assert config.download_dir.read_text() == "mine"


def test_another_file_of_that_name_is_not_touched(config: ResolverConfig, ink: CatalogueEntry) -> None:
    target = config.download_dir / "air" / "civitai" / "120096@135931" / "ink.safetensors"
    other = write_safetensors(target, 900, seed=5).read_bytes()
    with pytest.raises(StorageFailed) as caught:
        Resolver(config).resolve(INK)
    assert caught.value.code == "fileInTheWay"
    assert target.read_bytes() == other
    target.unlink()
    assert Resolver(config).resolve(INK).sha256 == ink.sha256


NAMES = [
    ("../../../evil.safetensors", "evil.safetensors"),
    ("..\\..\\evil.safetensors", "evil.safetensors"),
    ("/etc/evil.safetensors", "evil.safetensors"),
    ("C:\\evil.safetensors", "evil.safetensors"),
    ("evil\u202efdp.safetensors", "evil_fdp.safetensors"),
    ("a\nb\0c.safetensors", "a_b_c.safetensors"),
    ("nul.safetensors", "_nul.safetensors"),
    ("COM1.safetensors", "_COM1.safetensors"),
    ("..／..／evil.safetensors", "_.._evil.safetensors"),
    (".hidden.safetensors", "hidden.safetensors"),
    ("-rf.safetensors", "rf.safetensors"),
    ("name", "name.safetensors"),
    ("", "lora.safetensors"),
    ("…", None),
    ("x" * 300 + ".safetensors", None),
    ("é" * 300 + ".safetensors", None),
    ("Cafe\u0301.safetensors", "Café.safetensors"),
]


@pytest.mark.parametrize(("named", "becomes"), NAMES, ids=lambda value: repr(value)[:30])
def test_whatever_a_service_calls_a_file(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry, named: str, becomes: str | None
) -> None:
    def version(server: FaultyCivitai, exchange: Exchange) -> bool:
        document = server.version_document(ink)
        document["files"][0]["name"] = named
        exchange.send_json(document)
        return True

    civitai.faults["version"] = version
    lora = Resolver(config).resolve(INK)
    assert lora.path.parent == config.download_dir / "air" / "civitai" / "120096@135931"
    assert len(lora.path.name.encode()) <= 200
    assert lora.path.suffix == ".safetensors"
    if becomes is not None:
        assert lora.path.name == becomes
    assert lora.sha256 == ink.sha256
