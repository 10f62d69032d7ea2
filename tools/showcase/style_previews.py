"""The preview pictures of the LoRAs in catalogue.json: one sprite, drawn in each style."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .preview import to_image
from .sprites import draw_sprite, stack_sprites
from .styles import STYLES, render

if TYPE_CHECKING:
    from pathlib import Path

_SPRITE_SEED = 168
"""A red supercar in a city at sunset."""

_PARTICLE_SEED = 20
_ENLARGEMENT = 4
"""The result has 192×192 pixels."""


def save_style_previews(folder: Path) -> None:
    """Writes tiny_<style>.png for each style. They show what the LoRAs were trained on, not what they generate."""
    folder.mkdir(parents=True, exist_ok=True)
    sprites = stack_sprites([draw_sprite(_SPRITE_SEED)])
    for style in STYLES:
        generator = torch.Generator().manual_seed(_PARTICLE_SEED)
        (picture,) = render(sprites.layers, sprites.colours, {style: 1.0}, generator)
        to_image(picture, _ENLARGEMENT).save(folder / f"tiny_{style}.png", optimize=True)
