"""The modules of each model, by name, in the language that `table.py` explains.

Sources: ComfyUI `comfy/ldm/*` for the models' own names (held against it by tests/integration), diffusers
`models/transformers/*` for its names, kohya-ss/sd-scripts, kohya-ss/musubi-tuner, XLabs-AI/x-flux for theirs.
"""

from __future__ import annotations

from .table import Layout

__all__ = [
    "ACE_STEP",
    "ANIMA_ADAPTER",
    "AURAFLOW",
    "AURAFLOW_DIFFUSERS",
    "CASCADE_C",
    "CHATGLM",
    "CHROMA_GUIDANCE",
    "CLIP",
    "COGVIDEOX",
    "COSMOS_PREDICT2",
    "ERNIE_IMAGE",
    "FLUX",
    "FLUX2",
    "FLUX2_DIFFUSERS",
    "FLUX_DIFFUSERS",
    "FLUX_DIFFUSERS_ENDS",
    "FLUX_DIFFUSERS_MODULATION",
    "FLUX_ENDS",
    "FLUX_MODULATION",
    "HIDREAM",
    "HUNYUAN",
    "HUNYUAN_DIFFUSERS",
    "HUNYUAN_DIT",
    "HUNYUAN_TENCENT",
    "KANDINSKY5",
    "KOLORS_PROJECTION",
    "KREA2",
    "LLM",
    "LTX2",
    "LTXV",
    "LUMINA",
    "LUMINA_DIFFUSERS",
    "MINIMAX_H3",
    "MOCHI",
    "MOCHI_DIFFUSERS",
    "NEWBIE",
    "OMNIGEN2",
    "OVIS",
    "PIXART",
    "PIXART_DIFFUSERS",
    "QWEN_IMAGE",
    "QWEN_IMAGE_2",
    "SANA",
    "SD3",
    "SD3_DIFFUSERS",
    "SD35_MEDIUM",
    "STABLE_AUDIO",
    "STABLE_AUDIO_DIFFUSERS",
    "T5",
    "WAN",
    "WAN_DIFFUSERS",
    "WAN_IMAGE",
    "XLABS",
    "Z_IMAGE",
    "in_slots",
]

# --- FLUX and what came of it -----------------------------------------------------------------------------------------
# Letters: D, S double and single blocks; h width; u, m the feed-forward's inner size, going in and coming out;
# l, k what linear1 gives and linear2 takes; t the text's width; v the pooled text's; x channels of a latent patch.

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

# --- HunyuanVideo and HunyuanImage: blocks as FLUX, named as FLUX in ComfyUI, and otherwise by Tencent and diffusers --
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
# h width, N layers, q what the fused qkv gives, k the width of key and value, f the feed-forward's, c the conditions'
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

# --- each in its own names --------------------------------------------------------------------------------------------
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
    """The same text encoder at each of these places."""
    return tuple(Layout(text, slot, sizes=sizes) for slot in slots)
