"""Reads the header of a .safetensors file, and validates all of it before use.

    8 bytes    length N of the header, little-endian
    N bytes    JSON, starts with `{`:  {"__metadata__": {text: text},
                                        name: {"dtype": "F16", "shape": [64, 320], "data_offsets": [begin, end]}, ...}
    the rest   data; offsets count from its start, tensors are contiguous, the last one ends at the end of the file

The format: https://github.com/huggingface/safetensors (README, "Format"; safetensors/src/tensor.rs).

Only the header is read, never a tensor. A hostile header must not take more than a second or 64 MiB. Therefore the text
as a whole isn't passed to a JSON parser, which would build everything in it (16 MiB of `[],[],[]` become half a
gigabyte). A tensor's entry has one form, so one pattern reads it. An entry in any other form is passed to the JSON
parser separately, and must be short. No pattern backtracks and nothing recurses, so the time is linear in the length,
and depth costs nothing.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from ..errors import NotFound, StorageFailed, VerificationFailed
from ..safe_files import open_regular
from .file_kinds import kind_of_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeGuard

__all__ = [
    "DTYPE_BITS",
    "MAX_HEADER_BYTES",
    "SafetensorsHeader",
    "TensorInfo",
    "header_end",
    "parse_header",
    "parse_header_text",
    "read_header",
]

MAX_HEADER_BYTES = 16 * 1024 * 1024
"""The longest header that is read. The format allows 100 MB; CivitAI's scanner stops at 16 MiB too, and the header of
a LoRA is about 0.3 MB, of the largest checkpoints about 2 MB."""

MAX_TENSORS = 50_000
MAX_NAME_BYTES = 512
MAX_DIMENSIONS = 32
_MAX_NAMES = 4 * 1024 * 1024  # characters of all names; the largest checkpoints have a million
_MAX_SIZES = 100_000  # in all different shapes; the largest files have a few thousand
_MAX_ENTRY_BYTES = 8192  # of a tensor that isn't written in the form that safetensors writes
_MAX_KEPT_METADATA = 2 * 1024 * 1024  # bytes; anything beyond (training logs, pictures) is checked, not kept

DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
"""Bits of one element, for every dtype of the format."""


class TensorInfo(NamedTuple):
    """What a header says about one tensor. `start` and `end` are byte offsets from the start of the data.

    A named tuple, not a dataclass: a LoRA has thousands of tensors, and a tuple is created four times faster.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class SafetensorsHeader:
    """A validated header: the bytes of all tensors are inside the file and contiguous.

    `metadata` contains the texts of `__metadata__`, except those beyond the first 2 MiB. `data_start` and `file_size`
    are in bytes from the start of the file.
    """

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    data_start: int
    file_size: int


def read_header(path: str | Path) -> SafetensorsHeader:
    """The validated header of the file at `path`.

    :raises NotFound: there is no such file
    :raises StorageFailed: it cannot be read
    :raises VerificationFailed: it isn't a valid safetensors file
    """
    path = Path(path)
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            end = header_end(file.read(512), size)
            file.seek(8)
            # Decoded here, so that the bytes are freed before the text is parsed.
            return parse_header_text(file.read(end - 8).decode("latin-1"), size)
    except FileNotFoundError:
        raise NotFound(f"File not found: {path}", code="fileNotFound", remedy="Check the name.") from None
    except OSError as error:
        message = f"Could not read {path}: {error.strerror or error}"
        raise StorageFailed(
            message, code="fileUnreadable", remedy="Check the file and its permissions."
        ) from error


def parse_header(prefix_bytes: bytes, file_size: int) -> SafetensorsHeader:
    """The validated header from the first bytes of a file of `file_size` bytes (fetched by HTTP Range, for example).

    `prefix_bytes` may include a part of the data. `header_end` returns how many bytes are needed.

    :raises VerificationFailed: it isn't a valid safetensors file, or the bytes are incomplete
    """
    end = header_end(prefix_bytes, file_size)
    if len(prefix_bytes) < end:
        what = f"only {len(prefix_bytes):,} of the {end:,} header bytes are present"
        _fail("headerTruncated", what, "Get the rest, or download the file again.")
    return parse_header_text(str(memoryview(prefix_bytes)[8:end], "latin-1"), file_size)


