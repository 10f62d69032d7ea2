"""Files that CivitAI no longer has are looked up in the archive by SHA-256, only if the user enables it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lora_resolver.config import ResolverConfig
from lora_resolver.errors import InvalidInput, NotFound
from lora_resolver.resolver import Resolver
from tests.lora_resolver import civitai_faults as fault
from tests.lora_resolver.served_loras import quick_config, write_safetensors
from tools.local_server import LocalServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lora_resolver.civitai_faults import FaultyCivitai
    from tools.civitai_server import CatalogueEntry
    from tools.local_server import Exchange

INK = "civitai:120096@135931"


class Archive(LocalServer):
    """Knows Ink by its SHA-256, with three mirrors: one is gone, one has another file, and one has the file."""

    def __init__(self, ink: CatalogueEntry, wrong: Path) -> None:
        super().__init__()
        self.files = {"/mirror/ink.safetensors": ink.file, "/mirror/wrong.safetensors": wrong}
        self.digest = ink.sha256

    def answer(self, exchange: Exchange) -> None:
        path = exchange.request.path
        if path in self.files:
            exchange.send_file(self.files[path])
        elif path == f"/api/sha256/{self.digest}":
            mirrors = [
                {"url": f"{self.url}/mirror/old.safetensors", "deletedAt": "2026-01-01"},
                {"url": f"{self.url}/mirror/missing.safetensors", "deletedAt": None},
                {"url": f"{self.url}/mirror/wrong.safetensors", "filename": "wrong.safetensors"},
                {"url": f"{self.url}/mirror/ink.safetensors", "filename": "ink.safetensors"},
                {"url": "file:///etc/passwd"},
            ]
            version = {"name": "v1.1", "files": [{"sha256": self.digest.upper(), "mirrors": mirrors}]}
            exchange.send_json({"name": "Ink", "versions": [version]})
        else:
            super().answer(exchange)


@pytest.fixture
def archive(ink: CatalogueEntry, tmp_path: Path) -> Iterator[Archive]:
    wrong = write_safetensors(tmp_path / "served" / "wrong.safetensors", 300_000, seed=8)
    with Archive(ink, wrong) as server:
        yield server


@pytest.fixture
def config(civitai: FaultyCivitai, archive: Archive, tmp_path: Path) -> ResolverConfig:
    return quick_config(tmp_path / "loras", civitai_url=civitai.url, archive_url=f"{archive.url}/api")


def test_a_file_that_is_gone_at_civitai_comes_from_a_mirror(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry
) -> None:
    civitai.faults["download"] = fault.status(410, {"error": "Model archived, not available for download"})
    lora = Resolver(config).resolve(INK)
    assert (lora.sha256, lora.downloaded, lora.trigger_words) == (ink.sha256, True, ("ink", "pen drawing"))
    assert lora.path.parent.name == "120096@135931"
    assert Resolver(config).find_local(INK) == lora.path


def test_a_hash_that_civitai_does_not_know(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry
) -> None:
    civitai.catalogue = ()
    lora = Resolver(config).resolve(f"sha256:{ink.sha256}")
    assert (lora.sha256, lora.source) == (ink.sha256, "archive")
    assert lora.record is not None
    assert lora.record.name == "Ink"
    assert Resolver(config).resolve(f"sha256:{ink.sha256}").downloaded is False


def test_a_version_that_civitai_took_away_after_it_was_known(
    config: ResolverConfig, civitai: FaultyCivitai, ink: CatalogueEntry
) -> None:
    first = Resolver(config).resolve(INK)
    for path in first.path.parent.iterdir():
        path.unlink()
    civitai.catalogue = ()
    assert Resolver(config).resolve(INK).sha256 == ink.sha256


def test_it_is_not_asked_unless_the_user_wants_it(
    config: ResolverConfig, civitai: FaultyCivitai, archive: Archive
) -> None:
    civitai.faults["download"] = fault.status(410, {"error": "Model archived"})
    with pytest.raises(NotFound) as caught:
        Resolver(config.with_changes(archive_url=None)).resolve(INK)
    assert caught.value.code == "archived"
    assert archive.requests == []
    assert ResolverConfig.from_environment({}).archive_url is None


def test_it_is_not_asked_for_what_the_creator_keeps(
    config: ResolverConfig, civitai: FaultyCivitai, archive: Archive
) -> None:
    civitai.faults["download"] = fault.status(403, {"error": "Early Access", "deadline": "2027-01-01"})
    with pytest.raises(Exception, match="early access"):
        Resolver(config).resolve(INK)
    assert archive.requests == []


def test_where_it_does_not_help_the_source_s_own_answer_is_shown(
    config: ResolverConfig, civitai: FaultyCivitai, archive: Archive
) -> None:
    archive.files.clear()
    archive.digest = ""
    civitai.faults["download"] = fault.status(410, {"error": "Model archived"})
    with pytest.raises(NotFound) as caught:
        Resolver(config).resolve(INK)
    assert caught.value.code == "archived"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1", "https://civarchive.com/api"),
        ("0", None),
        ("", None),
        ("https://mirror.example/api/", "https://mirror.example/api"),
    ],
)
def test_the_setting(text: str, address: str | None) -> None:
    assert ResolverConfig.from_environment({"AIR_LORA_ARCHIVE": text}).archive_url == address


def test_a_setting_that_cannot_be() -> None:
    with pytest.raises(InvalidInput, match="AIR_LORA_ARCHIVE"):
        ResolverConfig.from_environment({"AIR_LORA_ARCHIVE": "maybe"})
