"""The picture of an analysis: each LoRA's strength, how much each pair competes, and which blocks each LoRA changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .drawing import FAINT, INK, LINE, SERIES, fitted, font, sheet, upright

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image, ImageDraw

WIDTH = 1280
MARGIN = 32
_TITLE, _TEXT, _SMALL = 24, 17, 13
_HEAT = 420  # size of the whole heat map, for any number of entries
_ROW = 34
_LEAST_CELL = 22
_BAND = 62  # height of one entry's bars by block
_PULLS_TOGETHER, _APART, _NEUTRAL = (213, 94, 0), (0, 114, 178), (245, 245, 245)


def analysis_picture(
    names: Sequence[str],
    weights: Sequence[float],
    strengths: Sequence[float],
    cosines: Sequence[Sequence[float]],
    blocks: Sequence[str],
    block_strengths: Sequence[Sequence[float]],
) -> Image.Image:
    """Draws N entries: their strengths as bars, N × N cosines as a heat map, and N rows of bars over the blocks.

    The heat map's edges show the entries' numbers instead of their names. Each entry has the same color everywhere.
    """
    count = len(names)
    if not count:
        image, draw = sheet(WIDTH, 160)
        draw.text((MARGIN, 60), "No LoRA in this array is enabled.", font=font(_TITLE), fill=INK)
        return image
    cell = max(_LEAST_CELL, min(84, _HEAT // count))
    top = max(cell * count + 60, _ROW * count + 10)
    label = 90 if blocks else 0
    height = MARGIN + 40 + top + 70 + (_BAND * count + label if blocks else 0)
    image, draw = sheet(WIDTH, height)
    _draw_strengths(draw, (MARGIN, MARGIN), names, weights, strengths)
    _draw_map(draw, (WIDTH - MARGIN - cell * count, MARGIN), cosines, cell)
    if blocks:
        _draw_blocks(image, draw, MARGIN + 40 + top + 20, blocks, block_strengths)
    return image


def _draw_strengths(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    names: Sequence[str],
    weights: Sequence[float],
    strengths: Sequence[float],
) -> None:
    left, top = place
    draw.text((left, top), "How much each LoRA changes the weights", font=font(_TITLE), fill=INK)
    largest = max(strengths) or 1.0
    for number, (name, weight, strength) in enumerate(zip(names, weights, strengths)):
        y = top + 44 + number * _ROW
        draw.text((left, y), f"{number + 1}", font=font(_TEXT), fill=INK)
        draw.text((left + 30, y), fitted(name, _TEXT, 270), font=font(_TEXT), fill=INK)
        draw.text((left + 368, y), f"{weight:g}", font=font(_TEXT), fill=FAINT, anchor="ra")
        _bar(draw, (left + 385, y + 2), 200 * strength / largest, 18, _colour(number))
        value_at = left + 393 + int(200 * strength / largest)
        draw.text((value_at, y), percent(strength), font=font(_TEXT), fill=INK)


def _draw_map(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], cosines: Sequence[Sequence[float]], cell: int
) -> None:
    left, top = place
    title_at = min(left, WIDTH - MARGIN - int(font(_TITLE).getlength("How much each pair competes")))
    draw.text((title_at, top), "How much each pair competes", font=font(_TITLE), fill=INK)
    top += 64
    size = max(9, min(_TEXT, cell * 2 // 5))
    for row, values in enumerate(cosines):
        middle = top + row * cell + cell // 2
        draw.text((left - 10, middle), f"{row + 1}", font=font(_TEXT), fill=INK, anchor="rm")
        across = left + row * cell + cell // 2
        draw.text((across, top - 6), f"{row + 1}", font=font(_TEXT), fill=INK, anchor="ms")
        for column, value in enumerate(values):
            x, y = left + column * cell, top + row * cell
            draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill=_shade(value) if row != column else LINE)
            if row != column:
                ink = (255, 255, 255) if abs(value) > 0.6 else INK
                draw.text(
                    (x + cell // 2 - 1, y + cell // 2 - 1),
                    f"{value:.2f}",
                    font=font(size),
                    fill=ink,
                    anchor="mm",
                )
    bottom = top + len(cosines) * cell + 8
    for line, text in enumerate(("1: same change, -1: opposite change,", "0: no overlap")):
        draw.text((WIDTH - MARGIN, bottom + 17 * line), text, font=font(_SMALL), fill=FAINT, anchor="ra")


def _draw_blocks(
    image: Image.Image,
    draw: ImageDraw.ImageDraw,
    top: int,
    blocks: Sequence[str],
    block_strengths: Sequence[Sequence[float]],
) -> None:
    largest = max((value for each in block_strengths for value in each), default=0.0) or 1.0
    title = f"Where each LoRA changes the model (highest bar: {percent(largest)})"
    draw.text((MARGIN, top), title, font=font(_TITLE), fill=INK)
    top += 44
    step = (WIDTH - 2 * MARGIN - 40) / len(blocks)
    for number, values in enumerate(block_strengths):
        floor = top + (number + 1) * _BAND - 6
        draw.text((MARGIN, floor - _BAND // 2), f"{number + 1}", font=font(_TEXT), fill=INK, anchor="lm")
        draw.line((MARGIN + 30, floor, WIDTH - MARGIN, floor), fill=LINE)
        for position, value in enumerate(values):
            x = MARGIN + 36 + position * step
            bar = (_BAND - 14) * value / largest
            if value:
                draw.rectangle((x, floor - max(1.0, bar), x + step * 0.7, floor), fill=_colour(number))
    under = top + len(block_strengths) * _BAND
    size = max(9, min(_SMALL, int(step)))
    every = max(1, round((size + 1) / step))  # if there are too many blocks, some have no label
    for position, block in enumerate(blocks):
        if position % every == 0:
            name = fitted(shortened(block), size, 84)
            length = int(font(size).getlength(name)) + 2
            upright(image, (int(MARGIN + 36 + position * step), under + length), name, size, FAINT)


def percent(share: float) -> str:
    """0.0123 → "1.23%"."""
    return f"{100 * share:.3g}%"


def shortened(block: str) -> str:
    """`input_blocks.4` → `in.4`; other families' names unchanged."""
    for long, short in (
        ("input_blocks.", "in."),
        ("middle_block.", "mid."),
        ("output_blocks.", "out."),
        ("double_blocks.", "double."),
        ("single_blocks.", "single."),
    ):
        if block.startswith(long):
            return short + block.removeprefix(long)
    return block


def _bar(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], length: float, height: int, fill: tuple[int, int, int]
) -> None:
    if length > 0:
        draw.rectangle((*place, place[0] + max(1.0, length), place[1] + height), fill=fill)


def _colour(number: int) -> tuple[int, int, int]:
    return SERIES[number % len(SERIES)]


def _shade(cosine: float) -> tuple[int, int, int]:
    full = _PULLS_TOGETHER if cosine > 0 else _APART
    part = min(1.0, abs(cosine))
    red, green, blue = (round(neutral + (end - neutral) * part) for neutral, end in zip(_NEUTRAL, full))
    return red, green, blue
