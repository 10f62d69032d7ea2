"""Trains the base model on plain sprites, from random weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from .base_model import MMDiT
from .batches import BatchSource
from .flow import add_noise
from .muon import Muon
from .pacing import Clock, cosine_after_hold, running_mean, set_learning_rate

if TYPE_CHECKING:
    from .work_folder import WorkFolder

_SEED = 20
_WARM_UP_STEPS = 100
_STEPS_PER_REPORT, _STEPS_PER_SAVE = 50, 200


def train_base(work: WorkFolder, minutes: float, batch_size: int, learning_rate: float) -> None:
    """Trains on the sprites. Saves the averaged weights, also at intervals during training, and a summary."""
    torch.manual_seed(_SEED)
    batches, model = BatchSource(work.sprites), MMDiT()
    average = {name: weight.clone() for name, weight in model.state_dict().items()}
    optimizers = _optimizers(model, learning_rate)
    clock, step, mean_loss = Clock(minutes), 0, None
    for progress in clock.progress():
        warm_up = min(1, (step + 1) / _WARM_UP_STEPS)
        for optimizer in optimizers:
            factor = warm_up * cosine_after_hold(progress, hold=0.5, floor=0.02)
            set_learning_rate(optimizer, learning_rate * factor)
        pictures, texts = batches.draw(batch_size, {})
        noisy, noise_level, velocity = add_noise(pictures, batches.generator)
        loss = functional.mse_loss(model(noisy, noise_level, texts), velocity)
        model.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        step += 1
        _move_average(average, model, step)
        mean_loss = running_mean(mean_loss, loss.item(), memory=0.98)
        if step % _STEPS_PER_REPORT == 0:
            print(f"base step {step} loss {mean_loss:.4f} {clock.elapsed:.0f}s", flush=True)
        if step % _STEPS_PER_SAVE == 0:
            torch.save(average, work.base_weights)
    torch.save(average, work.base_weights)
    summary = {"steps": step, "batch": batch_size, "loss": mean_loss, "minutes": minutes}
    work.base_summary.write_text(json.dumps(summary), encoding="utf-8")


def _optimizers(model: MMDiT, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the picture's attention and MLP, AdamW for everything else."""
    matrices = [
        weight
        for name, weight in model.named_parameters()
        if weight.ndim == 2 and "x_block" in name and "adaLN" not in name
    ]
    matrix_ids = {id(weight) for weight in matrices}
    others = [weight for weight in model.parameters() if id(weight) not in matrix_ids]
    return [
        Muon(matrices, learning_rate),
        torch.optim.AdamW(others, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01),
    ]


@torch.no_grad()
def _move_average(average: dict[str, torch.Tensor], model: MMDiT, step: int) -> None:
    """Updates an exponential moving average. Its memory grows with the steps, so that the random start is forgotten."""
    memory = min(0.998, (step + 1) / (step + 10))
    for name, weight in model.state_dict().items():
        average[name].lerp_(weight, 1 - memory)
