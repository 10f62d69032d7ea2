"""Sorts the tensors of a LoRA file into the modules that it changes, in the naming of any trainer.

The roles of a module's tensors show what kind of adapter it is, and their shapes show the size of the weight that they
change. `model_file/tensor_names.py` splits the names.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ..tensor_names import BIAS, ROLES_BY_ENDING, SCALE, Place, is_flattened, place_of, split_name
from .factors import is_half, read_factors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..safetensors_header import TensorInfo
    from .factors import Roles
    from .table import Index

__all__ = ["Contents", "Group", "read_contents", "read_weights"]

_NUMBER = re.compile(r"[._](\d+)(?=[._]|$)")

# A hostile header must not take longer than a real one of its size. Names beyond these limits count as one unknown.
_MOST_NUMBERS = 16  # in one name; real ones have at most five
_MOST_PLACES = 5_000  # different names; real files have at most a few hundred
_NOBODYS = ""
_UNSCALED = ("oft", "boft", "ia3", "diff")


@dataclass
class Group:
    """Modules with the same sizes, and with the same name except for numbers that don't distinguish families.

    `inputs` and `outputs` are None if the header doesn't show them. `numbers` has the highest value of each number in
    the name.
    """

    place: Place
    inputs: int | None
    outputs: int | None
    convolution: bool
    numbers: list[int]
    example: str
    is_vector: bool = False
    """Whether it changes only norms or biases."""
    is_whole: bool = False
    """Whether it replaces weights outright, without factors."""
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
    """Tensors that aren't part of an adapter."""
    dora: int = 0
    """Modules with a magnitude in addition to their factors."""
    biases: int = 0
    scaled: int = 0
    """Modules whose factors are scaled by alpha / rank."""
    with_alpha: int = 0
    """Those of them that have an alpha tensor."""
    half: str = ""
    """A module that has only one of two factors that need each other."""
    malformed: str = ""
    """A name that no loader understands."""

    @property
    def adapters(self) -> int:
        """How many modules have factors of an adapter."""
        return sum(self.kinds.values())

    @property
    def kind(self) -> str:
        """The most frequent kind of adapter. Differences of norms and biases often accompany one, and don't count."""
        factors = {kind: count for kind, count in self.kinds.items() if kind != "diff"} or self.kinds
        return max(factors, key=lambda kind: factors[kind], default="")


def read_contents(tensors: Mapping[str, TensorInfo], index: Index) -> Contents:
    """Sorts a file's tensors into modules. Linear time, and optimized, because a LoRA has thousands of tensors."""
    contents = Contents()
    modules: dict[str, Roles] = {}
    flattened = ROLES_BY_ENDING
    for name, info in tensors.items():
        stem, _, ending = name.partition(".")
        role = flattened.get(ending, "")
        if not role or (role == "alpha" and stem.endswith("lora")):
            stem, role = split_name(name)
        if not role:
            contents.plain.append(name)
            continue
        if " " in role and role.endswith((BIAS, SCALE)):
            contents.biases += role.endswith(BIAS)
            continue
        roles = modules.get(stem)
        if roles is None:
            modules[stem] = {role: info[1]}
            if "." not in name and not contents.malformed and is_flattened(name):
                contents.malformed = name
        else:
            roles[role] = info[1]
    _group(modules, contents, index)
    return contents


def read_weights(shapes: Mapping[str, tuple[int, ...]], index: Index) -> Contents:
    """Sorts whole weights, by module name (without `.weight`), in the same way as a LoRA's modules."""
    contents = Contents()
    _group({name: {"diff": shape} for name, shape in shapes.items()}, contents, index)
    return contents


def _group(modules: Mapping[str, Roles], contents: Contents, index: Index) -> None:
    places: dict[str, _Sorting] = {}
    halves: dict[tuple[str, ...], bool] = {}
    kinds, ranks, split = contents.kinds, contents.ranks, _NUMBER.split
    for stem, roles in modules.items():
        kind, rank, inputs, outputs, convolution = read_factors(roles)
        if kind:
            kinds[kind] += 1
            if rank and kind not in _UNSCALED:
                contents.scaled += 1
                contents.with_alpha += "alpha" in roles
        of_one_kind = tuple(roles)
        half = halves.get(of_one_kind)
        if half is None:
            half = halves[of_one_kind] = is_half(roles)
        if (half or rank == 0) and not contents.half:
            contents.half = stem
        if rank:
            ranks[rank] += 1
        parts = split(stem)
        name = "_#".join(parts[::2])
        numbers = list(map(int, parts[1::2]))
        if "#" in stem or len(numbers) > _MOST_NUMBERS:  # "#" would stand for a number that doesn't exist
            name, numbers = _NOBODYS, []
        sorting = places.get(name)
        if sorting is None and len(places) > _MOST_PLACES:
            name, numbers = _NOBODYS, []
            sorting = places.get(name)
        if sorting is None:
            sorting = places[name] = _sorting(place_of(name), len(numbers), contents, index)
        place, telling, rest, everyone, groups = sorting
        everyone.append(numbers)
        key = (inputs, outputs, convolution, kind == "diff", *[numbers[at] for at in telling])
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(
                place,
                inputs,
                outputs,
                convolution,
                numbers.copy(),
                stem,
                kind == "diff" and inputs is None and outputs is not None,
                kind == "diff",
            )
            contents.groups.append(group)
        else:
            group.count += 1
            highest = group.numbers
            for at in rest:
                if numbers[at] > highest[at]:
                    highest[at] = numbers[at]
    contents.dora = sum("dora_scale" in roles for roles in modules.values())


class _Sorting(NamedTuple):
    """How the modules of one name are sorted into groups."""

    place: Place
    telling: tuple[int, ...]
    """The positions of the numbers that distinguish families."""
    open: tuple[int, ...]
    """The positions of the other numbers."""
    everyone: list[list[int]]
    groups: dict[tuple[object, ...], Group]


def _sorting(place: Place, numbers: int, contents: Contents, index: Index) -> _Sorting:
    template = index.templates.get((place.slot, place.template))
    telling = template.telling if template else ()
    rest = tuple(at for at in range(numbers) if at not in telling)
    return _Sorting(place, telling, rest, contents.numbers.setdefault(place, []), {})
