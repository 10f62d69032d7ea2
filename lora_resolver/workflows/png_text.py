"""The texts that ComfyUI saves in a PNG: the API-format prompt and the workflow of the canvas.

    tEXt    keyword NUL text                                        what SaveImage writes
    zTXt    keyword NUL 0 zlib                                      the same, compressed
    iTXt    keyword NUL compressed 0 language NUL keyword NUL UTF-8
    comf    keyword NUL text                                        what SaveAnimatedPNG writes, after the picture

Format: https://www.w3.org/TR/png-3/#11textinfo. Pictures come from anywhere, so every length is bounded.
"""

from __future__ import annotations

import contextlib
import zlib
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["MAX_TEXT_BYTES", "PNG_SIGNATURE", "png_texts"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

MAX_TEXT_BYTES = 16 * 1024**2
"""A longer text is skipped. Workflows with a thousand nodes have about one megabyte."""

_MAX_CHUNKS = 200_000  # the number in a picture of a gigabyte with the smallest usual chunks
_TEXT_KINDS = (b"tEXt", b"zTXt", b"iTXt", b"comf")


def png_texts(file: BinaryIO, keywords: Collection[str]) -> dict[str, str]:
    """The first text for each of these keywords; none if the file is truncated before it or isn't a PNG.

    Pixels are skipped, not read.
    """
    texts: dict[str, str] = {}
    for kind, content in _text_chunks(file):
        keyword, _, rest = content.partition(b"\0")
        name = keyword.decode("latin-1")
        if name in keywords and name not in texts:
            with contextlib.suppress(zlib.error, ValueError):
                texts[name] = _decoded(kind, rest)
    return texts


def _text_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """(kind, content) of every chunk that may contain text."""
    if file.read(len(PNG_SIGNATURE)) != PNG_SIGNATURE:
        return
    for _ in range(_MAX_CHUNKS):
        head = file.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8 or kind == b"IEND":
            return
        if kind in _TEXT_KINDS and length <= MAX_TEXT_BYTES:
            content = file.read(length)
            if len(content) < length:
                return
            yield kind, content
            length = 0
        file.seek(length + 4, 1)  # and the checksum


def _decoded(kind: bytes, rest: bytes) -> str:
    """The text of a chunk, from what follows its keyword. Raises zlib.error or ValueError."""
    if kind == b"zTXt":
        return _inflated(rest[1:]).decode("latin-1")
    if kind == b"iTXt":
        compressed, (_language, _translated, text) = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
        return (_inflated(text) if compressed else text).decode("utf-8")
    # The standard says Latin-1, and ComfyUI writes ASCII. Other programs write UTF-8.
    try:
        return rest.decode("utf-8")
    except UnicodeDecodeError:
        return rest.decode("latin-1")


def _inflated(data: bytes) -> bytes:
    """Decompresses a text. Raises ValueError for one that is too long or truncated."""
    stream = zlib.decompressobj()
    text = stream.decompress(data, MAX_TEXT_BYTES)
    if not stream.eof:
        raise ValueError("too long, or cut off")
    return text
