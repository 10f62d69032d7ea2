"""Names and shapes in PyTorch checkpoints, read without executing their code."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import pytest
import torch

from lora_resolver import detect_checkpoint, read_pickle_header
from lora_resolver.cli import main
from lora_resolver.errors import NotFound, VerificationFailed
from tools.tiny_checkpoints import make_checkpoints

if TYPE_CHECKING:
    from pathlib import Path

SHAPES = {"a.weight": (4, 3, 3, 3), "b.bias": (7,), "c": ()}


def tensors() -> dict[str, torch.Tensor]:
    return {name: torch.zeros(shape, dtype=torch.float16) for name, shape in SHAPES.items()}


CONTENTS: list[tuple[str, Any]] = [
    ("the tensors alone", tensors()),
    ("under state_dict", {"state_dict": tensors(), "epoch": 3, "note": "x"}),
    ("ordered", OrderedDict(tensors())),
    ("parameters", {name: torch.nn.Parameter(tensor) for name, tensor in tensors().items()}),
    (
        "with things of other classes",
        {"state_dict": tensors(), "device": torch.device("cpu"), "size": torch.Size([3])},
    ),
]


@pytest.mark.parametrize("content", [content for _, content in CONTENTS], ids=[name for name, _ in CONTENTS])
def test_names_shapes_and_dtypes(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "model.ckpt")
    header = read_pickle_header(tmp_path / "model.ckpt")
    assert {name: info.shape for name, info in header.tensors.items()} == SHAPES
    assert {info.dtype for info in header.tensors.values()} == {"F16"}


def test_inspect_describes_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_checkpoints(tmp_path, ["sd15"])
    file = tmp_path / "checkpoints/tiny_sd15.ckpt"
    assert main(["inspect", str(file)]) == 0
    assert "SD 1.x" in capsys.readouterr().out
    file.write_bytes(b"no archive")
    assert main(["inspect", str(file)]) == 1


@pytest.mark.parametrize(("name", "family"), [("sd15", "sd1"), ("sdxl", "sdxl")])
def test_checkpoints_are_told_as_from_safetensors(tmp_path: Path, name: str, family: str) -> None:
    make_checkpoints(tmp_path, [name])
    header = read_pickle_header(tmp_path / "checkpoints" / f"tiny_{name}.ckpt")
    assert detect_checkpoint(header).families == (family,)


def archive(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", content)
    return path


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_nothing_in_it_runs(tmp_path: Path) -> None:
    made = tmp_path / "made"
    content = pickle.dumps({"a": Harmful(made)})
    with pytest.raises(VerificationFailed, match="no tensors"):
        read_pickle_header(archive(tmp_path / "model.ckpt", content))
    assert not made.exists()


HOSTILE = [
    b"",
    b"\x80\x02",
    b"\x80\x02" + b"]" * 3_000_000 + b".",
    b"\x80\x02" + b"(" * 1_000_000 + b"t.",
    b"\x80\x02]r\xff\xff\xff\x7f.",  # a memo with two billion entries
    b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f",  # a text of exabytes
    b"\x80\x02]" + b"a" * 100 + b".",
    b"0" * 1000,
    b"c__builtin__\neval\n(S'1/0'\ntR.",
]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_pickles_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(VerificationFailed):
        read_pickle_header(archive(tmp_path / "model.ckpt", content))


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    with pytest.raises(VerificationFailed, match="no list"):
        read_pickle_header(archive(tmp_path / "model.ckpt", b"\0" * 50_000_000))


def test_other_files(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").write_bytes(b"PK\x03\x04 but no archive")
    with pytest.raises(VerificationFailed, match="archive"):
        read_pickle_header(tmp_path / "model.ckpt")
    with pytest.raises(NotFound):
        read_pickle_header(tmp_path / "none.ckpt")
    file = io.BytesIO()
    torch.save(tensors(), file, _use_new_zipfile_serialization=False)
    (tmp_path / "old.ckpt").write_bytes(file.getvalue())
    with pytest.raises(VerificationFailed):
        read_pickle_header(tmp_path / "old.ckpt")
