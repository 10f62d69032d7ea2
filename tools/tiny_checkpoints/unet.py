"""The UNet of SD 1.x and SDXL, with every level as narrow as ComfyUI's detection allows.

The detection fixes these sizes: 320 channels at the first level (here: at all levels), the text width, the pooled
width, linear or convolutional projections, and the transformer depths on the way down. Everything else is free.
Names are those of the original (LDM) checkpoints, which ComfyUI also uses internally.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .weights import Gains, Shapes, fill

if TYPE_CHECKING:
    import torch

WIDTH = 320
EMBEDDING = 4 * WIDTH
PREFIX = "model.diffusion_model."

GAINS: Gains = (
    (r"attn2\.to_out", 2.0),  # so that the prompt has a visible effect
    (r"out_layers\.3|proj_out|to_out|ff\.net\.2", 0.7),
    (r"\bout\.2\.", 0.15),
)

# The first normalisation group carries the latent itself to the last convolution; see `_carry_latent`.
_CARRIER = WIDTH // 32
_LATENT = 4


@dataclass(frozen=True)
class UNetLayout:
    """The number of blocks, and the transformer layers in each. `down` and `up` have one number for each block."""

    text_width: int
    pooled_width: int | None
    linear_projection: bool
    levels: int
    blocks_per_level: int
    down: tuple[int, ...]
    middle: int
    up: tuple[int, ...]


SD15 = UNetLayout(768, None, False, levels=1, blocks_per_level=1, down=(1,), middle=1, up=(1, 0))

# Depths of Segmind Vega, the smallest SDXL model with SDXL's own block names.
SDXL_VEGA = UNetLayout(
    2048, 2816, True, 3, 2, down=(0, 0, 1, 1, 2, 2), middle=1, up=(0, 0, 1, 0, 0, 1, 0, 0, 0)
)
SDXL_FULL = UNetLayout(
    2048, 2816, True, 3, 2, down=(0, 0, 2, 2, 10, 10), middle=1, up=(0, 0, 1, 0, 0, 1, 0, 0, 0)
)


def unet_shapes(layout: UNetLayout) -> Shapes:
    """The shapes of all tensors, without a checkpoint's prefix."""
    shapes: Shapes = {}
    _linear(shapes, "time_embed.0", EMBEDDING, WIDTH)
    _linear(shapes, "time_embed.2", EMBEDDING, EMBEDDING)
    if layout.pooled_width is not None:
        _linear(shapes, "label_emb.0.0", EMBEDDING, layout.pooled_width)
        _linear(shapes, "label_emb.0.2", EMBEDDING, EMBEDDING)
    _convolution(shapes, "input_blocks.0.0", WIDTH, _LATENT)
    depths = iter(layout.down)
    place = 1
    for level in range(layout.levels):
        for _ in range(layout.blocks_per_level):
            _residual(shapes, f"input_blocks.{place}.0", WIDTH)
            _transformer(shapes, f"input_blocks.{place}.1", layout, next(depths))
            place += 1
        if level < layout.levels - 1:
            _convolution(shapes, f"input_blocks.{place}.0.op", WIDTH, WIDTH)
            place += 1
    _residual(shapes, "middle_block.0", WIDTH)
    _transformer(shapes, "middle_block.1", layout, layout.middle)
    _residual(shapes, "middle_block.2", WIDTH)
    for place, depth in enumerate(layout.up):
        _residual(shapes, f"output_blocks.{place}.0", 2 * WIDTH)
        _transformer(shapes, f"output_blocks.{place}.1", layout, depth)
        ends_level = (place + 1) % (layout.blocks_per_level + 1) == 0
        if ends_level and place < len(layout.up) - 1:
            _convolution(shapes, f"output_blocks.{place}.{2 if depth else 1}.conv", WIDTH, WIDTH)
    _norm(shapes, "out.0", WIDTH)
    _convolution(shapes, "out.2", _LATENT, WIDTH)
    return shapes


