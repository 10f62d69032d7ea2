"""Shared by the tests of resolving: a small catalogue, and a resolver with small pieces."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.lora_resolver.civitai_faults import FaultyCivitai
from tests.lora_resolver.served_loras import quick_config, write_safetensors
from tools.civitai_server import CatalogueEntry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lora_resolver.config import ResolverConfig

INK_BYTES = 300_000


@pytest.fixture
def ink(tmp_path: Path) -> CatalogueEntry:
    """A LoRA with every optional property."""
    preview = tmp_path / "served" / "ink.png"
    file = write_safetensors(tmp_path / "served" / "ink.safetensors", INK_BYTES)
    preview.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    return CatalogueEntry(120096, 135931, "Ink", file, "v1.1", "SDXL 1.0", ("ink", "pen drawing"), preview)


@pytest.fixture
def civitai(ink: CatalogueEntry, tmp_path: Path) -> Iterator[FaultyCivitai]:
    """A CivitAI with three versions of two models."""
    newer = write_safetensors(tmp_path / "served" / "ink-2.safetensors", 5_000, seed=2)
    chalk = write_safetensors(tmp_path / "served" / "chalk.safetensors", 7_000, seed=3)
    catalogue = [
        CatalogueEntry(120096, 140000, "Ink", newer, "v2.0"),
        ink,
        CatalogueEntry(7, 70, "Chalk", chalk, trigger_words=("chalk",)),
    ]
    with FaultyCivitai(catalogue) as server:
        yield server


@pytest.fixture
def config(civitai: FaultyCivitai, tmp_path: Path) -> ResolverConfig:
    """Downloads to a new folder from the local CivitAI."""
    return quick_config(tmp_path / "loras", civitai_url=civitai.url)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 KB, if this machine allows us to create one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip(
            "this machine lets us make no small disk; the test of a limited file covers the same path"
        )
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
