"""Diffusion transformers with one attention head (or two) and one or two blocks.

Each function returns the names and shapes of one architecture as in its original checkpoint, but with small values for
the sizes that ComfyUI reads from the file. The text width is that of CLIP-L (768) if the file can choose it, so that
ComfyUI's own nodes can make a prompt for it. ComfyUI's SD3 text encoder pads CLIP-L to 4096, which Wan and SD3 use,
and its pooled vector has SD3's 2048.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .weights import Gains, Shapes

GAINS: Gains = (
    (r"\.scale_shift_table|s\.\d+\.modulation$", 0.7),  # contains the gates of each block
    (r"modulation$|scale_shift_table", 0.1),  # of the last layer
    (r"(adaLN_modulation|_mod|modulation)\.(1|lin)\.", 1.0),
    (r"pos_embed", 0.3),
)


def wan_shapes(width: int = 128, feed_forward: int = 256, blocks: int = 2, channels: int = 16) -> Shapes:
    """Wan 2.1 text to video. ComfyUI uses width // 128 as the number of heads."""
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
        shapes |= _linear(f"{block}.ffn.0", feed_forward, width)
        shapes |= _linear(f"{block}.ffn.2", width, feed_forward)
    return shapes


def sd3_shapes(depth: int = 2, channels: int = 16, grid: int = 16) -> Shapes:
    """SD3 (MMDiT). ComfyUI uses 64 channels for each layer of depth. `grid`: largest picture side / 16 pixels."""
    width = 64 * depth
    shapes: Shapes = {
        "pos_embed": (1, grid * grid, width),
        "x_embedder.proj.weight": (width, channels, 2, 2),
        "x_embedder.proj.bias": (width,),
        **_linear("context_embedder", width, 4096),
        **_linear("t_embedder.mlp.0", width, 256),
        **_linear("t_embedder.mlp.2", width, width),
        **_linear("y_embedder.mlp.0", width, 2048),
        **_linear("y_embedder.mlp.2", width, width),
        **_linear("final_layer.linear", channels * 4, width),
        **_linear("final_layer.adaLN_modulation.1", 2 * width, width),
    }
    for index in range(depth):
        for half in ("x_block", "context_block"):
            block = f"joint_blocks.{index}.{half}"
            # The text isn't used after the last block, so it only has the half that produces keys and values.
            ends_here = half == "context_block" and index == depth - 1
            shapes |= _linear(f"{block}.attn.qkv", 3 * width, width)
            shapes |= _linear(f"{block}.adaLN_modulation.1", (2 if ends_here else 6) * width, width)
            if not ends_here:
                shapes |= _linear(f"{block}.attn.proj", width, width)
                shapes |= _linear(f"{block}.mlp.fc1", 4 * width, width)
                shapes |= _linear(f"{block}.mlp.fc2", width, 4 * width)
    return shapes


def flux_shapes(width: int = 3072, double_blocks: int = 1, single_blocks: int = 1) -> Shapes:
    """FLUX.1 dev. ComfyUI 0.3.75 uses 24 heads of 128 for every file, so a narrower model doesn't run there."""
    return {
        **_linear("img_in", width, 64),
        **_linear("txt_in", width, 768),
        **_time_embedder("time_in", width, 256),
        **_time_embedder("vector_in", width, 768),
        **_time_embedder("guidance_in", width, 256),
        **_flux_blocks(width, double_blocks, single_blocks),
        **_linear("final_layer.linear", 64, width),
        **_linear("final_layer.adaLN_modulation.1", 2 * width, width),
    }


