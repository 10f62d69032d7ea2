"""The table of families: for each, the names that its modules may have and their sizes.

A line is `pattern  inputs  outputs`. In a pattern `#` is any number, `<a-b>` a number from a to b, `(x|y)` either;
`*` at the end stands for any rest. A size is a number, several with commas, or `-` where it is not held against.
Names are written with `_` for `.`, without the trainers' prefixes.
Sources: the models' own code as ComfyUI and diffusers have it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["CUT_UNETS", "FAMILIES", "FAMILY_NAMES", "STACKS", "TEXT_ENCODERS", "Grammar"]


@dataclass(frozen=True)
class Line:
    """Names of some modules, and the sizes that they may have; an empty set is not held against."""

    pattern: str
    inputs: frozenset[int]
    outputs: frozenset[int]

    @cached_property
    def expression(self) -> re.Pattern[str]:
        """Compiled when it is first asked: most families never are, and this module is imported at ComfyUI's start."""
        text = re.sub(r"<(\d+)-(\d+)>", lambda match: _range(int(match[1]), int(match[2])), self.pattern)
        return re.compile(text.replace("#", r"\d+").replace("*", ".*"))


Grammar = tuple[Line, ...]

FAMILY_NAMES: Mapping[str, str] = {
    "sd1": "SD 1.x",
    "sd2": "SD 2.x",
    "sdxl": "SDXL",
    "sdxl_refiner": "SDXL refiner",
    "kolors": "Kolors",
    "sd3": "SD 3",
    "flux1": "FLUX.1",
    "flux2": "FLUX.2",
    "chroma": "Chroma",
    "qwen_image": "Qwen-Image",
    "qwen_image_2": "Qwen-Image 2",
    "z_image": "Z-Image",
    "lumina2": "Lumina 2",
    "wan_14b": "Wan 14B",
    "wan_5b": "Wan 2.2 5B",
    "wan_1_3b": "Wan 2.1 1.3B",
    "hunyuan_video": "HunyuanVideo",
    "hunyuan_image": "HunyuanImage",
    "ltxv": "LTX-Video",
    "ltx2": "LTX-2",
    "hidream": "HiDream",
    "auraflow": "AuraFlow",
    "pixart": "PixArt",
    "cascade": "Stable Cascade",
    "anima": "Anima",
    "cosmos_predict2": "Cosmos-Predict2",
    "krea2": "Krea 2",
    "minimax_h3": "MiniMax H3",
    "ernie_image": "ERNIE-Image",
    "mochi": "Mochi",
    "omnigen2": "OmniGen2",
    "ace_step": "ACE-Step",
    "stable_audio": "Stable Audio",
}


def _grammar(text: str) -> Grammar:
    return tuple(_line(*line.split()) for line in text.strip().splitlines() if line.strip())


def _line(pattern: str, inputs: str = "-", outputs: str = "-") -> Line:
    return Line(pattern, _numbers(inputs), _numbers(outputs))


def _range(first: int, last: int) -> str:
    return "(?:" + "|".join(str(number) for number in range(last, first - 1, -1)) + ")"


def _numbers(text: str) -> frozenset[int]:
    return frozenset() if text == "-" else frozenset(int(part) for part in text.split(","))


def _unet(blocks: Iterable[tuple[str, int, int]], rest: str, context: int) -> Grammar:
    """A UNet: attention blocks as (pattern, width, transformer depth), and everything else as lines."""
    lines = []
    for at, width, depth in blocks:
        inner = f"{at}_transformer_blocks_<0-{depth - 1}>"
        lines.append(f"""
            {at}_proj_(in|out) {width} {width}
            {inner}_attn1_to_(q|k|v|out(_0)?) {width} {width}
            {inner}_attn2_to_(q|out(_0)?) {width} {width}
            {inner}_attn2_to_(k|v) {context} {width}
            {inner}_ff_net_0_proj {width} {width * 8}
            {inner}_ff_net_2 {width * 4} {width}
            {inner}_norm# - {width}
            {at}_norm - {width}
        """)
    return _grammar("".join(lines) + rest)


