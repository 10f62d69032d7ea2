"""Draws the object in the middle of a sprite: a supercar, a house, a tree, or a rocket.

Random numbers are drawn in a fixed order, because the training pictures are defined by their seeds: another order
would produce other pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .canvas import Canvas, Point, shade

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from .vocabulary import Colour


def draw_object(
    rng: np.random.Generator, kind: str, colour: Colour
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns colour (side, side, 3), coverage (side, side, 1), and outlines (side, side, 1), float32, 0 to 255."""
    canvas = Canvas()
    _OBJECTS[kind](canvas, rng, colour)
    return canvas.layers()


def _supercar(canvas: Canvas, rng: np.random.Generator, colour: Colour) -> None:
    """A side view with the nose to the left."""
    uniform = rng.uniform
    length = uniform(0.78, 0.88)
    height = length * uniform(0.27, 0.33)
    nose = 0.5 - length / 2 + uniform(-0.03, 0.03)
    base = 0.825 + uniform(-0.015, 0.015)

    def at(along: float, up: float) -> Point:
        """A point on the car: `along` from nose (0) to tail (1), `up` from the road (0) to the roof (1)."""
        return nose + along * length, base - up * height

    roof, windscreen = uniform(0.42, 0.50), uniform(0.27, 0.32)
    tail = uniform(0.58, 0.72)
    if rng.random() < 0.55:
        _wing(canvas, at, tail, colour)
    body = [
        at(0.0, 0.2),
        at(0.015, 0.36),
        at(windscreen - 0.02, 0.55),
        at(roof, 0.98),
        at(roof + 0.13, 1.0),
        at(0.84, tail + 0.06),
        at(0.985, tail),
        at(1, 0.4),
        at(0.98, 0.14),
        at(0.02, 0.1),
    ]
    canvas.polygon(body, colour)
    sill = [at(0.02, 0.1), at(0.98, 0.14), at(0.99, 0.26), at(0.01, 0.24)]
    canvas.polygon(sill, shade(colour, 0.5), False)
    glass = [at(windscreen, 0.56), at(roof + 0.01, 0.9), at(roof + 0.115, 0.91), at(0.74, 0.62)]
    canvas.polygon(glass, (28, 36, 56))
    shine = [
        at(windscreen + 0.05, 0.6),
        at(roof + 0.01, 0.86),
        at(roof + 0.035, 0.86),
        at(windscreen + 0.09, 0.6),
    ]
    canvas.polygon(shine, (150, 190, 225), False)
    air_intake = [at(0.58, 0.5), at(0.72, 0.54), at(0.68, 0.3), at(0.62, 0.3)]
    canvas.polygon(air_intake, (26, 26, 32))
    if rng.random() < 0.4:
        stripe = [at(0.04, 0.34), at(0.97, 0.44), at(0.97, 0.5), at(0.04, 0.4)]
        # White on a coloured car, red on a pale one.
        canvas.polygon(stripe, (245, 245, 245) if sum(colour) < 560 else (200, 30, 40), False)
    canvas.polygon([at(0.03, 0.36), at(0.13, 0.44), at(0.12, 0.37)], (255, 250, 190))
    tail_light = [at(0.94, 0.48), at(0.99, 0.46), at(0.99, 0.56), at(0.94, 0.56)]
    canvas.polygon(tail_light, (255, 40, 40), False)
    wheel_radius = height * uniform(0.27, 0.31)
    rim = [(205, 205, 215), (230, 190, 70), (120, 120, 130)][rng.integers(3)]
    for hub in (at(0.19, 0.17), at(0.80, 0.17)):
        canvas.ellipse(hub, wheel_radius, wheel_radius, (22, 22, 26))
        canvas.ellipse(hub, wheel_radius * 0.55, wheel_radius * 0.55, rim, False)