def hunyuan_video_shapes(width: int = 128, double_blocks: int = 1, single_blocks: int = 1) -> Shapes:
    """HunyuanVideo, with ComfyUI's own names. The number of heads is width // 128."""
    shapes: Shapes = {
        "img_in.proj.weight": (width, 16, 1, 2, 2),
        "img_in.proj.bias": (width,),
        **_time_embedder("time_in", width, 256),
        **_time_embedder("vector_in", width, 768),
        **_time_embedder("guidance_in", width, 256),
        **_linear("txt_in.input_embedder", width, 768),
        **_time_embedder("txt_in.t_embedder", width, 256),
        **_time_embedder("txt_in.c_embedder", width, 768),
        **_flux_blocks(width, double_blocks, single_blocks),
        **_linear("final_layer.linear", 64, width),
        **_linear("final_layer.adaLN_modulation.1", 2 * width, width),
    }
    for index in range(2):
        block = f"txt_in.individual_token_refiner.blocks.{index}"
        shapes |= _linear(f"{block}.adaLN_modulation.1", 2 * width, width)
        shapes |= _linear(f"{block}.self_attn.qkv", 3 * width, width)
        shapes |= _linear(f"{block}.self_attn.proj", width, width)
        shapes |= _linear(f"{block}.mlp.0", 4 * width, width)
        shapes |= _linear(f"{block}.mlp.2", width, 4 * width)
        for norm in ("norm1", "norm2"):
            shapes[f"{block}.{norm}.weight"] = (width,)
            shapes[f"{block}.{norm}.bias"] = (width,)
    return shapes


def _flux_blocks(width: int, double_blocks: int, single_blocks: int) -> Shapes:
    """The two kinds of blocks that FLUX.1 and HunyuanVideo share."""
    shapes: Shapes = {}
    for index in range(double_blocks):
        for half in ("img", "txt"):
            block = f"double_blocks.{index}.{half}"
            shapes |= _linear(f"{block}_mod.lin", 6 * width, width)
            shapes |= _linear(f"{block}_attn.qkv", 3 * width, width)
            shapes |= _linear(f"{block}_attn.proj", width, width)
            shapes |= _linear(f"{block}_mlp.0", 4 * width, width)
            shapes |= _linear(f"{block}_mlp.2", width, 4 * width)
            shapes[f"{block}_attn.norm.query_norm.scale"] = (128,)
            shapes[f"{block}_attn.norm.key_norm.scale"] = (128,)
    for index in range(single_blocks):
        block = f"single_blocks.{index}"
        shapes |= _linear(f"{block}.modulation.lin", 3 * width, width)
        shapes |= _linear(f"{block}.linear1", 7 * width, width)
        shapes |= _linear(f"{block}.linear2", width, 5 * width)
        shapes[f"{block}.norm.query_norm.scale"] = (128,)
        shapes[f"{block}.norm.key_norm.scale"] = (128,)
    return shapes


LTXV_HEADS = 2
LTXV_METADATA = {
    "config": json.dumps(
        {
            "transformer": {
                "num_attention_heads": LTXV_HEADS,
                "attention_head_dim": 64,
                "caption_channels": 768,
            }
        }
    )
}
"""ComfyUI uses 32 heads and captions of width 4096, unless the file's metadata says otherwise."""


def ltxv_shapes(blocks: int = 2) -> Shapes:
    """LTX-Video. Sampling needs a prompt with an attention mask, which CLIP-L doesn't provide."""
    width = LTXV_HEADS * 64
    shapes: Shapes = {
        "scale_shift_table": (2, width),
        **_linear("patchify_proj", width, 128),
        **_linear("adaln_single.emb.timestep_embedder.linear_1", width, 256),
        **_linear("adaln_single.emb.timestep_embedder.linear_2", width, width),
        **_linear("adaln_single.linear", 6 * width, width),
        **_linear("caption_projection.linear_1", width, 768),
        **_linear("caption_projection.linear_2", width, width),
        **_linear("proj_out", 128, width),
    }
    for index in range(blocks):
        block = f"transformer_blocks.{index}"
        shapes[f"{block}.scale_shift_table"] = (6, width)
        for attention in ("attn1", "attn2"):
            for part in ("to_q", "to_k", "to_v", "to_out.0"):
                shapes |= _linear(f"{block}.{attention}.{part}", width, width)
            shapes[f"{block}.{attention}.q_norm.weight"] = (width,)
            shapes[f"{block}.{attention}.k_norm.weight"] = (width,)
        shapes |= _linear(f"{block}.ff.net.0.proj", 4 * width, width)
        shapes |= _linear(f"{block}.ff.net.2", width, 4 * width)
    return shapes


def _time_embedder(name: str, width: int, inputs: int) -> Shapes:
    return _linear(f"{name}.in_layer", width, inputs) | _linear(f"{name}.out_layer", width, width)


def _linear(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