_SD1_BLOCKS = (
    (
        "(down_blocks_0_attentions_[01]|input_blocks_[12]_1|up_blocks_3_attentions_[012]|output_blocks_(9|10|11)_1)",
        320,
        1,
    ),
    (
        "(down_blocks_1_attentions_[01]|input_blocks_[45]_1|up_blocks_2_attentions_[012]|output_blocks_[678]_1)",
        640,
        1,
    ),
    (
        (
            "(down_blocks_2_attentions_[01]|input_blocks_[78]_1|mid_block_attentions_0|middle_block_1|"
            "up_blocks_1_attentions_[012]|output_blocks_[345]_1)"
        ),
        1280,
        1,
    ),
)
_SDXL_BLOCKS = (
    (
        "(down_blocks_1_attentions_[01]|input_blocks_[45]_1|up_blocks_1_attentions_[012]|output_blocks_[345]_1)",
        640,
        2,
    ),
    (
        (
            "(down_blocks_2_attentions_[01]|input_blocks_[78]_1|mid_block_attentions_0|middle_block_1|"
            "up_blocks_0_attentions_[012]|output_blocks_[012]_1)"
        ),
        1280,
        10,
    ),
)
_REFINER_BLOCKS = (
    (
        "(down_blocks_1_attentions_[01]|input_blocks_[45]_1|up_blocks_2_attentions_[012]|output_blocks_[678]_1)",
        768,
        4,
    ),
    (
        (
            "(down_blocks_2_attentions_[01]|input_blocks_[78]_1|mid_block_attentions_0|middle_block_1|"
            "up_blocks_1_attentions_[012]|output_blocks_[345]_1)"
        ),
        1536,
        4,
    ),
)
_UNET_REST = """
    (down_blocks_[{d}]_(resnets|downsamplers)|up_blocks_[{d}]_(resnets|upsamplers)|mid_block_resnets)_*
    (input_blocks|output_blocks)_<0-{last}>_#_(in_layers|out_layers|emb_layers|skip_connection|op|conv)*
    (input_blocks_0_0|middle_block_[02]_*|out_[02]|conv_in|conv_out|conv_norm_out|time_embed*|add_embedding*|label_emb*)
"""
_FOUR_LEVELS = _UNET_REST.format(d="0-3", last=11)
_THREE_LEVELS = _UNET_REST.format(d="0-2", last=8)
_SDXL = _unet(_SDXL_BLOCKS, _THREE_LEVELS, 2048)


def _any_unet(context: int) -> Grammar:
    """A UNet of another layout (SSD-1B, Vega, KOALA and other cuts), told by the width of its text alone."""
    diffusers = "down_blocks_#_attentions_#|up_blocks_#_attentions_#|mid_block_attentions_0"
    at = f"({diffusers}|input_blocks_#_1|middle_block_1|output_blocks_#_1)"
    return _grammar(f"""
        {at}_transformer_blocks_#_attn2_to_(k|v) {context} -
        {at}_transformer_blocks_#_(attn1|ff|norm)*
        {at}_transformer_blocks_#_attn2_to_(q|out)*
        {at}_(proj_in|proj_out|norm)
        {_FOUR_LEVELS}
    """)


# SDXL's UNet, but no trainer of Kolors writes the names of SDXL's original code.
_KOLORS = (
    *_unet(
        (
            ("(down_blocks_1_attentions_[01]|up_blocks_1_attentions_[012])", 640, 2),
            ("(down_blocks_2_attentions_[01]|mid_block_attentions_0|up_blocks_0_attentions_[012])", 1280, 10),
        ),
        "(down_blocks_[0-2]|up_blocks_[0-2]|mid_block)_(resnets|downsamplers|upsamplers)_*\nconv_(in|out)",
        2048,
    ),
    *_grammar("encoder_hid_proj* - 2048"),
)