def header_end(first_bytes: bytes, file_size: int) -> int:
    """The offset of the data, which is the number of bytes that must be read for the header.

    `first_bytes` are nine or more. With 512, a file of another kind is recognized.

    :raises VerificationFailed: no safetensors file begins like this
    """
    if not file_size:
        _fail("fileEmpty", "the file is empty", "Download it again.")
    length = int.from_bytes(first_bytes[:8], "little")
    if first_bytes[8:9] != b"{" or 8 + length > file_size or length < 2:
        kind = kind_of_file(first_bytes)
        if kind is not None:
            message = f"Not a .safetensors file: it's {kind[0]}"
            raise VerificationFailed(message, code="notSafetensors", remedy=kind[1])
        if file_size < 10:
            _fail("fileTruncated", f"it's too short (bytes: {file_size})", "Download it again.")
        if first_bytes[8:9] != b"{":
            message = f"Not a .safetensors file: it starts with {first_bytes[:16]!r}"
            raise VerificationFailed(
                message, code="notSafetensors", remedy="Get this model's .safetensors file."
            )
        what = f"its header should have {length:,} bytes, but the file has {file_size:,}"
        _fail(
            "headerTruncated",
            what,
            "The download is incomplete, or this is another kind of file. Download it again.",
        )
    if length > MAX_HEADER_BYTES:
        what = f"its header has {length:,} bytes, but the limit is {MAX_HEADER_BYTES:,}"
        _fail(
            "headerTooLarge",
            what,
            "A LoRA's header is smaller than a megabyte. Save the file without its metadata.",
        )
    return 8 + length


# ----------------------------------------------------------------------------------------------------------------------
# From here on, the header is Latin-1 text: one character for each byte, so that offsets stay valid and the pattern's
# groups are already str. Names and texts that aren't ASCII are decoded as UTF-8 one by one.

_TENSOR = re.compile(  # as safetensors writes it; a name with escapes takes the slower path
    r'"([^"\\\x00-\x1f]{1,512})":\{"dtype":"([A-Z0-9_]{1,20})","shape":\[([0-9,]{0,500})\],'
    r'"data_offsets":\[([0-9]{1,16}),([0-9]{1,16})\]\}([,}])'
)
_SPACE = r"[ \t\n\r]*"
_KEY = re.compile(rf'{_SPACE}"([^"]*)"{_SPACE}:{_SPACE}\{{'.encode())
_PAIR = re.compile(rf'{_SPACE}"([^"]*)"{_SPACE}:{_SPACE}"([^"]*)"{_SPACE}([,}}])'.encode())
_COMMA_OR_END = re.compile(rf"{_SPACE}([,}}])")
_END = re.compile(rf"{_SPACE}\}}")
_PIECE = 65536
_NEEDS_JSON = re.compile(r"[\\\x00-\x1f]")  # escapes to resolve, or control characters to reject

_Layout = tuple[str, tuple[int, ...], int]
"""dtype, shape, and the size of such a tensor in bytes."""


def parse_header_text(text: str, file_size: int) -> SafetensorsHeader:
    """The validated header from its JSON, decoded as Latin-1. `header_end` must have accepted its first bytes.

    For callers that can free the bytes before the text is parsed: a header may have 16 MiB.

    :raises VerificationFailed: it isn't valid
    """
    make_tensor = partial(tuple.__new__, TensorInfo)  # twice as fast as TensorInfo(…), for thousands of them
    source, tensor_at = _HeaderText(text), _TENSOR.match
    tensors: dict[str, TensorInfo] = {}
    metadata: dict[str, str] | None = None
    layouts: dict[tuple[str, str], _Layout] = {}
    last_end, side_by_side = 0, True
    names_length, sizes_count = 0, 0

    empty = _END.match(text, 1)  # 1: after the `{`, which header_end has checked
    position, delimiter = (empty.end(), "}") if empty else (1, ",")
    while delimiter == ",":
        match = tensor_at(text, position)
        if match is not None:
            name, dtype, sizes, start, end, delimiter = match.groups()
            position = match.end()
            if not name.isascii():
                name = source.unquoted(*match.span(1))
        else:
            name, position = source.key(position)
            if name == "__metadata__":
                if metadata is not None:
                    _fail_duplicate(name)
                metadata, position = source.metadata(position)
                position, delimiter = source.comma_or_end(position)
                continue
            dtype, sizes, start, end, position = source.unusual_tensor(position, name)
            position, delimiter = source.comma_or_end(position)
        layout = layouts.get((dtype, sizes))
        if layout is None:
            layout = layouts[dtype, sizes] = _layout(name, dtype, sizes)
            sizes_count += len(layout[1])
        tensor = make_tensor((layout[0], layout[1], int(start), int(end)))
        if tensor[3] - tensor[2] != layout[2]:
            _fail_size(name, tensor, layout[2])
        if tensor[2] != last_end:
            side_by_side = False
        last_end = tensor[3]
        if name in tensors:
            _fail_duplicate(name)
        tensors[name] = tensor
        names_length += len(name)
        if len(tensors) > MAX_TENSORS or names_length > _MAX_NAMES or sizes_count > _MAX_SIZES:
            what = f"it lists more than {MAX_TENSORS:,} tensors, or its names or shapes are too long"
            _fail(
                "tooManyTensors", what, "A LoRA has a few thousand at most, so this is another kind of file."
            )

    if "__metadata__" in tensors:
        _fail("metadataNotText", "its metadata is a tensor", _BROKEN)
    if text[position:].strip(" \t\n\r"):  # the format pads with spaces
        source.fail(position, "the end of the header")
    _check_end(last_end if side_by_side else _end_of_unordered(tensors), file_size - 8 - len(text))
    return SafetensorsHeader(tensors, metadata or {}, 8 + len(text), file_size)


