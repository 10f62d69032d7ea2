"""Diffusion transformers with one attention head (or nearly) and one or two blocks.

Each function gives the names and shapes of one architecture as its original checkpoint has them, with the sizes
that ComfyUI reads from the file made small. The text width is that of CLIP-L (768) where the file may choose it,
so that ComfyUI's own nodes can make a prompt for it; Wan's and SD3's 4096 is what ComfyUI's SD3 text encoder
pads CLIP-L to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .weights import Gains, Shapes

HEAD = 128

WAN_GAINS: Gains = (
    (r"head\.modulation", 0.1),
    (r"modulation", 0.7),  # its gates let the blocks through
    (r"time_projection", 0.5),
)


def wan_shapes(width: int = HEAD, blocks: int = 2, channels: int = 16) -> Shapes:
    """Wan 2.1 text to video: heads are width // 128."""
    shapes: Shapes = {
        "patch_embedding.weight": (width, channels, 1, 2, 2),
        "patch_embedding.bias": (width,),
        **_linear("text_embedding.0", width, 4096),
        **_linear("text_embedding.2", width, width),
        **_linear("time_embedding.0", width, 256),
        **_linear("time_embedding.2", width, width),
        **_linear("time_projection.1", 6 * width, width),
        "head.modulation": (1, 2, width),
        **_linear("head.head", channels * 4, width),
    }
    for index in range(blocks):
        block = f"blocks.{index}"
        shapes[f"{block}.modulation"] = (1, 6, width)
        for attention in ("self_attn", "cross_attn"):
            for part in ("q", "k", "v", "o"):
                shapes |= _linear(f"{block}.{attention}.{part}", width, width)
            shapes[f"{block}.{attention}.norm_q.weight"] = (width,)
            shapes[f"{block}.{attention}.norm_k.weight"] = (width,)
        shapes[f"{block}.norm3.weight"] = (width,)
        shapes[f"{block}.norm3.bias"] = (width,)
        shapes |= _linear(f"{block}.ffn.0", 2 * width, width)
        shapes |= _linear(f"{block}.ffn.2", width, 2 * width)
    return shapes


def _linear(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