_FLUX_ATTENTION = """
    double_blocks_<0-{double}>_(img|txt)_attn_qkv 3072 9216
    double_blocks_<0-{double}>_(img|txt)_attn_proj 3072 3072
    double_blocks_<0-{double}>_(qkv|proj)[12] - -
    double_blocks_<0-{double}>_(img|txt)_attn_norm* - -
    double_blocks_<0-{double}>_(img|txt)_mlp_0 3072 12288
    double_blocks_<0-{double}>_(img|txt)_mlp_2 12288 3072
    single_blocks_<0-{single}>_linear1 3072 21504
    single_blocks_<0-{single}>_linear1_(qkv|mlp) 3072 9216,12288
    single_blocks_<0-{single}>_(qkv|proj) - -
    single_blocks_<0-{single}>_linear2 15360 3072
    single_blocks_<0-{single}>_norm* - -
    final_layer_linear 3072 -
    img_in 16,64,128,320,384 3072
    txt_in 4096 3072
"""
_FLUX_DIFFUSERS_ATTENTION = """
    transformer_blocks_<0-{double}>_attn_to_(q|k|v|out_0|add_out) 3072 3072
    transformer_blocks_<0-{double}>_attn_add_(q|k|v)_proj 3072 3072
    transformer_blocks_<0-{double}>_attn_norm* - -
    transformer_blocks_<0-{double}>_ff(_context)?_net_0_proj 3072 12288
    transformer_blocks_<0-{double}>_ff(_context)?_net_2 12288 3072
    single_transformer_blocks_<0-{single}>_attn_to_(q|k|v) 3072 3072
    single_transformer_blocks_<0-{single}>_attn_norm* - -
    single_transformer_blocks_<0-{single}>_proj_mlp 3072 12288
    single_transformer_blocks_<0-{single}>_proj_out 15360 3072
    x_embedder 16,64,128,320,384 3072
    context_embedder 4096 3072
    proj_out 3072 -
"""
_FLUX_MODULATION = """
    double_blocks_#_(img|txt)_mod_lin 3072 18432
    single_blocks_#_modulation_lin 3072 9216
    final_layer_adaLN_modulation_1 3072 6144
    (time_in|guidance_in)_(in_layer|out_layer) 256,3072 3072
    vector_in_(in_layer|out_layer) 768,3072 3072
    transformer_blocks_#_norm1(_context)?_linear 3072 18432
    single_transformer_blocks_#_norm_linear 3072 9216
    norm_out_linear 3072 6144
    time_text_embed_* - 3072
"""
_CHROMA_ONLY = "distilled_guidance_layer_*\ndistilled_guidance_layer*"
_FLUX = _FLUX_ATTENTION.format(double=18, single=37) + _FLUX_DIFFUSERS_ATTENTION.format(double=18, single=37)

_HUNYUAN_VIDEO = (
    _FLUX_ATTENTION.format(double=19, single=39)
    + _FLUX_DIFFUSERS_ATTENTION.format(double=19, single=39)
    + """
    double_blocks_#_(img|txt)_(mod_lin|mod_linear) 3072 18432
    double_blocks_<0-19>_(img|txt)_mlp_fc1 3072 12288
    double_blocks_<0-19>_(img|txt)_mlp_fc2 12288 3072
    single_blocks_<0-39>_modulation_(lin|linear) 3072 9216
    (txt_in_individual_token_refiner|txt_in_c_embedder|txt_in_t_embedder|txt_in_input_embedder|context_embedder)_*
    (img_in_proj|vector_in|time_in|guidance_in|final_layer)_*
"""
)