class _HeaderText:
    """The header's text, with methods for everything that the pattern for tensors doesn't match."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def masked(self) -> bytearray:
        r"""The text with `\\` and `\"` masked: every remaining quote opens or closes a text, so that `"[^"]*"` matches
        a text of any length without backtracking. Offsets stay the same."""
        masked, start = bytearray(len(self.text)), 0
        while start < len(masked):  # in pieces, so that there is no second copy
            piece = self.text[start : start + _PIECE]
            if (len(piece) - len(piece.rstrip("\\"))) % 2 and start + len(piece) < len(masked):
                piece = piece[:-1]  # the first half of an escape: it begins the next piece
            masked[start : start + len(piece)] = (
                piece.replace("\\\\", "__").replace('\\"', "__").encode("latin-1")
            )
            start += len(piece)
        return masked

    def key(self, position: int) -> tuple[str, int]:
        """The name of an object, and where its first member starts."""
        match = _KEY.match(self.masked, position)
        if match is None:
            self.fail(position, 'a tensor, "name": {…}')
        return self.unquoted(*match.span(1)), match.end()

    def comma_or_end(self, position: int) -> tuple[int, str]:
        match = _COMMA_OR_END.match(self.text, position)
        if match is None:
            self.fail(position, "a comma or the closing brace")
        return match.end(), match[1]

    def unusual_tensor(self, position: int, name: str) -> tuple[str, str, int, int, int]:
        """A tensor written with spaces, or with its members in another order. It ends at the first brace.

        Returns its dtype, its sizes separated by commas, its offsets, and where it ends.
        """
        end = self.text.find("}", position, position + _MAX_ENTRY_BYTES)
        try:
            pairs = (
                json.loads("{" + self.text[position : end + 1], object_pairs_hook=list) if end >= 0 else None
            )
        except (ValueError, RecursionError):
            pairs = None
        if not isinstance(pairs, list) or len(pairs) != 3:
            _fail_tensor(name)
        members = dict(pairs)
        dtype, shape, offsets = members.get("dtype"), members.get("shape"), members.get("data_offsets")
        if not (isinstance(dtype, str) and _are_sizes(shape) and _are_sizes(offsets) and len(offsets) == 2):
            _fail_tensor(name)
        return dtype, ",".join(map(str, shape)), offsets[0], offsets[1], end + 1

    def metadata(self, position: int) -> tuple[dict[str, str], int]:
        """The pairs of `__metadata__`, and where its object ends. Pairs beyond the budget are checked, but left out."""
        metadata: dict[str, str] = {}
        names: set[str] = set()
        budget, names_length = _MAX_KEPT_METADATA, 0
        empty = _END.match(self.text, position)
        if empty:
            return metadata, empty.end()
        while True:
            match = _PAIR.match(self.masked, position)
            if match is None:
                near = self.text[position : position + 60]
                remedy = "Save the file again without its metadata."
                _fail(
                    "metadataNotText", f"its metadata isn't an object with text values, near {near!r}", remedy
                )
            position = match.end()
            name = self.unquoted(*match.span(1))
            if name in names:
                _fail_duplicate(name)
            names.add(name)
            names_length += len(name)
            if len(names) > MAX_TENSORS or names_length > _MAX_NAMES:
                remedy = "Save the file again without its metadata."
                what = f"it has more than {MAX_TENSORS:,} metadata entries, or their names are too long"
                _fail("tooManyTensors", what, remedy)
            start, end = match.span(2)
            if end - start <= budget:
                budget -= end - start
                metadata[name] = self.unquoted(start, end, limit=_MAX_KEPT_METADATA)
            else:
                self.check_utf8(start, end)
            if match[3] == b"}":
                return metadata, position

    def unquoted(self, start: int, end: int, limit: int = MAX_NAME_BYTES) -> str:
        """The text between two quotes."""
        if end - start > limit:
            what = f"a name in its header has {end - start:,} bytes, but the limit is {limit:,}"
            _fail("tensorNameTooLong", what, "No trainer writes such names. Don't use this file.")
        raw = self.text[start:end]
        try:
            if not raw.isascii():
                raw = raw.encode("latin-1").decode()
            if _NEEDS_JSON.search(raw):
                raw = str(json.loads(f'"{raw}"'))
                raw.encode()  # a lone surrogate is legal in JSON, not in UTF-8
        except UnicodeError:
            _fail("headerNotText", f"a name in its header isn't UTF-8: {raw[:60]!r}", _BROKEN)
        except ValueError:
            self.fail(start, "text")
        return raw

    def check_utf8(self, start: int, end: int) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            for offset in range(start, end, _PIECE):  # in pieces, so that a long text isn't copied
                decoder.decode(self.text[offset : min(offset + _PIECE, end)].encode("latin-1"))
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            _fail(
                "headerNotText",
                "a text in its metadata isn't UTF-8",
                "Save the file again without its metadata.",
            )

    def fail(self, position: int, expected: str) -> NoReturn:
        near = self.text[position : position + 60]
        _fail("headerMalformed", f"expected {expected} at byte {position + 8:,}, found {near!r}", _BROKEN)


def _are_sizes(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 10**16 for item in value)


def _layout(name: str, dtype: str, sizes: str) -> _Layout:
    bits = DTYPE_BITS.get(dtype)
    if bits is None:
        what = f"tensor {_short(name)} has the unsupported dtype {_short(dtype)}"
        _fail("unknownDtype", what, "Update AIR LoRA, or save the file again with another dtype.")
    parts = sizes.split(",") if sizes else []
    if len(parts) > MAX_DIMENSIONS or not all(0 < len(part) <= 16 for part in parts):
        _fail_tensor(name)
    shape = tuple(map(int, parts))
    total_bits = math.prod(shape) * bits
    if total_bits % 8:
        what = f"tensor {_short(name)}: {list(shape)} of {dtype} isn't a whole number of bytes"
        _fail("shapeMismatch", what, _BROKEN)
    return dtype, shape, total_bits // 8


def _end_of_unordered(tensors: Mapping[str, TensorInfo]) -> int:
    """Where the last tensor ends, for a header that lists the tensors in another order than the data."""
    end, before = 0, ""
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if tensor.start < end:
            _fail("offsetsOverlap", f"tensors {_short(before)} and {_short(name)} overlap", _BROKEN)
        if tensor.start > end:
            what = f"unused bytes before tensor {_short(name)}: {tensor.start - end:,}"
            _fail("offsetsHole", what, _BROKEN)
        end, before = tensor.end, name
    return end


def _check_end(end: int, data_size: int) -> None:
    if end > data_size:
        what = f"its tensors take {end:,} bytes, but only {data_size:,} follow the header"
        _fail("fileTruncated", what, "The download is incomplete. Download it again.")
    if end < data_size:
        what = f"unused bytes after the last tensor: {data_size - end:,}"
        _fail("trailingBytes", what, _BROKEN)


_BROKEN = "Download the file again. If the error remains, don't use the file."


def _short(text: str) -> str:
    return repr(text if len(text) <= 120 else text[:117] + "…")


def _fail(code: str, what: str, remedy: str) -> NoReturn:
    raise VerificationFailed(f"Invalid .safetensors file: {what}", code=code, remedy=remedy)


def _fail_tensor(name: str) -> NoReturn:
    what = f"tensor {_short(name)} needs a dtype, a shape, and two data_offsets"
    _fail("headerMalformed", what, _BROKEN)


def _fail_duplicate(name: str) -> NoReturn:
    _fail("duplicateName", f"the name {_short(name)} appears twice in its header", _BROKEN)


def _fail_size(name: str, tensor: TensorInfo, size: int) -> NoReturn:
    what = (
        f"tensor {_short(name)}: {list(tensor.shape)} of {tensor.dtype} takes {size:,} bytes, "
        f"but its offsets are {tensor.start:,} to {tensor.end:,}"
    )
    _fail("shapeMismatch", what, _BROKEN)
