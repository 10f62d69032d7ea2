"""VAEs with hand-written weights, whose pictures show the latent directly.

Decoding gives each latent cell a colour, which is a fixed mix of its channels, and enlarges it 8×8. Encoding averages
8×8 pixels and inverts the mix. A change in the latent is a change of colour in the same place.
Layouts: TAESD and TAEHV (github.com/madebyollin), as `comfy/taesd/` of ComfyUI reads them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

COLOURS = 3
_WIDTH = 64
_CONTRAST = 0.15  # latents are within -3…3, colours within 0…1


def vae_tensors(channels: int, prefix: str, *, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """TAESD for pictures, with `channels` latent channels. The names begin with `prefix`."""
    import torch

    tensors = {
        **_ends(
            "taesd_encoder.0", "taesd_encoder.14", "taesd_decoder.1", "taesd_decoder.19", channels, _WIDTH
        ),
        **{f"taesd_encoder.{place}.weight": _halving() for place in (2, 6, 10)},
        **{f"taesd_decoder.{place}.weight": _carrying(_WIDTH, _WIDTH, 3) for place in (7, 12, 17)},
        **_idle_blocks("taesd_encoder", (1, 3, 4, 5, 7, 8, 9, 11, 12, 13), _WIDTH, _WIDTH),
        **_idle_blocks("taesd_decoder", (3, 4, 5, 8, 9, 10, 13, 14, 15, 18), _WIDTH, _WIDTH),
        "vae_scale": torch.tensor(1.0),
        "vae_shift": torch.tensor(0.0),
    }
    return {prefix + name: tensor.to(dtype) for name, tensor in tensors.items()}


def video_vae_tensors(channels: int) -> dict[str, torch.Tensor]:
    """TAEHV for video, with four frames for each latent one. In fp32, which tells ComfyUI not to rescale anything."""
    import torch

    tensors = {
        **_ends("encoder.0", "encoder.17", "decoder.1", "decoder.22", channels, wide=256),
        **{f"encoder.{place}.weight": _halving() for place in (3, 8, 13)},
        # Time is halved twice, by keeping every second frame.
        **{f"encoder.{place}.conv.weight": _carrying(64, 128, 1) for place in (2, 7)},
        "encoder.12.conv.weight": _carrying(64, 64, 1),
        **_idle_blocks("encoder", (4, 5, 6, 9, 10, 11, 14, 15, 16), 64, 128),
    }
    places = ((3, 256, 128, 1), (9, 128, 64, 2), (15, 64, 64, 2))
    for first, width, narrower, repeats in places:
        tensors |= _idle_blocks("decoder", range(first, first + 3), width, 2 * width)
        frame = _carrying(width, width, 1)
        tensors[f"decoder.{first + 4}.conv.weight"] = torch.cat([frame] * repeats)
        tensors[f"decoder.{first + 5}.weight"] = _carrying(narrower, width, 3)
    return tensors


def _ends(
    enter: str, encoded: str, decode: str, leave: str, channels: int, wide: int
) -> dict[str, torch.Tensor]:
    """The convolutions between pixels and features, and between features and latents."""
    import torch

    generator = torch.Generator().manual_seed(channels)
    mix = torch.randn(COLOURS, channels, generator=generator)
    mix *= _CONTRAST / mix.norm(dim=1, keepdim=True)
    unmix = torch.linalg.pinv(mix)  # (channels, 3)
    to_latent = torch.zeros(channels, _WIDTH, 3, 3)
    to_latent[:, :COLOURS, 1, 1] = unmix
    to_colours = torch.zeros(wide, channels, 3, 3)
    to_colours[:COLOURS, :, 1, 1] = mix
    grey = torch.zeros(wide)
    grey[:COLOURS] = 0.5
    return {
        f"{enter}.weight": _carrying(_WIDTH, COLOURS, 3),
        f"{enter}.bias": torch.zeros(_WIDTH),
        f"{encoded}.weight": to_latent,
        f"{encoded}.bias": -unmix.sum(dim=1) / 2,
        f"{decode}.weight": to_colours,
        f"{decode}.bias": grey,
        f"{leave}.weight": _carrying(COLOURS, _WIDTH, 3),
        f"{leave}.bias": torch.zeros(COLOURS),
    }


def _carrying(outputs: int, inputs: int, kernel: int) -> torch.Tensor:
    """A convolution that copies the first three channels."""
    import torch

    weight = torch.zeros(outputs, inputs, kernel, kernel)
    for colour in range(COLOURS):
        weight[colour, colour, kernel // 2, kernel // 2] = 1
    return weight


def _halving() -> torch.Tensor:
    """A convolution with stride 2 that returns the mean of each square of 2×2 pixels."""
    weight = _carrying(_WIDTH, _WIDTH, 3)
    for colour in range(COLOURS):
        weight[colour, colour, 1:, 1:] = 0.25  # with padding 1, these four taps cover each pixel once
    return weight


def _idle_blocks(name: str, places: Sequence[int], width: int, inputs: int) -> dict[str, torch.Tensor]:
    """Residual blocks that add nothing."""
    import torch

    nothing = torch.zeros(1)
    tensors = {}
    for place in places:
        for convolution, seen in ((0, inputs), (2, width), (4, width)):
            tensors[f"{name}.{place}.conv.{convolution}.weight"] = nothing.expand(width, seen, 3, 3)
            tensors[f"{name}.{place}.conv.{convolution}.bias"] = nothing.expand(width)
    return tensors
