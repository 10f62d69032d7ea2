"""The modules of FLUX and models derived from it, including HunyuanVideo; see `layouts.py` for the sources."""

from __future__ import annotations

from .table import Layout

# --- FLUX and models derived from it ----------------------------------------------------------------------------------
# Letters: D, S double and single blocks; h width; u outputs of the feed-forward's first layer; m inputs of its second;
# l outputs of linear1; k inputs of linear2; t the text's width; v the pooled text's; x channels of a latent patch.

FLUX = Layout("""
double_blocks.<D>.(img|txt)_attn.qkv                              h       3h
double_blocks.<D>.(img|txt)_attn.proj                             h       h
double_blocks.<D>.(img|txt)_attn.norm.(query|key)_norm            -       128
double_blocks.<D>.(img|txt)_mlp.0                                 h       u
double_blocks.<D>.(img|txt)_mlp.2                                 m       h
single_blocks.<S>.linear1                                         h       l
single_blocks.<S>.linear2                                         k       h
single_blocks.<S>.norm.(query|key)_norm                           -       128
""")
FLUX_ENDS = Layout("""
txt_in                                                            t       h
img_in                                                            x,96,128,384 h
final_layer.linear                                                h       x
""")
FLUX_MODULATION = Layout("""
double_blocks.<D>.(img|txt)_mod.lin                               h       6h
single_blocks.<S>.modulation.lin                                  h       3h
(time|guidance)_in.in_layer                                       256     h
(time|guidance)_in.out_layer                                      h       h
vector_in.in_layer                                                v       h
vector_in.out_layer                                               h       h
final_layer.adaLN_modulation.1                                    h       2h
""")
FLUX_DIFFUSERS = Layout("""
transformer_blocks.<D>.attn.to_(q|k|v|add_out)                    h       h
transformer_blocks.<D>.attn.add_(q|k|v)_proj                      h       h
transformer_blocks.<D>.attn.to_out.0                              h       h
transformer_blocks.<D>.attn.norm_(added_|)(q|k)                   -       128
transformer_blocks.<D>.(ff|ff_context).net.0.proj                 h       u
transformer_blocks.<D>.(ff|ff_context).net.2                      4h      h
single_transformer_blocks.<S>.attn.to_(q|k|v)                     h       h
single_transformer_blocks.<S>.attn.norm_(q|k)                     -       128
single_transformer_blocks.<S>.proj_mlp                            h       u
single_transformer_blocks.<S>.proj_out                            5h      h
""")
FLUX_DIFFUSERS_ENDS = Layout("""
context_embedder                                                  t       h
x_embedder                                                        x,96,128,384 h
proj_out                                                          h       x
""")
FLUX_DIFFUSERS_MODULATION = Layout("""
transformer_blocks.<D>.norm1(_context|).linear                    h       6h
single_transformer_blocks.<S>.norm.linear                         h       3h
time_text_embed.(timestep|guidance)_embedder.linear_1             256     h
time_text_embed.text_embedder.linear_1                            v       h
time_text_embed.(timestep|guidance|text)_embedder.linear_2        h       h
norm_out.linear                                                   h       2h
""")
XLABS = Layout("""
double_blocks.<D>.processor.qkv_lora(1|2)                         h       3h
double_blocks.<D>.processor.proj_lora(1|2)                        h       h
single_blocks.<S>.processor.qkv                                   h       3h
single_blocks.<S>.processor.proj                                  k       h
""")
CHROMA_GUIDANCE = Layout("""
distilled_guidance_layer.in_proj                                  64      5120
distilled_guidance_layer.layers.<5>.(in_layer|out_layer)          5120    5120
distilled_guidance_layer.layers.<5>.linear_(1|2)                  5120    5120
distilled_guidance_layer.norms.<5>                                -       5120
distilled_guidance_layer.out_proj                                 5120    h
""")
OVIS = Layout("""
double_blocks.<D>.(img|txt)_mlp.(gate|up)_proj                    h       4h
double_blocks.<D>.(img|txt)_mlp.down_proj                         4h      h
txt_norm                                                          -       t
""")
FLUX2 = Layout("""
double_stream_modulation_(img|txt).lin                            h       6h
single_stream_modulation.lin                                      h       3h
(time|guidance)_in.in_layer                                       256     h
(time|guidance)_in.out_layer                                      h       h
txt_in                                                            t       h
img_in                                                            x       h
final_layer.linear                                                h       x
final_layer.adaLN_modulation.1                                    h       2h
""")
FLUX2_DIFFUSERS = Layout("""
transformer_blocks.<D>.attn.to_(q|k|v|add_out)                    h       h
transformer_blocks.<D>.attn.add_(q|k|v)_proj                      h       h
transformer_blocks.<D>.attn.to_out.0                              h       h
transformer_blocks.<D>.(ff|ff_context).linear_in                  h       u
transformer_blocks.<D>.(ff|ff_context).linear_out                 m       h
single_transformer_blocks.<S>.attn.to_qkv_mlp_proj                h       l
single_transformer_blocks.<S>.attn.to_out                         k       h
double_stream_modulation_(img|txt).linear                         h       6h
single_stream_modulation.linear                                   h       3h
time_guidance_embed.(timestep|guidance)_embedder.linear_1         256     h
time_guidance_embed.(timestep|guidance)_embedder.linear_2         h       h
context_embedder                                                  t       h
x_embedder                                                        x       h
norm_out.linear                                                   h       2h
proj_out                                                          h       x
""")

