"""A VAE in TAESD's shape with hand-written weights: convolutions that only copy, scale, or average.

Decoding enlarges the first three latent channels, which are simply the colours, eight times by repeating cells.
Encoding takes the mean of each 8×8 block. Names and shapes are those of ComfyUI's comfy/taesd/taesd.py.
"""

from __future__ import annotations

import torch

from .dimensions import LATENT_CHANNELS, LIVE_CHANNELS

_WIDTH = 64
"""Channels inside TAESD. The first three carry the colours."""

_SD3_SCALE, _SD3_SHIFT = 1.5305, 0.0609
"""SD3's latent format: the model's latent is (raw - shift) × scale."""

_RAW_PER_COLOUR = 2 / _SD3_SCALE
"""Colours from 0 to 1 are model latents from -1 to 1. This is the corresponding slope in the raw latent."""

_HALVINGS = 3
_BLOCKS_PER_SIZE = 3


def vae_state() -> dict[str, torch.Tensor]:
    """Returns the VAE's weights in float16, with the names in a full checkpoint."""
    state = {
        **{f"taesd_encoder.{name}": tensor for name, tensor in _encoder().items()},
        **{f"taesd_decoder.{name}": tensor for name, tensor in _decoder().items()},
        "vae_scale": torch.tensor(1.0),
        "vae_shift": torch.tensor(0.0),
    }
    return {f"first_stage_model.{name}": tensor.half() for name, tensor in state.items()}


def _encoder() -> dict[str, torch.Tensor]:
    """Colours of 0 to 1 -> raw latent. Layers: conv, block, three times (halving conv, blocks), conv."""
    state = {"0.weight": _copying(_WIDTH, 3), "0.bias": torch.zeros(_WIDTH), **_idle_block(1)}
    layer = 2
    for _ in range(_HALVINGS):
        state[f"{layer}.weight"] = _averaging()
        layer += 1
        for _ in range(_BLOCKS_PER_SIZE):
            state |= _idle_block(layer)
            layer += 1
    state[f"{layer}.weight"] = _copying(LATENT_CHANNELS, _WIDTH, _RAW_PER_COLOUR)
    bias = torch.full((LATENT_CHANNELS,), _SD3_SHIFT)
    bias[:LIVE_CHANNELS] = _SD3_SHIFT - _RAW_PER_COLOUR / 2
    state[f"{layer}.bias"] = bias
    return state


def _decoder() -> dict[str, torch.Tensor]:
    """Raw latent -> colours. Layers: clamp, conv, relu, three times (blocks, enlarge, conv), block, conv."""
    bias = torch.zeros(_WIDTH)
    bias[:LIVE_CHANNELS] = 0.5 - _SD3_SHIFT / _RAW_PER_COLOUR
    state = {"1.weight": _copying(_WIDTH, LATENT_CHANNELS, 1 / _RAW_PER_COLOUR), "1.bias": bias}
    layer = 3
    for _ in range(_HALVINGS):
        for _ in range(_BLOCKS_PER_SIZE):
            state |= _idle_block(layer)
            layer += 1
        layer += 1  # enlarging has no weights
        state[f"{layer}.weight"] = _copying(_WIDTH, _WIDTH)
        layer += 1
    state |= _idle_block(layer)
    layer += 1
    return {**state, f"{layer}.weight": _copying(3, _WIDTH), f"{layer}.bias": torch.zeros(3)}


def _copying(out_channels: int, in_channels: int, gain: float = 1.0) -> torch.Tensor:
    """A 3×3 convolution (out, in, 3, 3) that copies the first three channels, times `gain`, and drops the others."""
    weight = torch.zeros(out_channels, in_channels, 3, 3)
    for channel in range(LIVE_CHANNELS):
        weight[channel, channel, 1, 1] = gain
    return weight


def _averaging() -> torch.Tensor:
    """With stride 2: the mean of each 2×2 block of the first three channels, (width, width, 3, 3)."""
    weight = torch.zeros(_WIDTH, _WIDTH, 3, 3)
    for channel in range(LIVE_CHANNELS):
        weight[channel, channel, 1:, 1:] = 0.25
    return weight


def _idle_block(layer: int) -> dict[str, torch.Tensor]:
    """A residual block that adds nothing."""
    state = {}
    for convolution in (0, 2, 4):
        state[f"{layer}.conv.{convolution}.weight"] = torch.zeros(_WIDTH, _WIDTH, 3, 3)
        state[f"{layer}.conv.{convolution}.bias"] = torch.zeros(_WIDTH)
    return state
