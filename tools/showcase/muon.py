"""The Muon optimiser (https://kellerjordan.github.io/posts/muon/): momentum that is orthogonalised before each step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""The published coefficients of the quintic iteration."""

_STEP_SCALE = 0.2
"""Scales an orthogonal step to the size of an AdamW step, so that both can share a learning rate."""


class Muon(torch.optim.Optimizer):
    """For matrices only. Works in float32: torch's own Muon uses bfloat16, which is slow on CPUs."""

    def __init__(
        self,
        matrices: Iterable[torch.nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.02,
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[torch.nn.Parameter]] = {}
            for matrix in group["params"]:
                by_shape.setdefault(matrix.shape, []).append(matrix)
            for shape, matrices in by_shape.items():  # matrices of equal shape are iterated together
                updates = torch.stack([self._smoothed_gradient(m, group["momentum"]) for m in matrices])
                length = group["lr"] * _STEP_SCALE * math.sqrt(max(shape))
                for matrix, update in zip(matrices, _orthogonalised(updates)):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-length)

    def _smoothed_gradient(self, matrix: torch.nn.Parameter, momentum: float) -> torch.Tensor:
        average = self.state[matrix].setdefault("average", torch.zeros_like(matrix))
        average.lerp_(matrix.grad, 1 - momentum)
        return matrix.grad.lerp(average, momentum)  # Nesterov's form


def _orthogonalised(matrices: torch.Tensor) -> torch.Tensor:
    """The nearest semi-orthogonal matrices to (count, rows, columns), from five Newton-Schulz iterations."""
    tall = matrices.shape[1] > matrices.shape[2]
    current = matrices.mT if tall else matrices
    current = current / (current.norm(dim=(1, 2), keepdim=True) + 1e-7)
    linear, cubic, quintic = _NEWTON_SCHULZ
    for _ in range(5):
        square = current @ current.mT
        current = linear * current + (cubic * square + quintic * square @ square) @ current
    return current.mT if tall else current
