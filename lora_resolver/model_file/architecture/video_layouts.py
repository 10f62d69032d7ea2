"""The modules of Wan, Cosmos and of transformers with `attn1` and `attn2`; see `layouts.py` for the sources."""

from __future__ import annotations

from .table import Layout

# --- Wan: h width, N blocks, f the feed-forward's, V blocks of VACE ---------------------------------------------------
WAN = Layout("""
(blocks.<N>|vace_blocks.<V>).(self|cross)_attn.(q|k|v|o)          h       h
(blocks.<N>|vace_blocks.<V>).(self|cross)_attn.norm_(q|k)         -       h
(blocks.<N>|vace_blocks.<V>).ffn.0                                h       f
(blocks.<N>|vace_blocks.<V>).ffn.2                                f       h
(blocks.<N>|vace_blocks.<V>).norm(1|2|3)                          -       h
(blocks.<N>|vace_blocks.<V>).modulation                           -       -       *
vace_blocks.<V>.(before_proj|after_proj|proj_in|proj_out)         h       h
patch_embedding                                                   -       h       *
vace_patch_embedding                                              96      h       *
text_embedding.0                                                  4096    h
text_embedding.2                                                  h       h
time_embedding.0                                                  256     h
time_embedding.2                                                  h       h
time_projection.1                                                 h       6h
head.head                                                         h       64,192
head.modulation                                                   -       -       *
""")
WAN_IMAGE = Layout("""
blocks.<N>.cross_attn.(k|v)_img                                   h       h
blocks.<N>.cross_attn.norm_k_img                                  -       h
blocks.<N>.attn2.add_(k|v)_proj                                   h       h
blocks.<N>.attn2.norm_added_k                                     -       h
img_emb.proj.0                                                    -       1280
img_emb.proj.1                                                    1280    1280
img_emb.proj.3                                                    1280    h
img_emb.proj.4                                                    -       h
img_emb.emb_pos                                                   -       -       *
ref_conv                                                          16      h       *
face_adapter.fuser_blocks.<8>.linear(1_kv|1_q|2)                  -       -
audio_injector.injector.<12>.(q|k|v|o)                            -       -
blocks.<N>.audio_cross_attn_wrapper.audio_cross_attn.(q|k|v|o)    -       h
control_adapter.conv                                              -       h       *
control_adapter.residual_blocks.0.conv(1|2)                       h       h       *
""")
WAN_DIFFUSERS = Layout("""
(blocks.<N>|vace_blocks.<V>).attn(1|2).to_(q|k|v)                 h       h
(blocks.<N>|vace_blocks.<V>).attn(1|2).to_out.0                   h       h
(blocks.<N>|vace_blocks.<V>).attn(1|2).norm_(q|k)                 -       h
(blocks.<N>|vace_blocks.<V>).ffn.net.0.proj                       h       f
(blocks.<N>|vace_blocks.<V>).ffn.net.2                            f       h
condition_embedder.text_embedder.linear_1                         4096    h
condition_embedder.time_embedder.linear_1                         256     h
condition_embedder.(text|time)_embedder.linear_2                  h       h
condition_embedder.time_proj                                      h       6h
condition_embedder.image_embedder.ff.net.0.proj                   1280    1280
condition_embedder.image_embedder.ff.net.2                        1280    h
proj_out                                                          h       64,192
""")

# --- Cosmos-Predict2 and Anima: h width, N blocks ---------------------------------------------------------------------
COSMOS_PREDICT2 = Layout("""
blocks.<N>.self_attn.(q|k|v|output)_proj                          h       h
blocks.<N>.cross_attn.(q|output)_proj                             h       h
blocks.<N>.cross_attn.(k|v)_proj                                  1024    h
blocks.<N>.(self|cross)_attn.(q|k)_norm                           -       128
blocks.<N>.mlp.layer1                                             h       4h
blocks.<N>.mlp.layer2                                             4h      h
blocks.<N>.adaln_modulation_(self_attn|cross_attn|mlp).1          h       256
blocks.<N>.adaln_modulation_(self_attn|cross_attn|mlp).2          256     3h
t_embedder.1.linear_1                                             h       h
t_embedder.1.linear_2                                             h       3h
t_embedding_norm                                                  -       h
x_embedder.proj.1                                                 68,72   h
final_layer.linear                                                h       64
final_layer.adaln_modulation.1                                    h       256
final_layer.adaln_modulation.2                                    256     2h
""")
ANIMA_ADAPTER = Layout("""
llm_adapter.blocks.<6>.(self|cross)_attn.(q|k|v|o)_proj           1024    1024
llm_adapter.blocks.<6>.mlp.0                                      1024    4096
llm_adapter.blocks.<6>.mlp.2                                      4096    1024
llm_adapter.(in_proj|out_proj)                                    1024    1024
llm_adapter.embed                                                 1024    32128
""")

