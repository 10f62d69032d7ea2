"""SD3's rectified flow: how pictures are made noisy for training, and how the model turns noise into pictures.

A noisy picture is (1 - level) · picture + level · noise, and the model learns the velocity noise - picture.
Pictures are 0 to 1; the model sees them as -1 to 1. Shapes: B pictures in a batch, S = SPRITE_SIDE.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import torch

from .dimensions import LIVE_CHANNELS, SPRITE_SIDE

if TYPE_CHECKING:
    from .base_model import MMDiT

_SHIFT = 3.0
"""ComfyUI samples SD3 with this shift towards high noise levels."""


class NoisyBatch(NamedTuple):
    noisy: torch.Tensor  # (B, 3, S, S)
    noise_level: torch.Tensor  # (B,)
    velocity: torch.Tensor  # (B, 3, S, S), what the model should answer


def add_noise(pictures: torch.Tensor, generator: torch.Generator) -> NoisyBatch:
    """Adds noise at random levels to pictures (B, 3, S, S)."""
    clean = pictures * 2 - 1
    batch = len(clean)
    # Half of the levels are spread evenly, half lean to the middle, where there is most to learn.
    levels = torch.where(
        torch.rand(batch, generator=generator) < 0.5,
        torch.rand(batch, generator=generator),
        torch.randn(batch, generator=generator).sigmoid(),
    )
    levels = _shifted(levels).clamp(1e-3, 1)
    noise = torch.randn(clean.shape, generator=generator)
    spread = levels[:, None, None, None]
    return NoisyBatch((1 - spread) * clean + spread * noise, levels, noise - clean)


@torch.no_grad()
def sample(
    model: MMDiT, text: torch.Tensor, seed: int, steps: int = 15, guidance: float = 2.0
) -> torch.Tensor:
    """Pictures (B, 3, S, S) for the texts (B, TEXT_WIDTH): Euler's method, with an empty negative prompt."""
    generator = torch.Generator().manual_seed(seed)
    current = torch.randn(len(text), LIVE_CHANNELS, SPRITE_SIDE, SPRITE_SIDE, generator=generator)
    levels = _shifted(torch.linspace(1, 0, steps + 1))
    for level, next_level in itertools.pairwise(levels):
        batch_level = level.expand(len(text))
        velocity = model(current, batch_level, text)
        if guidance != 1:
            unguided = model(current, batch_level, torch.zeros_like(text))
            velocity = unguided + guidance * (velocity - unguided)
        current = current + (next_level - level) * velocity
    return (current / 2 + 0.5).clamp(0, 1)


def _shifted(levels: torch.Tensor) -> torch.Tensor:
    return _SHIFT * levels / (1 + (_SHIFT - 1) * levels)
