"""A LoRA header's names and shapes → the modules that it changes, with their sizes, whatever the trainer's format."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["NEGATIVES", "Module", "modules_of"]

Shape = tuple[int, ...]

# What is no LoRA for a diffusion model, by a name that only it has.
NEGATIVES: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"^(base_model\.)?(model\.)*layers\.\d+\.(self_attn|mlp)\.\w+_proj\."),
        "It is an adapter for a language model.",
    ),
    (
        re.compile(
            r"^(base_model\.model\.)?(transformer\.h\.\d+\.|gpt_neox\.|distilbert\.|bert\.|roberta\.|vit\.|"
            r"encoder\.block\.|decoder\.block\.|model\.decoder\.layers\.|model\.encoder\.layers\.)"
        ),
        "It is an adapter for a language or vision model.",
    ),
    (re.compile(r"^w_[ab]_\d{3}$"), "It is an adapter for SAM, a segmentation model."),
    (re.compile(r"^(emb_params|string_to_param|clip_[lgh]$)"), "It is a textual inversion embedding."),
    (
        re.compile(r"^(first_stage_model\.|cond_stage_model\.|conditioner\.embedders\.)"),
        "It is a whole checkpoint.",
    ),
    (
        re.compile(r"^(control_model\.|controlnet_(down|mid|cond)|zero_convs\.|input_hint_block)"),
        "It is a ControlNet.",
    ),
    (re.compile(r"^(decoder|encoder)\.(conv_in|conv_out|mid|up|down)\b"), "It is a VAE."),
)

# The last word of a tensor's name, without `.weight` → the role that it plays.
_ROLES = {
    **{word: word for word in ("alpha", "dora_scale", "diff", "diff_b", "set_weight", "w_norm", "b_norm")},
    **{
        word: word
        for word in (
            "reshape_weight",
            "on_input",
            "rescale",
            "oft_blocks",
            "oft_diag",
            "a1",
            "a2",
            "b1",
            "b2",
        )
    },
    **{f"hada_{word}": f"hada_{word}" for word in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")},
    **{f"lokr_{word}": f"lokr_{word}" for word in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t1", "t2")},
    "lora_up": "up",
    "lora_down": "down",
    "lora_mid": "mid",
    "lora_A": "down",
    "lora_B": "up",
    "lora_magnitude_vector": "dora_scale",
    "oft_R": "oft_blocks",
    "scale": "set_weight",  # the norms of BFL's control LoRAs
}
# `x.lora.up`, `x_lora.up`, `x.qkv_lora1.up`, and positional `unet:12:up`.
_BARE = {"up": "up", "down": "down", "mid": "mid"}
_FLATTENED = re.compile(r"_(lora_up|lora_down|alpha)$")
_LORA_END = re.compile(r"(?:[._]lora(?P<number>\d?)|\.lora_linear_layer)$")

_PREFIXES = re.compile(
    r"^(?:base_model\.model\.|model\.diffusion_model\.|diffusion_model\.|transformer\.|unet\.|net\.|model\.|"
    r"lora_unet_+(?:unet_)?|lora_transformer_|lora_prior_unet_|lycoris_|oft_unet_|Hunyuan_video_I2V_lora_|"
    r"bfl_)"
)
_ENCODERS = (
    (re.compile(r"^lora_te3_"), "te3"),
    (re.compile(r"^(?:lora_te2_|text_encoder_2\.|te2\.|clip_g\.)"), "te2"),
    (re.compile(r"^(?:lora_te1_|te1\.|clip_l\.)"), "te1"),
    (re.compile(r"^(?:lora_te_|lora_prior_te_|te\.)"), "te"),
    (re.compile(r"^(?:text_encoder\.|text_encoders\.)"), "text_encoder"),
)
_ENCODER_STARTS = ("lora_te", "lora_prior_te", "te", "clip_")


@dataclass(frozen=True)
class Module:
    """One layer that the file changes. Sizes are None where names or shapes do not tell."""

    name: str
    """Without prefix and suffix, with `_` for `.`."""
    part: str
    """"unet" for any diffusion model, else the text encoder as its prefix names it."""
    kind: str
    inputs: int | None
    outputs: int | None
    rank: int | None
    dimensions: int
    """Of the down factor: 4 for a convolution, 2 for a linear layer, 0 where it is not known."""


def modules_of(shapes: Mapping[str, Shape | None]) -> list[Module]:
    """Every module that at least one tensor of a LoRA's belongs to; none where most tensors are of something else."""
    grouped: dict[str, dict[str, Shape | None]] = {}
    others = 0
    for name, shape in shapes.items():
        split = _split(name)
        if split is not None:
            stem, role = split
            grouped.setdefault(stem, {})[role] = shape
        else:
            others += 1
    if 2 * others > len(shapes):
        return []
    return [_module(stem, roles) for stem, roles in grouped.items() if not set(roles) <= {"alpha", "rescale"}]


