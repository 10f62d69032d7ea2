"""The verdict on a LoRA file, from its header alone.

The file's modules are compared with a table of every known family's modules, by name and size. The verdict is the
families that have all of the modules, with the evidence. The same rule gives one family, several, or none. If a part of
a file belongs to only one family, the whole file never belongs to another one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...errors import Mismatch
from ...text import quoted
from ..scale import alphas_of_metadata
from ..tensor_names import part_of_slot
from .checkpoint import detect_checkpoint
from .families import UNET_FAMILIES, family_index, family_names
from .matching import Match, fits_without_prefix, match
from .metadata import claims
from .modules import read_contents
from .notes import notes_on
from .other_files import (
    ENOUGH,
    WHOLE_MODELS,
    describe_companion,
    describe_other_adapter,
    describe_without_adapter,
    kind_of_weights,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..safetensors_header import SafetensorsHeader
    from ..scale import MetadataAlphas
    from .modules import Contents, Group

__all__ = ["Architecture", "detect_architecture"]

KIND_NAMES = {
    "lora": "LoRA", "dora": "DoRA", "loha": "LoHa", "lokr": "LoKr", "oft": "OFT", "boft": "BOFT", "glora": "GLoRA",
    "ia3": "(IA)³", "diff": "full difference",
}  # fmt: skip


@dataclass(frozen=True)
class Architecture:
    """The verdict on one file.

    `verdict` is "known" (one family), "ambiguous" (several, which the file doesn't distinguish), "unknown" or
    "not_a_diffusion_lora". `families` are IDs (`family_name` returns the names). One that the metadata names is first.
    """

    verdict: str
    families: tuple[str, ...] = ()
    kind: str = ""
    """lora, dora, loha, lokr, oft, boft, glora, ia3 or diff; the most frequent where a file mixes them."""
    rank: int | None = None
    """The most frequent rank; None if the kind has none or the header doesn't show it."""
    ranks: tuple[int, int] | None = None
    """The smallest and the largest rank."""
    scale: str = ""
    """Where the scale of the factors comes from, in words; empty for kinds that have no scale."""
    parts: tuple[str, ...] = ()
    """What it changes: "unet" or "transformer", then the text encoders "te1", "te2", "te3"."""
    evidence: Mapping[str, str] = field(default_factory=dict)
    """Family ID → the evidence for it."""
    notes: tuple[str, ...] = ()
    by_size: bool = False
    """Whether every module matches these families by size, and not only by name."""
    sentence: str = ""
    """The verdict in words."""


def detect_architecture(header: SafetensorsHeader) -> Architecture:
    """The verdict on the file with this header. A pure function that takes milliseconds and never raises."""
    index = family_index()
    contents = read_contents(header.tensors, index)
    if not contents.adapters:
        return _no_adapter(header)
    names = [group.example for group in contents.groups[:ENOUGH]] + contents.plain[:ENOUGH]
    companion = describe_companion(names)
    if companion:
        return Architecture("not_a_diffusion_lora", sentence=companion)
    found = match(contents, index)
    if not found.rows:
        other = describe_other_adapter(found.foreign)
        # HiDream-O1's class has Qwen 3 VL's names and sizes, so such a file may be for either.
        of_both = any("language_model" in group.example for group in found.foreign)
        if other and not (of_both and fits_without_prefix(found.foreign, index, "model_")):
            return Architecture("not_a_diffusion_lora", sentence=other)
    claimed = claims(header.metadata)
    families = tuple(dict.fromkeys(row.family for row in found.rows))
    preferred = [family for claim in claimed for family in claim.families if family in families]
    families = tuple(dict.fromkeys((*preferred, *families)))
    kind = contents.kind or "lora"
    parts = _parts(contents, families)
    return Architecture(
        verdict="known" if len(families) == 1 else "ambiguous" if families else "unknown",
        families=families,
        kind=kind,
        rank=max(contents.ranks, key=lambda rank: contents.ranks[rank], default=None),
        ranks=(min(contents.ranks), max(contents.ranks)) if contents.ranks else None,
        scale=_scale(header.metadata, contents),
        parts=parts,
        evidence={family: _evidence(found) for family in families},
        notes=tuple(notes_on(header.metadata, claimed, contents, found, families)),
        by_size=bool(families) and found.by_size and not found.foreign,
        sentence=_sentence(kind, families, parts, contents, found),
    )


def _scale(metadata: Mapping[str, str], contents: Contents) -> str:
    if not contents.scaled:
        return ""
    if contents.with_alpha == contents.scaled:
        return "alpha tensors"
    alphas = alphas_of_metadata(metadata)
    rest = contents.scaled - contents.with_alpha
    where = _alphas_of(alphas, contents)
    of_trainer = ""
    if alphas.of_trainer and not alphas.fields:
        of_trainer = f"; ss_network_alpha {quoted(alphas.of_trainer)} is not applied"
    if contents.with_alpha:
        return f"alpha tensors; for {rest} of {contents.scaled} modules {where}{of_trainer}"
    return where + of_trainer


def _alphas_of(alphas: MetadataAlphas, contents: Contents) -> str:
    try:
        found = any(alphas.alpha_of(group.example, 1) is not None for group in contents.groups[:200])
    except Mismatch as error:
        return f"not known: {error.message}"
    return f"alpha / rank from the metadata ({alphas.came_from})" if found else "no alpha given, 1 assumed"


def _no_adapter(header: SafetensorsHeader) -> Architecture:
    tensors = header.tensors
    what = describe_without_adapter(tensors)
    if not what:
        example = quoted(next(iter(tensors)))
        sentence = f"It speaks of an adapter, but in a form that this pack does not know, e.g. {example}."
        return Architecture("unknown", sentence=sentence)
    if kind_of_weights(tensors) in WHOLE_MODELS:
        if not any(len(info.shape) > 1 for info in tensors.values()):
            # BFL's control LoRAs have norms in addition to factors. A file with only norms may be an extract of one.
            sentence = "It holds norms or biases alone, too little to tell a model by."
            return Architecture("unknown", sentence=sentence)
        checkpoint = detect_checkpoint(header)
        if checkpoint.families:
            what = f"{what} {checkpoint.sentence}"
    return Architecture("not_a_diffusion_lora", sentence=what)


def _parts(contents: Contents, families: tuple[str, ...]) -> tuple[str, ...]:
    diffusion = "unet" if families and UNET_FAMILIES.issuperset(families) else "transformer"
    if not families and any(group.place.template.startswith(_UNET_STARTS) for group in contents.groups):
        diffusion = "unet"
    parts = {part_of_slot(group.place.slot) or diffusion for group in contents.groups}
    return tuple(sorted(parts, key=lambda part: (part.startswith("te"), part)))


_UNET_STARTS = ("down_blocks", "up_blocks", "mid_block", "input_blocks", "output_blocks", "middle_block")


def _evidence(found: Match) -> str:
    return _describe(found.telling) if found.telling else ""


def _describe(group: Group) -> str:
    """`"double_blocks.0.img_mlp.0" (3072 → 12288)`, as far as its sizes are known."""
    if group.inputs is None and group.outputs is None:
        return quoted(group.example)
    return f"{quoted(group.example)} ({group.inputs or '?'} → {group.outputs or '?'})"


def _sentence(
    kind: str, families: tuple[str, ...], parts: tuple[str, ...], contents: Contents, found: Match
) -> str:
    what = KIND_NAMES.get(kind, kind)
    article = "an" if what.startswith(("O", "(")) else "a"
    if not families:
        example = f", e.g. {_describe(found.foreign[0])}" if found.foreign else ""
        return f"It is {article} {what}, but its modules are of no model that this pack knows{example}."
    modules = sum(group.count for group in contents.groups)
    changes = f"it changes {modules} {'module' if modules == 1 else 'modules'} of {_described(parts)}"
    if len(families) == 1:
        return f"It is {article} {what} for {family_names(families)}; {changes}."
    return f"It is {article} {what} for {family_names(families)}, whose modules are alike; {changes}."


def _described(parts: tuple[str, ...]) -> str:
    """ "the UNet and 2 text encoders"."""
    names = {"unet": "the UNet", "transformer": "the transformer"}
    encoders = sum(part not in names for part in parts)
    described = [names[part] for part in parts if part in names]
    if encoders:
        described.append("a text encoder" if encoders == 1 else f"{encoders} text encoders")
    return " and ".join(described)
