"""Bytes are written to the disk during the download, and a disk that loses some of them is detected."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from lora_resolver.errors import StorageFailed
from lora_resolver.resolver import Resolver
from lora_resolver.transfer.download import flush
from tests.lora_resolver import civitai_faults as fault

if TYPE_CHECKING:
    from lora_resolver.config import ResolverConfig
    from tests.lora_resolver.civitai_faults import FaultyCivitai
    from tools.civitai_server import CatalogueEntry

INK = "civitai:120096@135931"


@pytest.fixture(autouse=True)
def _flush_often(monkeypatch: pytest.MonkeyPatch, civitai: FaultyCivitai) -> None:
    """Flushes several times before the last byte, as with a file of a gigabyte."""
    monkeypatch.setattr(flush, "_AT_LEAST", 1)
    monkeypatch.setattr(flush, "_LOOK_EVERY", 0.01)
    civitai.faults["deliver"] = fault.slowly(40_000)


def test_a_large_file_is_flushed_while_it_arrives(
    config: ResolverConfig, ink: CatalogueEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []

    def sync(handle: int) -> None:
        flushed.append(handle)
        os.fsync(handle)

    monkeypatch.setattr(flush, "_sync", sync)
    assert Resolver(config).resolve(INK).sha256 == ink.sha256
    assert len(flushed) > 1


def test_what_the_disk_lost_is_told_and_the_next_run_ends_well(
    config: ResolverConfig, ink: CatalogueEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(flush, "_sync", sync)
        with pytest.raises(StorageFailed) as caught:
            Resolver(config).resolve(INK)
    assert caught.value.code == "storageFailed"
    assert "Input/output error" in str(caught.value)
    assert not list(config.download_dir.rglob("*.safetensors"))
    assert Resolver(config).resolve(INK).sha256 == ink.sha256
