"""Combines labelled pictures into one picture, a contact sheet."""

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
    """One picture with its label below it, and a note in smaller green type."""

    picture: Image.Image
    label: str
    note: str = ""


def contact_sheet(
    title: str, panels: Sequence[Panel], *, columns: int, cell: int, grain: int = 1
) -> Image.Image:
    """Returns a sheet with `columns` pictures in a row, each scaled to fit `cell` × `cell` pixels.

    `grain` is the side, in pixels, of one cell that the model drew. The showcase's is 8: its decoder only enlarges.
    """
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
        picture = _fit(panel.picture, cell, grain)
        sheet.paste(picture, (left + (cell - picture.width) // 2, top + (cell - picture.height) // 2))
        draw.text((left, top + cell + 5), panel.label, fill=LABEL_COLOUR, font=ImageFont.load_default(15))
        draw.text((left, top + cell + 25), panel.note, fill=NOTE_COLOUR, font=ImageFont.load_default(12))
    return sheet


def _fit(picture: Image.Image, cell: int, grain: int) -> Image.Image:
    picture = picture.convert("RGB")
    if grain > 1:
        drawn = (max(1, picture.width // grain), max(1, picture.height // grain))
        picture = picture.resize(drawn, Image.Resampling.BOX)
    scale = cell / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    # Enlarged pixel art stays sharp. A photograph that is scaled down is smoothed.
    return picture.resize(size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS)
