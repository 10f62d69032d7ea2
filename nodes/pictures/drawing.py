"""Text and colours on pictures, and pictures as ComfyUI's IMAGE. Pillow's own font: no file of the system's is read."""

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
"""Told apart by colour-blind eyes as well (Okabe and Ito, https://jfly.uni-koeln.de/color/)."""

_NO_GLYPH = "\U000f0000"  # private use: no font draws it
_ALIKE = str.maketrans(
    {"–": "-", "—": "-", "−": "-", "×": "x", "’": "'", "‘": "'", "“": '"', "”": '"', "ß": "ss"}
)


@cache
def font(size: int) -> Any:
    """Pillow's built-in font at a height in pixels."""
    return ImageFont.load_default(size)


def drawable(text: str, otherwise: str = "") -> str:
    """The text in the letters that the font has (Latin ones without accents); `otherwise` where too few are left."""
    plain = unicodedata.normalize("NFKD", text.translate(_ALIKE))
    kept = "".join(letter for letter in plain if letter.isspace() or _has_glyph(letter))
    wanted = sum(not unicodedata.combining(letter) for letter in plain)
    return " ".join(kept.split()) if 2 * len(kept) > wanted else otherwise


@cache
def _has_glyph(letter: str) -> bool:
    return bytes(font(20).getmask(letter)) != bytes(font(20).getmask(_NO_GLYPH))


def fitted(text: str, size: int, width: float) -> str:
    """The text, cut in its middle where it is wider than so many pixels: both ends of a name tell something."""
    text = " ".join(text.split())
    if font(size).getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        end = kept // 3
        short = f"{text[: kept - end].rstrip()}…{text[len(text) - end :].lstrip() if end else ''}"
        if font(size).getlength(short) <= width:
            return short
    return "…"


def wrapped(text: str, size: int, width: float, lines: int) -> list[str]:
    """The text on at most so many lines, broken at spaces; the last one is cut to fit."""
    words = text.split()
    found: list[str] = []
    while words and len(found) < lines - 1:
        taken = 1
        while taken < len(words) and font(size).getlength(" ".join(words[: taken + 1])) <= width:
            taken += 1
        found.append(fitted(" ".join(words[:taken]), size, width))
        words = words[taken:]
    return [*found, fitted(" ".join(words), size, width)] if words else found


def sheet(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty picture and what draws on it."""
    image = Image.new("RGB", (width, height), PAPER)
    return image, ImageDraw.Draw(image)


def upright(image: Image.Image, place: tuple[int, int], text: str, size: int, fill: Sequence[int]) -> None:
    """Writes from the bottom to the top; `place` is the text's lower left corner."""
    width, height = int(font(size).getlength(text)) + 2, size + 6
    line = Image.new("L", (width, height), 0)
    ImageDraw.Draw(line).text((0, 0), text, font=font(size), fill=255)
    turned = line.rotate(90, expand=True)
    image.paste(tuple(fill), (place[0], place[1] - turned.height), turned)


def to_tensor(image: Image.Image) -> torch.Tensor:
    """IMAGE: (1, height, width, 3), 0…1."""
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 255).unsqueeze(0)


def to_pictures(images: torch.Tensor) -> list[Image.Image]:
    """IMAGE (batch, height, width, channels) → pictures, as SaveImage rounds them."""
    values = (images.detach().float().cpu().numpy() * 255).clip(0, 255).astype(np.uint8)
    return [Image.fromarray(each).convert("RGB") for each in values]