def _flux2(hidden: int, double: int, single: int, text: int) -> Grammar:
    return _grammar(f"""
        double_blocks_<0-{double}>_(img|txt)_attn_qkv {hidden} {hidden * 3}
        double_blocks_<0-{double}>_(img|txt)_attn_proj {hidden} {hidden}
        double_blocks_<0-{double}>_(img|txt)_mlp_0 {hidden} {hidden * 6}
        double_blocks_<0-{double}>_(img|txt)_mlp_2 {hidden * 3} {hidden}
        double_blocks_<0-{double}>_(img|txt)_attn_norm*
        single_blocks_<0-{single}>_linear1 {hidden} {hidden * 9}
        single_blocks_<0-{single}>_linear2 {hidden * 4} {hidden}
        single_blocks_<0-{single}>_norm*
        double_stream_modulation_(img|txt)_(lin|linear) {hidden} {hidden * 6}
        single_stream_modulation_(lin|linear) {hidden} {hidden * 3}
        (txt_in|context_embedder) {text} {hidden}
        (img_in|x_embedder) 128 {hidden}
        final_layer_linear {hidden} -
        final_layer_adaLN_modulation_1 {hidden} {hidden * 2}
        (time_in|guidance_in)_*
        time_guidance_embed_*
        transformer_blocks_<0-{double}>_attn_to_(q|k|v|out_0|add_out) {hidden} {hidden}
        transformer_blocks_<0-{double}>_attn_add_(q|k|v)_proj {hidden} {hidden}
        transformer_blocks_<0-{double}>_ff(_context)?_linear_in {hidden} {hidden * 6}
        transformer_blocks_<0-{double}>_ff(_context)?_linear_out {hidden * 3} {hidden}
        single_transformer_blocks_<0-{single}>_attn_to_qkv_mlp_proj {hidden} {hidden * 9}
        single_transformer_blocks_<0-{single}>_attn_to_out {hidden * 4} {hidden}
        norm_out_linear {hidden} {hidden * 2}
        proj_out {hidden} -
    """)


def _sd3(hidden: int, depth: int) -> Grammar:
    last = depth - 1
    return _grammar(f"""
        joint_blocks_<0-{last}>_(context|x)_block_attn2?_qkv {hidden} {hidden * 3}
        joint_blocks_<0-{last}>_(context|x)_block_attn2?_proj {hidden} {hidden}
        joint_blocks_<0-{last}>_(context|x)_block_attn2?_ln_*
        joint_blocks_<0-{last}>_(context|x)_block_mlp_fc1 {hidden} {hidden * 4}
        joint_blocks_<0-{last}>_(context|x)_block_mlp_fc2 {hidden * 4} {hidden}
        joint_blocks_<0-{last}>_(context|x)_block_adaLN_modulation_1 {hidden} -
        transformer_blocks_<0-{last}>_attn2?_to_(q|k|v|out_0|add_out) {hidden} {hidden}
        transformer_blocks_<0-{last}>_attn_add_(q|k|v)_proj {hidden} {hidden}
        transformer_blocks_<0-{last}>_ff(_context)?_net_0_proj {hidden} {hidden * 4}
        transformer_blocks_<0-{last}>_ff(_context)?_net_2 {hidden * 4} {hidden}
        transformer_blocks_<0-{last}>_norm1(_context)?_linear {hidden} -
        (context_embedder|x_embedder_proj|pos_embed_proj|y_embedder_*|t_embedder_*|time_text_embed_*) - {hidden}
        (final_layer_*|norm_out_linear|proj_out) {hidden} -
    """)


# Names that only SD 3's own code has: a model of its layout at another width is SD 3's as well.
_SD3_NAMES = _grammar("""
    joint_blocks_#_(context|x)_block_*
    (context_embedder|x_embedder_proj|final_layer_*)
""")


