"""Tensors read as views of the mapped file, compared with safetensors' own reader."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
from air_lora_pack.nodes.patching.tensor_file import read_content, read_tensors
from safetensors.torch import load_file

from lora_resolver import read_header

if TYPE_CHECKING:
    from pathlib import Path

DTYPES = {"F32": torch.float32, "F16": torch.float16, "U8": torch.uint8, "F8_E4M3": torch.float8_e4m3fn}


def write(path: Path, tensors: list[tuple[str, str, list[int]]], padding: int) -> Path:
    """Keeps this order. safetensors' own writer sorts by dtype, so that no tensor is misaligned."""
    header, data = {}, b""
    for name, dtype, shape in tensors:
        size = DTYPES[dtype].itemsize * torch.Size(shape).numel()
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + size]}
        data += bytes(number % 113 for number in range(len(data), len(data) + size))
    text = json.dumps(header, separators=(",", ":")).encode() + b" " * padding
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


@pytest.mark.parametrize("padding", range(4))
def test_every_shape_at_every_offset(tmp_path: Path, padding: int) -> None:
    path = write(
        tmp_path / "lora.safetensors",
        [
            ("half", "F16", [4, 6]),
            ("byte", "U8", [1]),
            ("after a byte", "F32", [3, 2, 1, 1]),
            ("number", "F32", []),
            ("nothing", "F16", [0, 4]),
            ("eighths", "F8_E4M3", [3]),
            ("halves again", "F16", [2, 1, 3]),
        ],
        padding,
    )
    expected = load_file(path)
    header = read_header(path)
    content, _ = read_content(path, header.file_size)
    tensors = read_tensors(content, header, path.name)
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        assert tensor.shape == expected[name].shape
        assert tensor.dtype == expected[name].dtype
        assert tensor.is_contiguous()
        assert torch.equal(
            tensor.contiguous().view(-1).view(torch.uint8), expected[name].view(-1).view(torch.uint8)
        )