def _split(name: str) -> tuple[str, str] | None:
    """The module's name and the tensor's role in it; None for a tensor that is no part of a LoRA."""
    is_bias = name.endswith(".bias")
    base = name.removesuffix(".weight").removesuffix(".bias").replace(":", ".")
    stem, _, last = base.rpartition(".")
    if "." not in base and _FLATTENED.search(base):
        # A broken conversion that is found in the wild: `lora_unet_…_to_q_lora_down.weight`.
        stem, last = _FLATTENED.split(base)[:2]
    elif last not in _ROLES and last not in _BARE:
        # PEFT puts the adapter's name there: `lora_A.default`.
        stem, _, last = stem.rpartition(".")
        if last not in _ROLES or not last.startswith("lora_"):
            return None
    role = _ROLES.get(last) or _BARE[last]
    if last in _BARE:
        match = _LORA_END.search(stem)
        stem = stem[: match.start()] + (match["number"] or "") if match else stem
    return stem, f"{role}_bias" if is_bias and role in ("up", "down") else role


def _module(stem: str, roles: Mapping[str, Shape | None]) -> Module:
    part, name = _part(stem)
    kind = _kind(roles)
    inputs, outputs, rank = _sizes(roles)
    down = roles.get("down")
    return Module(name, part, kind, inputs, outputs, rank, len(down) if down else 0)


def _part(stem: str) -> tuple[str, str]:
    for pattern, part in _ENCODERS if stem.startswith(_ENCODER_STARTS) else ():
        match = pattern.match(stem)
        if match:
            return part, stem[match.end() :].replace(".", "_").removesuffix("_")
    while True:
        match = _PREFIXES.match(stem)
        if not match or match.end() == len(stem):
            break
        stem = stem[match.end() :]
    return "unet", stem.replace(".processor", "").replace(".", "_").removesuffix("_")


def _kind(roles: Mapping[str, Shape | None]) -> str:
    for kind, signs in _KIND_SIGNS:
        if any(role.startswith(signs) for role in roles):
            return kind
    return "lora"


_KIND_SIGNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("loha", ("hada_",)),
    ("lokr", ("lokr_",)),
    ("boft", ("boft",)),
    ("oft", ("oft_",)),
    ("glora", ("a1", "b1")),
    ("ia3", ("on_input",)),
    ("dora", ("dora_scale", "lora_magnitude")),
    ("lora", ("up", "down")),
    ("diff", ("diff", "w_norm", "b_norm")),
    ("set", ("set_weight",)),
)


def _sizes(roles: Mapping[str, Shape | None]) -> tuple[int | None, int | None, int | None]:
    """(in, out, rank). The in side of a convolution is its channels."""
    up, down = roles.get("up"), roles.get("down")
    if up or down:
        inputs = down[1] if down and len(down) > 1 else None
        return inputs, up[0] if up else None, down[0] if down else up[1] if up and len(up) > 1 else None
    first, second = roles.get("hada_w1_a"), roles.get("hada_w1_b")
    if first and second:
        if roles.get("hada_t1"):
            return second[1], first[1], first[0]
        return second[1] if len(second) > 1 else None, first[0], second[0]
    sizes = _lokr_sizes(roles)
    if sizes is not None:
        return sizes
    diff = roles.get("diff") or roles.get("set_weight")
    if diff:
        return diff[1] if len(diff) > 1 else None, diff[0], None
    bias = roles.get("diff_b")
    return None, bias[0] if bias else None, None


def _lokr_sizes(roles: Mapping[str, Shape | None]) -> tuple[int | None, int | None, int | None] | None:
    """A Kronecker product's sizes are the products of its factors' sizes, each whole or of low rank."""
    factors = [_lokr_factor(roles, number) for number in ("1", "2")]
    if all(factor is None for factor in factors):
        return None
    rank = next((shape[1] for shape in _low_rank(roles) if len(shape) > 1), None)
    known = [factor for factor in factors if factor is not None]
    if len(known) < 2:
        return None, None, rank
    return prod(factor[1] for factor in known), prod(factor[0] for factor in known), rank


def _low_rank(roles: Mapping[str, Shape | None]) -> Iterator[Shape]:
    for number in ("1", "2"):
        shape = roles.get(f"lokr_w{number}_a")
        if shape:
            yield shape


def _lokr_factor(roles: Mapping[str, Shape | None], number: str) -> tuple[int, int] | None:
    whole = roles.get(f"lokr_w{number}")
    if whole and len(whole) > 1:
        return whole[0], whole[1]
    first, second = roles.get(f"lokr_w{number}_a"), roles.get(f"lokr_w{number}_b")
    if first and second and len(second) > 1:
        return (first[1] if roles.get("lokr_t2") else first[0]), second[1]
    return None