def _wan(hidden: int, feed_forward: int, depth: int, text: int = 4096) -> Grammar:
    last = depth - 1
    return _grammar(f"""
        (vace_)?blocks_<0-{last}>_(self|cross)_attn_(q|k|v|o) {hidden} {hidden}
        (vace_)?blocks_<0-{last}>_cross_attn_(k|v)_img {hidden} {hidden}
        (vace_)?blocks_<0-{last}>_(self|cross)_attn_norm*
        (vace_)?blocks_<0-{last}>_(norm#|modulation)*
        (vace_)?blocks_<0-{last}>_ffn_0 {hidden} {feed_forward}
        (vace_)?blocks_<0-{last}>_ffn_2 {feed_forward} {hidden}
        (vace_)?blocks_<0-{last}>_(before_proj|after_proj|proj_in|proj_out) {hidden} {hidden}
        (vace_)?blocks_<0-{last}>_attn[12]_(to_(q|k|v|out_0)|add_(k|v)_proj) {hidden} {hidden}
        (vace_)?blocks_<0-{last}>_attn[12]_norm*
        (vace_)?blocks_<0-{last}>_ffn_net_0_proj {hidden} {feed_forward}
        (vace_)?blocks_<0-{last}>_ffn_net_2 {feed_forward} {hidden}
        text_embedding_# {text},{hidden} {hidden}
        time_embedding_# 256,{hidden} {hidden}
        time_projection_1 {hidden} {hidden * 6}
        img_emb_proj_# 1280,{hidden} 1280,{hidden}
        (vace_)?patch_embedding - {hidden}
        condition_embedder_*
        (head_head|proj_out) {hidden} -
        (head_modulation|ref_conv)*
    """)


_QWEN_IMAGE = _grammar("""
    transformer_blocks_<0-59>_attn_to_(q|k|v|out_0|add_out) 3072 3072
    transformer_blocks_<0-59>_attn_add_(q|k|v)_proj 3072 3072
    transformer_blocks_<0-59>_attn_norm*
    transformer_blocks_<0-59>_(img|txt)_mlp_net_0_proj 3072 12288
    transformer_blocks_<0-59>_(img|txt)_mlp_net_2 12288 3072
    transformer_blocks_<0-59>_(img|txt)_mod_1 3072 18432
    (img_in|txt_in|txt_norm|proj_out|norm_out_linear|time_text_embed_*) - -
""")
_QWEN_IMAGE_2 = _grammar("""
    transformer_blocks_#_attn_(to_(q|k|v|out_0|add_out)|add_(q|k|v)_proj) 4096 1024,4096
    transformer_blocks_#_(img|txt)_mlp_gate_up 4096 24576
    transformer_blocks_#_(img|txt)_mlp_out 12288 4096
    transformer_blocks_#_(img|txt)_mlp_(gate|up|down|fc#|net_*)
    transformer_blocks_#_(img|txt)_mod_* 4096 -
    transformer_blocks_#_attn_norm*
    (img_in|txt_in|txt_norm|proj_out|norm_out_linear|time_text_embed_*) - -
""")


def _layers(hidden: int, qkv: int, feed_forward: int, depth: int, modulation: int) -> Grammar:
    """Z-Image and Lumina 2: one layout at two sizes."""
    at = f"(layers_<0-{depth - 1}>|(noise|context)_refiner_[01])"
    return _grammar(f"""
        {at}_attention_to_(q|k|v|out(_0)?) {hidden} -
        {at}_(attention|attn)_(to_)?(q|k)_?norm*
        {at}_attention_norm*
        {at}_ffn_norm*
        {at}_norm[12] - -
        {at}_attention_qkv {hidden} {qkv}
        {at}_attention_out {hidden} {hidden}
        {at}_attn_to_(q|k|v|out_0) {hidden} -
        {at}_feed_forward_(w[13]|linear_[13]) {hidden} {feed_forward}
        {at}_feed_forward_(w2|linear_2) {feed_forward} {hidden}
        {at}_(adaLN_modulation_{modulation}|norm1_linear) - {hidden * 4}
        (all_)?(final_layer|x_embedder|cap_embedder|t_embedder|time_caption_embed|norm_out)_*
        x_embedder - {hidden}
    """)


