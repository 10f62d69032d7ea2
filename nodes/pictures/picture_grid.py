"""Puts pictures and their labels on one sheet."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from .drawing import INK, drawable, font_for, sheet, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

MARGIN = 24
LARGEST_SIDE = 16_384
"""The largest side of a sheet, in pixels, that PNG viewers and ComfyUI's page can show."""

_LINES = 2
_GAP = 8


BETWEEN = "\t"
"""Separates the column's head from the row's head in a label."""

_HEAD = (241, 243, 244)


def sheet_of(pictures: Sequence[Image.Image], labels: Sequence[str], columns: int) -> Image.Image:
    """A table if the labels are pairs of two axes and each pair occurs equally often; else a grid."""
    table = _table_of(pictures, labels)
    return (
        grid_of(pictures, [label.replace(BETWEEN, "  ") for label in labels], columns)
        if table is None
        else table
    )


def _table_of(pictures: Sequence[Image.Image], labels: Sequence[str]) -> Image.Image | None:
    """The pictures as a table with column heads and row heads; None if the labels don't make a table."""
    pairs = [tuple(label.split(BETWEEN)) for label in labels]
    if not pairs or len(pairs) != len(pictures) or any(len(pair) != 2 for pair in pairs):
        return None
    across = list(dict.fromkeys(pair[0] for pair in pairs))
    down = list(dict.fromkeys(pair[1] for pair in pairs))
    cells: dict[tuple[str, ...], list[Image.Image]] = {}
    for pair, picture in zip(pairs, pictures):
        cells.setdefault(pair, []).append(picture)
    several = len(pictures) // (len(across) * len(down))
    if len(cells) != len(across) * len(down) or any(len(each) != several for each in cells.values()):
        return None
    width, height = _cell_of(pictures, several * len(across), len(down))
    pictures_of = {id(each): _fitting(each, width, height) for each in pictures}
    cell = several * width + (several - 1) * _GAP
    size = max(12, min(44, width // 14))
    beside = min(_widest(down, size), max(width // 2, 8 * size)) + 2 * _GAP
    heads = [wrapped(head, size, cell, _LINES + 1) for head in _shown(across)]
    sides = [wrapped(head, size, beside - 2 * _GAP, max(1, height // (size + 6))) for head in _shown(down)]
    above = max(map(len, heads)) * (size + 6) + 2 * _GAP
    image, draw = sheet(
        MARGIN + beside + len(across) * (cell + _GAP) - _GAP + MARGIN,
        MARGIN + above + len(down) * (height + _GAP) - _GAP + MARGIN,
    )
    left, top = MARGIN + beside, MARGIN + above
    draw.rectangle((MARGIN, MARGIN, image.width - MARGIN - 1, top - _GAP), fill=_HEAD)
    draw.rectangle((MARGIN, MARGIN, left - _GAP, image.height - MARGIN - 1), fill=_HEAD)
    for number, lines in enumerate(heads):
        middle = left + number * (cell + _GAP) + cell / 2
        first = MARGIN + (above - _GAP - len(lines) * (size + 6)) / 2
        for line, text in enumerate(lines):
            draw.text(
                (middle, first + line * (size + 6)), text, font=font_for(text, size), fill=INK, anchor="ma"
            )
    for row, lines in enumerate(sides):
        y = top + row * (height + _GAP)
        first = y + (height - len(lines) * (size + 6)) / 2
        for line, text in enumerate(lines):
            draw.text((MARGIN + _GAP, first + line * (size + 6)), text, font=font_for(text, size), fill=INK)
        for column, head in enumerate(across):
            for place, whole in enumerate(cells[head, down[row]]):
                picture = pictures_of[id(whole)]
                x = left + column * (cell + _GAP) + place * (width + _GAP)
                image.paste(picture, (x + (width - picture.width) // 2, y + (height - picture.height) // 2))
    return _within_bounds(image)


_MOST_PIXELS = 80_000_000


def _cell_of(pictures: Sequence[Image.Image], across: int, down: int) -> tuple[int, int]:
    """Width and height of a cell: those of the largest picture, or less if the sheet would be too large."""
    width, height = max(each.width for each in pictures), max(each.height for each in pictures)
    share = min(
        1.0,
        LARGEST_SIDE / (across * width + 1),
        LARGEST_SIDE / (down * height + 1),
        math.sqrt(_MOST_PIXELS / (across * width * down * height)),
    )
    return max(1, int(width * share)), max(1, int(height * share))


def _fitting(picture: Image.Image, width: int, height: int) -> Image.Image:
    if picture.width <= width and picture.height <= height:
        return picture
    share = min(width / picture.width, height / picture.height)
    return picture.resize((max(1, int(picture.width * share)), max(1, int(picture.height * share))))


def _shown(texts: Sequence[str]) -> list[str]:
    """The texts as far as they can be drawn. Different texts of which the same is left get their number."""
    kept = {text: drawable(text, "?") for text in texts}
    count = Counter(kept.values())
    numbers = {text: number for number, text in enumerate(kept, start=1)}
    return [f"{numbers[text]}: {kept[text]}" if count[kept[text]] > 1 else kept[text] for text in texts]


def _widest(texts: Sequence[str], size: int) -> int:
    return max(_length(text, size) for text in _shown(texts)) + 1


def _length(text: str, size: int) -> int:
    return int(font_for(text, size).getlength(text))


def _within_bounds(image: Image.Image) -> Image.Image:
    largest = max(image.size)
    if largest <= LARGEST_SIDE:
        return image
    return image.resize([round(side * LARGEST_SIDE / largest) for side in image.size])


def grid_of(pictures: Sequence[Image.Image], labels: Sequence[str], columns: int) -> Image.Image:
    """The pictures in rows of `columns` (0 makes a sheet that is about square), each below its label.

    All cells have the size of the largest picture. A sheet that is larger than LARGEST_SIDE is scaled down.
    """
    across = columns or _columns(pictures)
    across = min(across, len(pictures))
    down = math.ceil(len(pictures) / across)
    width, height = max(each.width for each in pictures), max(each.height for each in pictures)
    size = max(11, min(40, width // 16))
    texts = [wrapped(label, size, width, _LINES) for label in _shown(labels)]
    above = max((len(text) for text in texts), default=0) * (size + 6) + (8 if labels else 0)
    image, draw = sheet(MARGIN + across * (width + MARGIN), MARGIN + down * (height + above + MARGIN))
    for number, picture in enumerate(pictures):
        left = MARGIN + (number % across) * (width + MARGIN)
        top = MARGIN + (number // across) * (height + above + MARGIN)
        for line, text in enumerate(texts[number] if number < len(texts) else ()):
            draw.text((left, top + line * (size + 6)), text, font=font_for(text, size), fill=INK)
        place = (left + (width - picture.width) // 2, top + above + (height - picture.height) // 2)
        image.paste(picture, place)
    return _within_bounds(image)


def _columns(pictures: Sequence[Image.Image]) -> int:
    """The number of columns that makes the sheet about square. Up to five pictures are in one row."""
    if len(pictures) <= 5:
        return len(pictures)
    height, width = pictures[0].height, pictures[0].width
    return max(1, math.ceil(math.sqrt(len(pictures) * height / width)))
