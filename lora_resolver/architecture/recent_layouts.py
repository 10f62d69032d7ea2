"""The modules of models of 2026, by name, in the language of `table.py`; see `layouts.py` for the others.

Sizes and names are those of ComfyUI 0.33.0's classes (`comfy/ldm/{boogu,lens,joyimage,ideogram4}`), and of
diffusers' where a layout says so.
"""

from __future__ import annotations

from .table import Layout

BOOGU = Layout("""
(noise|ref_image|context)_refiner.<2>.attn.to_(q|out.0)           3360    3360
(noise|ref_image|context)_refiner.<2>.attn.to_(k|v)               3360    840
(noise|ref_image|context)_refiner.<2>.feed_forward.linear_(1|3)   3360    13568
(noise|ref_image|context)_refiner.<2>.feed_forward.linear_2       13568   3360
(noise|ref_image)_refiner.<2>.norm1.linear                        1024    13440
double_stream_layers.<8>.img_instruct_attn.to_out.0               3360    3360
double_stream_layers.<8>.img_instruct_attn.(img|instruct)_to_q    3360    3360
double_stream_layers.<8>.img_instruct_attn.(img|instruct)_to_(k|v) 3360    840
double_stream_layers.<8>.img_instruct_attn.(img|instruct)_out     3360    3360
double_stream_layers.<8>.img_instruct_attn.processor.(img|instruct)_to_q 3360 3360
double_stream_layers.<8>.img_instruct_attn.processor.(img|instruct)_to_(k|v) 3360 840
double_stream_layers.<8>.img_instruct_attn.processor.(img|instruct)_out 3360 3360
double_stream_layers.<8>.img_self_attn.to_(q|out.0)               3360    3360
double_stream_layers.<8>.img_self_attn.to_(k|v)                   3360    840
double_stream_layers.<8>.(img|instruct)_feed_forward.linear_(1|3) 3360    13568
double_stream_layers.<8>.(img|instruct)_feed_forward.linear_2     13568   3360
double_stream_layers.<8>.img_norm(1|2|3).linear                   1024    13440
double_stream_layers.<8>.instruct_norm(1|2).linear                1024    13440
single_stream_layers.<32>.attn.to_(q|out.0)                       3360    3360
single_stream_layers.<32>.attn.to_(k|v)                           3360    840
single_stream_layers.<32>.feed_forward.linear_(1|3)               3360    13568
single_stream_layers.<32>.feed_forward.linear_2                   13568   3360
single_stream_layers.<32>.norm1.linear                            1024    13440
(x_embedder|ref_image_patch_embedder)                             64      3360
time_caption_embed.timestep_embedder.linear_1                     256     1024
time_caption_embed.timestep_embedder.linear_2                     1024    1024
time_caption_embed.caption_embedder.1                             4096    3360
norm_out.linear_1                                                 1024    3360
norm_out.linear_2                                                 3360    64
""")
LENS = Layout("""
transformer_blocks.<48>.attn.(img|txt)_qkv                        1536    4608
transformer_blocks.<48>.attn.(to_out.0|to_add_out)                1536    1536
transformer_blocks.<48>.(img|txt)_mod.1                           1536    9216
transformer_blocks.<48>.(img|txt)_mlp.w(1|3)                      1536    4096
transformer_blocks.<48>.(img|txt)_mlp.w2                          4096    1536
time_text_embed.timestep_embedder.linear_1                        256     1536
time_text_embed.timestep_embedder.linear_2                        1536    1536
txt_in                                                            11520   1536
img_in                                                            128     1536
norm_out.linear                                                   1536    3072
proj_out                                                          1536    128
""")
JOYIMAGE = Layout("""
double_blocks.<20>.(img|txt)_mlp.net.0.proj                       3072    12288
double_blocks.<20>.(img|txt)_mlp.net.2                            12288   3072
double_blocks.<20>.attn.(img|txt)_attn_qkv                        3072    9216
double_blocks.<20>.attn.(img|txt)_attn_proj                       3072    3072
condition_embedder.time_embedder.linear_1                         256     3072
condition_embedder.time_embedder.linear_2                         3072    3072
condition_embedder.time_proj                                      3072    18432
condition_embedder.text_embedder.linear_1                         4096    3072
condition_embedder.text_embedder.linear_2                         3072    3072
img_in                                                            16      3072    *
proj_out                                                          3072    64
""")
IDEOGRAM4 = Layout("""
layers.<34>.attention.qkv                                         4608    13824
layers.<34>.attention.o                                           4608    4608
layers.<34>.feed_forward.w(1|3)                                   4608    12288
layers.<34>.feed_forward.w2                                       12288   4608
layers.<34>.adaln_modulation                                      512     18432
input_proj                                                        128     4608
llm_cond_proj                                                     53248   4608
t_embedding.(mlp_in|mlp_out)                                      4608    4608
adaln_proj                                                        4608    512
embed_image_indicator                                             4608    2
final_layer.linear                                                4608    128
final_layer.adaln_modulation                                      512     4608
""")
KREA2_DIFFUSERS = Layout("""
transformer_blocks.<28>.attn.to_(q|gate|out.0)                    6144    6144
transformer_blocks.<28>.attn.to_(k|v)                             6144    1536
transformer_blocks.<28>.attn.to_qkv                               6144    9216
transformer_blocks.<28>.ff.(gate|up)                              6144    16384
transformer_blocks.<28>.ff.down                                   16384   6144
text_fusion.(layerwise|refiner)_blocks.<2>.attn.to_(q|k|v|gate|out.0) 2560 2560
text_fusion.(layerwise|refiner)_blocks.<2>.attn.to_qkv            2560    7680
text_fusion.(layerwise|refiner)_blocks.<2>.ff.(gate|up)           2560    6912
text_fusion.(layerwise|refiner)_blocks.<2>.ff.down                6912    2560
""")
MINIMAX_MUSIC3 = Layout("""
diffusion_transformer.transformer.layers.<36>.self_attn.to_qkv    2048    6144
diffusion_transformer.transformer.layers.<36>.self_attn.to_out    2048    2048
diffusion_transformer.transformer.layers.<36>.ff.ff.0.proj        2048    16384
diffusion_transformer.transformer.layers.<36>.ff.ff.2             8192    2048
""")
STABLE_AUDIO_3 = Layout("""
transformer.layers.<24>.self_attn.to_qkv                          1536    7680
transformer.layers.<24>.self_attn.to_out                          1536    1536
transformer.layers.<24>.cross_attn.to_q                           1536    3072
transformer.layers.<24>.cross_attn.to_kv                          1536    4608
transformer.layers.<24>.cross_attn.to_out                         1536    1536
transformer.layers.<24>.ff.ff.0.proj                              1536    12288
transformer.layers.<24>.ff.ff.2                                   6144    1536
layers.<24>.self_attn.to_qkv                                      1536    7680
layers.<24>.self_attn.to_out                                      1536    1536
layers.<24>.cross_attn.to_q                                       1536    3072
layers.<24>.cross_attn.to_kv                                      1536    4608
layers.<24>.cross_attn.to_out                                     1536    1536
layers.<24>.ff.ff.0.proj                                          1536    12288
layers.<24>.ff.ff.2                                               6144    1536
""")
COSMOS_DIFFUSERS = Layout("""
transformer_blocks.<N>.attn(1|2).to_(q|out.0)                     h       h
transformer_blocks.<N>.attn1.to_(k|v)                             h       h
transformer_blocks.<N>.attn2.to_(k|v)                             1024    h
transformer_blocks.<N>.ff.net.0.proj                              h       4h
transformer_blocks.<N>.ff.net.2                                   4h      h
transformer_blocks.<N>.norm(1|2|3).linear_1                       h       256
transformer_blocks.<N>.norm(1|2|3).linear_2                       256     3h
""")
HUNYUAN_MUSUBI = Layout("""
double_blocks.<D>.(img|txt)_attn_(q|k|v|proj)                     h       h
""")
