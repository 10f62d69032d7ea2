"""Reads names, shapes and types of the tensors in a .gguf checkpoint without loading it.

    "GGUF"  u32 version (2, 3)  u64 tensors  u64 keys
    keys     text, u32 type, value                     a text: u64 length, bytes
    tensors  text, u32 dimensions, u64 each (the innermost first), u32 type, u64 offset

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Diffusion models in this format come from
ComfyUI-GGUF's converter. It keeps the original names, and stores shapes that GGUF can't represent under
`comfy.gguf.orig_shape.<name>`.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import BinaryIO

from ..errors import NotFound, StorageFailed, VerificationFailed
from ..safe_files import open_regular
from .safetensors_header import SafetensorsHeader, TensorInfo

__all__ = ["read_gguf_header"]

MAX_HEADER_BYTES = 32 * 1024**2
"""Headers of checkpoints have about 100 KB; those with a language model's vocabulary have a few MB."""
MAX_TENSORS = 50_000
MAX_KEYS = 10_000
MAX_NAME_BYTES = 512
MAX_DIMENSIONS = 8

# ggml_type → name, https://github.com/ggml-org/ggml/blob/master/include/ggml.h
_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1",
    10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K",
    24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 30: "BF16",
}  # fmt: skip
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9
_SHAPE_KEY = "comfy.gguf.orig_shape."


def read_gguf_header(path: str | Path) -> SafetensorsHeader:
    """The tensors of a GGUF file, with the outermost dimension first, and its texts as metadata.

    `start` and `end` of a tensor count elements, not bytes, since the types are packed in blocks.

    :raises NotFound: there is no such file
    :raises StorageFailed: it cannot be read
    :raises VerificationFailed: it isn't a valid GGUF file
    """
    path = Path(path)
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            return _Reader(io.BytesIO(file.read(MAX_HEADER_BYTES)), size).header()
    except FileNotFoundError:
        raise NotFound(f"File not found: {path}", code="fileNotFound", remedy="Check the name.") from None
    except OSError as error:
        raise StorageFailed(
            f"Could not read {path}: {error.strerror or error}",
            code="fileUnreadable",
            remedy="Check the file and its permissions.",
        ) from error


class _Reader:
    """Reads sequentially, and checks every length against its limit before use."""

    def __init__(self, stream: BinaryIO, file_size: int) -> None:
        self._stream = stream
        self._file_size = file_size

    def header(self) -> SafetensorsHeader:
        if self._bytes(4) != b"GGUF":
            raise _broken("it doesn't start with GGUF")
        version = self._number("I")
        if version not in (2, 3):
            raise _broken(f"version {version} isn't supported")
        tensor_count, key_count = self._number("Q"), self._number("Q")
        if tensor_count > MAX_TENSORS or key_count > MAX_KEYS:
            raise _broken(f"it lists too many tensors ({tensor_count:,}) or keys ({key_count:,})")
        texts: dict[str, str] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        for _ in range(int(key_count)):
            key = self._text(MAX_NAME_BYTES * 2)
            value = self._value(int(self._number("I")))
            if isinstance(value, str):
                texts[key] = value
            elif key.startswith(_SHAPE_KEY) and value is not None:
                shapes[key.removeprefix(_SHAPE_KEY)] = value
        tensors: dict[str, TensorInfo] = {}
        for _ in range(int(tensor_count)):
            name, tensor = self._tensor()
            if name in tensors:
                raise _broken(f"the name {name!r} appears twice")
            tensors[name] = tensor._replace(shape=shapes.get(name, tensor.shape))
        return SafetensorsHeader(tensors, texts, self._stream.tell(), self._file_size)

    def _tensor(self) -> tuple[str, TensorInfo]:
        name = self._text(MAX_NAME_BYTES)
        dimensions = int(self._number("I"))
        if dimensions > MAX_DIMENSIONS:
            raise _broken(f"tensor {name!r} has too many dimensions ({dimensions:,})")
        sizes = [int(self._number("Q")) for _ in range(dimensions)]
        kind = int(self._number("I"))
        self._number("Q")  # its offset
        elements = 1
        for size in sizes:
            elements *= size
        if elements > self._file_size * 16:  # no type packs more than eight elements into a byte
            raise _broken(f"tensor {name!r} is larger than the file")
        return name, TensorInfo(_TYPES.get(kind, f"type {kind}"), tuple(reversed(sizes)), 0, elements)

    def _value(self, kind: int) -> str | tuple[int, ...] | None:
        """A text, or the numbers of an array that may be a shape; None for everything else, which is skipped."""
        if kind == _TEXT:
            return self._text(MAX_HEADER_BYTES)
        if kind in _NUMBERS:
            self._number(_NUMBERS[kind])
            return None
        if kind != _ARRAY:
            raise _broken(f"a value has the unknown type {kind}")
        inner, count = int(self._number("I")), int(self._number("Q"))
        if inner in _NUMBERS:
            width = struct.calcsize(f"<{_NUMBERS[inner]}")
            content = self._bytes(count * width)
            if count <= MAX_DIMENSIONS and _NUMBERS[inner] in "IiQq":
                return struct.unpack(f"<{count}{_NUMBERS[inner]}", content)
            return None
        if inner != _TEXT:
            raise _broken("it contains arrays of arrays")
        for _ in range(count):
            self._text(MAX_HEADER_BYTES)
        return None

    def _text(self, limit: int) -> str:
        length = int(self._number("Q"))
        if length > limit:
            raise _broken(f"a text has {length:,} bytes, but the limit is {limit:,}")
        return self._bytes(length).decode("utf-8", errors="replace")

    def _number(self, form: str) -> int | float:
        number: int | float = struct.unpack(f"<{form}", self._bytes(struct.calcsize(f"<{form}")))[0]
        return number

    def _bytes(self, count: int) -> bytes:
        content = self._stream.read(count) if count <= MAX_HEADER_BYTES else b""
        if len(content) != count:
            raise _broken("it's incomplete, or its header is too long")
        return content


def _broken(why: str) -> VerificationFailed:
    return VerificationFailed(
        f"Invalid GGUF file: {why}",
        code="notGguf",
        remedy="Download the file again. If the error remains, don't use the file.",
    )
