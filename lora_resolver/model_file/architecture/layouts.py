"""The modules of each model, by name, in the notation that `table.py` explains.

Sources: ComfyUI `comfy/ldm/*` for the models' own names (tests/integration compares them), diffusers
`models/transformers/*` for its names, kohya-ss/sd-scripts, kohya-ss/musubi-tuner, XLabs-AI/x-flux for theirs.
"""

from __future__ import annotations

from .table import Layout

# --- Stable Diffusion 3: h width, N blocks, A blocks with a second attention ------------------------------------------
SD3 = Layout("""
joint_blocks.<N>.(x|context)_block.attn.qkv                       h       3h
joint_blocks.<N>.(x|context)_block.attn.proj                      h       h
joint_blocks.<N>.(x|context)_block.attn.ln_(q|k)                  -       64
joint_blocks.<N>.(x|context)_block.mlp.fc1                        h       4h
joint_blocks.<N>.(x|context)_block.mlp.fc2                        4h      h
joint_blocks.<N>.(x|context)_block.adaLN_modulation.1             h       2h,6h
context_embedder                                                  4096    h
x_embedder.proj                                                   16      h       *
t_embedder.mlp.0                                                  256     h
y_embedder.mlp.0                                                  2048    h
(t|y)_embedder.mlp.2                                              h       h
final_layer.linear                                                h       64
final_layer.adaLN_modulation.1                                    h       2h
""")
SD35_MEDIUM = Layout("""
joint_blocks.<A>.x_block.attn2.qkv                                h       3h
joint_blocks.<A>.x_block.attn2.proj                               h       h
joint_blocks.<A>.x_block.attn2.ln_(q|k)                           -       64
joint_blocks.<A>.x_block.adaLN_modulation.1                       h       9h
transformer_blocks.<A>.attn2.to_(q|k|v)                           h       h
transformer_blocks.<A>.attn2.to_out.0                             h       h
transformer_blocks.<A>.norm1.linear                               h       9h
""")
SD3_DIFFUSERS = Layout("""
transformer_blocks.<N>.attn.to_(q|k|v|add_out)                    h       h
transformer_blocks.<N>.attn.add_(q|k|v)_proj                      h       h
transformer_blocks.<N>.attn.to_out.0                              h       h
transformer_blocks.<N>.(ff|ff_context).net.0.proj                 h       4h
transformer_blocks.<N>.(ff|ff_context).net.2                      4h      h
transformer_blocks.<N>.norm1(_context|).linear                    h       2h,6h
context_embedder                                                  4096    h
pos_embed.proj                                                    16      h       *
time_text_embed.timestep_embedder.linear_1                        256     h
time_text_embed.text_embedder.linear_1                            2048    h
time_text_embed.(timestep|text)_embedder.linear_2                 h       h
norm_out.linear                                                   h       2h
proj_out                                                          h       64
""")

# --- Qwen-Image -------------------------------------------------------------------------------------------------------
QWEN_IMAGE = Layout("""
transformer_blocks.<N>.attn.to_(q|k|v|add_out)                    h       h
transformer_blocks.<N>.attn.add_(q|k|v)_proj                      h       h
transformer_blocks.<N>.attn.to_out.0                              h       h
transformer_blocks.<N>.attn.norm_(added_|)(q|k)                   -       128
transformer_blocks.<N>.(img|txt)_mlp.net.0.proj                   h       4h
transformer_blocks.<N>.(img|txt)_mlp.net.2                        4h      h
transformer_blocks.<N>.(img|txt)_mod.1                            h       6h
time_text_embed.timestep_embedder.linear_1                        256     h
time_text_embed.timestep_embedder.linear_2                        h       h
txt_norm                                                          -       t
txt_in                                                            t       h
img_in                                                            x       h
norm_out.linear                                                   h       2h
proj_out                                                          h       x
""")
QWEN_IMAGE_2 = Layout("""
transformer_blocks.<N>.attn.to_(q|k|v)                            h       h
transformer_blocks.<N>.attn.to_out.0                              h       h
transformer_blocks.<N>.attn.norm_(q|k)                            -       128
transformer_blocks.<N>.img_mlp.gate_up                            h       6h
transformer_blocks.<N>.img_mlp.(proj|gate_layer)                  h       3h
transformer_blocks.<N>.img_mlp.out                                3h      h
time_text_embed.timestep_embedder.linear_1                        256     h
time_text_embed.timestep_embedder.linear_2                        h       h
txt_in.(in_layer|out_layer)                                       h       h
img_in                                                            64      h
modulation.1                                                      h       4h
norm_out.linear                                                   h       h
proj_out                                                          h       64
""")

