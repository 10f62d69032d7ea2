"""Valid sparse .safetensors files: they have their full size, but their data take no space on disk."""

from __future__ import annotations

import json
from math import prod
from typing import TYPE_CHECKING

from lora_resolver.model_file.safetensors_header import DTYPE_BITS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.header_samples import Sample

__all__ = ["file_like", "file_of_size"]


def file_like(sample: Sample, path: Path) -> Path:
    """Writes a file with this sample's header."""
    header: dict[str, object] = {"__metadata__": dict(sample.header.metadata)}
    end = 0
    for name, info in sample.header.tensors.items():
        dtype = info.dtype if info.dtype in DTYPE_BITS else "F16"
        start, end = end, end + prod(info.shape) * DTYPE_BITS[dtype] // 8
        header[name] = {"dtype": dtype, "shape": list(info.shape), "data_offsets": [start, end]}
    return _write(path, header, end)


def file_of_size(path: Path, size: int) -> Path:
    """Writes a file of one tensor. `size` is in bytes, without the header, and a multiple of 2,048."""
    tensor = {"dtype": "F16", "shape": [size // 2048, 1024], "data_offsets": [0, size]}
    return _write(path, {"lora_unet_input_blocks_4_1_proj_in.lora_down.weight": tensor}, size)


def _write(path: Path, header: dict[str, object], data_bytes: int) -> Path:
    text = json.dumps(header, separators=(",", ":")).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + data_bytes)
    return path
