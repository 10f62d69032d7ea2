"""Random batches of training pictures with captions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from .captions import random_caption
from .sprites import load_sprites
from .styles import render
from .text_encoder import pooled_vector

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SEED = 20


class BatchSource:
    """Draws batches from a file of sprites. Two sources with the same file give the same batches."""

    def __init__(self, sprite_file: Path) -> None:
        self._sprites = load_sprites(sprite_file)
        self.rng = np.random.default_rng(_SEED)
        """Chooses pictures and words. A training can also use it to choose styles."""
        self.generator = torch.Generator().manual_seed(_SEED)
        """Generates the noise in the pictures and the noise that is added to them."""

    def draw(self, size: int, strengths: Mapping[str, float]) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns pictures (size, 3, S, S) in the given styles, and their texts (size, TEXT_WIDTH)."""
        chosen = torch.from_numpy(self.rng.integers(0, len(self._sprites.layers), size))
        labels = self._sprites.labels[chosen].tolist()
        texts = torch.stack([pooled_vector(random_caption(self.rng, label)) for label in labels])
        return self.pictures(chosen, strengths), texts

    def pictures(self, chosen: torch.Tensor, strengths: Mapping[str, float]) -> torch.Tensor:
        """Returns the chosen sprites (int64 positions in the file) in the given styles."""
        layers, colours = self._sprites.layers[chosen], self._sprites.colours[chosen]
        return render(layers, colours, strengths, self.generator)
