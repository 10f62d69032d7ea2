"""The diffusion model: SD3's MMDiT as ComfyUI builds it (comfy/ldm/modules/diffusionmodules/mmdit.py), very small.

The class here contains only the parts that have an effect: three latent channels instead of sixteen, and one text
token in place of all 77, which are equal because the context embedder's weights are zero. `export` restores the full
shapes. Parameters have the same names as in ComfyUI wherever ComfyUI has the same parameter.

Shapes: B pictures in a batch, S = SPRITE_SIDE, N = 144 patches of 4×4 cells, W = HIDDEN_WIDTH.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from .dimensions import LIVE_CHANNELS, SPRITE_SIDE, TEXT_WIDTH
from .lora_layers import LoraLinear

DEPTH = 3
"""Joint blocks. ComfyUI derives the width and the number of attention heads (the same number) from it."""

PATCH_SIDE = 4
POSITION_GRID_SIDE = 24
"""Patches along each side of the stored position table; a picture uses its middle."""

_HEAD_WIDTH = 64
HIDDEN_WIDTH = _HEAD_WIDTH * DEPTH

_PATCHES_PER_SIDE = SPRITE_SIDE // PATCH_SIDE
_PATCH_COUNT = _PATCHES_PER_SIDE**2
_PATCH_VALUES = LIVE_CHANNELS * PATCH_SIDE**2
_TIME_FREQUENCIES = 128
_CONTEXT_TOKENS = 77

_LORA_LAYERS_PER_BLOCK = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2", "adaLN_modulation.1")


class MMDiT(nn.Module):
    """Predicts the velocity of a noisy picture from its noise level and its caption."""

    def __init__(self) -> None:
        # The order of construction and initialisation determines which random numbers each weight gets.
        super().__init__()
        self.x_embedder = LoraLinear(_PATCH_VALUES, HIDDEN_WIDTH)
        self.pos_embed = nn.Parameter(_sine_cosine_table(POSITION_GRID_SIDE))
        self.t_embedder = Embedder(2 * _TIME_FREQUENCIES)
        self.y_embedder = Embedder(TEXT_WIDTH)
        self.context_token = nn.Parameter(torch.randn(HIDDEN_WIDTH) * 0.5)
        self.joint_blocks = nn.ModuleList(
            JointBlock(context_ends=index == DEPTH - 1) for index in range(DEPTH)
        )
        self.final_layer = FinalLayer()
        self._initialise()
        # One token replaces all of them, so its attention logit is raised by the logarithm of their number.
        attention_bias = torch.zeros(1, 1, 1, 1 + _PATCH_COUNT)
        attention_bias[..., 0] = math.log(_CONTEXT_TOKENS)
        self.register_buffer("attention_bias", attention_bias, persistent=False)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, LoraLinear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for module in self.modules():  # zero modulation: every block starts as the identity
            if isinstance(module, (StreamBlock, FinalLayer)):
                nn.init.zeros_(module.adaLN_modulation[1].weight)
        nn.init.zeros_(self.final_layer.linear.weight)
        nn.init.normal_(self.t_embedder.mlp[0].weight, std=0.02)
        nn.init.normal_(self.t_embedder.mlp[2].weight, std=0.02)

    def forward(self, noisy: torch.Tensor, noise_level: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """noisy (B, 3, S, S), noise_level (B,) from 0 to 1, text (B, TEXT_WIDTH) -> velocity (B, 3, S, S)"""
        condition = self.t_embedder(_wave_features(noise_level)) + self.y_embedder(text)  # (B, W)
        patches = self.x_embedder(_to_patches(noisy)) + self._positions()  # (B, N, W)
        context = self.context_token.expand(len(noisy), 1, HIDDEN_WIDTH)
        for block in self.joint_blocks:
            context, patches = block(context, patches, condition, self.attention_bias)
        return _from_patches(self.final_layer(patches, condition))

    def _positions(self) -> torch.Tensor:
        """The middle of the position table, (1, N, W)."""
        first = (POSITION_GRID_SIDE - _PATCHES_PER_SIDE) // 2
        middle = slice(first, first + _PATCHES_PER_SIDE)
        table = self.pos_embed.view(POSITION_GRID_SIDE, POSITION_GRID_SIDE, HIDDEN_WIDTH)
        return table[middle, middle].reshape(1, _PATCH_COUNT, HIDDEN_WIDTH)

    def lora_layers(self) -> dict[str, LoraLinear]:
        """The layers that the style LoRAs change, by name: the picture's half of each block, and the last layer."""
        names = [
            f"joint_blocks.{index}.x_block.{layer}"
            for index in range(DEPTH)
            for layer in _LORA_LAYERS_PER_BLOCK
        ]
        names += ["final_layer.linear", "final_layer.adaLN_modulation.1"]
        return {name: self.get_submodule(name) for name in names}