def unet_tensors(layout: UNetLayout, *, seed: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The UNet's part of a checkpoint."""
    shapes = {PREFIX + name: shape for name, shape in unet_shapes(layout).items()}
    tensors = fill(shapes, seed=seed, dtype=dtype, gains=GAINS)
    _carry_latent(tensors, last=len(layout.up) - 1)
    return tensors


def _carry_latent(tensors: dict[str, torch.Tensor], last: int) -> None:
    """Makes the predicted noise equal to the noisy latent plus a small part of what the network computes.

    A network of random numbers doesn't predict noise, so the picture would stay the noise that it started as, far
    outside what a VAE can show. So the first group of channels holds the latent and its negative
    (SiLU(a) - SiLU(-a) = a) and bypasses the network through the last skip connection. The last convolution adds it.
    """

    def own(name: str) -> torch.Tensor:
        """Replaces the view with a full copy, so that single numbers can be set."""
        tensors[PREFIX + name] = tensors[PREFIX + name].contiguous()
        return tensors[PREFIX + name]

    entry = own("input_blocks.0.0.weight")  # (320, 4, 3, 3)
    skip = own(f"output_blocks.{last}.0.skip_connection.weight")  # (320, 640, 1, 1)
    end = own("out.2.weight")  # (4, 320, 3, 3)
    entry[:_CARRIER] = 0
    skip[:_CARRIER] = 0
    own(f"output_blocks.{last}.0.out_layers.3.weight")[:_CARRIER] = 0
    end[:, :_CARRIER] = 0
    for channel in range(_CARRIER):
        skip[channel, WIDTH + channel] = 1
    # Eight of the ten channels have variance 1: normalising divides by sqrt(0.8).
    gain = (2 * _LATENT / _CARRIER) ** 0.5
    for channel in range(_LATENT):
        entry[channel, channel, 1, 1] = 1
        entry[_LATENT + channel, channel, 1, 1] = -1
        end[channel, channel, 1, 1] = gain
        end[channel, _LATENT + channel, 1, 1] = -gain


def _linear(shapes: Shapes, name: str, outputs: int, inputs: int, *, bias: bool = True) -> None:
    shapes[f"{name}.weight"] = (outputs, inputs)
    if bias:
        shapes[f"{name}.bias"] = (outputs,)


def _convolution(shapes: Shapes, name: str, outputs: int, inputs: int, kernel: int = 3) -> None:
    shapes[f"{name}.weight"] = (outputs, inputs, kernel, kernel)
    shapes[f"{name}.bias"] = (outputs,)


def _norm(shapes: Shapes, name: str, width: int) -> None:
    shapes[f"{name}.weight"] = (width,)
    shapes[f"{name}.bias"] = (width,)


def _residual(shapes: Shapes, name: str, inputs: int) -> None:
    _norm(shapes, f"{name}.in_layers.0", inputs)
    _convolution(shapes, f"{name}.in_layers.2", WIDTH, inputs)
    _linear(shapes, f"{name}.emb_layers.1", WIDTH, EMBEDDING)
    _norm(shapes, f"{name}.out_layers.0", WIDTH)
    _convolution(shapes, f"{name}.out_layers.3", WIDTH, WIDTH)
    if inputs != WIDTH:
        _convolution(shapes, f"{name}.skip_connection", WIDTH, inputs, kernel=1)


def _transformer(shapes: Shapes, name: str, layout: UNetLayout, depth: int) -> None:
    if not depth:
        return
    _norm(shapes, f"{name}.norm", WIDTH)
    for projection in ("proj_in", "proj_out"):
        if layout.linear_projection:
            _linear(shapes, f"{name}.{projection}", WIDTH, WIDTH)
        else:
            _convolution(shapes, f"{name}.{projection}", WIDTH, WIDTH, kernel=1)
    for index in range(depth):
        block = f"{name}.transformer_blocks.{index}"
        for attention, source in (("attn1", WIDTH), ("attn2", layout.text_width)):
            _linear(shapes, f"{block}.{attention}.to_q", WIDTH, WIDTH, bias=False)
            _linear(shapes, f"{block}.{attention}.to_k", WIDTH, source, bias=False)
            _linear(shapes, f"{block}.{attention}.to_v", WIDTH, source, bias=False)
            _linear(shapes, f"{block}.{attention}.to_out.0", WIDTH, WIDTH)
        _linear(shapes, f"{block}.ff.net.0.proj", 8 * WIDTH, WIDTH)
        _linear(shapes, f"{block}.ff.net.2", WIDTH, 4 * WIDTH)
        for number in (1, 2, 3):
            _norm(shapes, f"{block}.norm{number}", WIDTH)
