"""Reads the tensors of a .safetensors file as views of one copy in memory. Later changes to the file don't affect them.

Mapping the file would save the time of one copy. But a program that writes to a mapped file changes the tensors, and
one that truncates it stops ComfyUI with SIGBUS at the next read.

Format: https://github.com/huggingface/safetensors#format. The header comes from `lora_resolver.read_header`, which has
checked that every tensor is inside the file and is as large as its shape says.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch

from ...lora_resolver import Mismatch, StorageFailed, open_unbuffered, split_name, state_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO
    from pathlib import Path

    from ...lora_resolver import FileState, SafetensorsHeader

Content = mmap.mmap
_PIECE = 8 << 20  # bytes per read
_WORTH_TWO = 32 << 20

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_tensors(content: Content, header: SafetensorsHeader, file_name: str) -> dict[str, torch.Tensor]:
    """Name → tensor, a view of the content with the shape and dtype from the header.

    Raises Mismatch if a factor has an unsupported dtype.
    """
    tensors: dict[str, torch.Tensor] = {}
    wholes: dict[
        str, tuple[torch.Tensor, int, int]
    ] = {}  # dtype → the file as a row of it, bytes before the row, bytes of an element
    strides: dict[tuple[int, ...], tuple[int, ...]] = {}
    for name, (dtype_name, shape, start, end) in header.tensors.items():
        if dtype_name not in DTYPES and not split_name(name)[1]:
            tensors[name] = torch.empty(0)  # isn't part of an adapter
            continue
        if start == end:
            tensors[name] = torch.empty(shape, dtype=_dtype(dtype_name, name, file_name))
            continue
        whole = wholes.get(dtype_name)
        if whole is None:
            whole = wholes[dtype_name] = _whole(
                content, header.data_start, _dtype(dtype_name, name, file_name)
            )
        row, before, size = whole
        if shape not in strides:
            strides[shape] = _strides(shape)
        position, rest = divmod(header.data_start + start - before, size)
        if rest:  # unaligned, because it follows a tensor of a smaller dtype
            offset = header.data_start + start
            row = torch.frombuffer(content, dtype=row.dtype, count=(end - start) // size, offset=offset)
            position = 0
        tensors[name] = row.as_strided(shape, strides[shape], position)  # only one call: there are thousands
    return tensors


def _whole(content: Content, data_start: int, dtype: torch.dtype) -> tuple[torch.Tensor, int, int]:
    """The file as a row of this dtype, aligned with the start of the data; bytes before it; bytes of an element."""
    before = data_start % dtype.itemsize
    count = (len(content) - before) // dtype.itemsize
    return torch.frombuffer(content, dtype=dtype, count=count, offset=before), before, dtype.itemsize


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a contiguous tensor of this shape, in elements."""
    strides = [1]
    for size in shape[:0:-1]:
        strides.append(strides[-1] * size)
    return tuple(reversed(strides))[: len(shape)]


def outline_tensors(file_name: str, header: SafetensorsHeader) -> dict[str, torch.Tensor]:
    """Name → tensor of ones with the shape and dtype from the header: a view of one element that takes no memory.

    Raises Mismatch as `read_tensors` does.
    """
    return {
        name: torch.ones((), dtype=torch.float32).to(_dtype(info.dtype, name, file_name)).expand(info.shape)
        if info.dtype in DTYPES or split_name(name)[1]
        else torch.empty(0)
        for name, info in header.tensors.items()
    }


def _dtype(text: str, tensor: str, file_name: str) -> torch.dtype:
    dtype = DTYPES.get(text)
    if dtype is None:
        raise Mismatch(
            f"{file_name}: the tensor {tensor!r} has the unsupported dtype {text}",
            code="unsupportedDtype",
            remedy="Convert the file to fp16, bf16 or fp32, or set on_mismatch to skip.",
        )
    return dtype


def read_content(path: Path, size: int) -> tuple[Content, FileState | None]:
    """A copy of the file in private memory, and the file's state; None as state if it changed during the read.

    Raises StorageFailed if the file can't be read, or is smaller than its header says.
    """
    content = _room(max(size, 1))
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without huge pages
            content.madvise(mmap.MADV_HUGEPAGE)
    try:
        with open_unbuffered(path) as file, memoryview(content) as room:
            before = state_of(os.fstat(file.fileno()))
            done = _fill(file, room[:size])
            after = state_of(os.fstat(file.fileno()))
    except OSError as error:
        raise StorageFailed(
            f"{path} can't be read: {error.strerror or error}",
            code="fileUnreadable",
            remedy="Check the file, its permissions, and its disk or network share.",
        ) from error
    if done < size:
        raise StorageFailed(
            f"{path} was truncated while it was read: it has {done:,} of {size:,} bytes",
            code="fileChanged",
            remedy="Wait for the program that writes the file to finish, then run again.",
        )
    return content, after if before == after else None


def _room(size: int) -> Content:
    """Allocates memory as private pages: Linux makes huge pages only of those (admin-guide/mm/transhuge)."""
    if hasattr(mmap, "MAP_ANONYMOUS"):
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return mmap.mmap(-1, size)


def _fill(file: FileIO, room: memoryview) -> int:
    """Reads the file into `room` from its beginning. Returns how many bytes were read without a gap.

    Uses two threads if the system supports it: allocating new pages of memory takes longer than reading the disk.
    """
    if not hasattr(os, "preadv") or len(room) < _WORTH_TWO:
        return _fill_from(lambda view, _: file.readinto(view), room, 0)
    middle = len(room) // 2
    handle = file.fileno()

    def read(view: memoryview, at: int) -> int:
        return os.preadv(handle, [view], at)

    with ThreadPoolExecutor(1, "air-lora-read") as second:
        end = second.submit(_fill_from, read, room[middle:], middle)
        begun = _fill_from(read, room[:middle], 0)
        return begun + end.result() if begun == middle else begun


def _fill_from(read: Callable[[memoryview, int], int | None], room: memoryview, start: int) -> int:
    done = 0
    while done < len(room):
        count = read(room[done : done + _PIECE], start + done)
        if not count:
            break
        done += count
    return done
