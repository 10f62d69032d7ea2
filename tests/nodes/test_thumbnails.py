"""Preview pictures from untrusted sources: they are reduced and re-encoded, or rejected; the cache is limited."""

from __future__ import annotations

import io
import os
import random
import struct
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from air_lora_pack.nodes.server.routes import thumbnails
from air_lora_pack.nodes.server.routes.guard import Refused
from PIL import Image
from PIL.PngImagePlugin import PngInfo

if TYPE_CHECKING:
    from pathlib import Path

ORIENTATION, DESCRIPTION = 0x0112, 0x010E


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def shrunk(content: bytes, size: int = 96) -> Image.Image:
    made = Image.open(io.BytesIO(thumbnails.shrink(content, size)))
    assert made.format == "WEBP"
    made.load()
    return made


NOISE = Image.effect_noise((64, 48), 50)
TURNED = Image.Exif()
TURNED[ORIENTATION], TURNED[DESCRIPTION] = 6, "where it was taken"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_pixels(mode: str) -> None:
    assert shrunk(saved(Image.new(mode, (300, 100)), "PNG")).size == (96, 32)


def test_a_transparent_colour_of_a_palette_stays_transparent() -> None:
    picture = Image.new("P", (40, 40), 1)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    made = shrunk(saved(picture, "GIF", transparency=1))
    assert (made.mode, made.getpixel((20, 20))[3]) == ("RGBA", 0)  # type: ignore[index]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_turned_as_it_was_taken_and_nothing_else_is_kept(kind: str) -> None:
    content = saved(NOISE.convert("RGB"), kind, exif=TURNED)
    made = thumbnails.shrink(content, 96)
    assert Image.open(io.BytesIO(made)).size == (48, 64)
    assert b"where it was taken" in content
    assert b"where it was taken" not in made


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def much(size: int) -> bytes:
    """This number of zeros, compressed."""
    packer = zlib.compressobj(9)
    return b"".join([packer.compress(bytes(2**20)) for _ in range(size // 2**20)] + [packer.flush()])


BOMBS = {
    "pixels that are not there": png(30_000, 30_000, chunk(b"IDAT", b"")),
    "pixels that are there": png(8_000, 8_000, chunk(b"IDAT", much(65 * 2**20))),
    "a note": png(8, 8, chunk(b"zTXt", b"a\0\0" + much(100 * 2**20)), chunk(b"IDAT", much(2**20))),
    "a colour profile": png(8, 8, chunk(b"iCCP", b"a\0\0" + much(2**26)), chunk(b"IDAT", b"")),
    "a name of another kind": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "a program": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_no_pictures(name: str) -> None:
    assert len(BOMBS[name]) < 2**18
    with pytest.raises(Refused) as caught:
        thumbnails.shrink(BOMBS[name], 96)
    assert (caught.value.status, caught.value.code) == (404, "notFound")


def test_a_picture_with_a_note_in_it_loses_the_note() -> None:
    note = PngInfo()
    note.add_itxt("prompt", "<script>private</script>" * 1000, zip=True)
    assert len(thumbnails.shrink(saved(NOISE, "PNG", pnginfo=note), 96)) < 20_000


def test_a_turn_that_cannot_be_taken_out_is_no_picture_and_no_crash() -> None:
    """In addition to the rotation, there is a resolution unit of 1.5, which Pillow can read but not write."""
    turn = struct.pack("<HHIHH", ORIENTATION, 3, 1, 6, 0)
    unit = struct.pack("<HHIf", 0x0128, 11, 1, 1.5)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + turn + unit + b"\0\0\0\0"
    with pytest.raises(Refused):
        thumbnails.shrink(saved(NOISE.convert("RGB"), "JPEG", exif=exif), 96)


@pytest.mark.filterwarnings("ignore")  # Pillow's warnings about the damage
def test_damaged_pictures_are_shown_or_not_and_break_nothing() -> None:
    sources = [
        saved(NOISE.convert("RGB"), kind, **options)
        for kind, options in (
            ("PNG", {"exif": TURNED}),
            ("JPEG", {"exif": TURNED}),
            ("WEBP", {"exif": TURNED}),
            ("GIF", {}),
        )
    ]
    chance = random.Random(5)
    shown = 0
    for number in range(1500):
        damaged = bytearray(sources[number % len(sources)])
        for _ in range(chance.choice((1, 3, 12))):
            end = len(damaged) if chance.random() < 0.5 else 120
            damaged[chance.randrange(end)] = chance.randrange(256)
        try:
            thumbnails.shrink(bytes(damaged), 96)
        except Refused:
            continue
        shown += 1
    assert 0 < shown < 1500


def test_only_so_many_are_kept_and_those_shown_last_stay(tmp_path: Path) -> None:
    for number in range(thumbnails.MAX_KEPT + 5):
        old = tmp_path / f"{number}.webp"
        old.touch()
        os.utime(old, (number, number))
    assert thumbnails._kept(tmp_path / "0.webp") == b""  # it was just shown
    thumbnails._keep(tmp_path / "new.webp", b"new")
    kept = {path.name for path in tmp_path.iterdir()}
    assert len(kept) == thumbnails.MAX_KEPT
    assert {"0.webp", "new.webp", f"{thumbnails.MAX_KEPT}.webp"} <= kept
    assert not {"1.webp", "5.webp"} & kept
