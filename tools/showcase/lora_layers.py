"""Linear layers that can have several LoRAs at once, each with its own strength."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LORA_RANK = 8

LoraFactors = tuple[torch.Tensor, torch.Tensor]
"""One layer's LoRA: down (rank, in) and up (out, rank)."""


class LoraLinear(nn.Linear):
    """A linear layer. `loras` holds its LoRAs by name, `strengths` the strengths of those that are active."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        # A plain dictionary, so that the factors aren't trained or saved with the layer.
        self.loras: dict[str, LoraFactors] = {}
        self.strengths: Mapping[str, float] = {}

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(..., in) -> (..., out)"""
        outputs = functional.linear(inputs, self.weight, self.bias)
        for name, strength in self.strengths.items():
            down, up = self.loras[name]
            outputs = outputs + strength * functional.linear(functional.linear(inputs, down), up)
        return outputs


@contextmanager
def loras_switched_on(layers: Mapping[str, LoraLinear], strengths: Mapping[str, float]) -> Iterator[None]:
    """Inside the block, the layers add the named LoRAs at these strengths. Afterwards, they add none."""
    for layer in layers.values():
        layer.strengths = strengths
    try:
        yield
    finally:
        for layer in layers.values():
            layer.strengths = {}
