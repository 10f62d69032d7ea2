"""Applies weighted, verified files to a MODEL and a CLIP, all or nothing."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...lora_resolver import LoraResolverError, Mismatch, one_or_several
from .blocks import block_factors
from .bounded_cache import BoundedCache
from .bypass_choice import Choice, DeviceCosts, choose
from .fit import Checkpoint, Fit, check_fit
from .loaded_model import diffusion_weights, model_families, text_encoder_weights
from .lora_file import LoraFile, open_lora, outline
from .results import Patched, measured, patched
from .stack import WeightedPatches
from .stacked_adapter import peak_extra_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ...lora_resolver import BlockWeights, FileState, PeekedLora, SafetensorsHeader, Schedule


@dataclass(frozen=True)
class WeightedLora:
    """One entry, resolved: a verified file, and its strengths on the diffusion model and the text encoders."""

    place: str
    name: str
    path: Path
    sha256: str
    model_strength: float
    clip_strength: float
    state: FileState | None = None
    """Of the file when its SHA-256 was known to be right; None where its content has to be hashed."""
    header: SafetensorsHeader | None = None
    """Of the file in that state, where somebody has read it."""
    schedule: Schedule | None = None
    """When it counts on the diffusion model, and how much; `model_strength` is its strongest weight then."""
    blocks: BlockWeights | None = None
    """How much it counts in each block."""


@dataclass(frozen=True)
class Applied:
    """What became of one entry."""

    lora: WeightedLora
    file: LoraFile | None
    fit: Fit | None
    skipped: LoraResolverError | None
    seconds: float
    """Time to read and check it. Patching itself is done by ComfyUI when the model is used."""

    factors: Mapping[str, float] = field(default_factory=dict)
    """Weight name → its block's factor, where that is not 1."""

    @property
    def weights(self) -> int:
        """How many weights it changes, at the strengths that it has."""
        sides = [patches_of(self, text_encoder=each) for each in (False, True)]
        return sum(len({target.key for target in side.patches}) for side in sides if side.strength)


@dataclass(frozen=True)
class Bypassed:
    """How one entry's deltas were applied, MODEL and CLIP together."""

    bypassed: int
    patched: dict[str, int]
    """Why → how many."""


@dataclass(frozen=True)
class Application:
    """The patched clones, and what became of each entry."""

    model: Any
    clip: Any
    families: tuple[str, ...]
    """What the loaded checkpoint is."""
    entries: tuple[Applied, ...]
    weights: int
    """How many weights the array changes, of MODEL and CLIP together."""
    choice: Choice
    """Whether anything went beside its layer, and why."""
    peak_extra_bytes: int
    """What patching takes for a moment, beyond the weights themselves."""
    bypass_bytes: int = 0
    """What factors beside their layers take while the model is in use."""
    hooked: int = 0
    """How many weights are patched again where a schedule changes: they have no factors."""
    lost_dynamic: bool = False
    """Whether ComfyUI's dynamic memory had to be left for that."""
    bypassed: tuple[Bypassed | None, ...] = ()
    """For each of `entries`, what of it went beside its layers; empty where all is patched."""


def loaded_checkpoint(model: Any, clip: Any) -> Checkpoint:
    """What LoRAs are held against, for a MODEL and a CLIP (which may be None)."""
    return Checkpoint(
        families=model_families(model),
        diffusion=diffusion_weights(model),
        text_encoder=text_encoder_weights(clip) if clip is not None else None,
    )


def check_before_download(lora: PeekedLora, name: str, checkpoint: Checkpoint) -> None:
    """Raises Mismatch for a file that would be refused once it is here, as its header at the source tells.

    Where the source does not let the header be read, nothing is said: the check of the file itself holds in any case.
    """
    if lora.header is not None:
        check_fit(outline(lora.header, lora.file_name, lora.sha256 or ""), name, checkpoint)


def apply_loras(
    model: Any,
    clip: Any,
    loras: Sequence[WeightedLora],
    *,
    skip_mismatches: bool,
    checkpoint: Checkpoint | None = None,
    apply_as: str = "patch",
    costs: DeviceCosts | None = None,
    only_entries: bool = False,
    refused: Sequence[Mismatch] = (),
) -> Application:
    """Adds every LoRA's deltas to clones of `model` and `clip` (which may be None).

    With no LoRA the very same objects come back. All are checked before the first patch: raises Mismatch, or
    SeveralErrors with one for each entry that does not fit, unless `skip_mismatches` leaves those out. `refused` are
    those that were found out before their file was downloaded; they are reported with the others. `checkpoint` is what
    `loaded_checkpoint` says of the two, for who has asked it already. `apply_as` is "patch", "auto", or "bypass":
    low-rank deltas go beside their layers; raises Mismatch with code `nothingToBypass` where none can. `costs` is what
    is known of this machine for "auto". With `only_entries`, `model` and `clip` come back as they are.
    """
    checkpoint = checkpoint or loaded_checkpoint(model, clip)
    entries = tuple(_check(lora, checkpoint) for lora in loras)
    misfits = [*refused, *(entry.skipped for entry in entries if entry.skipped is not None)]
    misfits.sort(key=lambda misfit: [int(number) for number in re.findall(r"\d+", misfit.parameter)])
    if misfits and not skip_mismatches:
        raise one_or_several(misfits)
    fitting = [entry for entry in entries if entry.fit is not None]
    diffusion = [patches_of(entry, text_encoder=False) for entry in fitting]
    encoder = [patches_of(entry, text_encoder=True) for entry in fitting]
    choices = [
        _choice(apply_as, costs or DeviceCosts(), *side) for side in ((model, diffusion), (clip, encoder))
    ]
    if only_entries:
        patched_model, patched_clip = measured(model, diffusion), measured(clip, encoder)
    else:
        patched_model = patched(model, diffusion, checkpoint.diffusion.shapes, bypass=choices[0].bypass)
        encoder_shapes = checkpoint.text_encoder.shapes if checkpoint.text_encoder else {}
        patched_clip = patched(clip, encoder, encoder_shapes, bypass=choices[1].bypass)
    choice = next((each for each in choices if each.bypass), choices[0])
    bypassed = _bypassed(
        entries, [(patched_model, diffusion, choices[0]), (patched_clip, encoder, choices[1])]
    )
    if apply_as == "bypass" and any(bypassed) and not any(each.bypassed for each in bypassed if each):
        raise _nothing_to_bypass(bypassed)
    return Application(
        model=patched_model.patcher,
        clip=patched_clip.patcher,
        families=checkpoint.families,
        entries=entries,
        weights=patched_model.weights + patched_clip.weights,
        peak_extra_bytes=max(
            peak_extra_bytes(patched_model.patches, checkpoint.diffusion.shapes),
            peak_extra_bytes(patched_clip.patches, checkpoint.text_encoder.shapes)
            if checkpoint.text_encoder
            else 0,
        ),
        choice=choice,
        bypass_bytes=patched_model.bypass_bytes + patched_clip.bypass_bytes,
        hooked=patched_model.hooked,
        lost_dynamic=patched_model.lost_dynamic,
        bypassed=bypassed,
    )


