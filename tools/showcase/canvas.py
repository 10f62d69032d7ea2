"""A drawing surface that stores colour, coverage, and outlines separately, so that styles can use each alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from .dimensions import SPRITE_SIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .vocabulary import Colour

Point = tuple[float, float]
"""x to the right and y downwards, both 0 to 1 across the canvas."""


class Canvas:
    """Paints at four times the sprite's size. `layers` shrinks the result by averaging."""

    _SUPERSAMPLING = 4
    _OUTLINE_WIDTH = 4
    """In canvas pixels: one cell of the sprite."""

    def __init__(self) -> None:
        self.side = SPRITE_SIDE * self._SUPERSAMPLING
        """Canvas pixels along each side."""
        size = (self.side, self.side)
        self._colour_image = Image.new("RGB", size)
        self._coverage_image = Image.new("L", size)
        self._outline_image = Image.new("L", size)
        self._colour = ImageDraw.Draw(self._colour_image)
        self._coverage = ImageDraw.Draw(self._coverage_image)
        self._outline = ImageDraw.Draw(self._outline_image)

    def polygon(self, points: Sequence[Point], colour: Colour, outlined: bool = True) -> None:
        corners = [(x * self.side, y * self.side) for x, y in points]
        self._colour.polygon(corners, fill=colour)
        self._coverage.polygon(corners, fill=255)
        self._outline.polygon(corners, fill=0)  # hides what is behind the shape, including its lines
        if outlined:
            # One corner more than a closed ring, so that the joint at the start is also rounded.
            closed = [*corners, corners[0], corners[1]]
            self._outline.line(closed, fill=255, width=self._OUTLINE_WIDTH, joint="curve")

    def rectangle(
        self, left: float, top: float, right: float, bottom: float, colour: Colour, outlined: bool = True
    ) -> None:
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour, outlined)

    def ellipse(
        self, centre: Point, x_radius: float, y_radius: float, colour: Colour, outlined: bool = True
    ) -> None:
        x, y = centre
        bounds = [edge * self.side for edge in (x - x_radius, y - y_radius, x + x_radius, y + y_radius)]
        self._colour.ellipse(bounds, fill=colour)
        self._coverage.ellipse(bounds, fill=255)
        self._outline.ellipse(bounds, fill=0, outline=255 if outlined else 0, width=self._OUTLINE_WIDTH)

    def paint_pixels(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Colours a rectangle given in canvas pixels, without changing coverage or outlines."""
        self._colour.rectangle([left, top, right, bottom], fill=colour)

    def layers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Colour (side, side, 3), coverage (side, side, 1) and outlines (side, side, 1), float32, 0 to 255."""
        return (
            self._shrunk(self._colour_image),
            self._shrunk(self._coverage_image),
            self._shrunk(self._outline_image),
        )

    def _shrunk(self, image: Image.Image) -> np.ndarray:
        factor = self._SUPERSAMPLING
        pixels = np.asarray(image, np.float32)
        return pixels.reshape(SPRITE_SIDE, factor, SPRITE_SIDE, factor, -1).mean((1, 3))


def shade(colour: Colour, factor: float) -> Colour:
    """Returns the colour made darker (factor below 1) or lighter, limited to 0 to 255."""
    red, green, blue = (int(max(0, min(255, value * factor))) for value in colour)
    return red, green, blue
