"""Training pictures: one random sprite for each seed, and a file of many."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from .backgrounds import draw_background
from .objects import draw_object
from .vocabulary import COLOURS, OBJECTS, PLACES, TIMES, Colour

if TYPE_CHECKING:
    from pathlib import Path

_OBJECT_SHARES = (0.64, 0.12, 0.12, 0.12)


class Sprite(NamedTuple):
    layers: np.ndarray
    """(8, side, side) uint8: background RGB, object RGB, the object's coverage, its outlines."""
    labels: tuple[int, int, int, int]
    """Positions in OBJECTS, COLOURS, PLACES and TIMES."""
    colour: Colour
    """The object's own colour, a slight variation of the named one."""


def draw_sprite(seed: int) -> Sprite:
    """Draws a sprite. The same seed gives the same sprite on any machine with the same NumPy and Pillow."""
    rng = np.random.default_rng(seed)
    kind = OBJECTS[rng.choice(len(OBJECTS), p=_OBJECT_SHARES)]
    colour_name = list(COLOURS)[rng.integers(len(COLOURS))]
    if kind == "tree" and rng.random() < 0.5:
        colour_name = "green"
    place, time = PLACES[rng.integers(len(PLACES))], TIMES[rng.integers(len(TIMES))]
    red, green, blue = (int(np.clip(value + rng.uniform(-12, 12), 0, 255)) for value in COLOURS[colour_name])
    background = draw_background(rng, place, time, road=kind == "supercar")
    layers = np.concatenate([background, *draw_object(rng, kind, (red, green, blue))], -1)
    return Sprite(
        layers=layers.round().clip(0, 255).astype(np.uint8).transpose(2, 0, 1),
        labels=(
            OBJECTS.index(kind),
            list(COLOURS).index(colour_name),
            PLACES.index(place),
            TIMES.index(time),
        ),
        colour=(red, green, blue),
    )


class SpriteSet(NamedTuple):
    layers: torch.Tensor
    """(count, 8, side, side) uint8, as in Sprite."""
    labels: torch.Tensor
    """(count, 4) int64, as in Sprite."""
    colours: torch.Tensor
    """(count, 3) float32, 0 to 1."""


def stack_sprites(sprites: list[Sprite]) -> SpriteSet:
    return SpriteSet(
        layers=torch.from_numpy(np.stack([sprite.layers for sprite in sprites])),
        labels=torch.tensor([sprite.labels for sprite in sprites]),
        colours=torch.tensor([sprite.colour for sprite in sprites], dtype=torch.float32) / 255,
    )


def save_sprites(path: Path, count: int) -> None:
    """Draws the sprites of seeds 0 to count - 1 on all CPU cores and writes them to one torch file."""
    with multiprocessing.Pool() as pool:
        sprites = pool.map(draw_sprite, range(count), chunksize=64)
    torch.save(stack_sprites(sprites)._asdict(), path)


def load_sprites(path: Path) -> SpriteSet:
    return SpriteSet(**torch.load(path, weights_only=True))