# --- Lumina 2, Z-Image, OmniGen2, ERNIE-Image: layers.N ---------------------------------------------------------------
# h width, N layers, q outputs of the fused qkv, k the width of key and value, f the feed-forward's, c the conditions'
LUMINA = Layout("""
layers.<N>.attention.qkv                                          h       q
layers.<N>.attention.out                                          h       h
layers.<N>.attention.(q|k)_norm                                   -       d
layers.<N>.feed_forward.w(1|3)                                    h       f
layers.<N>.feed_forward.w2                                        f       h
layers.<N>.(attention|ffn)_norm(1|2)                              -       h
(noise|context)_refiner.<2>.attention.qkv                         h       q
(noise|context)_refiner.<2>.attention.out                         h       h
(noise|context)_refiner.<2>.attention.(q|k)_norm                  -       d
(noise|context)_refiner.<2>.feed_forward.w(1|3)                   h       f
(noise|context)_refiner.<2>.feed_forward.w2                       f       h
(noise|context)_refiner.<2>.(attention|ffn)_norm(1|2)             -       h
x_embedder                                                        64      h
t_embedder.mlp.0                                                  256     1024
t_embedder.mlp.2                                                  1024    c
cap_embedder.0                                                    -       t
cap_embedder.1                                                    t       h
norm_final                                                        -       h
final_layer.linear                                                h       64
final_layer.adaLN_modulation.1                                    c       h
""")
Z_IMAGE = Layout("""
layers.<N>.adaLN_modulation.0                                     c       4h
noise_refiner.<2>.adaLN_modulation.0                              c       4h
layers.<N>.attention.to_(q|k|v)                                   h       h
layers.<N>.attention.to_out.0                                     h       h
layers.<N>.attention.norm_(q|k)                                   -       d
(noise|context)_refiner.<2>.attention.to_(q|k|v)                  h       h
(noise|context)_refiner.<2>.attention.to_out.0                    h       h
(noise|context)_refiner.<2>.attention.norm_(q|k)                  -       d
all_x_embedder.2-1                                                64      h
all_final_layer.2-1.linear                                        h       64
all_final_layer.2-1.adaLN_modulation.1                            c       h
""")
NEWBIE = Layout("""
layers.<N>.adaLN_modulation.1                                     c       4h
noise_refiner.<2>.adaLN_modulation.1                              c       4h
clip_text_pooled_proj.(0|1)                                       -       1024
time_text_embed.(0|1|2)                                           -       1024
""")
LUMINA_DIFFUSERS = Layout("""
layers.<N>.adaLN_modulation.1                                     c       4h
noise_refiner.<2>.adaLN_modulation.1                              c       4h
layers.<N>.attn.to_q                                              h       h
layers.<N>.attn.to_(k|v)                                          h       k
layers.<N>.attn.to_out.0                                          h       h
layers.<N>.feed_forward.linear_(1|3)                              h       f
layers.<N>.feed_forward.linear_2                                  f       h
layers.<N>.norm1.linear                                           c       4h
(noise|context)_refiner.<2>.attn.to_q                             h       h
(noise|context)_refiner.<2>.attn.to_(k|v)                         h       k
(noise|context)_refiner.<2>.attn.to_out.0                         h       h
(noise|context)_refiner.<2>.feed_forward.linear_(1|3)             h       f
(noise|context)_refiner.<2>.feed_forward.linear_2                 f       h
noise_refiner.<2>.norm1.linear                                    c       4h
time_caption_embed.timestep_embedder.linear_1                     256     1024
time_caption_embed.timestep_embedder.linear_2                     1024    1024
time_caption_embed.caption_embedder.1                             t       h
""")
OMNIGEN2 = Layout("""
ref_image_refiner.<2>.attn.to_q                                   h       h
ref_image_refiner.<2>.attn.to_(k|v)                               h       k
ref_image_refiner.<2>.attn.to_out.0                               h       h
ref_image_refiner.<2>.feed_forward.linear_(1|3)                   h       f
ref_image_refiner.<2>.feed_forward.linear_2                       f       h
ref_image_refiner.<2>.norm1.linear                                c       4h
x_embedder                                                        64      h
ref_image_patch_embedder                                          64      h
image_index_embedding                                             h       5
(layers.<N>|noise_refiner.<2>|context_refiner.<2>|ref_image_refiner.<2>).attn.norm_(q|k)      -  120
(layers.<N>|noise_refiner.<2>|context_refiner.<2>|ref_image_refiner.<2>).(norm|ffn_norm)(1|2) -  h
(layers.<N>|noise_refiner.<2>|ref_image_refiner.<2>).norm1.norm                               -  h
time_caption_embed.caption_embedder.0                             -       t
norm_out.linear_1                                                 c       h
norm_out.linear_2                                                 h       64
""")
ERNIE_IMAGE = Layout("""
layers.<N>.self_attention.to_(q|k|v)                              h       h
layers.<N>.self_attention.to_out.0                                h       h
layers.<N>.self_attention.norm_(q|k)                              -       128
layers.<N>.mlp.(gate_proj|up_proj)                                h       f
layers.<N>.mlp.linear_fc2                                         f       h
layers.<N>.adaLN_(sa|mlp)_ln                                      -       h
adaLN_modulation.1                                                h       6h
time_embedding.linear_(1|2)                                       h       h
text_proj                                                         3072    h
x_embedder.proj                                                   128     h       *
final_norm.linear                                                 h       2h
final_linear                                                      h       128
""")

