"""The modules of text encoders; see `layouts.py` for the sources."""

from __future__ import annotations

from .table import Layout

# --- text encoders: w width, L layers ---------------------------------------------------------------------------------
CLIP = """
text_model.encoder.layers.<L>.self_attn.(q|k|v|out)_proj          w       w
text_model.encoder.layers.<L>.mlp.fc1                             w       4w
text_model.encoder.layers.<L>.mlp.fc2                             4w      w
text_model.encoder.layers.<L>.layer_norm(1|2)                     -       w
text_model.embeddings.(token|position)_embedding                  -       -
text_model.final_layer_norm                                       -       w
text_projection                                                   w       -
"""
T5 = """
encoder.block.<24>.layer.0.SelfAttention.(q|k|v|o)                4096    4096
encoder.block.<24>.layer.1.DenseReluDense.(wi|wi_0|wi_1)          4096    10240
encoder.block.<24>.layer.1.DenseReluDense.wo                      10240   4096
"""
LLM = """
layers.<L>.self_attn.(q|k|v|o)_proj                               -       -
layers.<L>.mlp.(gate|up)_proj                                     w       -
layers.<L>.mlp.down_proj                                          -       w
model.layers.<L>.self_attn.(q|k|v|o)_proj                         -       -
model.layers.<L>.mlp.(gate|up)_proj                               w       -
model.layers.<L>.mlp.down_proj                                    -       w
"""
CHATGLM = """
encoder.layers.<28>.self_attention.query_key_value                4096    4608
encoder.layers.<28>.self_attention.dense                          4096    4096
encoder.layers.<28>.mlp.dense_h_to_4h                             4096    27392
encoder.layers.<28>.mlp.dense_4h_to_h                             13696   4096
"""


def in_slots(text: str, *slots: str, **sizes: int) -> tuple[Layout, ...]:
    """The layout of the same text encoder in each of these slots."""
    return tuple(Layout(text, slot, sizes=sizes) for slot in slots)
