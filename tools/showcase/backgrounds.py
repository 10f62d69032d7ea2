"""Paints the background behind an object: sky, sun or moon, a place, the ground, and a road.

Random numbers are drawn in a fixed order, because the training pictures are defined by their seeds: another order
would produce other pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .canvas import Canvas, shade

if TYPE_CHECKING:
    from .vocabulary import Colour

_HORIZON = 0.67
"""The height at which distant things stand. The ground is painted from a little above it."""

_SKY: dict[str, tuple[Colour, Colour]] = {
    "day": ((95, 170, 240), (200, 230, 250)),
    "sunset": ((95, 50, 130), (255, 160, 80)),
    "night": ((8, 10, 34), (36, 40, 90)),
}
"""Time of day to the sky's colour at the top and at the horizon."""

_LIGHT = {"day": 1.0, "sunset": 0.72, "night": 0.4}
"""Time of day to the brightness of everything that is lit by the sky."""

_GROUND: dict[str, Colour] = {
    "desert": (222, 180, 112),
    "sea": (236, 214, 160),
    "city": (128, 132, 136),
    "mountains": (98, 150, 84),
    "forest": (72, 132, 66),
}


def draw_background(rng: np.random.Generator, place: str, time: str, road: bool) -> np.ndarray:
    """Returns the colours of a background, (side, side, 3) float32, 0 to 255."""
    canvas, light = Canvas(), _LIGHT[time]
    _sky(canvas, rng, time)
    _PLACES[place](canvas, rng, light, time)
    canvas.rectangle(0, 0.66, 1, 1, shade(_GROUND[place], light), False)
    if road:
        _road(canvas, rng, light)
    colours, _, _ = canvas.layers()
    return colours


def _sky(canvas: Canvas, rng: np.random.Generator, time: str) -> None:
    top, bottom = _SKY[time]
    horizon = int(0.66 * canvas.side)
    for y in range(0, horizon, 4):
        depth = y / horizon
        red, green, blue = (int(above + (below - above) * depth) for above, below in zip(top, bottom))
        canvas.paint_pixels(0, y, canvas.side, y + 4, (red, green, blue))
    sun_x = rng.uniform(0.15, 0.85)
    if time == "sunset":
        canvas.ellipse((sun_x, 0.52), 0.13, 0.13, (255, 225, 120), False)
    elif time == "night":
        for _ in range(9):
            x, y = rng.uniform(0, canvas.side), rng.uniform(0, 0.4 * canvas.side)
            canvas.paint_pixels(x, y, x + 3, y + 3, (235, 235, 215))
        canvas.ellipse((sun_x, 0.16), 0.07, 0.07, (240, 240, 210), False)
    else:
        canvas.ellipse((sun_x, 0.15), 0.08, 0.08, (255, 240, 150), False)


def _mountains(canvas: Canvas, rng: np.random.Generator, light: float, _time: str) -> None:
    for _ in range(4):
        x, width, height = rng.uniform(0, 1), rng.uniform(0.2, 0.35), rng.uniform(0.22, 0.4)
        peak = (x, _HORIZON - height)
        rock = shade((112, 118, 150), light * rng.uniform(0.8, 1.1))
        canvas.polygon([(x - width, _HORIZON), peak, (x + width, _HORIZON)], rock, False)
        snow_width, snow_line = width * 0.25, _HORIZON - height * 0.75
        snow = [(x - snow_width, snow_line), peak, (x + snow_width, snow_line)]
        canvas.polygon(snow, shade((245, 245, 255), light), False)


def _city(canvas: Canvas, rng: np.random.Generator, light: float, time: str) -> None:
    window = (190, 215, 235) if time == "day" else (255, 225, 130)
    x = -0.05
    while x < 1:
        width, height = rng.uniform(0.08, 0.16), rng.uniform(0.14, 0.42)
        wall = shade((105, 110, 132), light * rng.uniform(0.6, 1.05))
        canvas.rectangle(x, _HORIZON - height, x + width, 0.68, wall, False)
        for window_y in np.arange(_HORIZON - height + 0.03, 0.62, 0.06):
            for window_x in (x + width * 0.25, x + width * 0.65):
                if rng.random() < 0.6:
                    canvas.rectangle(window_x, window_y, window_x + 0.02, window_y + 0.025, window, False)
        x += width + 0.01


def _forest(canvas: Canvas, rng: np.random.Generator, light: float, _time: str) -> None:
    for x in np.arange(-0.02, 1.05, 0.11):
        height = rng.uniform(0.2, 0.34)
        tree = [(x - 0.08, 0.68), (x, 0.68 - height), (x + 0.08, 0.68)]
        canvas.polygon(tree, shade((30, 110, 60), light * rng.uniform(0.8, 1.15)), False)


def _sea(canvas: Canvas, rng: np.random.Generator, light: float, _time: str) -> None:
    canvas.rectangle(0, 0.5, 1, 0.68, shade((30, 120, 190), light), False)
    for _ in range(5):
        x, y = rng.uniform(0, 0.9), rng.uniform(0.52, 0.64)
        canvas.rectangle(x, y, x + 0.1, y + 0.012, shade((170, 215, 240), light), False)


def _desert(canvas: Canvas, rng: np.random.Generator, light: float, _time: str) -> None:
    for x in (rng.uniform(0, 0.4), rng.uniform(0.5, 1)):
        width, height = rng.uniform(0.3, 0.45), rng.uniform(0.1, 0.18)
        canvas.ellipse((x, 0.72), width, height, shade((225, 165, 90), light), False)


_PLACES = {"mountains": _mountains, "city": _city, "forest": _forest, "sea": _sea, "desert": _desert}


def _road(canvas: Canvas, rng: np.random.Generator, light: float) -> None:
    canvas.rectangle(0, 0.74, 1, 0.93, shade((78, 78, 86), max(light, 0.55)), False)
    offset = rng.uniform(0, 0.2)
    for x in np.arange(-0.2, 1.1, 0.2):
        dash = x + offset
        canvas.rectangle(dash, 0.87, dash + 0.1, 0.89, shade((235, 225, 170), max(light, 0.6)), False)
