"""A text encoder in CLIP-L's shape (ViT-L/14, text half) with weights written by hand: a bag of random word vectors.

Every token has a fixed random vector, and the last layer averages the vectors of a prompt. Only the token numbers are
those of CLIP. Names and shapes of the weights are those of transformers' CLIPTextModel.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from .dimensions import TEXT_WIDTH

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOKEN_COUNT = 49408
_START_TOKEN = 49406
"""The last two tokens are the start and the end of a prompt. Their vectors are zero, so they have no influence."""

_POSITIONS = 77
_LAYERS = 12
_MLP_WIDTH = 4 * TEXT_WIDTH
_TOKEN_SEED = 7


def pooled_vector(token_ids: Sequence[int]) -> torch.Tensor:
    """The pooled vector that the encoder returns for these word tokens, (TEXT_WIDTH,) float32.

    The order of the tokens makes no difference.
    """
    if not token_ids:
        return torch.zeros(TEXT_WIDTH)
    numbers = _token_numbers()
    vectors = torch.stack([_normalised(numbers[token : token + TEXT_WIDTH].float()) for token in token_ids])
    return _normalised(vectors.sum(0) / (len(token_ids) + 2))  # 2: start and end count in the average


def encoder_state(prefix: str) -> dict[str, torch.Tensor]:
    """Returns the encoder's weights in float16, with names that begin with `prefix`.

    All are strided views of very small buffers: 123 million numbers need about 0.3 MB in a torch file.
    """
    layer_norm_gain = torch.ones(1, dtype=torch.float16).expand(TEXT_WIDTH)
    # Token i's vector is the window [i, i + TEXT_WIDTH) of one row of numbers.
    token_vectors = _token_numbers().as_strided((_TOKEN_COUNT, TEXT_WIDTH), (1, 1))
    state = {
        "embeddings.token_embedding.weight": token_vectors,
        "embeddings.position_embedding.weight": _zeros(_POSITIONS, TEXT_WIDTH),
        "final_layer_norm.weight": layer_norm_gain,
        "final_layer_norm.bias": _zeros(TEXT_WIDTH),
    }
    for index in range(_LAYERS):
        layer = f"encoder.layers.{index}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            state[f"{layer}self_attn.{name}.weight"] = _zeros(TEXT_WIDTH, TEXT_WIDTH)
            state[f"{layer}self_attn.{name}.bias"] = _zeros(TEXT_WIDTH)
        for name in ("layer_norm1", "layer_norm2"):
            state[f"{layer}{name}.weight"] = layer_norm_gain
            state[f"{layer}{name}.bias"] = _zeros(TEXT_WIDTH)
        state[f"{layer}mlp.fc1.weight"] = _zeros(_MLP_WIDTH, TEXT_WIDTH)
        state[f"{layer}mlp.fc1.bias"] = _zeros(_MLP_WIDTH)
        state[f"{layer}mlp.fc2.weight"] = _zeros(TEXT_WIDTH, _MLP_WIDTH)
        state[f"{layer}mlp.fc2.bias"] = _zeros(TEXT_WIDTH)
    # With zero queries and keys, the attention is uniform: the last layer averages all tokens so far.
    for name in ("v_proj", "out_proj"):
        state[f"encoder.layers.{_LAYERS - 1}.self_attn.{name}.weight"] = _reversal()
    return {f"{prefix}text_model.{name}": tensor for name, tensor in state.items()}


@functools.cache
def _token_numbers() -> torch.Tensor:
    """The row of numbers that all token vectors are windows of, (_TOKEN_COUNT + TEXT_WIDTH,) float16."""
    generator = torch.Generator().manual_seed(_TOKEN_SEED)
    numbers = torch.randn(_TOKEN_COUNT + TEXT_WIDTH, generator=generator)
    numbers[_START_TOKEN:] = 0
    return numbers.half()


def _reversal() -> torch.Tensor:
    """A matrix that reverses a vector. Applied twice, it changes nothing.

    The identity would also work, but only the reversal is a strided view of 1,535 numbers.
    """
    numbers = torch.zeros(2 * TEXT_WIDTH - 1, dtype=torch.float16)
    numbers[TEXT_WIDTH - 1] = 1
    return numbers.as_strided((TEXT_WIDTH, TEXT_WIDTH), (1, 1))


def _zeros(*shape: int) -> torch.Tensor:
    return torch.zeros(1, dtype=torch.float16).expand(*shape)


def _normalised(vector: torch.Tensor) -> torch.Tensor:
    return functional.layer_norm(vector, (TEXT_WIDTH,))
