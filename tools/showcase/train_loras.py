"""Trains the five style LoRAs on the frozen base model, all in one run.

Each batch uses one LoRA at strength 1 or less, and the target is drawn at the same strength. Some batches use two
LoRAs, and the target shows both. So the training includes partial weights and pairs.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from .base_model import MMDiT
from .batches import BatchSource
from .flow import add_noise
from .lora_layers import LORA_RANK, LoraFactors, LoraLinear, loras_switched_on
from .pacing import Clock, cosine_after_hold, running_mean, set_learning_rate
from .styles import STYLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from .work_folder import WorkFolder

StyleFactors = dict[str, dict[str, LoraFactors]]
"""Style to layer name (as MMDiT.lora_layers gives them) to factors."""

_SEED = 21
_WARM_UP_STEPS = 20
_HOLD, _HOLD_WHEN_RESUMED = 0.4, 0.1
"""The part of the time with the full learning rate. A resumed training needs less of it."""

_STEPS_PER_REPORT, _STEPS_PER_SAVE = 100, 400


def train_loras(
    work: WorkFolder, minutes: float, batch_size: int, learning_rate: float, resume: bool = False
) -> None:
    """Trains on sprites and base weights. Saves the factors, also at intervals during training, and a summary.

    resume: continue with the factors in the work folder, and add to its summary.
    """
    torch.manual_seed(_SEED)
    batches, model = BatchSource(work.sprites), MMDiT()
    model.load_state_dict(torch.load(work.base_weights, weights_only=True))
    model.requires_grad_(False)
    layers = model.lora_layers()
    _attach_trainable_factors(layers, torch.load(work.lora_factors, weights_only=True) if resume else None)
    optimizers = {style: _optimizer(layers, style, learning_rate) for style in STYLES}
    hold = _HOLD_WHEN_RESUMED if resume else _HOLD
    steps_of = dict.fromkeys(STYLES, 0)
    mean_losses: dict[str, float] = {}
    clock, choices = Clock(minutes), _strength_choices(batches.rng)
    for step, progress in enumerate(clock.progress(), start=1):
        strengths = next(choices)
        pictures, texts = batches.draw(batch_size, strengths)
        noisy, noise_level, velocity = add_noise(pictures, batches.generator)
        with loras_switched_on(layers, strengths):
            loss = functional.mse_loss(model(noisy, noise_level, texts), velocity)
        loss.backward()
        for style in strengths:
            steps_of[style] += 1
            warm_up = min(1, steps_of[style] / _WARM_UP_STEPS)
            factor = warm_up * cosine_after_hold(progress, hold, floor=0.03)
            _take_step(optimizers[style], learning_rate * factor)
        if len(strengths) == 1:
            (style,) = strengths
            mean_losses[style] = running_mean(mean_losses.get(style), loss.item(), memory=0.95)
        if step % _STEPS_PER_REPORT == 0:
            losses = {style: round(mean, 4) for style, mean in mean_losses.items()}
            print(f"lora step {step} {clock.elapsed:.0f}s", losses, flush=True)
        if step % _STEPS_PER_SAVE == 0:
            _save_factors(work, layers)
    _save_factors(work, layers)
    _save_summary(work, steps_of, batch_size, mean_losses, minutes, resume)


def attach_loras(layers: Mapping[str, LoraLinear], factors: StyleFactors) -> None:
    """Sets every style's factors on the layers, switched off."""
    for name, layer in layers.items():
        layer.loras = {style: factors[style][name] for style in STYLES}


def _attach_trainable_factors(layers: Mapping[str, LoraLinear], resumed: StyleFactors | None) -> None:
    """Sets trainable factors on every layer: the resumed ones, or new ones that change nothing yet."""
    for name, layer in layers.items():
        for style in STYLES:
            down, up = resumed[style][name] if resumed else _fresh_factors(layer)
            layer.loras[style] = (nn.Parameter(down), nn.Parameter(up))


def _fresh_factors(layer: LoraLinear) -> LoraFactors:
    down = torch.randn(LORA_RANK, layer.in_features) / math.sqrt(layer.in_features)
    return down, torch.zeros(layer.out_features, LORA_RANK)


def _optimizer(layers: Mapping[str, LoraLinear], style: str, learning_rate: float) -> torch.optim.Optimizer:
    factors = [factor for layer in layers.values() for factor in layer.loras[style]]
    return torch.optim.AdamW(factors, lr=learning_rate, betas=(0.9, 0.98), weight_decay=1e-3)


def _strength_choices(rng: np.random.Generator) -> Iterator[dict[str, float]]:
    """Yields strengths for batches, without end. The styles take turns, in a new order in each round.

    55 % of the batches show one style at full strength, 25 % one at partial strength, 20 % two at partial strengths.
    """
    while True:
        round_of_styles = list(rng.permutation(STYLES))
        while round_of_styles:
            style = str(round_of_styles.pop())
            kind = rng.random()
            if kind < 0.55:
                yield {style: 1.0}
            elif kind < 0.8:
                yield {style: round(float(rng.uniform(0.3, 1)), 2)}
            else:
                strength = round(float(rng.uniform(0.5, 0.8)), 2)
                others = [other for other in STYLES if other != style]
                other = others[rng.integers(len(others))]
                yield {style: strength, other: round(float(rng.uniform(0.5, 0.8)), 2)}


def _take_step(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    set_learning_rate(optimizer, learning_rate)
    for group in optimizer.param_groups:
        nn.utils.clip_grad_norm_(group["params"], 1.0)
    optimizer.step()
    optimizer.zero_grad()


def _save_factors(work: WorkFolder, layers: Mapping[str, LoraLinear]) -> None:
    factors: StyleFactors = {style: {} for style in STYLES}
    for name, layer in layers.items():
        for style, (down, up) in layer.loras.items():
            factors[style][name] = (down.detach().clone(), up.detach().clone())
    torch.save(factors, work.lora_factors)


def _save_summary(
    work: WorkFolder,
    steps_of: Mapping[str, int],
    batch_size: int,
    mean_losses: Mapping[str, float],
    minutes: float,
    resume: bool,
) -> None:
    earlier = {"steps": {}, "minutes": 0}
    if resume:
        earlier = json.loads(work.lora_summary.read_text(encoding="utf-8"))
    summary = {
        "steps": {style: steps + earlier["steps"].get(style, 0) for style, steps in steps_of.items()},
        "batch": batch_size,
        "loss": mean_losses,
        "minutes": minutes + earlier["minutes"],
    }
    work.lora_summary.write_text(json.dumps(summary), encoding="utf-8")