def _cosmos(hidden: int, context: int, depth: int) -> Grammar:
    last = depth - 1
    return _grammar(f"""
        blocks_<0-{last}>_self_attn_(q|k|v|output)_proj {hidden} {hidden}
        blocks_<0-{last}>_cross_attn_(q|output)_proj {hidden} {hidden}
        blocks_<0-{last}>_cross_attn_(k|v)_proj {context} {hidden}
        blocks_<0-{last}>_(self|cross)_attn_(q|k)_norm*
        blocks_<0-{last}>_mlp_layer1 {hidden} {hidden * 4}
        blocks_<0-{last}>_mlp_layer2 {hidden * 4} {hidden}
        blocks_<0-{last}>_adaln_modulation_(self_attn|cross_attn|mlp)_1 {hidden} 256
        blocks_<0-{last}>_adaln_modulation_(self_attn|cross_attn|mlp)_2 256 {hidden * 3}
        transformer_blocks_<0-{last}>_attn1_to_(q|k|v|out_0) {hidden} {hidden}
        transformer_blocks_<0-{last}>_attn2_to_(q|out_0) {hidden} {hidden}
        transformer_blocks_<0-{last}>_attn2_to_(k|v) {context} {hidden}
        transformer_blocks_<0-{last}>_ff_net_0_proj {hidden} {hidden * 4}
        transformer_blocks_<0-{last}>_ff_net_2 {hidden * 4} {hidden}
        transformer_blocks_<0-{last}>_norm#_linear_[12] - -
        (x_embedder|t_embedder|final_layer)_*
    """)


def _pixart_like(hidden: int, depth: int, context: int, extra: str = "") -> Grammar:
    last = depth - 1
    return _grammar(
        f"""
        transformer_blocks_<0-{last}>_attn1_to_(q|k|v|out_0) {hidden} {hidden}
        transformer_blocks_<0-{last}>_attn2_to_(q|out_0) {hidden} {hidden}
        transformer_blocks_<0-{last}>_attn2_to_(k|v) {context} {hidden}
        transformer_blocks_<0-{last}>_attn[12]_norm*
        transformer_blocks_<0-{last}>_ff_net_0_proj {hidden} {hidden * 4}
        transformer_blocks_<0-{last}>_ff_net_2 {hidden * 4} {hidden}
        (adaln_single|caption_projection|pos_embed|time_embed)_*
        (patchify_proj|proj_in) - {hidden}
        proj_out {hidden} -
    """
        + extra
    )


_LTX2_AUDIO = """
        transformer_blocks_<0-47>_(audio_|video_to_audio_|audio_to_video_)(attn#?|ff)_*
        transformer_blocks_<0-47>_audio_*
        audio_*
        av_ca_*
"""
_AURAFLOW = _grammar("""
    (joint_transformer_blocks_<0-3>|single_transformer_blocks_<0-31>)_attn_to_(q|k|v|out_0|add_out) 3072 3072
    (joint_transformer_blocks_<0-3>|single_transformer_blocks_<0-31>)_attn_add_(q|k|v)_proj 3072 3072
    (joint_transformer_blocks_<0-3>|single_transformer_blocks_<0-31>)_ff(_context)?_(linear_[12]|out_projection) - -
    (joint_transformer_blocks_<0-3>|single_transformer_blocks_<0-31>)_norm1(_context)?_linear 3072 -
    (double_layers_<0-3>|single_layers_<0-31>)_*
    (context_embedder|pos_embed_*|time_step_proj_*|norm_out_linear|proj_out|cond_seq_linear|init_x_linear|final_linear)
""")

