"""From the tensors of a LoRA file to the modules that it changes, whatever the trainer called them.

A tensor's name is prefix, module, role: `lora_unet_` `down_blocks_0_…_to_q` `.lora_down.weight`. The roles say what
kind of adapter it is, and the shapes of a module's tensors how large the weight is that they change.
Formats: kohya-ss/sd-scripts, KohakuBlueleaf/LyCORIS, huggingface/peft and diffusers, OneTrainer, XLabs-AI/x-flux,
cloneofsimo/lora.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from .factors import read_factors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..headers.safetensors_header import TensorInfo
    from .factors import Roles
    from .table import Index

__all__ = ["Contents", "Group", "Place", "part_of_slot", "place_of", "read_contents", "read_weights"]

_UP_OR_DOWN = "up or down"  # told apart from a model's own `mlp.up` by what stands before

# The last part of a tensor's name (before `.weight`) → role. What is not listed is no part of an adapter.
_ROLES = {
    "lora_down": "down", "lora_A": "down", "lora_up": "up", "lora_B": "up", "lora_mid": "mid",
    "down": _UP_OR_DOWN, "up": _UP_OR_DOWN,
    "alpha": "alpha", "dora_scale": "dora", "lora_magnitude_vector": "dora", "rescale": "rescale",
    "hada_w1_a": "hada_a", "hada_w1_b": "hada_b", "hada_w2_a": "hada", "hada_w2_b": "hada",
    "hada_t1": "hada_t", "hada_t2": "hada_t",
    "lokr_w1": "lokr_1", "lokr_w1_a": "lokr_1a", "lokr_w1_b": "lokr_1b",
    "lokr_w2": "lokr_2", "lokr_w2_a": "lokr_2a", "lokr_w2_b": "lokr_2b", "lokr_t2": "lokr_t",
    "oft_blocks": "oft", "oft_diag": "oft", "oft_R": "oft_packed", "boft_R": "boft_packed", "boft_s": "rescale",
    "a1": "glora_a", "a2": "glora", "b1": "glora", "b2": "glora_b",
    "on_input": "ia3", "ia3_l": "ia3",
    "diff": "diff", "diff_b": "diff_b", "set_weight": "diff", "w_norm": "diff", "b_norm": "diff_b",
    "reshape_weight": "reshape",
}  # fmt: skip
_ROLES_BY_ENDING = {
    last + weight: role for last, role in _ROLES.items() if role != _UP_OR_DOWN for weight in ("", ".weight")
}

# `to_q.lora.down`, `to_q_lora.down`, `to_q.lora_linear_layer.down`.
_BEFORE_UP = re.compile(r"[._]lora(?:_linear_layer)?$")
# XLabs' `qkv_lora1.down`, and the positional `unet:12:down` and `text_encoder:3:down`.
_WHOLE_BEFORE_UP = re.compile(r".*_lora\d|(?:unet|text_encoder)\.\d+")
# A conversion gone wrong that is in the wild: `lora_unet_…_to_q_lora_down.weight`.
_FLATTENED = re.compile(r"(.+)_(lora_(?:down|up|mid|A|B)|alpha)$")

_ENCODER_SLOTS = (
    (re.compile(r"lora_prior_te_"), "prior_te"),
    (re.compile(r"lora_te(\d?)_"), "te"),
    (re.compile(r"(?:base_model\.model\.)?te(\d?)[._]"), "te"),
    (re.compile(r"(?:text_encoders\.)?(clip_[lgh]|t5xxl)\.(?:transformer\.)?"), ""),
    (re.compile(r"(?:base_model\.model\.)?text_encoder(_\d)?[._]"), "text_encoder"),
    (re.compile(r"(?:base_model\.model\.)?(?=text_model[._]encoder[._])"), "bare"),
)
_ENCODER_START = re.compile(r"lora_(?:prior_)?te|te\d?[._]|text_|clip_[lgh]\.|t5xxl\.|base_model\.model\.te")
_PARTS = {
    "te": "te1", "te1": "te1", "te2": "te2", "te3": "te3", "bare": "te1", "prior_te": "te1",
    "text_encoder": "te1", "text_encoder_2": "te2", "text_encoder_3": "te3",
    "clip_l": "te1", "clip_h": "te1", "clip_g": "te2", "t5xxl": "te3",
}  # fmt: skip

_FLAT_PREFIX = r"lora_unet__?|lora_transformer_|lora_prior_unet_|lycoris_|oft_unet_|Hunyuan_video_I2V_lora_"
_PREFIX = re.compile(
    rf"(?:{_FLAT_PREFIX}|base_model\.model\.|base_model\.|diffusion_model\.|transformer\.|model\.|unet[._](?=[a-z])"
    r"|net\.|dit\.|pipe\.)+"
)
_FLAT = re.compile(_FLAT_PREFIX)
_PROCESSOR = re.compile(r"\.processor(?=\.to_)")
_NUMBER = re.compile(r"[._](\d+)(?=[._]|$)")

# A hostile header must not cost more than a real one of its size. What is beyond is one more name that no model has.
_MOST_NUMBERS = 16  # in one name; real ones have at most five
_MOST_PLACES = 5_000  # names that differ; real files have at most some hundred
_NOBODYS = ""


class Place(NamedTuple):
    """Where a module belongs: the part of the pipeline, its name without prefix, whether a trainer flattened it."""

    slot: str
    template: str
    flat: bool


@dataclass
class Group:
    """Modules that are alike: the same name but for numbers that no family is told by, and the same sizes.

    `inputs` and `outputs` are None where the header does not tell; `numbers` are each one's highest value.
    """

    place: Place
    inputs: int | None
    outputs: int | None
    convolution: bool
    numbers: list[int]
    example: str
    count: int = 1


@dataclass
class Contents:
    """What a file changes."""

    groups: list[Group] = field(default_factory=list)
    numbers: dict[Place, list[list[int]]] = field(default_factory=dict)
    """Every module's numbers, by place."""
    kinds: Counter[str] = field(default_factory=Counter)
    ranks: Counter[int] = field(default_factory=Counter)
    plain: list[str] = field(default_factory=list)
    """Tensors that are no part of an adapter."""
    dora: int = 0
    """Modules with a magnitude beside their factors."""
    biases: int = 0
    malformed: str = ""
    """A name that no loader understands."""

    @property
    def adapters(self) -> int:
        """How many modules have factors of an adapter."""
        return sum(self.kinds.values())

    @property
    def kind(self) -> str:
        """The most frequent kind of adapter; differences of norms and biases often go with one, and do not count."""
        factors = {kind: count for kind, count in self.kinds.items() if kind != "diff"} or self.kinds
        return max(factors, key=lambda kind: factors[kind], default="")


