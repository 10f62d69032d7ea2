"""Pictures and their labels on one sheet."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .drawing import INK, drawable, font, sheet, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

MARGIN = 24
LARGEST_SIDE = 16_384
"""Of a sheet, in pixels: what PNG viewers and ComfyUI's page still show."""

_LINES = 2


def grid_of(pictures: Sequence[Image.Image], labels: Sequence[str], columns: int) -> Image.Image:
    """The pictures in rows of `columns` (0: as near to a square as it gets), each below its label.

    All cells have the size of the largest picture. A sheet beyond LARGEST_SIDE is made smaller.
    """
    across = columns or _columns(pictures)
    across = min(across, len(pictures))
    down = math.ceil(len(pictures) / across)
    width, height = max(each.width for each in pictures), max(each.height for each in pictures)
    size = max(11, min(40, width // 16))
    texts = [wrapped(drawable(label, "?"), size, width, _LINES) for label in labels]
    above = max((len(text) for text in texts), default=0) * (size + 6) + (8 if labels else 0)
    image, draw = sheet(MARGIN + across * (width + MARGIN), MARGIN + down * (height + above + MARGIN))
    for number, picture in enumerate(pictures):
        left = MARGIN + (number % across) * (width + MARGIN)
        top = MARGIN + (number // across) * (height + above + MARGIN)
        for line, text in enumerate(texts[number] if number < len(texts) else ()):
            draw.text((left, top + line * (size + 6)), text, font=font(size), fill=INK)
        place = (left + (width - picture.width) // 2, top + above + (height - picture.height) // 2)
        image.paste(picture, place)
    largest = max(image.size)
    if largest > LARGEST_SIDE:
        image = image.resize([round(side * LARGEST_SIDE / largest) for side in image.size])
    return image


def _columns(pictures: Sequence[Image.Image]) -> int:
    """So many that the sheet is about as wide as high; a few stand in one row."""
    if len(pictures) <= 5:
        return len(pictures)
    height, width = pictures[0].height, pictures[0].width
    return max(1, math.ceil(math.sqrt(len(pictures) * height / width)))