# --- attn1 and attn2: PixArt, LTX-Video, Mochi, CogVideoX, Sana, Stable Audio -----------------------------------------
PIXART = Layout("""
blocks.<N>.attn.qkv                                               h       3h
blocks.<N>.attn.proj                                              h       h
blocks.<N>.cross_attn.(q_linear|proj)                             h       h
blocks.<N>.cross_attn.kv_linear                                   h       2h
blocks.<N>.mlp.fc1                                                h       4h
blocks.<N>.mlp.fc2                                                4h      h
t_block.1                                                         h       6h
x_embedder.proj                                                   4       h       *
t_embedder.mlp.0                                                  256     h
t_embedder.mlp.2                                                  h       h
(csize|ar)_embedder.mlp.0                                         256     384
(csize|ar)_embedder.mlp.2                                         384     384
y_embedder.y_proj.fc1                                             4096    h
y_embedder.y_proj.fc2                                             h       h
final_layer.linear                                                h       32
""")
PIXART_DIFFUSERS = Layout("""
transformer_blocks.<N>.attn(1|2).to_(q|k|v)                       h       h
transformer_blocks.<N>.attn(1|2).to_out.0                         h       h
transformer_blocks.<N>.ff.net.0.proj                              h       4h
transformer_blocks.<N>.ff.net.2                                   4h      h
adaln_single.emb.(timestep|resolution|aspect_ratio)_embedder.linear_1 256 -
adaln_single.emb.timestep_embedder.linear_2                       h       h
adaln_single.emb.(resolution|aspect_ratio)_embedder.linear_2      384     384
adaln_single.linear                                               h       6h
caption_projection.linear_1                                       4096    h
caption_projection.linear_2                                       h       h
pos_embed.proj                                                    4       h       *
proj_out                                                          h       32
""")
SANA = Layout("""
transformer_blocks.<N>.attn(1|2).to_(q|k|v)                       h       h
transformer_blocks.<N>.attn(1|2).to_out.0                         h       h
transformer_blocks.<N>.ff.conv_(inverted|depth|point)             -       -       *
caption_projection.linear_1                                       2304    h
caption_projection.linear_2                                       h       h
time_embed.linear                                                 h       6h
""")
LTXV = Layout("""
transformer_blocks.<N>.attn(1|2).to_(q|k|v)                       h       h
transformer_blocks.<N>.attn(1|2).to_out.0                         h       h
transformer_blocks.<N>.attn(1|2).(q|k)_norm                       -       h
transformer_blocks.<N>.ff.net.0.proj                              h       4h
transformer_blocks.<N>.ff.net.2                                   4h      h
adaln_single.emb.timestep_embedder.linear_1                       256     h
adaln_single.emb.timestep_embedder.linear_2                       h       h
adaln_single.linear                                               h       6h
caption_projection.linear_1                                       4096    h
caption_projection.linear_2                                       h       h
(patchify_proj|proj_in)                                           128     h
proj_out                                                          h       128
""")
LTX2 = Layout("""
transformer_blocks.<N>.attn(1|2).to_(q|k|v)                       h       h
transformer_blocks.<N>.attn(1|2).to_out.0                         h       h
transformer_blocks.<N>.attn(1|2).to_gate_logits                   h       32
transformer_blocks.<N>.ff.(net.0.proj|proj_in)                    h       4h
transformer_blocks.<N>.ff.(net.2|proj_out)                        4h      h
transformer_blocks.<N>.audio_attn(1|2).to_(q|k|v)                 a       a
transformer_blocks.<N>.audio_attn(1|2).to_out.0                   a       a
transformer_blocks.<N>.audio_attn(1|2).to_gate_logits             a       32
transformer_blocks.<N>.audio_ff.(net.0.proj|proj_in)              a       4a
transformer_blocks.<N>.audio_ff.(net.2|proj_out)                  4a      a
transformer_blocks.<N>.audio_to_video_attn.to_q                   h       a
transformer_blocks.<N>.audio_to_video_attn.to_(k|v)               a       a
transformer_blocks.<N>.audio_to_video_attn.to_out.0               a       h
transformer_blocks.<N>.video_to_audio_attn.to_q                   a       a
transformer_blocks.<N>.video_to_audio_attn.to_(k|v)               h       a
transformer_blocks.<N>.video_to_audio_attn.to_out.0               a       a
transformer_blocks.<N>.(audio_to_video|video_to_audio)_attn.to_gate_logits - 32
(audio_|)patchify_proj                                            128     -
(audio_|)proj_out                                                 -       128
caption_projection.linear_1                                       3840    h
caption_projection.linear_2                                       h       h
audio_caption_projection.linear_1                                 3840    a
audio_caption_projection.linear_2                                 a       a
(audio_|)(adaln_single|prompt_adaln_single).linear                -       -
(audio_|)(adaln_single|prompt_adaln_single).emb.timestep_embedder.linear_(1|2) - -
""")
MOCHI = Layout("""
blocks.<N>.mod_x                                                  3072    12288
blocks.<N>.mod_y                                                  3072    1536,6144
blocks.<N>.attn.qkv_x                                             3072    9216
blocks.<N>.attn.qkv_y                                             1536    9216
blocks.<N>.attn.proj_x                                            3072    3072
blocks.<N>.attn.proj_y                                            3072    1536
blocks.<N>.mlp_x.w1                                               3072    16384
blocks.<N>.mlp_x.w2                                               8192    3072
blocks.<N>.mlp_y.w1                                               1536    8192
blocks.<N>.mlp_y.w2                                               4096    1536
blocks.<N>.attn.(q|k)_norm_(x|y)                                  -       128
t5_yproj                                                          4096    1536
t5_y_embedder.(to_kv|to_q|to_out)                                 4096    -
t_embedder.mlp.0                                                  256     3072
t_embedder.mlp.2                                                  3072    3072
x_embedder.proj                                                   12      3072    *
final_layer.mod                                                   3072    6144
final_layer.linear                                                3072    48
""")
MOCHI_DIFFUSERS = Layout("""
transformer_blocks.<N>.attn1.to_(q|k|v)                           3072    3072
transformer_blocks.<N>.attn1.to_out.0                             3072    3072
transformer_blocks.<N>.attn1.add_(q|k|v)_proj                     1536    3072
transformer_blocks.<N>.attn1.to_add_out                           3072    1536
transformer_blocks.<N>.ff.net.0.proj                              3072    16384
transformer_blocks.<N>.ff.net.2                                   8192    3072
transformer_blocks.<N>.ff_context.net.0.proj                      1536    8192
transformer_blocks.<N>.ff_context.net.2                           4096    1536
transformer_blocks.<N>.norm1.linear                               3072    12288
transformer_blocks.<N>.norm1_context.(linear|linear_1)            3072    1536,6144
""")
COGVIDEOX = Layout("""
transformer_blocks.<N>.attn1.to_(q|k|v)                           h       h
transformer_blocks.<N>.attn1.to_out.0                             h       h
transformer_blocks.<N>.ff.net.0.proj                              h       4h
transformer_blocks.<N>.ff.net.2                                   4h      h
transformer_blocks.<N>.norm(1|2).linear                           512     6h
patch_embed.proj                                                  -       h       *
patch_embed.text_proj                                             4096    h
norm_out.linear                                                   512     2h
proj_out                                                          h       -
""")
STABLE_AUDIO = Layout("""
(layers|transformer.layers).<24>.self_attn.to_qkv                 1536    4608
(layers|transformer.layers).<24>.self_attn.to_out                 1536    1536
(layers|transformer.layers).<24>.cross_attn.(to_q|to_out)         1536    1536
(layers|transformer.layers).<24>.cross_attn.to_kv                 768     1536
(layers|transformer.layers).<24>.(pre_norm|cross_attend_norm|ff_norm).gamma -       1536
(layers|transformer.layers).<24>.ff.ff.0.proj                     1536    12288
(layers|transformer.layers).<24>.ff.ff.2                          6144    1536
to_timestep_embed.0                                               256     1536
to_timestep_embed.2                                               1536    1536
to_cond_embed.(0|2)                                               768     768
to_global_embed.(0|2)                                             1536    1536
(project_in|transformer.project_in)                               64      1536
(project_out|transformer.project_out)                             1536    64
(preprocess|postprocess)_conv                                     64      64      *
timestep_features                                                 1       128
""")
STABLE_AUDIO_DIFFUSERS = Layout("""
transformer_blocks.<24>.attn1.to_(q|k|v)                          1536    1536
transformer_blocks.<24>.attn2.to_q                                1536    1536
transformer_blocks.<24>.attn2.to_(k|v)                            768     768
transformer_blocks.<24>.attn(1|2).to_out.0                        1536    1536
transformer_blocks.<24>.ff.net.0.proj                             1536    12288
transformer_blocks.<24>.ff.net.2                                  6144    1536
""")
