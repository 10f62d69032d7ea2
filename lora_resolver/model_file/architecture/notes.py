"""Notes about a file in addition to its family: size, variant, oddities, and metadata that disagrees."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...text import quoted
from ..scale import peft_configuration
from .families import family_name
from .metadata import named_models
from .sdxl_cuts import cut_of_sdxl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .matching import Match
    from .metadata import Claim
    from .modules import Contents

__all__ = ["notes_on"]

# A module's place → what it shows about the file. Several families have modules that only some of their models have.
_TELLING = (
    (
        "wan",
        re.compile(r".*_cross_attn_(k|v)_img$|.*_attn2_add_(k|v)_proj$|img_emb_"),
        "image to video (Wan 2.1)",
    ),
    ("wan", re.compile(r"vace_"), "for VACE"),
    ("wan", re.compile(r"face_adapter_"), "for Wan Animate"),
    ("wan", re.compile(r"audio_injector_"), "for Wan S2V"),
    ("wan", re.compile(r".*_audio_cross_attn_wrapper_"), "for HuMo"),
    ("ltx2", re.compile(r".*_audio_|audio_"), "changes the sound as well"),
    ("chroma", re.compile(r"distilled_guidance_layer_"), "changes the guidance layer"),
)

# Names that ComfyUI's own loaders ignore, although they show which model the file is for.
_MALFORMED = re.compile(
    r"lora_unet_unet_|lora_(unet|transformer)_[^.]*\.\w|Hunyuan_video_I2V_lora_|diffusion_model\..*\.(k|v)\.img$"
)


# Initializations of the factors that subtract their product from the checkpoint's weights. peft
# `tuners/lora/layer.py`: EVA and the others don't change the weights.
_CHANGES_THE_BASE = ("pissa", "olora", "corda", "loftq")
_CONTROL_INPUTS = 128  # the latents and the control image
_EMBEDDING = re.compile(r"bundle_emb\.[^.]+\.")


def notes_on(
    metadata: Mapping[str, str],
    claimed: Sequence[Claim],
    contents: Contents,
    found: Match,
    families: tuple[str, ...],
) -> Iterator[str]:
    """Notes for a user, each a phrase or a sentence without a full stop."""
    yield from _variant(contents, found, families)
    yield from _form(contents)
    yield from _oddities(contents, found)
    yield from _metadata(metadata, claimed, families)


def _variant(contents: Contents, found: Match, families: tuple[str, ...]) -> Iterator[str]:
    variants = tuple(dict.fromkeys(row.variant for row in found.rows))
    if len(families) == 1 and found.by_size and all(variants):
        if variants == ("cut",):
            yield f"its sizes are of a cut-down {family_name(families[0])}, not of the published model"
        else:
            yield f"for {' or '.join(variants)}"
    for start, pattern, text in _TELLING:
        here = any(family.startswith(start) for family in families)
        if here and any(pattern.match(place.template) for place in contents.numbers if not place.slot):
            yield text
    cut = cut_of_sdxl(contents) if "sdxl" in families else ""
    if cut:
        yield f"covers exactly the blocks of {cut}, a smaller SDXL"
    if "flux1" in families and any(
        group.place.template == "img_in" and (group.inputs or 0) == _CONTROL_INPUTS
        for group in contents.groups
    ):
        yield "a control LoRA (Depth, Canny and the like): it needs its control image as a second input"


def _form(contents: Contents) -> Iterator[str]:
    kind = contents.kind
    others = sorted(other for other in contents.kinds if other != kind)
    if others:
        yield f"also holds {', '.join(f'{contents.kinds[other]} × {other}' for other in others)}"
    if contents.dora and kind not in ("dora", "lora"):
        yield "with DoRA's magnitudes"
    if len(contents.ranks) > 1:
        yield f"ranks from {min(contents.ranks)} to {max(contents.ranks)}"
    if contents.biases:
        yield f"{contents.biases} of its factors have biases of their own (peft's lora_bias)"
    words = sorted({name.split(".")[1] for name in contents.plain if _EMBEDDING.match(name)})
    if words:
        yield (
            f"holds the embedding {', '.join(map(quoted, words[:5]))} as well: copy the file into the folder embeddings"
        )
    rest = [name for name in contents.plain if not _EMBEDDING.match(name)]
    if rest:
        yield f"{len(rest)} of its tensors are no part of an adapter, e.g. {quoted(rest[0])}"
    if contents.half:
        yield f"it is broken: of {quoted(contents.half)} it has half an adapter"


def _oddities(contents: Contents, found: Match) -> Iterator[str]:
    if found.rows and not found.by_size and found.telling:
        telling = found.telling
        sizes = f"{quoted(telling.example)}: {telling.inputs or '?'} → {telling.outputs or '?'}"
        yield f"its key names match this family, but its sizes match no published model of it ({sizes})"
    if found.rows and found.foreign:
        count = sum(group.count for group in found.foreign)
        yield f"{count} of its modules are of no model that this pack knows, e.g. {quoted(found.foreign[0].example)}"
    if found.encoders_differ:
        yield "its text-encoder keys are named as in another family"
    odd = contents.malformed or next(
        (group.example for group in contents.groups if _MALFORMED.match(group.example)), ""
    )
    if odd:
        yield f"its names are malformed: ComfyUI's loaders take nothing like {quoted(odd)}, this pack does"


def _training(metadata: Mapping[str, str]) -> Iterator[str]:
    """Notes from peft's configuration about the use of the factors, other than alphas."""
    configuration = peft_configuration(metadata)
    for name, value in configuration.items():
        last = name.rpartition(".")[2]
        if last == "init_lora_weights" and str(value).lower().startswith(_CHANGES_THE_BASE):
            yield (
                f"trained with {quoted(str(value))}, which changes the checkpoint as well: unless it was converted "
                "(peft's path_initial_model_for_weight_conversion), it is too strong"
            )
            break
    has = {name.rpartition(".")[2] for name in configuration}
    if (
        configuration
        and "use_rslora" in has
        and has.isdisjoint(("lora_alpha", "alpha", "network_alpha", "alpha_pattern"))
    ):
        yield "its metadata says use_rslora without an alpha, which has nothing to scale then"


def _metadata(
    metadata: Mapping[str, str], claimed: Sequence[Claim], families: tuple[str, ...]
) -> Iterator[str]:
    said: set[tuple[str, ...]] = set()
    for claim in claimed:
        if claim.families in said or not families:
            continue
        said.add(claim.families)
        here = [family_name(family) for family in claim.families if family in families]
        if not here:
            yield f"its metadata says otherwise ({claim.key}: {quoted(claim.value)}); the tensors decide"
        elif len(here) < len(families):
            yield f"its metadata says {' or '.join(here)} ({claim.key}: {quoted(claim.value)})"
    yield from _training(metadata)
    models = named_models(metadata, families)
    if models:
        yield f"its metadata names {', '.join(models)}"
