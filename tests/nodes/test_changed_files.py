"""Files that change after they were checked: no other file's weights are used, and ComfyUI doesn't crash."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import comfy.model_management
import pytest
import torch
from air_lora_pack.lora_resolver import LoraResolverError, StorageFailed, file_state
from air_lora_pack.nodes.patching.application import WeightedLora, apply_loras
from air_lora_pack.nodes.patching.interruptible import interruptible
from air_lora_pack.nodes.patching.lora_file import open_lora
from air_lora_pack.nodes.patching.tensor_file import read_content

from lora_resolver import Resolver, ResolverConfig, parse_identifier
from tests import lora_files
from tests.conftest import ROOT
from tests.nodes.checkpoints import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.integration


def overwrite(path: Path, other: Path) -> None:
    """As a trainer does that saves a new epoch over the old one: the same file with other bytes."""
    with path.open("r+b") as file:
        file.write(other.read_bytes())


def truncate(path: Path, _: Path) -> None:
    os.truncate(path, 1000)


def replace(path: Path, other: Path) -> None:
    other.replace(path)


def delete(path: Path, _: Path) -> None:
    path.unlink()


def overwrite_and_hide(path: Path, other: Path) -> None:
    """Keeps the old modification time, as some folder synchronisation tools do."""
    before = path.stat()
    overwrite(path, other)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = [overwrite, truncate, replace, delete, overwrite_and_hide]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    first = lora_files.sd15_lora(tmp_path / "first.safetensors", seed=int.from_bytes(os.urandom(3), "big"))
    other = lora_files.sd15_lora(tmp_path / "other.safetensors", seed=int.from_bytes(os.urandom(3), "big"))
    assert first.stat().st_size == other.stat().st_size
    return first, other


def resolved(path: Path) -> WeightedLora:
    config = ResolverConfig(download_dir=path.parent, state_dir=path.parent / "state")
    (file,) = Resolver(config).resolve_all([parse_identifier(f"local:{path.name}")])
    assert file.state == file_state(path)
    return WeightedLora("lora[0]", path.name, file.path, file.sha256, 1.0, 1.0, file.state)


def patched(model: Any) -> dict[str, torch.Tensor]:
    """Every weight as ComfyUI patches it."""
    model.patch_model(device_to=torch.device("cpu"))
    weights = {name: weight.clone() for name, weight in model.model.state_dict().items()}
    model.unpatch_model()
    return weights


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_after_it_was_read_nothing_changes_what_is_patched(
    folder: Path, files: tuple[Path, Path], change: Callable[[Path, Path], None]
) -> None:
    entry, (model, clip) = resolved(files[0]), load(folder, "sd15")
    applied = apply_loras(model, clip, [entry], skip_mismatches=False).model
    expected = patched(applied)
    change(*files)
    again = apply_loras(model.clone(), clip.clone(), [entry], skip_mismatches=False).model
    assert same(patched(again), expected)
    assert same(patched(applied), expected)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_between_the_check_and_the_reading_it_is_found_out(
    folder: Path, files: tuple[Path, Path], change: Callable[[Path, Path], None]
) -> None:
    entry, (model, clip) = resolved(files[0]), load(folder, "sd15")
    change(*files)
    with pytest.raises(LoraResolverError, match=r"^lora\[0\]") as caught:
        apply_loras(model, clip, [entry], skip_mismatches=False)
    assert caught.value.remedy


def test_a_file_that_was_only_touched_is_hashed_and_taken(folder: Path, files: tuple[Path, Path]) -> None:
    entry = resolved(files[0])
    os.utime(files[0])
    assert apply_loras(*load(folder, "sd15"), [entry], skip_mismatches=False).entries[0].fit is not None


def test_what_is_no_lora_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    header = b'{"a.weight":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]}}'
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 4_000_000_000)
    assert not open_lora(path, "0" * 64).has_values


def test_a_file_that_is_cut_short_while_it_is_read(files: tuple[Path, Path]) -> None:
    size = files[0].stat().st_size
    os.truncate(files[0], size // 2)
    with pytest.raises(StorageFailed) as caught:
        read_content(files[0], size)
    assert caught.value.code == "fileChanged"


KILLED = """
import tests.nodes.conftest, os, sys
from pathlib import Path
from air_lora_pack.nodes.patching.interruptible import interruptible
from air_lora_pack.nodes.patching.lora_file import open_lora
path = Path(sys.argv[1])
file = open_lora(path, sys.argv[2])
os.truncate(path, 0)
print(sum(float(tensor.float().sum()) for tensor in file.tensors.values()))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows refuses to cut short what is open")
def test_cutting_a_file_short_does_not_end_the_process(files: tuple[Path, Path]) -> None:
    digest = hashlib.sha256(files[0].read_bytes()).hexdigest()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(files[0]), digest],
        cwd=ROOT,
        check=False,
        capture_output=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr.decode()[-500:]


def test_a_cancel_leaves_a_disk_that_does_not_answer() -> None:
    hangs, left = threading.Event(), threading.Event()
    threading.Timer(0.3, lambda: comfy.model_management.interrupt_current_processing(True)).start()

    def read() -> None:
        hangs.wait(60)
        left.set()

    started = time.monotonic()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        interruptible(read)
    assert not left.is_set()
    assert time.monotonic() - started < 30
    hangs.set()
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 / 0)
