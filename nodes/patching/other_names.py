"""Module names that ComfyUI's key maps don't have, mostly from diffusers: a plain name → the weight's plain name.

A plain name has no prefix, and underscores instead of dots (`name_index.py`). A result is used only if the loaded model
has a weight with that name. Sources: diffusers' conversion scripts (`scripts/convert_*_to_diffusers.py` for Wan,
Lumina, Cosmos, FLUX.2 and HunyuanVideo) and its class `AceStepTransformer1DModel`; XLabs-AI/x-flux
(`src/flux/modules/layers.py`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_WAN = r"((?:vace_)?blocks_\d+_)"
_LUMINA = r"((?:layers|context_refiner|noise_refiner)_\d+_)"
_COSMOS = r"transformer_blocks_(\d+)_"
_REFINER = r"context_embedder_token_refiner_refiner_blocks_(\d+)_"
_REFINED = r"txt_in_individual_token_refiner_blocks_\1_"
_ATTENTION = {"attn1": "self_attn", "attn2": "cross_attn"}


def _attention(start: str, where: str, last: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for theirs, ours in _ATTENTION.items():
        for name, own in last.items():
            yield f"{start}{theirs}_{name}", f"{where}{ours}_{own}"


_QKVO = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out_0": "o", "to_out": "o"}
_PROJECTIONS = {
    "to_q": "q_proj",
    "to_k": "k_proj",
    "to_v": "v_proj",
    "to_out_0": "output_proj",
    "to_out": "output_proj",
}
_ACE = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out_0": "o_proj", "to_out": "o_proj"}

_TABLE: tuple[tuple[str, str], ...] = (
    # FLUX.1's processors by XLabs
    (r"double_blocks_(\d+)_processor_(qkv|proj)_lora1", r"double_blocks_\1_img_attn_\2"),
    (r"double_blocks_(\d+)_processor_(qkv|proj)_lora2", r"double_blocks_\1_txt_attn_\2"),
    (r"single_blocks_(\d+)_processor_qkv_lora", r"single_blocks_\1_linear1_qkv"),
    (r"single_blocks_(\d+)_processor_proj_lora", r"single_blocks_\1_linear2"),
    # FLUX.2, diffusers
    (r"single_transformer_blocks_(\d+)_attn_to_qkv_mlp_proj", r"single_blocks_\1_linear1"),
    (r"single_transformer_blocks_(\d+)_attn_to_out", r"single_blocks_\1_linear2"),
    (r"time_guidance_embed_timestep_embedder_linear_1", "time_in_in_layer"),
    (r"time_guidance_embed_timestep_embedder_linear_2", "time_in_out_layer"),
    (r"time_guidance_embed_guidance_embedder_linear_1", "guidance_in_in_layer"),
    (r"time_guidance_embed_guidance_embedder_linear_2", "guidance_in_out_layer"),
    # Chroma, diffusers
    (r"distilled_guidance_layer_layers_(\d+)_linear_1", r"distilled_guidance_layer_layers_\1_in_layer"),
    (r"distilled_guidance_layer_layers_(\d+)_linear_2", r"distilled_guidance_layer_layers_\1_out_layer"),
    (r"(double_stream_modulation_(?:img|txt)|single_stream_modulation)_linear", r"\1_lin"),
    (r"transformer_blocks_(\d+)_ff_linear_in", r"double_blocks_\1_img_mlp_0"),
    (r"transformer_blocks_(\d+)_ff_linear_out", r"double_blocks_\1_img_mlp_2"),
    (r"transformer_blocks_(\d+)_ff_context_linear_in", r"double_blocks_\1_txt_mlp_0"),
    (r"transformer_blocks_(\d+)_ff_context_linear_out", r"double_blocks_\1_txt_mlp_2"),
    # diffusers with fused projections
    (r"transformer_blocks_(\d+)_attn_to_qkv", r"double_blocks_\1_img_attn_qkv"),
    (r"transformer_blocks_(\d+)_attn_to_added_qkv", r"double_blocks_\1_txt_attn_qkv"),
    (r"single_transformer_blocks_(\d+)_attn_to_qkv", r"single_blocks_\1_linear1_qkv"),
    # HunyuanVideo and HunyuanImage, diffusers; their blocks have the names of FLUX.1's, whose key map has these
    (r"transformer_blocks_(\d+)_attn_to_([qkv])", r"double_blocks_\1_img_attn_\2"),
    (r"transformer_blocks_(\d+)_attn_add_([qkv])_proj", r"double_blocks_\1_txt_attn_\2"),
    (r"transformer_blocks_(\d+)_attn_to_out_0", r"double_blocks_\1_img_attn_proj"),
    (r"transformer_blocks_(\d+)_attn_to_add_out", r"double_blocks_\1_txt_attn_proj"),
    (r"single_transformer_blocks_(\d+)_attn_to_q", r"single_blocks_\1_linear1_0"),
    (r"single_transformer_blocks_(\d+)_attn_to_k", r"single_blocks_\1_linear1_1"),
    (r"single_transformer_blocks_(\d+)_attn_to_v", r"single_blocks_\1_linear1_2"),
    (r"single_transformer_blocks_(\d+)_proj_mlp", r"single_blocks_\1_linear1_3"),
    (r"single_transformer_blocks_(\d+)_proj_out", r"single_blocks_\1_linear2"),
    (r"single_transformer_blocks_(\d+)_norm_linear", r"single_blocks_\1_modulation_lin"),
    (r"proj_out", "final_layer_linear"),
    (r"context_embedder_proj_in", "txt_in_input_embedder"),
    (r"time_text_embed_timestep_embedder_linear_1", "time_in_in_layer"),
    (r"time_text_embed_timestep_embedder_linear_2", "time_in_out_layer"),
    (r"time_text_embed_guidance_embedder_linear_1", "guidance_in_in_layer"),
    (r"time_text_embed_guidance_embedder_linear_2", "guidance_in_out_layer"),
    (r"time_text_embed_text_embedder_linear_1", "vector_in_in_layer"),
    (r"time_text_embed_text_embedder_linear_2", "vector_in_out_layer"),
    (_REFINER + r"attn_to_([qkv])", _REFINED + r"self_attn_\2"),
    (_REFINER + r"attn_to_out_0", _REFINED + "self_attn_proj"),
    (_REFINER + r"ff_net_0_proj", _REFINED + "mlp_0"),
    (_REFINER + r"ff_net_2", _REFINED + "mlp_2"),
    (_REFINER + r"norm_out_linear", _REFINED + "adaLN_modulation_1"),
    # Wan, diffusers
    *_attention(_WAN, r"\1", _QKVO),
    (_WAN + r"attn2_add_(k|v)_proj", r"\1cross_attn_\2_img"),
    (_WAN + r"cross_attn_(k|v)_img", r"\1cross_attn_\2_img"),
    (_WAN + r"ffn_net_0_proj", r"\1ffn_0"),
    (_WAN + r"ffn_net_2", r"\1ffn_2"),
    (r"proj_out", "head_head"),
    (_WAN + r"attn1_norm_([qk])", r"\1self_attn_norm_\2"),
    (_WAN + r"attn2_norm_([qk])", r"\1cross_attn_norm_\2"),
    (_WAN + r"norm2", r"\1norm3"),
    (r"vace_blocks_(\d+)_proj_in", r"vace_blocks_\1_before_proj"),
    (r"vace_blocks_(\d+)_proj_out", r"vace_blocks_\1_after_proj"),
    (r"condition_embedder_time_embedder_linear_1", "time_embedding_0"),
    (r"condition_embedder_time_embedder_linear_2", "time_embedding_2"),
    (r"condition_embedder_time_proj", "time_projection_1"),
    (r"condition_embedder_text_embedder_linear_1", "text_embedding_0"),
    (r"condition_embedder_text_embedder_linear_2", "text_embedding_2"),
    (r"condition_embedder_image_embedder_ff_net_0_proj", "img_emb_proj_1"),
    (r"condition_embedder_image_embedder_ff_net_2", "img_emb_proj_3"),
    # Lumina 2, diffusers
    (_LUMINA + r"attn_(to_[qkv])", r"\1attention_\2"),
    (_LUMINA + r"attn_to_out_0", r"\1attention_out"),
    (_LUMINA + r"feed_forward_linear_([123])", r"\1feed_forward_w\2"),
    (_LUMINA + r"norm1_linear", r"\1adaLN_modulation_1"),
    # Cosmos-Predict2 and 2.5, diffusers
    *_attention(_COSMOS, r"blocks_\1_", _PROJECTIONS),
    (_COSMOS + r"ff_net_0_proj", r"blocks_\1_mlp_layer1"),
    (_COSMOS + r"ff_net_2", r"blocks_\1_mlp_layer2"),
    (_COSMOS + r"norm1_linear_([12])", r"blocks_\1_adaln_modulation_self_attn_\2"),
    (_COSMOS + r"norm2_linear_([12])", r"blocks_\1_adaln_modulation_cross_attn_\2"),
    (_COSMOS + r"norm3_linear_([12])", r"blocks_\1_adaln_modulation_mlp_\2"),
    # ACE-Step 1.5: only its decoder is trained
    *(
        (rf"layers_(\d+)_(self|cross)_attn_{theirs}", rf"decoder_layers_\1_\2_attn_{ours}")
        for theirs, ours in _ACE.items()
    ),
    (r"layers_(\d+)_(.+)", r"decoder_layers_\1_\2"),
)  # fmt: skip
# Names that transformers with another kind of attention also have (LTX-Video, Cosmos, CogVideoX). They mean
# HunyuanVideo's modules only in a file whose blocks have joint attention.
_BESIDE_JOINT_ATTENTION: tuple[tuple[str, str], ...] = (
    (r"transformer_blocks_(\d+)_ff_net_0_proj", r"double_blocks_\1_img_mlp_0"),
    (r"transformer_blocks_(\d+)_ff_net_2", r"double_blocks_\1_img_mlp_2"),
    (r"transformer_blocks_(\d+)_ff_context_net_0_proj", r"double_blocks_\1_txt_mlp_0"),
    (r"transformer_blocks_(\d+)_ff_context_net_2", r"double_blocks_\1_txt_mlp_2"),
    (r"transformer_blocks_(\d+)_norm1_linear", r"double_blocks_\1_img_mod_lin"),
    (r"transformer_blocks_(\d+)_norm1_context_linear", r"double_blocks_\1_txt_mod_lin"),
)  # fmt: skip
_PATTERNS = tuple((re.compile(pattern), other) for pattern, other in _TABLE)
_JOINT_PATTERNS = tuple((re.compile(pattern), other) for pattern, other in _BESIDE_JOINT_ATTENTION)
_JOINT_ATTENTION = re.compile(r"(?:^|[._])transformer_blocks[._]\d+[._]attn[._]")


def has_joint_attention(stems: Iterable[str]) -> bool:
    """Whether a file with these modules is for a transformer whose blocks have one attention for picture and text."""
    return any(map(_JOINT_ATTENTION.search, stems))


def other_names(name: str, *, joint: bool) -> Iterator[str]:
    """The plain names that the weight for this plain name may have; `joint` is the result of `has_joint_attention`."""
    for pattern, other in (*_PATTERNS, *_JOINT_PATTERNS) if joint else _PATTERNS:
        match = pattern.fullmatch(name)
        if match:
            yield match.expand(other)
