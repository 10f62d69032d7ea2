"""Reads the workflow that ComfyUI saves in its results: pictures, sounds, videos, and latents.

    PNG, APNG    text chunks, see `png_text`
    WebP         EXIF: a separate ASCII field for each text, as `prompt:{…}` (comfy_api/latest/_ui.py)
    FLAC         Vorbis comments (https://www.rfc-editor.org/rfc/rfc9639#section-8.6)
    MP4          `moov/meta` with `keys` and `ilst`, which FFmpeg writes with use_metadata_tags
                 (QuickTime File Format, "Metadata"); also below `moov/udta`
    latent       the header of a safetensors file

Pixels and samples are skipped, not read. Such a file may contain anything, so lengths are limited.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

from ..errors import LoraResolverError
from ..model_file.safetensors_header import header_end, parse_header
from .picture_record import RECORD_NAME
from .png_text import MAX_TEXT_BYTES, PNG_SIGNATURE, png_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["TEXT_NAMES", "saved_texts"]

TEXT_NAMES = ("prompt", "workflow")
"""The API format, as it ran; and the canvas that it was made from."""

_READ = (*TEXT_NAMES, RECORD_NAME)

_MAX_PARTS = 10_000
_MAX_EXIF_FIELDS = 1000
_ASCII = 2  # a field type of TIFF 6.0, page 15


def saved_texts(file: BinaryIO) -> dict[str, str] | None:
    """The texts of `TEXT_NAMES` and `RECORD_NAME` in the file; None if the file is none of these kinds."""
    first = file.read(16)
    for is_kind, read in _KINDS:
        if is_kind(first):
            file.seek(0)
            try:
                return read(file)
            except (ValueError, struct.error, LoraResolverError):  # truncated or damaged
                return {}
    return None


def _png(file: BinaryIO) -> dict[str, str]:
    return png_texts(file, _READ)


def _webp(file: BinaryIO) -> dict[str, str]:
    file.seek(12)
    for _ in range(_MAX_PARTS):
        head = file.read(8)
        if len(head) < 8:
            break
        length = int.from_bytes(head[4:], "little")
        if head[:4] == b"EXIF" and length <= MAX_TEXT_BYTES:
            return _exif(file.read(length).removeprefix(b"Exif\0\0"))
        file.seek(length + length % 2, 1)
    return {}


def _exif(data: bytes) -> dict[str, str]:
    """The texts in the first directory of a TIFF structure (TIFF 6.0, pages 13 to 16)."""
    order = {b"II": "<", b"MM": ">"}[data[:2]] if data[:2] in (b"II", b"MM") else ""
    if not order:
        return {}
    (directory,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, directory)
    texts: dict[str, str] = {}
    for field in range(min(count, _MAX_EXIF_FIELDS)):
        _tag, kind, length, offset = struct.unpack_from(f"{order}HHII", data, directory + 2 + 12 * field)
        if kind == _ASCII and length > 4:
            name, colon, text = data[offset : offset + length].rstrip(b"\0").partition(b":")
            if colon:
                _keep(texts, name, text)
    return texts


def _flac(file: BinaryIO) -> dict[str, str]:
    file.seek(4)
    for _ in range(_MAX_PARTS):
        head = file.read(4)
        if len(head) < 4:
            break
        length = int.from_bytes(head[1:], "big")
        if head[0] & 0x7F == 4:  # VORBIS_COMMENT
            return _vorbis_comments(file.read(length))
        if head[0] & 0x80:  # the last block
            break
        file.seek(length, 1)
    return {}


def _vorbis_comments(data: bytes) -> dict[str, str]:
    texts: dict[str, str] = {}
    (vendor,) = struct.unpack_from("<I", data)
    (count,) = struct.unpack_from("<I", data, 4 + vendor)
    position = 8 + vendor
    for _ in range(min(count, _MAX_PARTS)):
        (length,) = struct.unpack_from("<I", data, position)
        name, _equals, text = data[position + 4 : position + 4 + length].partition(b"=")
        _keep(texts, name, text)
        position += 4 + length
    return texts


def _mp4(file: BinaryIO) -> dict[str, str]:
    end = file.seek(0, 2)
    for kind, start, stop in _boxes(file, 0, end):
        if kind == b"moov":
            return _mp4_texts(file, start, stop)
    return {}


def _mp4_texts(file: BinaryIO, start: int, stop: int) -> dict[str, str]:
    """Texts from `meta`, directly in this box or in its `udta`."""
    for kind, begin, end in _boxes(file, start, stop):
        if kind == b"udta":
            texts = _mp4_texts(file, begin, end)
        elif kind == b"meta":
            texts = _mp4_meta(file, begin, end)
        else:
            continue
        if texts:
            return texts
    return {}


def _mp4_meta(file: BinaryIO, start: int, stop: int) -> dict[str, str]:
    file.seek(start)
    if file.read(4) == bytes(4):  # ISO 14496-12 has version and flags here, QuickTime doesn't
        start += 4
    names: list[bytes] = []
    texts: dict[str, str] = {}
    for kind, begin, end in _boxes(file, start, stop):
        if kind == b"keys":
            # Each key has the form of a box, with the namespace ("mdta") as its kind.
            names = [_part(file, *key[1:]) for key in _boxes(file, begin + 8, end)]
        elif kind == b"ilst":
            for item, begin_item, end_item in _boxes(file, begin, end):
                number = int.from_bytes(item, "big")
                if 1 <= number <= len(names):
                    for _data, value, end_value in _boxes(file, begin_item, end_item):
                        _keep(texts, names[number - 1], _part(file, value + 8, end_value))
    return texts


def _boxes(file: BinaryIO, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, begin, end) of the content of every box; ISO 14496-12, 4.2."""
    for _ in range(_MAX_PARTS):
        file.seek(start)
        head = file.read(8)
        if len(head) < 8 or start + 8 > stop:
            return
        length, begin = int.from_bytes(head[:4], "big"), start + 8
        if length == 1:
            length, begin = int.from_bytes(file.read(8), "big"), start + 16
        end = stop if length == 0 else start + length
        if not begin <= end <= stop:
            return
        yield head[4:], begin, end
        start = end


def _part(file: BinaryIO, start: int, stop: int) -> bytes:
    file.seek(start)
    return file.read(max(0, min(stop - start, MAX_TEXT_BYTES)))


def _latent(file: BinaryIO) -> dict[str, str]:
    size = file.seek(0, 2)
    file.seek(0)
    end = header_end(file.read(512), size)
    file.seek(0)
    header = parse_header(file.read(end), size)
    return {name: header.metadata[name] for name in _READ if header.metadata.get(name)}


def _keep(texts: dict[str, str], name: bytes, text: bytes) -> None:
    key = name.decode("latin-1").lower()  # names of Vorbis comments are case-insensitive
    if key in _READ and key not in texts:
        texts[key] = text.decode("utf-8", "replace")


_KINDS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO], dict[str, str]]], ...] = (
    (lambda first: first.startswith(PNG_SIGNATURE), _png),
    (lambda first: first[:4] == b"RIFF" and first[8:12] == b"WEBP", _webp),
    (lambda first: first.startswith(b"fLaC"), _flac),
    (lambda first: first[4:8] == b"ftyp", _mp4),
    (lambda first: first[8:9] == b"{" and int.from_bytes(first[:8], "little") < 2**40, _latent),
)
"""(check of a file's first bytes, reader) for each kind of file."""
