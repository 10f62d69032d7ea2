"""What a LoRA was made for, from its header alone.

Each family has a grammar: the names that its modules may have, and their sizes (`families.py`). A file is of a family
when every one of its modules is in that family's grammar, so a file with few modules may be of several, and hardly
any part of a file is of a family alone that the whole is not of. Metadata is compared with the result, and never
decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from .families import CUT_UNETS, FAMILIES, FAMILY_NAMES, STACKS, TEXT_ENCODERS
from .metadata import claimed_families
from .modules import NEGATIVES, Module, modules_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..safetensors_header import SafetensorsHeader
    from .families import Grammar

_T = TypeVar("_T")
_BLOCK = re.compile(r"([a-z_]+_blocks)_(\d+)_")

__all__ = ["Architecture", "detect_architecture", "family_name"]


@dataclass(frozen=True)
class Architecture:
    """The verdict on one file.

    `verdict` is `known` (one family), `ambiguous` (several fit), `unknown` or `not_a_diffusion_lora`.
    """

    verdict: str
    families: tuple[str, ...] = ()
    """Family ids, the likelier first."""
    kind: str = "lora"
    """lora, dora, loha, lokr, oft, boft, glora, ia3, diff, set; the most frequent where a file mixes them."""
    rank: int | None = None
    """The most frequent rank, None where the kind has none or the header does not tell."""
    parts: tuple[str, ...] = ()
    """Which parts it changes: "unet" (any diffusion model), "te1", "te2", "te3"."""
    evidence: Mapping[str, str] = field(default_factory=dict)
    """Family id → a module that speaks for it."""
    notes: tuple[str, ...] = ()
    sentence: str = ""
    """The verdict in words."""


def family_name(family: str) -> str:
    """The name that people use: "SD 1.x" for `sd1`. An id without a name is its own."""
    return FAMILY_NAMES.get(family, family)


def detect_architecture(header: SafetensorsHeader) -> Architecture:
    """The verdict on a LoRA file's header. Pure: the same header gives the same verdict."""
    shapes = {name: info.shape for name, info in header.tensors.items()}
    for pattern, sentence in NEGATIVES:
        if any(map(pattern.match, shapes)):
            return Architecture("not_a_diffusion_lora", kind="", sentence=sentence)
    modules = modules_of(shapes)
    if not modules:
        return Architecture(
            "not_a_diffusion_lora",
            kind="",
            sentence="Most of its tensors are not named as a LoRA's are: it may be a whole model.",
        )
    diffusion = [module for module in modules if module.part == "unet"]
    encoders = [module for module in modules if module.part != "unet"]
    families = _families_of(diffusion) if diffusion else _families_of_encoders(encoders)
    if diffusion and encoders and len(families) > 1:
        by_encoders = _families_of_encoders(encoders)
        families = [family for family in families if family in by_encoders] or families
    verdict = "known" if len(families) == 1 else "ambiguous" if families else "unknown"
    return Architecture(
        verdict=verdict,
        families=tuple(families),
        kind=_most_frequent([module.kind for module in modules]) or "lora",
        rank=_most_frequent([module.rank for module in modules if module.rank]),
        parts=_parts(modules),
        evidence=dict.fromkeys(families, (diffusion or encoders)[0].name),
        notes=tuple(_notes(header.metadata, families)),
        sentence=_sentence(verdict, families),
    )


def _families_of(modules: Sequence[Module]) -> list[str]:
    """Every family in whose grammar all these modules are."""
    # The ends and the middle are seldom alike: most families are out after these few.
    probes = [modules[0], modules[len(modules) // 3], modules[len(modules) // 2], modules[-1]]
    for table in (FAMILIES, CUT_UNETS):
        fitting = [
            family
            for family, grammars in table.items()
            if any(_all_in(probes, grammar) and _all_in(modules, grammar) for grammar in grammars)
        ]
        if fitting:
            return _by_projection(modules, _by_stacks(modules, fitting))
    return []


def _all_in(modules: Sequence[Module], grammar: Grammar) -> bool:
    return all(_is_in(module, grammar) for module in modules)


def _is_in(module: Module, grammar: Grammar) -> bool:
    return any(
        (not line.inputs or module.inputs is None or module.inputs in line.inputs)
        and (not line.outputs or module.outputs is None or module.outputs in line.outputs)
        and line.expression.fullmatch(module.name)
        for line in grammar
    )


def _by_stacks(modules: Sequence[Module], families: list[str]) -> list[str]:
    """Drops families with longer stacks of blocks than the file covers, where it covers another's to the last block.

    FLUX.1 and HunyuanVideo differ in little else: a file for all 19 and 38 blocks was not trained on 20 and 40.
    """
    if len(families) < 2 or not any(family in STACKS for family in families):
        return families
    covered: dict[str, set[int]] = {}
    for module in modules:
        match = _BLOCK.match(module.name)
        if match:
            covered.setdefault(match[1], set()).add(int(match[2]))
    whole = [
        stacks
        for family in families
        for stacks in STACKS.get(family, ())
        if all(covered.get(name) == set(range(length)) for name, length in stacks.items())
    ]
    longer = {
        family
        for family in families
        for mine in STACKS.get(family, ())
        if any(
            mine.keys() == other.keys() and any(mine[name] > other[name] for name in mine) for other in whole
        )
    }
    return [family for family in families if family not in longer]


def _by_projection(modules: Sequence[Module], families: list[str]) -> list[str]:
    """SD 1.x and 2.x differ in proj_in and proj_out: a 1×1 convolution there, a linear layer here."""
    if not {"sd1", "sd2"} <= set(families):
        return families
    for module in modules:
        if module.kind == "lora" and re.search(r"_proj_(in|out)$", module.name) and module.dimensions:
            wrong = "sd2" if module.dimensions == 4 else "sd1"
            return [family for family in families if family != wrong]
    return families


def _families_of_encoders(modules: Sequence[Module]) -> list[str]:
    return [
        family
        for family, grammars in TEXT_ENCODERS.items()
        if all(module.part in grammars and _is_in(module, grammars[module.part]) for module in modules)
    ]


def _parts(modules: Sequence[Module]) -> tuple[str, ...]:
    """ "unet" first, then the text encoders; `lora_te_` and `text_encoder.` are the first of them."""
    parts = {"te1" if module.part in ("te", "text_encoder") else module.part for module in modules}
    return tuple(sorted(parts, key=lambda part: (part != "unet", part)))


def _most_frequent(values: Iterable[_T]) -> _T | None:
    counts: dict[_T, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return max(counts, key=lambda value: counts[value]) if counts else None


def _notes(metadata: Mapping[str, str], families: Sequence[str]) -> Iterable[str]:
    for key, value, claimed in claimed_families(metadata):
        if families and not set(claimed) & set(families):
            yield f"its metadata says otherwise ({key}: {value[:80]}); the tensors decide"


def _sentence(verdict: str, families: Sequence[str]) -> str:
    names = [family_name(family) for family in families]
    if verdict == "known":
        return f"It is a LoRA for {names[0]}."
    if verdict == "ambiguous":
        return f"It fits {', '.join(names[:-1])} and {names[-1]}: their parts that it changes are alike."
    return "It is a LoRA, but its names and sizes are of no family that this pack knows."
