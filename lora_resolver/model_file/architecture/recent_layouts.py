"""The modules of models of 2025 and 2026, by name, in the notation of `table.py`; see `layouts.py` for the others.

Sizes and names are those of ComfyUI 0.33.0's classes (`comfy/ldm/*`), and of diffusers 0.42's where a layout says so.
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
HUNYUAN3D2_ENDS = Layout("""
double_blocks.<D>.(img|txt)_mod.lin                               h       6h
single_blocks.<S>.modulation.lin                                  h       3h
latent_in                                                         64      h
cond_in                                                           t       h
time_in.in_layer                                                  256     h
time_in.out_layer                                                 h       h
final_layer.linear                                                h       64
final_layer.adaLN_modulation.1                                    h       2h
""")
CASCADE_B = Layout("""
(down|up)_blocks.<4>.<84>.depthwise                               1       320,640,1280 *
(down|up)_blocks.<4>.<84>.channelwise.0                           320,640,1280,2560 1280,2560,5120
(down|up)_blocks.<4>.<84>.channelwise.4                           1280,2560,5120 320,640,1280
(down|up)_blocks.<4>.<84>.(mapper|mapper_sca)                     64      640,1280,2560
(down|up)_blocks.<4>.<84>.attention.attn.(to_q|to_k|to_v|out_proj) 1280   1280
(down|up)_blocks.<4>.<84>.kv_mapper.1                             1280    1280
down_downscalers.<4>.1                                            320,640,1280 640,1280 *
up_upscalers.<3>.1                                                320,640,1280 320,640,1280 *
up_repeat_mappers.<4>.<2>                                         320,640,1280 320,640,1280 *
(effnet|pixels)_mapper.0                                          3,16    1280    *
(effnet|pixels)_mapper.2                                          1280    320     *
clip_mapper                                                       1280    5120
embedding.1                                                       16      320     *
clf.1                                                             320     16      *
""")
COGVIDEOX_COMFYUI = Layout("""
time_embedding_linear_1                                           h       512
time_embedding_linear_2                                           512     512
blocks.<N>.norm(1|2).linear                                       512     6h
blocks.<N>.(q|k|v|attn_out)                                       h       h
blocks.<N>.ff_proj                                                h       4h
blocks.<N>.ff_out                                                 4h      h
""")
HUNYUAN3D21 = Layout("""
x_embedder                                                        64      2048
t_embedder.mlp.0                                                  2048    8192
t_embedder.mlp.2                                                  8192    2048
t_embedder.cond_proj                                              2048    8192
blocks.<21>.attn1.(to_q|to_k|to_v|out_proj)                       2048    2048
blocks.<21>.attn2.(to_q|out_proj)                                 2048    2048
blocks.<21>.attn2.to_(k|v)                                        1024    2048
blocks.<15>.mlp.fc1                                               2048    8192
blocks.<15>.mlp.fc2                                               8192    2048
blocks.<21>.skip_linear                                           4096    2048
blocks.<21>.moe.experts.<8>.net.0.proj                            2048    8192
blocks.<21>.moe.experts.<8>.net.2                                 8192    2048
blocks.<21>.moe.gate                                              2048    8
blocks.<21>.moe.shared_experts.net.0.proj                         2048    8192
blocks.<21>.moe.shared_experts.net.2                              8192    2048
final_layer.linear                                                2048    64
""")
ACE_STEP_15 = Layout("""
(decoder_|)proj_in.1                                              192     h       *
(decoder_|)(time_embed|time_embed_r).linear_1                     256     h
(decoder_|)(time_embed|time_embed_r).linear_2                     h       h
(decoder_|)(time_embed|time_embed_r).time_proj                    h       6h
(decoder_|)condition_embedder                                     h       h
(decoder_|)layers.<N>.(self|cross)_attn.q_proj                    h       q
(decoder_|)layers.<N>.(self|cross)_attn.o_proj                    q       h
(decoder_|)layers.<N>.(self|cross)_attn.(k|v)_proj                h       1024
(decoder_|)layers.<N>.mlp.(gate|up)_proj                          h       f
(decoder_|)layers.<N>.mlp.down_proj                               f       h
(decoder_|)proj_out.1                                             64      h       *
encoder.(lyric|timbre)_encoder.embed_tokens                        64,1024 2048
(detokenizer|tokenizer.attention_pooler).embed_tokens              2048    2048
encoder.text_projector                                            1024    2048
encoder.(lyric_encoder.layers.<8>|timbre_encoder.layers.<4>).self_attn.(q|o)_proj  2048    2048
encoder.(lyric_encoder.layers.<8>|timbre_encoder.layers.<4>).self_attn.(k|v)_proj  2048    1024
encoder.(lyric_encoder.layers.<8>|timbre_encoder.layers.<4>).mlp.(gate|up)_proj    2048    6144
encoder.(lyric_encoder.layers.<8>|timbre_encoder.layers.<4>).mlp.down_proj         6144    2048
(tokenizer.attention_pooler|detokenizer).layers.<2>.self_attn.(q|o)_proj           2048    2048
(tokenizer.attention_pooler|detokenizer).layers.<2>.self_attn.(k|v)_proj           2048    1024
(tokenizer.attention_pooler|detokenizer).layers.<2>.mlp.(gate|up)_proj             2048    6144
(tokenizer.attention_pooler|detokenizer).layers.<2>.mlp.down_proj                  6144    2048
tokenizer.audio_acoustic_proj                                     64      2048
tokenizer.quantizer.project_in                                    2048    6
tokenizer.quantizer.project_out                                   6       2048
detokenizer.proj_out                                              2048    64
""")
ACE_STEP_15_DIFFUSERS = Layout("""
layers.<N>.(self|cross)_attn.to_q                                 h       q
layers.<N>.(self|cross)_attn.to_(k|v)                             h       1024
layers.<N>.(self|cross)_attn.to_out.0                             q       h
layers.<N>.mlp.(gate|up)_proj                                     h       f
layers.<N>.mlp.down_proj                                          f       h
proj_in_conv                                                      192     h       *
(time_embed|time_embed_r).linear_1                                256     h
(time_embed|time_embed_r).linear_2                                h       h
(time_embed|time_embed_r).time_proj                               h       6h
condition_embedder                                                h       h
proj_out_conv                                                     64      h       *
""")
HIDREAM_O1 = Layout("""
language_model.embed_tokens                                       4096    151936
visual.patch_embed.proj                                           3       1152    *
visual.pos_embed                                                  1152    2304
visual.blocks.<27>.attn.qkv                                       1152    3456
visual.blocks.<27>.attn.proj                                      1152    1152
visual.blocks.<27>.mlp.linear_fc1                                 1152    4304
visual.blocks.<27>.mlp.linear_fc2                                 4304    1152
visual.merger.linear_fc1                                          4608    4608
visual.merger.linear_fc2                                          4608    4096
language_model.layers.<36>.self_attn.(q|o)_proj                   4096    4096
language_model.layers.<36>.self_attn.(k|v)_proj                   4096    1024
language_model.layers.<36>.mlp.(gate|up)_proj                     4096    12288
language_model.layers.<36>.mlp.down_proj                          12288   4096
t_embedder1.mlp.0                                                 256     4096
t_embedder1.mlp.2                                                 4096    4096
x_embedder.proj1                                                  3072    1024
x_embedder.proj2                                                  1024    4096
final_layer2.linear                                               4096    3072
""")
PIXELDIT = Layout("""
pixel_embedder.proj                                               3       16
s_embedder.proj                                                   768     1536
t_embedder.mlp.0                                                  256     1536
t_embedder.mlp.2                                                  1536    1536
y_embedder.proj                                                   2304    1536
patch_blocks.<14>.attn.qkv_(x|y)                                  1536    4608
patch_blocks.<14>.attn.proj_(x|y)                                 1536    1536
patch_blocks.<14>.mlp_(x|y).w(1|3)                                1536    4096
patch_blocks.<14>.mlp_(x|y).w2                                    4096    1536
patch_blocks.<14>.adaLN_modulation_(img|txt).0                    1536    9216
pixel_blocks.<2>.compress_to_attn                                 4096    1152
pixel_blocks.<2>.expand_from_attn                                 1152    4096
pixel_blocks.<2>.attn.qkv                                         1152    3456
pixel_blocks.<2>.attn.proj                                        1152    1152
pixel_blocks.<2>.mlp.fc1                                          16      64
pixel_blocks.<2>.mlp.fc2                                          64      16
pixel_blocks.<2>.adaLN_modulation_(msa|mlp)                       1536    12288
final_layer.linear                                                16      3
lq_proj.latent_proj.0                                             16      512     *
lq_proj.latent_proj.2                                             512     512     *
lq_proj.latent_proj.<7>.block.(2|5)                               512     512     *
lq_proj.output_heads.<7>                                          512     1536
lq_proj.gate_modules.<7>.content_proj                             3072    1536
""")
SEEDVR2 = Layout("""
vid_in.proj                                                       132     h
txt_in                                                            5120     h
emb_in.proj_in                                                    256     h
emb_in.proj_hid                                                   h       h
emb_in.proj_out                                                   h       6h
blocks.<N>.attn.proj_qkv.(vid|txt)                                h       3h
blocks.<N>.attn.proj_out.(vid|txt)                                h       h
blocks.<N>.mlp.(vid|txt).(proj_in_gate|proj_in)                   h       f
blocks.<N>.mlp.(vid|txt).proj_out                                 f       h
blocks.<N>.attn.proj_qkv.all                                      h       3h
blocks.<N>.attn.proj_out.all                                      h       h
blocks.<N>.mlp.all.(proj_in_gate|proj_in)                         h       f
blocks.<N>.mlp.all.proj_out                                       f       h
vid_out.proj                                                      h       64
""")
MINIMAX_H3_DIFFUSERS = Layout("""
proj_in                                                           96      5376
audio_proj_in                                                     32      5376
context_embedder                                                  5120    5376
time_embedder.linear_1                                            256     5376
time_embedder.linear_2                                            5376    2688
token_refiner.refiner_blocks.<2>.attn.to_(q|k|v)                  5376    7168
token_refiner.refiner_blocks.<2>.attn.to_out.0                    7168    5376
token_refiner.refiner_blocks.<2>.ff.net.0.proj                    5376    28672
token_refiner.refiner_blocks.<2>.ff.net.2                         14336   5376
transformer_blocks.<50>.attn.to_(q|k|v)                           5376    7168
transformer_blocks.<50>.attn.to_out.0                             7168    5376
transformer_blocks.<50>.ff.net.0.proj                             5376    28672
transformer_blocks.<50>.ff.net.2                                  14336   5376
transformer_blocks.<50>.adaln_proj.linear                         2688    96768
norm_out.linear                                                   2688    10752
proj_out                                                          5376    96
audio_proj_out                                                    5376    32
""")
MINIMAX_MUSIC3_DIFFUSERS = Layout("""
time_proj                                                         1       128
time_embed.linear_1                                               256     2048
time_embed.linear_2                                               2048    2048
preprocess_conv                                                   2304    2304    *
proj_in                                                           2304    2048
transformer_blocks.<36>.attn.to_(q|k|v)                           2048    2048
transformer_blocks.<36>.attn.to_out.0                             2048    2048
transformer_blocks.<36>.ff_in                                     2048    16384
transformer_blocks.<36>.ff_out                                    8192    2048
proj_out                                                          2048    128
postprocess_conv                                                  128     128     *
latent_conditioners.0                                             4096    2048    *
diffusion_transformer.transformer.project_in                      2304    2048
diffusion_transformer.transformer.project_out                     2048    128
diffusion_transformer.timestep_features                           1       128
diffusion_transformer.to_timestep_embed.0                         256     2048
diffusion_transformer.to_timestep_embed.2                         2048    2048
diffusion_transformer.preprocess_conv                             2304    2304    *
diffusion_transformer.postprocess_conv                            128     128     *
""")
STABLE_AUDIO_3_DIFFUSERS = Layout("""
to_timestep_embed.0                                               256     1536
to_(timestep|cond|global)_embed.2                                 1536    1536
to_(cond|global)_embed.0                                          768     1536
global_cond_embedder.0                                            1536    1536
global_cond_embedder.2                                            1536    9216
p(re|ost)process_conv                                             256     256     *
proj_in                                                           256     1536
proj_out                                                          1536    256
transformer_blocks.<24>.self_attn.to_qkv                          1536    7680
transformer_blocks.<24>.(self|cross)_attn.to_out                  1536    1536
transformer_blocks.<24>.cross_attn.to_q                           1536    3072
transformer_blocks.<24>.cross_attn.to_kv                          1536    4608
transformer_blocks.<24>.ff.proj_in                                1536    12288
transformer_blocks.<24>.ff.proj_out                               6144    1536
transformer_blocks.<24>.to_local_embed.0                          257     1536
transformer_blocks.<24>.to_local_embed.2                          1536    1536
""")
IDEOGRAM4_DIFFUSERS = Layout("""
layers.<34>.attention.to_(q|k|v)                                  4608    4608
layers.<34>.attention.to_out.0                                    4608    4608
""")
WAN_PARTS = Layout("""
pose_patch_embedding                                              16      5120    *
motion_encoder.enc.net_app.convs.0.0                              3       32      *
motion_encoder.enc.net_app.convs.1.conv1.0                        32      32      *
motion_encoder.enc.net_app.convs.2.conv1.0                        64      64      *
motion_encoder.enc.net_app.convs.3.conv1.0                        128     128     *
motion_encoder.enc.net_app.convs.4.conv1.0                        256     256     *
motion_encoder.enc.net_app.convs.<8>.conv1.0                      512     512     *
motion_encoder.enc.net_app.convs.1.(conv2|skip).1                 32      64      *
motion_encoder.enc.net_app.convs.2.(conv2|skip).1                 64      128     *
motion_encoder.enc.net_app.convs.3.(conv2|skip).1                 128     256     *
motion_encoder.enc.net_app.convs.4.(conv2|skip).1                 256     512     *
motion_encoder.enc.net_app.convs.<8>.(conv2|skip).1               512     512     *
motion_encoder.enc.net_app.convs.8                                512     512     *
motion_encoder.enc.fc.<4>                                         512     512
motion_encoder.enc.fc.4                                           512     20
motion_encoder.dec.direction                                      20      512
face_encoder.conv1_local.conv                                     512     4096    *
face_encoder.conv(2|3).conv                                       1024    1024    *
face_encoder.out_proj                                             1024    5120
trainable_cond_mask                                               5120    3
casual_audio_encoder.encoder.conv1_local.conv                     1024    5120    *
casual_audio_encoder.encoder.conv1_global.conv                    1024    1280    *
casual_audio_encoder.encoder.conv2.conv                           1280    2560    *
casual_audio_encoder.encoder.conv3.conv                           2560    5120    *
casual_audio_encoder.encoder.final_linear                         5120    5120
cond_encoder                                                      16      5120    *
audio_injector.injector_adain_layers.<12>.linear                  5120    10240
frame_packer.(proj|proj_2x|proj_4x)                               16      5120    *
audio_proj.audio_proj_glob_1.layer                                51200   512
audio_proj.audio_proj_glob_2.layer                                512     512
audio_proj.audio_proj_glob_3.layer                                512     24576
patch_embedding_pose                                              36      5120    *
pose_patch_embedding                                              16      5120    *
motion_encoder.conv_in                                            3       32      *
motion_encoder.res_blocks.0.conv1                                 32      32      *
motion_encoder.res_blocks.1.conv1                                 64      64      *
motion_encoder.res_blocks.2.conv1                                 128     128     *
motion_encoder.res_blocks.3.conv1                                 256     256     *
motion_encoder.res_blocks.<7>.conv(1|2|_skip)                     512     512     *
motion_encoder.res_blocks.0.conv(2|_skip)                         32      64      *
motion_encoder.res_blocks.1.conv(2|_skip)                         64      128     *
motion_encoder.res_blocks.2.conv(2|_skip)                         128     256     *
motion_encoder.res_blocks.3.conv(2|_skip)                         256     512     *
motion_encoder.conv_out                                           512     512     *
motion_encoder.motion_network.<4>                                 512     512
motion_encoder.motion_network.4                                   512     20
face_encoder.conv1_local                                          512     4096    *
face_encoder.conv(2|3)                                            1024    1024    *
face_encoder.out_proj                                             1024    5120
face_adapter.<8>.to_(q|k|v|out)                                   5120    5120
blocks.<40>.(self|cross)_attn.to_(q|k|v)                          5120    5120
blocks.<40>.(self|cross)_attn.to_out.0                            5120    5120
blocks.<40>.cross_attn.add_(k|v)_proj                             5120    5120
""")


def cosmos1(count: int) -> Layout:
    """NVIDIA's first Cosmos, whose blocks are numbered without a dot: `block0`."""
    blocks = f"({'|'.join(map(str, range(count)))})"
    return Layout(f"""
x_embedder.proj.1                                                 68      h
t_embedder.1.linear_1                                             h       h
t_embedder.1.linear_2                                             h       3h
blocks.block{blocks}.blocks.<2>.block.attn.to_(q|out).0 h       h
blocks.block{blocks}.blocks.0.block.attn.to_(k|v).0 h       h
blocks.block{blocks}.blocks.1.block.attn.to_(k|v).0 1024    h
blocks.block{blocks}.blocks.<3>.adaLN_modulation.1 h       256
blocks.block{blocks}.blocks.<3>.adaLN_modulation.2 256     3h
blocks.block{blocks}.blocks.2.block.layer1 h       4h
blocks.block{blocks}.blocks.2.block.layer2 4h      h
final_layer.linear                                                h       64
final_layer.adaLN_modulation.1                                    h       256
final_layer.adaLN_modulation.2                                    256     2h
""")
