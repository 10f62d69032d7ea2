"""CLIP-L and CLIP-G at full size, because ComfyUI doesn't read a text encoder's sizes from its file.

In memory, CLIP-L takes 0.25 GB and CLIP-G 1.4 GB (fp16). On disk, with the views from `weights`, they take a few
megabytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .weights import Gains, Shapes, fill

if TYPE_CHECKING:
    import torch

WORDS = 49408
POSITIONS = 77

GAINS: Gains = (
    (r"token_embedding", 1.0),
    (r"position", 0.3),
    (r"text_projection$", 1280**-0.5),  # a matrix, although its name doesn't end in .weight
    (r"fc2|c_proj|out_proj", 0.4),  # so that words still have an effect after all the layers
)


def clip_l_shapes() -> Shapes:
    """CLIP ViT-L/14's text half, with Hugging Face's names: `text_model.…` (SD 1.x, SDXL, and SD3 use it)."""
    width, layers = 768, 12
    shapes: Shapes = {
        "text_model.embeddings.token_embedding.weight": (WORDS, width),
        "text_model.embeddings.position_embedding.weight": (POSITIONS, width),
        **_norm("text_model.final_layer_norm", width),
    }
    for layer in range(layers):
        name = f"text_model.encoder.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= _linear(f"{name}.self_attn.{part}", width, width)
        shapes |= _linear(f"{name}.mlp.fc1", 4 * width, width)
        shapes |= _linear(f"{name}.mlp.fc2", width, 4 * width)
        shapes |= _norm(f"{name}.layer_norm1", width) | _norm(f"{name}.layer_norm2", width)
    return shapes


def clip_g_shapes() -> Shapes:
    """OpenCLIP ViT-bigG/14's text half, with open_clip's names, as in SDXL checkpoints."""
    width, layers = 1280, 32
    shapes: Shapes = {
        "token_embedding.weight": (WORDS, width),
        "positional_embedding": (POSITIONS, width),
        "text_projection": (width, width),
        **_norm("ln_final", width),
    }
    for layer in range(layers):
        name = f"transformer.resblocks.{layer}"
        shapes[f"{name}.attn.in_proj_weight"] = (3 * width, width)
        shapes[f"{name}.attn.in_proj_bias"] = (3 * width,)
        shapes |= _linear(f"{name}.attn.out_proj", width, width)
        shapes |= _linear(f"{name}.mlp.c_fc", 4 * width, width)
        shapes |= _linear(f"{name}.mlp.c_proj", width, 4 * width)
        shapes |= _norm(f"{name}.ln_1", width) | _norm(f"{name}.ln_2", width)
    return shapes


def text_encoder_tensors(
    shapes: Shapes, prefix: str, *, seed: int, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """Returns one text encoder, with names that begin with `prefix`."""
    tensors = fill(shapes, seed=seed, dtype=dtype, gains=GAINS)
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _linear(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
