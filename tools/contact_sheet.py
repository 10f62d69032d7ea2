"""Puts labelled pictures into one: a contact sheet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

MARGIN = 14
LABEL_HEIGHT = 46
TITLE_HEIGHT = 52
BACKGROUND = (22, 23, 28)
TITLE_COLOUR = (240, 240, 244)
LABEL_COLOUR = (226, 226, 232)
NOTE_COLOUR = (150, 200, 160)


@dataclass(frozen=True)
class Panel:
    """One picture with what stands below it; the note is set in green, smaller."""

    picture: Image.Image
    label: str
    note: str = ""


def contact_sheet(title: str, panels: Sequence[Panel], *, columns: int, cell: int) -> Image.Image:
    """A sheet of `columns` pictures a row, each scaled to fit `cell` × `cell` pixels."""
    rows = -(-len(panels) // columns)
    size = (
        columns * (cell + MARGIN) + MARGIN,
        TITLE_HEIGHT + rows * (cell + LABEL_HEIGHT + MARGIN),
    )
    sheet = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, 16), title, fill=TITLE_COLOUR, font=ImageFont.load_default(20))
    for number, panel in enumerate(panels):
        left = MARGIN + number % columns * (cell + MARGIN)
        top = TITLE_HEIGHT + number // columns * (cell + LABEL_HEIGHT + MARGIN)
        picture = _fit(panel.picture, cell)
        sheet.paste(picture, (left + (cell - picture.width) // 2, top + (cell - picture.height) // 2))
        draw.text((left, top + cell + 5), panel.label, fill=LABEL_COLOUR, font=ImageFont.load_default(15))
        draw.text((left, top + cell + 25), panel.note, fill=NOTE_COLOUR, font=ImageFont.load_default(12))
    return sheet


def _fit(picture: Image.Image, cell: int) -> Image.Image:
    scale = cell / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    # Pixel art stays crisp when it is enlarged; a photograph that is made smaller is smoothed.
    return picture.convert("RGB").resize(
        size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    )
