"""Text and colors on pictures, and pictures as ComfyUI's IMAGE. Pillow's own font is used if it has the letters."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

PAPER = (255, 255, 255)
INK = (32, 33, 36)
FAINT = (96, 99, 104)
LINE = (218, 220, 224)

SERIES = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233))
"""Colors that color-blind people can also distinguish (Okabe and Ito, https://jfly.uni-koeln.de/color/)."""

_NO_GLYPH = "\U000f0000"  # a private-use character that no font has
_ALIKE = str.maketrans(
    {"–": "-", "—": "-", "−": "-", "×": "x", "’": "'", "‘": "'", "“": '"', "”": '"', "ß": "ss"}
)


@cache
def font(size: int) -> Any:
    """Pillow's built-in font at a height in pixels."""
    return ImageFont.load_default(size)


_OTHER_FONTS = (
    *(
        "NotoSansCJK-Regular.ttc",
        "NotoSansCJKjp-Regular.otf",
        "NotoSansSC-Regular.otf",
        "SourceHanSans-Regular.ttc",
    ),
    *("msyh.ttc", "YuGothM.ttc", "meiryo.ttc", "malgun.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc"),
    *(
        "Arial Unicode.ttf",
        "wqy-microhei.ttc",
        "DroidSansFallbackFull.ttf",
        "NotoSans-Regular.ttf",
        "DejaVuSans.ttf",
    ),
)
"""System fonts for scripts that Pillow's own font doesn't support. The first one that is installed is used."""


@cache
def _other_font(size: int, letter: str) -> Any:
    """A font of this system that has the letter, or None."""
    for name in _OTHER_FONTS:
        try:
            found = ImageFont.truetype(name, size)
        except OSError:
            continue
        if bytes(found.getmask(letter)) != bytes(found.getmask(_NO_GLYPH)):
            return found
    return None


def font_for(text: str, size: int) -> Any:
    """Pillow's own font, or one of this system for text that Pillow's font can't draw."""
    missing = next((letter for letter in text if not letter.isspace() and not _has_glyph(letter)), None)
    return font(size) if missing is None else _other_font(size, missing) or font(size)


def drawable(text: str, otherwise: str = "") -> str:
    """The text, limited to letters that a font of this system has; `otherwise` if too few letters are left.

    Pillow's own font has no accents. They are removed if no other font has the letter.
    """
    missing = next(
        (letter for letter in text.translate(_ALIKE) if letter.isalpha() and not _has_glyph(letter)), None
    )
    if missing is not None and _other_font(20, missing) is not None:
        return " ".join(text.split())
    plain = unicodedata.normalize("NFKD", text.translate(_ALIKE))
    kept = "".join(letter for letter in plain if letter.isspace() or _has_glyph(letter))
    wanted = sum(not unicodedata.combining(letter) for letter in plain)
    return " ".join(kept.split()) if 2 * len(kept) > wanted else otherwise


@cache
def _has_glyph(letter: str) -> bool:
    return bytes(font(20).getmask(letter)) != bytes(font(20).getmask(_NO_GLYPH))


def fitted(text: str, size: int, width: float) -> str:
    """The text, shortened to this width in pixels. It is cut in the middle, because both ends of a name are useful."""
    text = " ".join(text.split())
    if font_for(text, size).getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        end = kept // 3
        short = f"{text[: kept - end].rstrip()}…{text[len(text) - end :].lstrip() if end else ''}"
        if font_for(short, size).getlength(short) <= width:
            return short
    return "…"


def wrapped(text: str, size: int, width: float, lines: int) -> list[str]:
    """The text on at most this many lines, broken at spaces. The last line is shortened to fit."""
    words = text.split()
    found: list[str] = []
    while words and len(found) < lines - 1:
        taken = 1
        while (
            taken < len(words)
            and font_for(" ".join(words[: taken + 1]), size).getlength(" ".join(words[: taken + 1])) <= width
        ):
            taken += 1
        found.append(fitted(" ".join(words[:taken]), size, width))
        words = words[taken:]
    return [*found, fitted(" ".join(words), size, width)] if words else found


def sheet(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty picture, and the object that draws on it."""
    image = Image.new("RGB", (width, height), PAPER)
    return image, ImageDraw.Draw(image)


def upright(image: Image.Image, place: tuple[int, int], text: str, size: int, fill: Sequence[int]) -> None:
    """Writes text from bottom to top. `place` is its lower left corner."""
    width, height = int(font(size).getlength(text)) + 2, size + 6
    line = Image.new("L", (width, height), 0)
    ImageDraw.Draw(line).text((0, 0), text, font=font(size), fill=255)
    turned = line.rotate(90, expand=True)
    image.paste(tuple(fill), (place[0], place[1] - turned.height), turned)


def to_tensor(image: Image.Image) -> torch.Tensor:
    """Converts a picture to an IMAGE: (1, height, width, 3), 0…1."""
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 255).unsqueeze(0)


def to_pictures(images: torch.Tensor) -> list[Image.Image]:
    """Converts an IMAGE (batch, height, width, channels) to pictures, with the same rounding as SaveImage."""
    values = (images.detach().float().cpu().numpy() * 255).clip(0, 255).astype(np.uint8)
    return [Image.fromarray(each).convert("RGB") for each in values]