def read_contents(tensors: Mapping[str, TensorInfo], index: Index) -> Contents:
    """Sort a file's tensors into modules. Linear, and tuned: a LoRA has thousands of tensors."""
    contents = Contents()
    modules: dict[str, Roles] = {}
    for name, info in tensors.items():
        stem, _, ending = name.partition(".")
        role = _ROLES_BY_ENDING.get(ending)  # names that a trainer flattened have no other dot
        if role is None:
            stem, _, last = name.removesuffix(".weight").rpartition(".")
            role = _ROLES.get(last)
            if role is None or role == _UP_OR_DOWN:
                stem, role = _split_unusual(name, contents)
                if not role:
                    continue
        roles = modules.get(stem)
        if roles is None:
            modules[stem] = {role: info[1]}
        else:
            roles[role] = info[1]
    _group(modules, contents, index)
    return contents


def read_weights(shapes: Mapping[str, tuple[int, ...]], index: Index) -> Contents:
    """Whole weights by module name (without `.weight`), sorted as a LoRA's modules are."""
    contents = Contents()
    _group({name: {"diff": shape} for name, shape in shapes.items()}, contents, index)
    return contents


def _group(modules: Mapping[str, Roles], contents: Contents, index: Index) -> None:
    places: dict[str, _Sorting] = {}
    kinds, ranks, split = contents.kinds, contents.ranks, _NUMBER.split
    for stem, roles in modules.items():
        kind, rank, inputs, outputs, convolution = read_factors(roles)
        if kind:
            kinds[kind] += 1
        if rank:
            ranks[rank] += 1
        parts = split(stem)
        name = "_#".join(parts[::2])
        numbers = list(map(int, parts[1::2]))
        if "#" in stem or len(numbers) > _MOST_NUMBERS:  # "#" would stand for a number that is not there
            name, numbers = _NOBODYS, []
        sorting = places.get(name)
        if sorting is None and len(places) > _MOST_PLACES:
            name, numbers = _NOBODYS, []
            sorting = places.get(name)
        if sorting is None:
            sorting = places[name] = _sorting(place_of(name), len(numbers), contents, index)
        place, telling, rest, everyone, groups = sorting
        everyone.append(numbers)
        key = (inputs, outputs, convolution, *[numbers[at] for at in telling])
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(place, inputs, outputs, convolution, numbers.copy(), stem)
            contents.groups.append(group)
        else:
            group.count += 1
            highest = group.numbers
            for at in rest:
                if numbers[at] > highest[at]:
                    highest[at] = numbers[at]
    contents.dora = sum("dora" in roles for roles in modules.values())