_KREA2 = _grammar("""
    blocks_#_attn_(gate|wq|wo) 6144 6144
    blocks_#_attn_(wk|wv) 6144 1536
    blocks_#_mlp_* 6144,16384 -
    (txtfusion|txt|first|last|tmlp|tproj|blocks_#_mod)*
""")
_MINIMAX_H3 = _grammar("""
    (token_refiner_)?blocks_#_attn_qkv_proj 5376 -
    (token_refiner_)?blocks_#_attn_(o|out)_proj - 5376
    (token_refiner_)?blocks_#_mlp_fc1 5376 28672
    (token_refiner_)?blocks_#_mlp_fc2 - 5376
    (token_refiner_)?blocks_#_(mod|norm|adaln)*
""")
_HIDREAM = _grammar("""
    (double|single)_stream_blocks_#_block_*
    (caption_projection|x_embedder|t_embedder|p_embedder|final_layer)_*
""")
_CASCADE = _grammar("""
    (down|up)_blocks_#_#_(attention|kv_mapper|channelwise|depthwise|mapper)*
    (clip|clf|embedding|effnet|clip_txt|clip_img)*mapper*
""")
_ERNIE_IMAGE = _grammar("""
    layers_#_self_attention_*
    layers_#_mlp_(gate_proj|up_proj|linear_fc[12]|down_proj)
""")
_ACE_STEP = _grammar("""
    transformer_blocks_<0-23>_(attn|cross_attn)_(to_(q|k|v|out_0|add_out)|add_(q|k|v)_proj) 2560 -
    transformer_blocks_<0-23>_ff_*
    (speaker_embedder|genre_embedder|lyric_*|t_block_1|timestep_embedder_*|final_layer_*|proj_in_*)
""")
_MOCHI = _grammar("""
    blocks_#_attn_(qkv_[xy]|proj_[xy]) 1536,3072 -
    blocks_#_(mlp_[xy]|mod_[xy])*
""")
_OMNIGEN2 = _grammar("""
    (layers|noise_refiner|ref_image_refiner|context_refiner)_#_attn_to_(q|k|v|out_0) 2520 -
    (layers|noise_refiner|ref_image_refiner|context_refiner)_#_(feed_forward|norm)*
""")
_STABLE_AUDIO = _grammar("""
    transformer_layers_#_(self_attn|cross_attn|ff)_*
    (to_cond_embed|to_global_embed|to_timestep_embed|transformer_project_*)*
""")

FAMILIES: Mapping[str, tuple[Grammar, ...]] = {
    "sd1": (_unet(_SD1_BLOCKS, _FOUR_LEVELS, 768),),
    "sd2": (_unet(_SD1_BLOCKS, _FOUR_LEVELS, 1024),),
    "sdxl": (_SDXL,),
    "sdxl_refiner": (_unet(_REFINER_BLOCKS, _FOUR_LEVELS, 1280),),
    "kolors": (_KOLORS,),
    "sd3": (
        _sd3(1536, 24),
        _sd3(2432, 38),
        _SD3_NAMES,
    ),
    "flux1": (_grammar(_FLUX + _FLUX_MODULATION),),
    "chroma": (_grammar(_FLUX + _CHROMA_ONLY),),
    "flux2": (
        _flux2(6144, 7, 47, 15360),
        _flux2(4096, 7, 23, 12288),
        _flux2(3072, 4, 19, 7680),
    ),
    "hunyuan_video": (_grammar(_HUNYUAN_VIDEO),),
    "qwen_image": (_QWEN_IMAGE,),
    "qwen_image_2": (_QWEN_IMAGE_2,),
    "z_image": (_layers(3840, 11520, 10240, 30, 0),),
    "lumina2": (_layers(2304, 3840, 9216, 26, 1),),
    "wan_14b": (_wan(5120, 13824, 40),),
    "wan_5b": (_wan(3072, 14336, 30),),
    "wan_1_3b": (_wan(1536, 8960, 30),),
    "anima": ((*_cosmos(2048, 1024, 28), *_grammar("llm_adapter_*")),),
    "cosmos_predict2": (
        _cosmos(2048, 1024, 28),
        _cosmos(5120, 1024, 36),
    ),
    "krea2": (_KREA2,),
    "minimax_h3": (_MINIMAX_H3,),
    "hidream": (_HIDREAM,),
    "auraflow": (_AURAFLOW,),
    "pixart": (_pixart_like(1152, 28, 1152),),
    "ltxv": (
        _pixart_like(2048, 28, 2048),
        _pixart_like(4096, 48, 4096),
    ),
    "ltx2": (_pixart_like(4096, 48, 4096, _LTX2_AUDIO),),
    "cascade": (_CASCADE,),
    "ernie_image": (_ERNIE_IMAGE,),
    "ace_step": (_ACE_STEP,),
    "mochi": (_MOCHI,),
    "omnigen2": (_OMNIGEN2,),
    "stable_audio": (_STABLE_AUDIO,),
}
# Asked only when no family's own grammar takes a file.
CUT_UNETS: Mapping[str, tuple[Grammar, ...]] = {
    "sd1": (_any_unet(768),),
    "sd2": (_any_unet(1024),),
    "sdxl": (_any_unet(2048),),
    "sdxl_refiner": (_any_unet(1280),),
}

