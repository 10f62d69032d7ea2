"""The first and last layers of models whose blocks are in `layouts.py` and `recent_layouts.py`.

Also parts that only some of a family's models have.

Names and sizes are those of diffusers 0.42's classes; Chroma Radiance's and a part of LTX-2's are ComfyUI's own.
"""

from __future__ import annotations

from .table import Layout

CHROMA_RADIANCE = Layout("""
img_in_patch                                                      3       3072    *
nerf_image_embedder.embedder.0                                    67      64
nerf_blocks.<4>.param_generator                                   3072    49152
nerf_final_layer_conv.conv                                        64      3       *
""")
LTX2_ENDS = Layout("""
av_ca_(video_scale_shift|a2v_gate)_adaln_single.emb.timestep_embedder.linear_1 256     4096
av_ca_(video_scale_shift|a2v_gate)_adaln_single.emb.timestep_embedder.linear_2 4096    4096
av_ca_video_scale_shift_adaln_single.linear                       4096    16384
av_ca_a2v_gate_adaln_single.linear                                4096    4096
av_ca_(audio_scale_shift|v2a_gate)_adaln_single.emb.timestep_embedder.linear_1 256     2048
av_ca_(audio_scale_shift|v2a_gate)_adaln_single.emb.timestep_embedder.linear_2 2048    2048
av_ca_audio_scale_shift_adaln_single.linear                       2048    8192
av_ca_v2a_gate_adaln_single.linear                                2048    2048
(audio|video)_embeddings_connector.transformer_1d_blocks.<2>.attn1.to_(q|k|v) 3840    3840
(audio|video)_embeddings_connector.transformer_1d_blocks.<2>.attn1.to_out.0 3840    3840
(audio|video)_embeddings_connector.transformer_1d_blocks.<2>.ff.net.0.proj 3840    15360
(audio|video)_embeddings_connector.transformer_1d_blocks.<2>.ff.net.2 15360   3840
proj_in                                                           128     4096
audio_proj_in                                                     128     2048
(time_embed|av_cross_attn_video_scale_shift|av_cross_attn_video_a2v_gate).emb.timestep_embedder.linear_1 256     4096
(time_embed|av_cross_attn_video_scale_shift|av_cross_attn_video_a2v_gate).emb.timestep_embedder.linear_2 4096    4096
time_embed.linear                                                 4096    24576
audio_time_embed.emb.timestep_embedder.linear_1                   256     2048
av_cross_attn_audio_scale_shift.emb.timestep_embedder.linear_1    256     2048
av_cross_attn_audio_v2a_gate.emb.timestep_embedder.linear_1       256     2048
audio_time_embed.emb.timestep_embedder.linear_2                   2048    2048
av_cross_attn_audio_scale_shift.emb.timestep_embedder.linear_2    2048    2048
av_cross_attn_audio_v2a_gate.emb.timestep_embedder.linear_2       2048    2048
audio_time_embed.linear                                           2048    12288
av_cross_attn_video_scale_shift.linear                            4096    16384
av_cross_attn_audio_scale_shift.linear                            2048    8192
av_cross_attn_video_a2v_gate.linear                               4096    4096
av_cross_attn_audio_v2a_gate.linear                               2048    2048
""")
LTXV_ENDS = Layout("""
time_embed.emb.timestep_embedder.linear_1                         256     h
time_embed.emb.timestep_embedder.linear_2                         h       h
time_embed.linear                                                 h       6h
""")
LUMINA_ENDS = Layout("""
time_caption_embed.caption_embedder.1                             1024    h
norm_out.linear_1                                                 1024    h
norm_out.linear_2                                                 h       64
""")
HUNYUAN_ENDS = Layout("""
context_embedder.time_text_embed.timestep_embedder.linear_1       256     h
context_embedder.time_text_embed.(timestep|text)_embedder.linear_2 h       h
context_embedder.time_text_embed.text_embedder.linear_1           t       h
proj_out                                                          h       64
context_embedder.time_text_embed.timestep_embedder.linear_1       256     h
context_embedder.time_text_embed.(timestep|text)_embedder.linear_2 h       h
context_embedder.time_text_embed.text_embedder.linear_1           h       h
time_guidance_embed.timestep_embedder.linear_1                    256     h
time_guidance_embed.timestep_embedder.linear_2                    h       h
proj_out                                                          h       64
""")
FRAMEPACK_ENDS = Layout("""
clean_x_embedder.(proj|proj_2x|proj_4x)                           16      3072    *
image_projection.up                                               1152    9216
image_projection.down                                             9216    3072
""")
HUNYUAN_15_ENDS = Layout("""
image_embedder.linear_1                                           1152    1152
image_embedder.linear_2                                           1152    h
context_embedder.time_text_embed.timestep_embedder.linear_1       256     h
context_embedder.time_text_embed.(timestep|text)_embedder.linear_2 h       h
context_embedder.time_text_embed.text_embedder.linear_1           3584    h
context_embedder_2.linear_1                                       1472    h
context_embedder_2.linear_(2|3)                                   h       h
time_embed.timestep_embedder.linear_1                             256     h
time_embed.timestep_embedder.linear_2                             h       h
cond_type_embed                                                   h       3
proj_out                                                          h       32
""")
HUNYUAN_DIT_ENDS = Layout("""
text_embedder.linear_1                                            2048    8192
text_embedder.linear_2                                            8192    1024
pos_embed.proj                                                    4       1408    *
time_extra_emb.timestep_embedder.linear_1                         256     1408
time_extra_emb.timestep_embedder.linear_2                         1408    1408
time_extra_emb.pooler.(k|q|v)_proj                                2048    2048
time_extra_emb.pooler.c_proj                                      2048    1024
time_extra_emb.style_embedder                                     1408    1
time_extra_emb.extra_embedder.linear_1                            3968    5632
time_extra_emb.extra_embedder.linear_2                            5632    1408
norm_out.linear                                                   1408    2816
proj_out                                                          1408    32
""")
COGVIDEOX_ENDS = Layout("""
time_embedding.linear_1                                           h       512
time_embedding.linear_2                                           512     512
""")
COSMOS_ENDS = Layout("""
patch_embed.proj                                                  68      h
time_embed.t_embedder.linear_1                                    h       h
time_embed.t_embedder.linear_2                                    h       3h
norm_out.linear_1                                                 h       256
norm_out.linear_2                                                 256     2h
proj_out                                                          h       64
crossattn_proj.0                                                  1024    1024
""")
ERNIE_ENDS = Layout("""
text_proj                                                         2560    4096
""")
KANDINSKY5_ENDS = Layout("""
time_embeddings.in_layer                                          h       512,1024
time_embeddings.out_layer                                         512,1024 512,1024
text_embeddings.in_layer                                          3584    h
pooled_text_embeddings.in_layer                                   768     512,1024
visual_embeddings.in_layer                                        -       h
out_layer.modulation.out_layer                                    512,1024 2h
out_layer.out_layer                                               h       -
""")
KREA2_ENDS = Layout("""
img_in                                                            64      6144
time_embed.linear_1                                               256     6144
(time_embed|txt_in).linear_2                                      6144    6144
time_mod_proj                                                     6144    36864
text_fusion.projector                                             12      1
txt_in.linear_1                                                   2560    6144
final_layer.linear                                                6144    64
""")
LONGCAT_ENDS = Layout("""
time_embed.timestep_embedder.linear_1                             256     3072
time_embed.timestep_embedder.linear_2                             3072    3072
""")
OVIS_ENDS = Layout("""
timestep_embedder.linear_1                                        256     3072
timestep_embedder.linear_2                                        3072    3072
""")
MOCHI_ENDS = Layout("""
patch_embed.proj                                                  12      3072    *
time_embed.timestep_embedder.linear_1                             256     3072
time_embed.timestep_embedder.linear_2                             3072    3072
time_embed.pooler.to_kv                                           4096    8192
time_embed.pooler.to_q                                            4096    4096
time_embed.pooler.to_out                                          4096    3072
time_embed.caption_proj                                           4096    1536
norm_out.linear                                                   3072    6144
proj_out                                                          3072    48
""")
SANA_ENDS = Layout("""
patch_embed.proj                                                  32      h       *
time_embed.emb.timestep_embedder.linear_1                         256     h
time_embed.emb.timestep_embedder.linear_2                         h       h
proj_out                                                          h       32
""")
STABLE_AUDIO_ENDS = Layout("""
timestep_proj.0                                                   256     1536
timestep_proj.2                                                   1536    1536
global_proj.<3>                                                   1536    1536
cross_attention_proj.<3>                                          768     768
proj_in                                                           64      1536
proj_out                                                          1536    64
""")
