"""SD3's rectified flow: adds noise to pictures for training, and turns noise into pictures with the model.

A noisy picture is (1 - level) · picture + level · noise, and the model learns the velocity noise - picture.
Pictures are in the range 0 to 1; the model uses -1 to 1. Shapes: B pictures in a batch, S = SPRITE_SIDE.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import torch

from .dimensions import LIVE_CHANNELS, SPRITE_SIDE

if TYPE_CHECKING:
    from .base_model import MMDiT

_SHIFT = 3.0
"""The shift towards high noise levels with which ComfyUI samples SD3."""


class NoisyBatch(NamedTuple):
    noisy: torch.Tensor  # (B, 3, S, S)
    noise_level: torch.Tensor  # (B,)
    velocity: torch.Tensor  # (B, 3, S, S), the model's target


def add_noise(pictures: torch.Tensor, generator: torch.Generator) -> NoisyBatch:
    """Adds noise at random levels to pictures (B, 3, S, S)."""
    clean = pictures * 2 - 1
    batch = len(clean)
    # Half of the levels are uniform. The other half are concentrated in the middle, where there is most to learn.
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
    """Samples pictures (B, 3, S, S) for the texts (B, TEXT_WIDTH) with Euler's method and an empty negative prompt."""
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
