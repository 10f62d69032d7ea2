"""Splits the names in a LoRA file: which module a tensor belongs to, and which part of the module's adapter it is.

A tensor's name is prefix, module, role: `lora_unet_` `down_blocks_0_…_to_q` `.lora_down.weight`. The roles have the
same names for the files of all trainers, and `place_of` returns the same place for all spellings of a module.
Formats: kohya-ss/sd-scripts and musubi-tuner, KohakuBlueleaf/LyCORIS, huggingface/peft and diffusers, OneTrainer and
OMI, XLabs-AI/x-flux, cloneofsimo/lora.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = [
    "BIAS",
    "ROLES_BY_ENDING",
    "SCALE",
    "Place",
    "is_flattened",
    "part_of_slot",
    "place_of",
    "split_name",
]

_UP_OR_DOWN = "up or down"  # the part before it distinguishes it from a model's own `mlp.up`
BIAS, SCALE = " bias", " scale"
"""Endings of the roles of a factor's own bias (peft's `lora_bias`) and of its scale (fp8 files)."""

# The last part of a tensor's name (before `.weight`) → role. Names that aren't listed aren't part of an adapter.
_ROLES = {
    "lora_down": "down", "lora_A": "down", "lora_up": "up", "lora_B": "up", "lora_mid": "mid",
    "down": _UP_OR_DOWN, "up": _UP_OR_DOWN,
    "alpha": "alpha", "lora_alpha": "alpha", "network_alpha": "alpha",
    "dora_scale": "dora_scale", "lora_magnitude_vector": "dora_scale",
    "rescale": "rescale", "boft_s": "rescale",
    **{name: name for name in (
        "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2",
        "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2",
        "oft_blocks", "oft_diag", "oft_R", "boft_R", "a1", "a2", "b1", "b2",
        "diff", "diff_b", "set_weight", "w_norm", "b_norm", "reshape_weight",
    )},
    "on_input": "ia3", "ia3_l": "ia3",
}  # fmt: skip
ROLES_BY_ENDING = {
    last + weight: role for last, role in _ROLES.items() if role != _UP_OR_DOWN for weight in ("", ".weight")
}
"""The part after the first dot of a name with a flattened module → role. It makes thousands of lookups fast."""

# `to_q.lora.down`, `to_q_lora.down`, `to_q.lora_linear_layer.down`.
_BEFORE_UP = re.compile(r"[._]lora(?:_linear_layer)?$")
# XLabs' `qkv_lora1.down`, and the positional `unet:12:down` and `text_encoder:3:down`.
_WHOLE_BEFORE_UP = re.compile(r".*_lora\d?|(?:unet|text_encoder)\.\d+")
# peft puts the adapter's name after the role: `lora_A.default.weight`, `hada_w1_a.my_style`.
_NAMED_ADAPTER = re.compile(
    r"(?P<stem>.+)\.(?P<role>lora_[AB]|lora_magnitude_vector|hada_\w+|lokr_\w+|oft_R|boft_[Rs]|ia3_l)\.[^.]+"
)
# Endings of tensors that belong to a factor: its own bias, and the number that multiplies it in fp8 files.
_SCALES = (".scale_weight", ".weight_scale", ".weight_scale_inv", ".scale")
_ENDINGS = ((".bias", BIAS), *((ending, SCALE) for ending in _SCALES))
# Endings of tensors that quantization tools store with a weight. No adapter has such a name.
_MARKS = (".input_scale", ".output_scale", ".comfy_quant", ".weight_zero_point", ".zero_point", ".scaled_fp8")
# Endings that aren't an adapter's name, but describe a factor or its bias.
_OF_A_FACTOR = re.compile(
    r"\.(?:\w+_)?(?:scale|scales|bias|zero_point|absmax|quant_map|quant_state\w*|shape)(?:_\d)?$"
)
# kohya's OFT for FLUX: each tensor is for a part of the outputs, in the order of q, k, v, …
_OFT_PART = re.compile(r"(?P<stem>.+)\.(?P<role>oft_blocks\.\d+)")
# Names from a faulty conversion, found in published files: `lora_unet_…_to_q_lora_down.weight`.
_FLATTENED = re.compile(r"(.+)_(lora_(?:down|up|mid|A|B)|alpha)$")

_ENCODER_SLOTS = (
    (re.compile(r"lora_prior_te_"), "prior_te"),
    (re.compile(r"lora_te(\d?)_"), "te"),
    (re.compile(r"(?:base_model\.model\.)?te(\d?)[._]"), "te"),
    (re.compile(r"(?:text_encoders\.)?(clip_[lgh]|t5xxl|t5(?=\.encoder\.))\.(?:transformer\.)?"), ""),
    (re.compile(r"text_encoders\.(\w+)\.(?:transformer\.)?"), "encoder "),
    (re.compile(r"(?:base_model\.model\.)?text_encoder(_\d)?[._](?:base_model\.model\.)?"), "text_encoder"),
    (re.compile(r"(?:base_model\.model\.)?(?=text_model[._]encoder[._])"), "bare"),
)
_ENCODER_START = re.compile(
    r"lora_(?:prior_)?te|te\d?[._]|text_|clip_[lgh]\.|t5(?:xxl)?\.|base_model\.model\.te"
)
_PARTS = {
    "te": "te1", "te1": "te1", "te2": "te2", "te3": "te3", "bare": "te1", "prior_te": "te1",
    "text_encoder": "te1", "text_encoder_2": "te2", "text_encoder_3": "te3",
    "clip_l": "te1", "clip_h": "te1", "clip_g": "te2", "t5xxl": "te3",
}  # fmt: skip

_FLAT_PREFIX = r"lora_unet__?|lora_transformer_|lora_prior_unet_|lycoris_|oft_unet_|Hunyuan_video_I2V_lora_"
_PREFIX = re.compile(
    rf"(?:{_FLAT_PREFIX}|base_model\.model\.|base_model\.|diffusion_model\.|transformer(?:_2)?\.|unet[._](?=[a-z])"
    # `base_model.model.model.layers` belongs to a language model. No diffusion model has such names.
    r"|model\.(?!layers\.|decoder\.layers\.|language_model\.|visual\.)|_orig_mod\.|module\."
    r"|net\.|dit\.|pipe\.)+"
)
_FLAT = re.compile(_FLAT_PREFIX)
_PROCESSOR = re.compile(r"[._]processor(?=[._]to_)")


class Place(NamedTuple):
    """Where a module belongs: the part of the pipeline, its name without prefix, whether a trainer flattened it."""

    slot: str
    template: str
    flat: bool


def split_name(name: str) -> tuple[str, str]:
    """(module, role) of a tensor's name; ("", "") if it isn't part of an adapter. Never raises; linear time."""
    stem, _, ending = name.partition(".")
    role = ROLES_BY_ENDING.get(ending)  # names that a trainer flattened have no other dot
    if role is None:
        stem, _, last = name.removesuffix(".weight").rpartition(".")
        role = _ROLES.get(last)
    if role is not None and role != _UP_OR_DOWN:
        # `to_q.lora.alpha` belongs to `to_q.lora.up.weight`.
        if role == "alpha" and stem.endswith(("lora", "lora_linear_layer")):
            return _BEFORE_UP.sub("", stem), role
        return stem, role
    return _split_unusual(name)


def _split_unusual(name: str) -> tuple[str, str]:
    """Like `split_name`, for a name in one of the rarer forms."""
    base = name.replace(":", ".").removesuffix(".weight")
    if base.endswith(_MARKS):
        return "", ""
    for ending, kind in _ENDINGS:
        if base.endswith(ending):
            stem, role = _split_plain(base.removesuffix(ending).removesuffix(".weight"))
            return (stem, role + kind) if _may_have(role, kind) else ("", "")
    return _split_plain(base)


def _may_have(role: str, kind: str) -> bool:
    if kind == BIAS:
        return role in ("up", "down")
    return role not in ("", "alpha", "reshape_weight", "ia3")


def _split_plain(base: str) -> tuple[str, str]:
    stem, _, last = base.rpartition(".")
    role = _ROLES.get(last)
    if role == _UP_OR_DOWN:
        match = _BEFORE_UP.search(stem)
        if match:
            return stem[: match.start()], last
        return (stem, last) if _WHOLE_BEFORE_UP.fullmatch(stem) else ("", "")
    if role is not None:
        return stem, role
    match = _NAMED_ADAPTER.fullmatch(base)
    if match and match["role"] in _ROLES and not _OF_A_FACTOR.search(base):
        return match["stem"], _ROLES[match["role"]]
    match = _OFT_PART.fullmatch(base)
    if match:
        return match["stem"], match["role"]
    match = _FLATTENED.fullmatch(base) if "." not in base else None
    return (match[1], _ROLES[match[2]]) if match else ("", "")


def is_flattened(name: str) -> bool:
    """Whether a faulty conversion replaced the dots of this name with underscores. No loader understands such names."""
    base = name.removesuffix(".weight")
    return "." not in base and _FLATTENED.fullmatch(base) is not None


def place_of(name: str) -> Place:
    """Where a module belongs, by its name (with numbers, or with `_#` for each)."""
    name = _PROCESSOR.sub("", name.removesuffix("_"))
    if _ENCODER_START.match(name):
        for pattern, slot in _ENCODER_SLOTS:
            match = pattern.match(name)
            if match:
                own = (match[1] or "") if pattern.groups else ""
                own = "t5xxl" if own == "t5" else own  # OMI's name for it
                rest = name[match.end() :].replace(".", "_")
                return Place(slot + own, "positional_#" if rest == "#" else rest, name.startswith("lora_"))
    match = _PREFIX.match(name)
    rest = name[match.end() :] if match else name
    # LyCORIS flattens any names that the model has; other trainers flatten only names that they know.
    flat = not name.startswith("lycoris_") and bool(_FLAT.match(name))
    return Place("", (rest or name).replace(".", "_"), flat)


def part_of_slot(slot: str) -> str:
    """ "te1", "te2" or "te3" for a text encoder's place, "" for the diffusion model's."""
    return _PARTS.get(slot, "")


def plain_name(module: str) -> tuple[str, str]:
    """The part of the pipeline ("" is the diffusion model, "te1"…) and the name without prefix, with underscores only.

    The result is the same for all spellings of the module's name.
    """
    place = place_of(module)
    part = part_of_slot(place.slot)
    # transformers 5 removed `text_model.` from CLIP's names, and LoRAs for it don't have it either.
    return part, place.template.removeprefix("text_model_") if part else place.template
