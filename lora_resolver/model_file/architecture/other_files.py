"""Describes files that aren't LoRAs for a diffusion model.

This verdict needs evidence: an adapter's factors under the names of a language or vision model, or no factors at all. A
LoRA for a diffusion model that isn't known yet is "unknown", and never gets this verdict.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...text import quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from .modules import Group

__all__ = [
    "ENOUGH",
    "WHOLE_MODELS",
    "describe_companion",
    "describe_other_adapter",
    "describe_without_adapter",
    "kind_of_weights",
]

# Beginnings of the names of whole weights → what has them. The first one that matches any of a file's names counts.
_WHOLE: tuple[tuple[str, str], ...] = (
    (r"(emb_params|string_to_param|string_to_token|bundle_emb|clip_[lg]|t5xxl|<[^>]+>)$", "a textual inversion"),
    (r"w_[ab]_\d+$", "a LoRA for SAM, a segmentation model"),
    (r"(lora_controlnet|control_model\.|controlnet_|input_hint_block\.|zero_convs\.)", "a ControlNet"),
    (r"(adapter\.)?body\.\d+\.(block\d|in_conv|down_opt|resnets)\b", "a T2I adapter"),
    (r"(image_proj\.|ip_adapter\.|ip_adapter_)", "an IP-Adapter"),
    (r".*motion_modules\.", "a motion module of AnimateDiff"),
    (r"(model\.diffusion_model\.|cond_stage_model\.|conditioner\.)", "a whole checkpoint"),
    (r"(first_stage_model\.|vae\.|tae\w*_(en|de)coder\.)", "a VAE"),
    (r"(en|de)coder\.(\d+|conv_in|mid|mid_block|down_blocks|up_blocks|up|down)\b", "a VAE"),
    (r"(vision_model\.|visual\.)", "a vision model (CLIP vision or the like)"),
    (r"(text_model\.|transformer\.text_model\.|encoder\.block\.\d+\.layer\.|model\.layers\.\d+\.)", "a text encoder"),
    (r"(conv_first\.|body\.\d+\.|model\.\d+\.sub\.|upconv1\.)", "an upscaler"),
    (r"(diffusion_model\.|\w*_?blocks\.\d|layers\.\d)", "a whole diffusion model"),
)  # fmt: skip
WHOLE_MODELS = ("a whole checkpoint", "a whole diffusion model")
_WHOLE_PATTERNS = tuple((re.compile(pattern), what) for pattern, what in _WHOLE)

# Names that only an adapter for a language model alone has. The part before its layers shows this, not the layers' own
# names, which some diffusion models also have (ACE-Step 1.5, ERNIE-Image, HiDream-O1, Z-Image).
_LANGUAGE = re.compile(
    r"(base_model\.model\.)?("
    r"model\.(model\.)?((de|en)coder\.|language_model\.|text_model\.)?layers\.\d+\."
    r"(self_attn|self_attention|attention|attn|encoder_attn|mlp|mixer|block_sparse_moe|feed_forward|linear_attn|fc[12])\b"
    r"|language_model\.model\.layers\.\d+\."
    r"|transformer\.h\.\d+\.|gpt_neox\.layers\.\d+\.|backbone\.layers\.\d+\.mixer\."
    r"|transformer\.encoder\.layers\.\d+\.(self_attention|mlp)\.(query_key_value|dense)"
    r"|transformer\.blocks\.\d+\.attn\.Wqkv|transformer\.layer\.\d+\.attention\.(q|k|v|out)_lin"
    r"|((de|en)coder\.)?block\.\d+\.layer\.\d+\.(SelfAttention|EncDecAttention|DenseReluDense)\."
    r"|(\w+\.)?encoder\.layer\.\d+\.(attention|intermediate|output)\."
    r")"
)
_NAMED = re.compile(
    r"(base_model\.model\.)?(\w+\.)?(distilbert|bert|roberta|deberta|electra|albert|longformer|gpt_neox|vit|dinov2|"
    r"beit|swin\w*|clip|siglip|whisper|wav2vec2|hubert|wavlm|esm|opt|bart|t5|mt5|falcon|bloom|mamba|rwkv|sam|"
    r"image_encoder|vision_tower|vision_model|audio_tower|visual|score|classifier)\."
)
# Adapters of models that accompany a diffusion model. Their names are that model's own, except for these.
_COMPANIONS = (
    (
        re.compile(
            r"controlnet_(cond_embedding|(down_|single_)?blocks|mid_block|x_embedder|add)\b"
            r"|(^|[._])controlnet\.|(^|\.)control_model\.|^lora_controlnet"
        ),
        "a ControlNet, written as a LoRA",
    ),
    (re.compile(r"(^|\.)(ip_adapter\.\d|image_proj\.)"), "an IP-Adapter"),
    (re.compile(r"(^|[._])(mask_decoder|prompt_encoder|sam2?_\w+)[._]"), "an adapter for SAM, a segmentation model"),
    (re.compile(r"(^|\.)vision_encoder\.(layers|blocks)\.\d"), "an adapter for SAM or another vision model"),
    (re.compile(r"(^|[._])body\.\d+\.resnets"), "a T2I adapter"),
)  # fmt: skip
_MOTION = re.compile(r"motion_modules[._]\d")
# A name with one of these may belong to a diffusion model that isn't in the table.
_DIFFUSION = re.compile(
    r"cross_attn|attn[12]\b|adaln|modulation|transformer_blocks|_blocks\.|time_embed|timestep|noise|diffusion_model|"
    r"lora_unet|lora_transformer|lycoris|img_|txt_|image_proj|latent|patch_embed",
    re.IGNORECASE,
)
ENOUGH = 1_000
"""The most groups of modules that are checked. Only an artificial file has more."""
_MAYBE_ADAPTER = re.compile(r"\.alpha$|lora|lokr|loha|hada|adapter|vera|dora", re.IGNORECASE)


def kind_of_weights(names: Collection[str]) -> str:
    """What has weights with these names, such as "a VAE" or one of `WHOLE_MODELS`; "" if unknown."""
    for pattern, what in _WHOLE_PATTERNS:
        if any(map(pattern.match, names)):
            return what
    return ""


def describe_without_adapter(names: Collection[str]) -> str:
    """Describes a file without any module of an adapter; "" if its names suggest an adapter in an unknown form."""
    if not names:
        return "It holds no tensors."
    what = kind_of_weights(names)
    # A model's own weights have no alphas.
    if what and not (what in WHOLE_MODELS and any(name.endswith(".alpha") for name in names)):
        return f"It is {what}."
    if len(names) <= 4 and not any("." in name for name in names):
        return "It looks like a textual inversion."
    if any(map(_MAYBE_ADAPTER.search, names)):
        return ""
    return f"It has no tensor that is named as a LoRA's are, e.g. {quoted(next(iter(names)))}."


def describe_companion(names: Collection[str]) -> str:
    """Describes, by its modules' names, a file for a model that accompanies a diffusion model; else ""."""
    for pattern, what in _COMPANIONS:
        if any(map(pattern.search, names)):
            return f"It is {what}."
    moving = sum(_MOTION.search(name) is not None for name in names)
    return "It is a motion LoRA for AnimateDiff." if moving * 2 > len(names) else ""


def describe_other_adapter(foreign: Sequence[Group]) -> str:
    """Describes an adapter if most of its modules belong to a language or vision model; else ""."""
    names = [group.example for group in foreign[:ENOUGH]]
    if not names or any(map(_DIFFUSION.search, names)):
        return ""
    named = [name for name in names if _NAMED.match(name)]
    language = [name for name in names if _LANGUAGE.match(name)]
    if len({*named, *language}) * 2 <= len(names):
        return ""
    of_what = "a language model" if len(language) > len(named) else "a language or vision model"
    return f"It is an adapter for {of_what}: it changes {quoted(names[0])}."