def _wing(canvas: Canvas, at: Callable[[float, float], Point], tail: float, colour: Colour) -> None:
    """A spoiler on a strut. `at` maps positions on the car, and `tail` is the height of the car's end."""
    strut = [at(0.9, tail - 0.05), at(0.93, tail - 0.05), at(0.96, tail + 0.3), at(0.93, tail + 0.3)]
    canvas.polygon(strut, shade(colour, 0.5))
    blade = [at(0.84, tail + 0.22), at(1.02, tail + 0.34), at(1.02, tail + 0.44), at(0.84, tail + 0.32)]
    canvas.polygon(blade, shade(colour, 0.75))


def _house(canvas: Canvas, rng: np.random.Generator, colour: Colour) -> None:
    """A wall with a door and two windows. The roof has the colour."""
    half_width, height = rng.uniform(0.2, 0.27), rng.uniform(0.26, 0.34)
    x, base = 0.5 + rng.uniform(-0.06, 0.06), 0.84
    wall = [(240, 225, 195), (225, 225, 230), (215, 190, 160)][rng.integers(3)]
    eaves = base - height
    canvas.rectangle(x + half_width * 0.4, eaves - 0.22, x + half_width * 0.65, eaves, shade(colour, 0.6))
    canvas.rectangle(x - half_width, eaves, x + half_width, base, wall)
    roof_height = rng.uniform(0.18, 0.25)
    roof = [(x - half_width - 0.05, eaves), (x, eaves - roof_height), (x + half_width + 0.05, eaves)]
    canvas.polygon(roof, colour)
    canvas.rectangle(x - 0.055, base - 0.17, x + 0.055, base, (110, 70, 45))
    for side in (-0.62, 0.62):
        window_x = x + side * half_width
        canvas.rectangle(window_x - 0.05, eaves + 0.07, window_x + 0.05, eaves + 0.17, (255, 235, 140))


def _tree(canvas: Canvas, rng: np.random.Generator, colour: Colour) -> None:
    """A trunk with either three tiers, like a fir, or four round crowns."""
    x, base = 0.5 + rng.uniform(-0.06, 0.06), 0.85
    canvas.rectangle(x - 0.045, base - 0.3, x + 0.045, base, (105, 70, 42))
    if rng.random() < 0.5:
        for tier, (half_width, y) in enumerate(((0.27, 0.56), (0.22, 0.42), (0.16, 0.28))):
            corners = [(x - half_width, y + 0.06), (x, y - 0.16), (x + half_width, y + 0.06)]
            canvas.polygon(corners, shade(colour, 0.8 + 0.15 * tier))
    else:
        for dx, y, radius in ((-0.13, 0.44, 0.15), (0.13, 0.43, 0.15), (0, 0.29, 0.17), (0, 0.45, 0.15)):
            canvas.ellipse((x + dx, y), radius, radius, shade(colour, 1.12 - y * 0.6))


def _rocket(canvas: Canvas, rng: np.random.Generator, colour: Colour) -> None:
    """A rocket standing upright on its flame. Nose, fins, and a band have the colour."""
    x, half_width = 0.5 + rng.uniform(-0.05, 0.05), rng.uniform(0.10, 0.13)
    top, base = rng.uniform(0.1, 0.16), rng.uniform(0.66, 0.72)
    flame_width = half_width * 0.6
    canvas.polygon([(x - flame_width, base), (x, base + 0.16), (x + flame_width, base)], (255, 190, 50))
    for side in (-1, 1):
        fin_root = x + side * half_width * 0.8
        fin = [(fin_root, base - 0.2), (x + side * half_width * 2.1, base + 0.04), (fin_root, base)]
        canvas.polygon(fin, shade(colour, 0.75))
    nose = [
        (x - half_width, top + 0.22),
        (x - half_width * 0.6, top + 0.09),
        (x, top),
        (x + half_width * 0.6, top + 0.09),
        (x + half_width, top + 0.22),
    ]
    canvas.polygon([(x - half_width, base), *nose, (x + half_width, base)], (232, 232, 238))
    canvas.polygon(nose, colour)
    canvas.ellipse((x, top + 0.32), half_width * 0.5, half_width * 0.5, (70, 150, 220))
    canvas.rectangle(x - half_width, base - 0.1, x + half_width, base - 0.05, colour, False)


_OBJECTS = {"supercar": _supercar, "house": _house, "tree": _tree, "rocket": _rocket}
