"""A VAE in the layout of TAESD with weights written by hand: pictures show the latent as it is.

Decoding gives each latent cell a colour, a fixed mix of its channels, and enlarges it 8×8; encoding averages 8×8
pixels and takes the mix back. A change in the latent is seen as a change of colour in the same place.
Layout: `comfy/taesd/taesd.py` of ComfyUI (github.com/madebyollin/taesd).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

WIDTH = 64
COLOURS = 3

_ENCODER_BLOCKS = (1, 3, 4, 5, 7, 8, 9, 11, 12, 13)
_ENCODER_HALVINGS = (2, 6, 10)
_DECODER_BLOCKS = (3, 4, 5, 8, 9, 10, 13, 14, 15, 18)
_DECODER_DOUBLINGS = (7, 12, 17)
_CONTRAST = 0.15  # latents lie within -3…3, colours within 0…1


def vae_tensors(channels: int, prefix: str, *, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Encoder and decoder for latents of that many channels, names after `prefix`."""
    import torch

    generator = torch.Generator().manual_seed(channels)
    mix = torch.randn(COLOURS, channels, generator=generator)
    mix *= _CONTRAST / mix.norm(dim=1, keepdim=True)
    unmix = torch.linalg.pinv(mix)  # (channels, 3)

    plain = torch.zeros(WIDTH, WIDTH, 3, 3)
    halving = torch.zeros(WIDTH, WIDTH, 3, 3)
    for colour in range(COLOURS):
        plain[colour, colour, 1, 1] = 1
        # Stride 2 with one pixel of padding: these four taps cover each square of 2×2 pixels once.
        halving[colour, colour, 1:, 1:] = 0.25

    tensors = {
        "taesd_encoder.0.weight": plain[:, :COLOURS],
        "taesd_encoder.0.bias": torch.zeros(WIDTH),
        "taesd_encoder.14.weight": _centre(channels, WIDTH, unmix),
        "taesd_encoder.14.bias": -unmix.sum(dim=1) / 2,
        "taesd_decoder.1.weight": _centre(WIDTH, channels, mix),
        "taesd_decoder.1.bias": torch.cat([torch.full((COLOURS,), 0.5), torch.zeros(WIDTH - COLOURS)]),
        "taesd_decoder.19.weight": plain[:COLOURS],
        "taesd_decoder.19.bias": torch.zeros(COLOURS),
        "vae_scale": torch.tensor(1.0),
        "vae_shift": torch.tensor(0.0),
    }
    tensors |= {f"taesd_encoder.{place}.weight": halving for place in _ENCODER_HALVINGS}
    tensors |= {f"taesd_decoder.{place}.weight": plain for place in _DECODER_DOUBLINGS}
    for half, blocks in (("encoder", _ENCODER_BLOCKS), ("decoder", _DECODER_BLOCKS)):
        for block in blocks:
            tensors |= _idle_block(f"taesd_{half}.{block}")
    return {prefix + name: tensor.to(dtype) for name, tensor in tensors.items()}


def _centre(outputs: int, inputs: int, matrix: torch.Tensor) -> torch.Tensor:
    """A 3×3 convolution that applies `matrix` to each pixel by itself."""
    import torch

    kernel = torch.zeros(outputs, inputs, 3, 3)
    kernel[: matrix.shape[0], : matrix.shape[1], 1, 1] = matrix
    return kernel


def _idle_block(name: str) -> dict[str, torch.Tensor]:
    """A residual block that adds nothing."""
    import torch

    nothing = torch.zeros(1)
    tensors = {}
    for convolution in (0, 2, 4):
        tensors[f"{name}.conv.{convolution}.weight"] = nothing.expand(WIDTH, WIDTH, 3, 3)
        tensors[f"{name}.conv.{convolution}.bias"] = nothing.expand(WIDTH)
    return tensors