_CLIP = """
    (text_model_)?(encoder_layers|transformer_resblocks)_#_* {width},{wide} {width},{wide}
    (text_model_)?(embeddings|final_layer_norm)*
    text_projection
"""
_CLIP_L = _grammar(_CLIP.format(width=768, wide=3072))
_CLIP_H = _grammar(_CLIP.format(width=1024, wide=4096))
_CLIP_G = _grammar(_CLIP.format(width=1280, wide=5120))
_T5 = _grammar("(encoder_)?block_#_layer_#_*")
_LANGUAGE_MODEL = _grammar("(model_)?layers_#_(self_attn|mlp)_*")

# Family → text encoder, by how its prefix names it ("te": `lora_te_`, "text_encoder": the first of diffusers').
TEXT_ENCODERS: Mapping[str, Mapping[str, Grammar]] = {
    "sd1": {"te": _CLIP_L, "te1": _CLIP_L, "text_encoder": _CLIP_L},
    "sd2": {"te": _CLIP_H, "text_encoder": _CLIP_H},
    "sdxl": {"te1": _CLIP_L, "te2": _CLIP_G, "text_encoder": _CLIP_L},
    "sdxl_refiner": {"te2": _CLIP_G},
    "sd3": {"te1": _CLIP_L, "te2": _CLIP_G, "te3": _T5, "text_encoder": _CLIP_L},
    "flux1": {"te1": _CLIP_L, "te2": _T5, "text_encoder": _CLIP_L},
    "hunyuan_video": {"te1": _LANGUAGE_MODEL, "te2": _CLIP_L, "text_encoder": _LANGUAGE_MODEL},
    "cascade": {"te": _CLIP_G},
    "chroma": {"te1": _T5, "te2": _T5, "te3": _T5},
    "pixart": {"te": _T5, "te1": _T5},
    "anima": {"te": _LANGUAGE_MODEL, "te1": _LANGUAGE_MODEL},
}

# Family → how many blocks its stacks have, for each of its namings.
_BFL = ("double_blocks", "single_blocks")
_DIFFUSERS = ("transformer_blocks", "single_transformer_blocks")
STACKS: Mapping[str, tuple[Mapping[str, int], ...]] = {
    "flux1": (dict(zip(_BFL, (19, 38))), dict(zip(_DIFFUSERS, (19, 38)))),
    "chroma": (dict(zip(_BFL, (19, 38))), dict(zip(_DIFFUSERS, (19, 38)))),
    "hunyuan_video": (dict(zip(_BFL, (20, 40))), dict(zip(_DIFFUSERS, (20, 40)))),
}
