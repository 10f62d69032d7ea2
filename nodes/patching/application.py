"""Applies weighted, verified files to a MODEL and a CLIP: all of them, or none."""

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
    """One resolved entry: a verified file, and its strengths on the diffusion model and the text encoders."""

    place: str
    name: str
    path: Path
    sha256: str
    model_strength: float
    clip_strength: float
    state: FileState | None = None
    """The file's state when its SHA-256 was verified; None if the content must be hashed."""
    header: SafetensorsHeader | None = None
    """The file's header in that state, if it was read."""
    schedule: Schedule | None = None
    """When it is active on the diffusion model, and how strongly; `model_strength` is then its strongest weight."""
    blocks: BlockWeights | None = None
    """How strong it is in each block."""


@dataclass(frozen=True)
class Applied:
    """The result for one entry."""

    lora: WeightedLora
    file: LoraFile | None
    fit: Fit | None
    skipped: LoraResolverError | None
    seconds: float
    """Time to read and check it. ComfyUI does the patching later, when the model is used."""

    factors: Mapping[str, float] = field(default_factory=dict)
    """Weight name → its block's factor, if that isn't 1."""

    @property
    def weights(self) -> int:
        """How many weights it changes at its strengths."""
        sides = [patches_of(self, text_encoder=each) for each in (False, True)]
        return sum(len({target.key for target in side.patches}) for side in sides if side.strength)


@dataclass(frozen=True)
class Bypassed:
    """How one entry's deltas were applied, MODEL and CLIP together."""

    bypassed: int
    patched: dict[str, int]
    """Reason → how many deltas are patched for it."""


@dataclass(frozen=True)
class Application:
    """The patched clones, and the result for each entry."""

    model: Any
    clip: Any
    families: tuple[str, ...]
    """The families of the loaded checkpoint."""
    entries: tuple[Applied, ...]
    weights: int
    """How many weights the array changes, in MODEL and CLIP together."""
    choice: Choice
    """Whether deltas are bypassed, and why."""
    peak_extra_bytes: int
    """The temporary memory that patching needs, in addition to the weights themselves."""
    bypass_bytes: int = 0
    """The memory that the factors of bypassed deltas need while the model is in use."""
    hooked: int = 0
    """How many weights are patched again when a schedule changes, because their deltas have no factors."""
    lost_dynamic: bool = False
    """Whether ComfyUI's dynamic memory is off for this model, because weights are hooked."""
    bypassed: tuple[Bypassed | None, ...] = ()
    """For each of `entries`, which deltas are bypassed; empty if everything is patched."""


def loaded_checkpoint(model: Any, clip: Any) -> Checkpoint:
    """The checkpoint that LoRAs are checked against, from a MODEL and a CLIP (which may be None)."""
    return Checkpoint(
        families=model_families(model),
        diffusion=diffusion_weights(model),
        text_encoder=text_encoder_weights(clip) if clip is not None else None,
    )


def check_before_download(lora: PeekedLora, name: str, checkpoint: Checkpoint) -> None:
    """Raises Mismatch if the header, read at the source, shows that the file would be rejected after its download.

    If the source doesn't allow reading the header, nothing is checked here. The downloaded file is checked anyway.
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

    Without LoRAs, returns the same objects. All LoRAs are checked before the first patch. If entries don't match,
    raises Mismatch, or SeveralErrors with one error for each entry. With `skip_mismatches`, leaves these entries out
    instead. `refused` are the mismatches that were found before the download; they are reported with the others.
    `checkpoint` is the result of `loaded_checkpoint`, if the caller already has it. `apply_as` is "patch", "auto", or
    "bypass", which bypasses low-rank deltas, and raises Mismatch with code `nothingToBypass` if none can be bypassed.
    `costs` are this machine's costs, for "auto". With `only_entries`, returns `model` and `clip` unchanged.
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
    """For each entry, which deltas are bypassed; empty if the whole array is patched."""
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
    """Chooses for MODEL or CLIP alone: one may be quantized when the other isn't."""
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
        f"None of the LoRAs can be applied as a bypass on this checkpoint: {'; '.join(reasons)}",
        code="nothingToBypass",
        remedy="Set apply_as to patch or auto.",
    )


# The content's hash and the IDs of the checkpoint's sides → the result. If only a weight changes, no keys are matched
# again.
_fits: BoundedCache[tuple[str, int, int], tuple[Checkpoint, Fit]] = BoundedCache()


def _fit_of(file: LoraFile, name: str, checkpoint: Checkpoint) -> Fit:
    key = (file.sha256, id(checkpoint.diffusion), id(checkpoint.text_encoder))
    kept = _fits.get(key)
    # The cache also keeps the checkpoint, so that Python doesn't reuse the ids of its parts.
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
    """The patches for one side of the checkpoint, at the entry's weight there; none if the entry doesn't match."""
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