class _Sorting(NamedTuple):
    """How the modules of one name are sorted into groups."""

    place: Place
    telling: tuple[int, ...]
    """The places of the numbers that tell families apart."""
    open: tuple[int, ...]
    """Those of the others."""
    everyone: list[list[int]]
    groups: dict[tuple[object, ...], Group]


def _sorting(place: Place, numbers: int, contents: Contents, index: Index) -> _Sorting:
    template = index.templates.get((place.slot, place.template))
    telling = template.telling if template else ()
    rest = tuple(at for at in range(numbers) if at not in telling)
    return _Sorting(place, telling, rest, contents.numbers.setdefault(place, []), {})


def _split_unusual(name: str, contents: Contents) -> tuple[str, str]:
    """(module, role) of a name in one of the rarer forms; no role where it is no adapter's."""
    base = name.replace(":", ".").removesuffix(".weight")
    if base.endswith(".bias"):
        if base.removesuffix(".bias").endswith(("lora_B", "lora_up")):
            contents.biases += 1
        else:
            contents.plain.append(name)
        return "", ""
    stem, _, last = base.rpartition(".")
    if _ROLES.get(last) == _UP_OR_DOWN:
        match = _BEFORE_UP.search(stem)
        if match:
            return stem[: match.start()], last
        if _WHOLE_BEFORE_UP.fullmatch(stem):
            return stem, last
    elif stem.endswith((".lora_A", ".lora_B")):  # PEFT adds the adapter's name: `lora_A.default.weight`
        stem, _, last = stem.rpartition(".")
        return stem, _ROLES[last]
    elif "." not in base:
        match = _FLATTENED.fullmatch(base)
        if match:
            contents.malformed = contents.malformed or name
            return match[1], _ROLES[match[2]]
    contents.plain.append(name)
    return "", ""


def place_of(name: str) -> Place:
    """Where a module belongs, by its name with `_#` for each number."""
    name = _PROCESSOR.sub("", name.removesuffix("_"))
    if _ENCODER_START.match(name):
        for pattern, slot in _ENCODER_SLOTS:
            match = pattern.match(name)
            if match:
                own = (match[1] or "") if pattern.groups else ""
                rest = name[match.end() :].replace(".", "_")
                return Place(slot + own, "positional_#" if rest == "#" else rest, name.startswith("lora_"))
    match = _PREFIX.match(name)
    rest = name[match.end() :] if match else name
    return Place("", (rest or name).replace(".", "_"), bool(_FLAT.match(name)))


def part_of_slot(slot: str) -> str:
    """ "te1", "te2" or "te3" for a text encoder's place, "" for the diffusion model's."""
    return _PARTS.get(slot, "")