class JointBlock(nn.Module):
    """Attention over text and picture together, followed by a separate small network for each of them."""

    def __init__(self, context_ends: bool) -> None:
        """context_ends: the text isn't used after this block, so its half only produces keys and values."""
        super().__init__()
        self.context_block, self.x_block = StreamBlock(attention_only=context_ends), StreamBlock()

    def forward(
        self,
        context: torch.Tensor,
        patches: torch.Tensor,
        condition: torch.Tensor,
        attention_bias: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """context (B, 1, W), patches (B, N, W), condition (B, W), bias (1, 1, 1, 1 + N) -> context, patches"""
        context_ends = self.context_block.attention_only
        context_query, context_key, context_value, context_modulation = self.context_block.begin(
            context, condition
        )
        query, key, value, modulation = self.x_block.begin(patches, condition)
        attended = functional.scaled_dot_product_attention(
            query if context_ends else torch.cat([context_query, query], 2),
            torch.cat([context_key, key], 2),
            torch.cat([context_value, value], 2),
            attn_mask=attention_bias,
        )
        attended = attended.transpose(1, 2).flatten(2)  # (B, heads, tokens, 64) -> (B, tokens, W)
        if not context_ends:
            context = self.context_block.finish(context, attended[:, :1], context_modulation)
            attended = attended[:, 1:]
        return context, self.x_block.finish(patches, attended, modulation)


class StreamBlock(nn.Module):
    """One half of a joint block: the text's or the picture's."""

    def __init__(self, attention_only: bool = False) -> None:
        super().__init__()
        self.attention_only = attention_only
        self.attn = Attention(with_projection=not attention_only)
        if not attention_only:
            self.mlp = Mlp()
        # Shift and scale before the attention; then the attention's gate, and shift, scale, and gate of the MLP.
        self._modulations = 2 if attention_only else 6
        self.adaLN_modulation = nn.Sequential(
            nn.SiLU(), LoraLinear(HIDDEN_WIDTH, self._modulations * HIDDEN_WIDTH)
        )

    def begin(
        self, tokens: torch.Tensor, condition: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, tuple[torch.Tensor, ...]]:
        """Query, key and value, (B, heads, tokens, 64) each, and the modulations, (B, 1, W) each."""
        modulation = self.adaLN_modulation(condition)[:, None].chunk(self._modulations, -1)
        shift, scale = modulation[:2]
        batch, count, _ = tokens.shape
        query, key, value = (
            self.attn.qkv(_normalised(tokens) * (1 + scale) + shift)
            .view(batch, count, 3, DEPTH, _HEAD_WIDTH)
            .permute(2, 0, 3, 1, 4)
        )
        return query, key, value, modulation

    def finish(
        self, tokens: torch.Tensor, attended: torch.Tensor, modulation: tuple[torch.Tensor, ...]
    ) -> torch.Tensor:
        """tokens and attended (B, tokens, W) -> the stream's tokens after this block"""
        _, _, attention_gate, shift, scale, mlp_gate = modulation
        tokens = tokens + attention_gate * self.attn.proj(attended)
        return tokens + mlp_gate * self.mlp(_normalised(tokens) * (1 + scale) + shift)


class Attention(nn.Module):
    """Holds the layers of an attention. JointBlock computes it, because both streams attend together."""

    def __init__(self, with_projection: bool) -> None:
        super().__init__()
        self.qkv = LoraLinear(HIDDEN_WIDTH, 3 * HIDDEN_WIDTH)
        if with_projection:
            self.proj = LoraLinear(HIDDEN_WIDTH, HIDDEN_WIDTH)


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = LoraLinear(HIDDEN_WIDTH, 4 * HIDDEN_WIDTH)
        self.fc2 = LoraLinear(4 * HIDDEN_WIDTH, HIDDEN_WIDTH)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(..., W) -> (..., W)"""
        return self.fc2(functional.gelu(self.fc1(tokens), approximate="tanh"))


class Embedder(nn.Module):
    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            LoraLinear(in_features, HIDDEN_WIDTH), nn.SiLU(), LoraLinear(HIDDEN_WIDTH, HIDDEN_WIDTH)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, in) -> (B, W)"""
        return self.mlp(features)


class FinalLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), LoraLinear(HIDDEN_WIDTH, 2 * HIDDEN_WIDTH))
        self.linear = LoraLinear(HIDDEN_WIDTH, _PATCH_VALUES)

    def forward(self, patches: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """(B, N, W) -> (B, N, 48), ordered row, column, channel within each patch"""
        shift, scale = self.adaLN_modulation(condition)[:, None].chunk(2, -1)
        return self.linear(_normalised(patches) * (1 + scale) + shift)


def _normalised(tokens: torch.Tensor) -> torch.Tensor:
    return functional.layer_norm(tokens, (HIDDEN_WIDTH,), eps=1e-6)


def _to_patches(pictures: torch.Tensor) -> torch.Tensor:
    """(B, 3, S, S) -> (B, N, 48), ordered channel, row, column within each patch, as a convolution reads them"""
    split = pictures.view(-1, LIVE_CHANNELS, _PATCHES_PER_SIDE, PATCH_SIDE, _PATCHES_PER_SIDE, PATCH_SIDE)
    return split.permute(0, 2, 4, 1, 3, 5).reshape(-1, _PATCH_COUNT, _PATCH_VALUES)


def _from_patches(patches: torch.Tensor) -> torch.Tensor:
    """(B, N, 48), ordered row, column, channel within each patch -> (B, 3, S, S)"""
    split = patches.view(-1, _PATCHES_PER_SIDE, _PATCHES_PER_SIDE, PATCH_SIDE, PATCH_SIDE, LIVE_CHANNELS)
    return split.permute(0, 5, 1, 3, 2, 4).reshape(-1, LIVE_CHANNELS, SPRITE_SIDE, SPRITE_SIDE)


def _wave_features(noise_level: torch.Tensor) -> torch.Tensor:
    """Noise levels (B,) as cosines and sines of many frequencies, (B, 256); SD3's time steps go to 1000."""
    steps = torch.arange(float(_TIME_FREQUENCIES))
    frequencies = torch.exp(-math.log(10000) * steps / _TIME_FREQUENCIES)
    angles = noise_level[:, None] * 1000 * frequencies[None]
    return torch.cat([angles.cos(), angles.sin()], -1)


def _sine_cosine_table(side: int) -> torch.Tensor:
    """Two-dimensional sine-cosine positions of a square grid, (1, side², W)."""
    half_width = HIDDEN_WIDTH // 2
    frequencies = 1 / 10000 ** (torch.arange(half_width // 2) / (half_width / 2))
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")

    def along(positions: torch.Tensor) -> torch.Tensor:
        angles = positions.reshape(-1)[:, None].float() * frequencies
        return torch.cat([angles.sin(), angles.cos()], 1)

    return torch.cat([along(columns), along(rows)], 1)[None]