def _bypassed(
    entries: Sequence[Applied], sides: Sequence[tuple[Patched, Sequence[WeightedPatches], Choice]]
) -> tuple[Bypassed | None, ...]:
    """For each entry; empty where all of the array is patched as it always was."""
    if not any(side.how for side, _, _ in sides):
        return ()
    counts = {entry.lora.place: Bypassed(0, {}) for entry in entries if entry.fit is not None}
    for side, patches, choice in sides:
        for entry in patches:
            if not entry.strength or not entry.patches:
                continue
            count, why = side.how.get(entry.place, (0, {choice.reason: len(entry.patches)}))
            found = counts[entry.place]
            reasons = {each: found.patched.get(each, 0) + why.get(each, 0) for each in (*found.patched, *why)}
            counts[entry.place] = Bypassed(found.bypassed + count, reasons)
    return tuple(counts.get(entry.lora.place) for entry in entries)


def _choice(apply_as: str, costs: DeviceCosts, patcher: Any, entries: Sequence[WeightedPatches]) -> Choice:
    """For MODEL or CLIP: one may be quantized, and the other not."""
    if apply_as != "auto":
        return Choice(apply_as == "bypass", f"apply_as is {apply_as}")
    keys = {target.key for entry in entries if entry.strength for target in entry.patches}
    return (
        choose(getattr(patcher, "patcher", patcher), keys, costs)
        if keys
        else Choice(False, "there is nothing to apply")
    )


def _nothing_to_bypass(bypassed: Sequence[Bypassed | None]) -> Mismatch:
    reasons = sorted({reason for each in bypassed if each for reason in each.patched})
    return Mismatch(
        f"none of the LoRAs can be applied beside the layers of this checkpoint: {'; '.join(reasons)}",
        code="nothingToBypass",
        remedy="Set apply_as to patch, or to auto.",
    )


# Content, and what it was held against → how it fits. Changing a weight matches no key again.
_fits: BoundedCache[tuple[str, int, int], tuple[Checkpoint, Fit]] = BoundedCache()


def _fit_of(file: LoraFile, name: str, checkpoint: Checkpoint) -> Fit:
    key = (file.sha256, id(checkpoint.diffusion), id(checkpoint.text_encoder))
    kept = _fits.get(key)
    # The checkpoint is kept along, so that its parts' ids are not given to others meanwhile.
    if kept is not None and kept[0].families == checkpoint.families:
        return kept[1]
    fit = check_fit(file, name, checkpoint)
    _fits.put(key, (checkpoint, fit), file.size)
    return fit


def _check(lora: WeightedLora, checkpoint: Checkpoint) -> Applied:
    started = time.perf_counter()
    file = fit = skipped = None
    try:
        file = open_lora(lora.path, lora.sha256, lora.state, lora.header)
        fit = _fit_of(file, lora.name, checkpoint)
    except Mismatch as error:
        skipped = error.at(lora.place)
    except LoraResolverError as error:
        raise error.at(lora.place) from error
    factors = _block_factors(lora, checkpoint) if fit is not None and lora.blocks is not None else {}
    return Applied(lora, file, fit, skipped, time.perf_counter() - started, factors)


def _block_factors(lora: WeightedLora, checkpoint: Checkpoint) -> dict[str, float]:
    if lora.blocks is None:
        return {}
    words = checkpoint.text_encoder.shapes if checkpoint.text_encoder else ()
    try:
        return block_factors(lora.blocks, checkpoint.diffusion.shapes, words)
    except LoraResolverError as error:
        raise error.at(f"{lora.place}.blocks") from error


def patches_of(applied: Applied, *, text_encoder: bool) -> WeightedPatches:
    """What it does to one side of the checkpoint, at its weight there; nothing for an entry that does not fit."""
    lora, fit = applied.lora, applied.fit
    side = (fit.text_encoder if text_encoder else fit.diffusion) if fit else None
    patches = side.patches if side else {}
    if applied.factors:
        patches = {
            target: value for target, value in patches.items() if applied.factors.get(target.key, 1.0) != 0
        }
    return WeightedPatches(
        place=lora.place,
        name=lora.name,
        sha256=lora.sha256,
        strength=lora.clip_strength if text_encoder else lora.model_strength,
        patches=patches,
        schedule=None if text_encoder else lora.schedule,
        factors=applied.factors,
    )