# --- models with their own names --------------------------------------------------------------------------------------
HIDREAM = Layout("""
(double|single)_stream_blocks.<N>.block.attn1.to_(q|k|v|out)      h       h
double_stream_blocks.<D>.block.attn1.to_(q|k|v|out)_t             h       h
double_stream_blocks.<D>.block.attn1.to_(q|k|v|out)               h       h
(double|single)_stream_blocks.<N>.block.attn1.(q|k)_rms_norm      -       h
double_stream_blocks.<D>.block.attn1.(q|k)_rms_norm_t             -       h
(double|single)_stream_blocks.<N>.block.ff_i.experts.<4>.w(1|3)   h       6912
(double|single)_stream_blocks.<N>.block.ff_i.experts.<4>.w2       6912    h
(double|single)_stream_blocks.<N>.block.ff_i.shared_experts.w(1|3) h      3584
(double|single)_stream_blocks.<N>.block.ff_i.shared_experts.w2    3584    h
(double|single)_stream_blocks.<N>.block.ff_i.gate                 h       4
double_stream_blocks.<D>.block.ff_t.w(1|3)                        h       6912
double_stream_blocks.<D>.block.ff_t.w2                            6912    h
double_stream_blocks.<D>.block.adaLN_modulation.1                 h       12h
single_stream_blocks.<N>.block.adaLN_modulation.1                 h       6h
caption_projection.<49>.linear                                    4096    h
t_embedder.timestep_embedder.linear_1                             256     h
p_embedder.pooled_embedder.linear_1                               2048    h
(t_embedder.timestep|p_embedder.pooled)_embedder.linear_2         h       h
x_embedder.proj                                                   64      h
final_layer.linear                                                h       64
final_layer.adaLN_modulation.1                                    h       2h
""")
AURAFLOW = Layout("""
double_layers.<D>.attn.w(1|2)(q|k|v|o)                            h       h
double_layers.<D>.mlp(C|X).(c_fc1|c_fc2)                          h       8192
double_layers.<D>.mlp(C|X).c_proj                                 8192    h
double_layers.<D>.mod(C|X).1                                      h       6h
single_layers.<S>.attn.w1(q|k|v|o)                                h       h
single_layers.<S>.mlp.(c_fc1|c_fc2)                               h       8192
single_layers.<S>.mlp.c_proj                                      8192    h
single_layers.<S>.modCX.1                                         h       6h
cond_seq_linear                                                   2048    h
init_x_linear                                                     16      h
t_embedder.mlp.0                                                  256     h
t_embedder.mlp.2                                                  h       h
final_linear                                                      h       16
modF.1                                                            h       2h
""")
AURAFLOW_DIFFUSERS = Layout("""
joint_transformer_blocks.<D>.attn.to_(q|k|v|add_out)              h       h
joint_transformer_blocks.<D>.attn.add_(q|k|v)_proj                h       h
joint_transformer_blocks.<D>.attn.to_out.0                        h       h
joint_transformer_blocks.<D>.(ff|ff_context).linear_(1|2)         h       8192
joint_transformer_blocks.<D>.(ff|ff_context).out_projection       8192    h
joint_transformer_blocks.<D>.norm1(_context|).linear              h       6h
single_transformer_blocks.<S>.attn.to_(q|k|v)                     h       h
single_transformer_blocks.<S>.attn.to_out.0                       h       h
single_transformer_blocks.<S>.ff.linear_(1|2)                     h       8192
single_transformer_blocks.<S>.ff.out_projection                   8192    h
single_transformer_blocks.<S>.norm1.linear                        h       6h
context_embedder                                                  2048    h
pos_embed.proj                                                    16      h
time_step_proj.linear_1                                           256     h
time_step_proj.linear_2                                           h       h
norm_out.linear                                                   h       2h
proj_out                                                          h       16
""")
CASCADE_C = Layout("""
(down|up)_blocks.<2>.<72>.attention.(attn.to_q|attn.to_k|attn.to_v|attn.out_proj|to_q|to_k|to_v) h h
(down|up)_blocks.<2>.<72>.attention.to_out.0                      h       h
(down|up)_blocks.<2>.<72>.channelwise.0                           h,2h    4h
(down|up)_blocks.<2>.<72>.channelwise.(2.gamma|2.beta)            -       -
(down|up)_blocks.<2>.<72>.channelwise.4                           4h      h
(down|up)_blocks.<2>.<72>.kv_mapper.1                             h       h
(down|up)_blocks.<2>.<72>.(mapper|mapper_sca|mapper_crp)          64      2h
(down|up)_blocks.<2>.<72>.depthwise                               1       h       *
down_downscalers.1.1.blocks.0                                     h       h       *
up_upscalers.0.1.blocks.1                                         h       h       *
clip_txt_mapper                                                   1280    h
clip_txt_pooled_mapper                                            1280    4h
clip_img_mapper                                                   768     4h
embedding.1                                                       16      h       *
clf.1                                                             h       16      *
""")
KREA2 = Layout("""
blocks.<28>.attn.(gate|wq|wo)                                     6144    6144
blocks.<28>.attn.(wk|wv)                                          6144    1536
blocks.<28>.mlp.(gate|up)                                         6144    16384
blocks.<28>.mlp.down                                              16384   6144
blocks.<28>.mod.lin                                               -       -
txtfusion.(layerwise|refiner)_blocks.<2>.attn.(gate|wq|wk|wv|wo)  2560    2560
txtfusion.(layerwise|refiner)_blocks.<2>.mlp.(gate|up)            2560    6912
txtfusion.(layerwise|refiner)_blocks.<2>.mlp.down                 6912    2560
txtfusion.projector                                               12      1
txtmlp.1                                                          2560    6144
txtmlp.3                                                          6144    6144
tmlp.0                                                            256     6144
tmlp.2                                                            6144    6144
tproj.1                                                           6144    36864
first                                                             64      6144
last.linear                                                       6144    64
""")
MINIMAX_H3 = Layout("""
(blocks.<50>|token_refiner.blocks.<2>).attn.qkv_proj              5376    21504
(blocks.<50>|token_refiner.blocks.<2>).attn.out_proj              7168    5376
(blocks.<50>|token_refiner.blocks.<2>).attn.(q|k)_norm            -       128
(blocks.<50>|token_refiner.blocks.<2>).mlp.fc1                    5376    28672
(blocks.<50>|token_refiner.blocks.<2>).mlp.fc2                    14336   5376
blocks.<50>.attn.to_gate_compress                                 5376    7168
blocks.<50>.adaln_proj.linear                                     -       96768
condition_proj                                                    5120    5376
video_patch_proj                                                  96      5376
audio_patch_proj                                                  32      5376
time_embedder.(proj_in|proj_out)                                  -       -
final_layer.(video_out|audio_out|adaln_proj.linear)               -       -
""")
ACE_STEP = Layout("""
lyric_embs                                                        1024    6693
transformer_blocks.<24>.(attn|cross_attn).to_(q|k|v)              2560    2560
transformer_blocks.<24>.(attn|cross_attn).to_out.0                2560    2560
transformer_blocks.<24>.cross_attn.add_(q|k|v)_proj               2560    2560
transformer_blocks.<24>.cross_attn.to_add_out                     2560    2560
transformer_blocks.<24>.ff.inverted_conv.conv                     2560    12800   *
transformer_blocks.<24>.ff.depth_conv.conv                        1       12800   *
transformer_blocks.<24>.ff.point_conv.conv                        6400    2560    *
lyric_encoder.encoders.<6>.self_attn.linear_(q|k|v|out|pos)       1024    1024
lyric_encoder.encoders.<6>.feed_forward.w_1                       1024    4096
lyric_encoder.encoders.<6>.feed_forward.w_2                       4096    1024
lyric_encoder.embed.out.0                                         1024    1024
lyric_proj                                                        1024    2560
speaker_embedder                                                  512     2560
genre_embedder                                                    768     2560
timestep_embedder.linear_1                                        256     2560
timestep_embedder.linear_2                                        2560    2560
t_block.1                                                         2560    15360
projectors.<2>.(0|2|4)                                            -       -
proj_in.early_conv_layers.(0|2)                                   -       -       *
final_layer.linear                                                2560    128
""")
KANDINSKY5 = Layout("""
(visual|text)_transformer_blocks.<N>.(self_attention|cross_attention).(to_query|to_key|to_value|out_layer) h h
(visual|text)_transformer_blocks.<N>.feed_forward.in_layer         h       4h
(visual|text)_transformer_blocks.<N>.feed_forward.out_layer        4h      h
(visual|text)_transformer_blocks.<N>.(visual|text)_modulation.out_layer - -
""")
KOLORS_PROJECTION = Layout("""
encoder_hid_proj                                                  4096    2048
""")