# --- HunyuanVideo and HunyuanImage: FLUX's blocks; ComfyUI uses FLUX's names, Tencent and diffusers use others --------
HUNYUAN = Layout("""
img_in.proj                                                       -       h       *
txt_in.input_embedder                                             t       h
txt_in.t_embedder.in_layer                                        256     h
txt_in.c_embedder.in_layer                                        t       h
txt_in.(t|c)_embedder.out_layer                                   h       h
txt_in.individual_token_refiner.blocks.<2>.self_attn.qkv          h       3h
txt_in.individual_token_refiner.blocks.<2>.self_attn.proj         h       h
txt_in.individual_token_refiner.blocks.<2>.mlp.0                  h       4h
txt_in.individual_token_refiner.blocks.<2>.mlp.2                  4h      h
txt_in.individual_token_refiner.blocks.<2>.adaLN_modulation.1     h       2h
txt_in.individual_token_refiner.blocks.<2>.norm(1|2)              -       h
time_r_in.in_layer                                                256     h
time_r_in.out_layer                                               h       h
byt5_in.layernorm                                                 -       1472
byt5_in.fc1                                                       1472    2048
byt5_in.fc2                                                       2048    2048
byt5_in.fc3                                                       2048    h
vision_in.proj.0                                                  -       1152
vision_in.proj.1                                                  1152    1152
vision_in.proj.3                                                  1152    h
vision_in.proj.4                                                  -       h
cond_type_embedding                                               h       3
final_layer.linear                                                h       -
""")
HUNYUAN_TENCENT = Layout("""
double_blocks.<D>.(img|txt)_mod.linear                            h       6h
double_blocks.<D>.(img|txt)_attn_qkv                              h       3h
double_blocks.<D>.(img|txt)_attn_proj                             h       h
double_blocks.<D>.(img|txt)_mlp.fc1                               h       4h
double_blocks.<D>.(img|txt)_mlp.fc2                               4h      h
single_blocks.<S>.linear1                                         h       l
single_blocks.<S>.linear2                                         k       h
single_blocks.<S>.modulation.linear                               h       3h
txt_in.individual_token_refiner.blocks.<2>.self_attn_qkv          h       3h
txt_in.individual_token_refiner.blocks.<2>.self_attn_proj         h       h
txt_in.individual_token_refiner.blocks.<2>.mlp.fc1                h       4h
txt_in.individual_token_refiner.blocks.<2>.mlp.fc2                4h      h
txt_in.(t_embedder|c_embedder).(mlp.0|mlp.2|linear_1|linear_2)    -       h
(time|guidance)_in.mlp.0                                          256     h
(time|guidance)_in.mlp.2                                          h       h
""")
HUNYUAN_DIFFUSERS = Layout("""
context_embedder.token_refiner.refiner_blocks.<2>.attn.to_(q|k|v) h       h
context_embedder.token_refiner.refiner_blocks.<2>.attn.to_out.0   h       h
context_embedder.token_refiner.refiner_blocks.<2>.ff.net.0.proj   h       4h
context_embedder.token_refiner.refiner_blocks.<2>.ff.net.2        4h      h
context_embedder.token_refiner.refiner_blocks.<2>.norm_out.linear h       2h
context_embedder.proj_in                                          t       h
x_embedder.proj                                                   -       h       *
""")
HUNYUAN_DIT = Layout("""
blocks.<N>.attn1.Wqkv                                             h       3h
blocks.<N>.attn2.kv_proj                                          1024    2h
blocks.<N>.attn1.out_proj                                         h       h
blocks.<N>.attn2.(q_proj|out_proj)                                h       h
blocks.<N>.mlp.fc1                                                h       6144
blocks.<N>.mlp.fc2                                                6144    h
blocks.<N>.attn1.to_(q|k|v)                                       h       h
blocks.<N>.attn2.to_q                                             h       h
blocks.<N>.attn2.to_(k|v)                                         1024    h
blocks.<N>.attn(1|2).to_out.0                                     h       h
blocks.<N>.ff.net.0.proj                                          h       6144
blocks.<N>.ff.net.2                                               6144    h
blocks.<N>.skip_linear                                            2h      h
blocks.<N>.default_modulation.1                                   h       h
blocks.<N>.norm1.linear                                           h       h
blocks.<N>.(norm1|norm2|norm3|skip_norm)                          -       -
blocks.<N>.attn(1|2).(q|k)_norm                                   -       -
x_embedder.proj                                                   4       h       *
t_embedder.mlp.0                                                  256     h
t_embedder.mlp.2                                                  h       h
extra_embedder.0                                                  -       4h
extra_embedder.2                                                  4h      h
mlp_t5.0                                                          2048    8192
mlp_t5.2                                                          8192    1024
pooler.(q_proj|k_proj|v_proj)                                     2048    2048
pooler.c_proj                                                     2048    1024
final_layer.linear                                                h       32
final_layer.adaLN_modulation.1                                    h       2h
""")
