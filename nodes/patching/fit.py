"""Checks whether a file matches the loaded checkpoint, before anything is patched.

The tensors decide: a file matches if all its keys map to weights of the same shapes, whatever its metadata says.
Otherwise, the family that is read from its header explains why it doesn't match.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from ...lora_resolver import Mismatch, family_blocks, family_name, place_of, split_name
from .key_mapping import MappedFile, map_file
from .kinds import delta_shape, widened_to
from .left_over import LeftOver, left_over
from .modules import ALONE, EMBEDDING, MARK, NO_WEIGHT
from .numbers import check_finite
from .slices import part_shape

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from .key_mapping import Target
    from .loaded_model import LoadedWeights
    from .lora_file import LoraFile

# The prefixes of text-encoder keys in the trainers' formats (reference: ComfyUI's model_lora_keys_clip).
TEXT_ENCODER_PREFIXES = (
    "lora_te",
    "text_encoder",
    "lora_prior_te",
    "te1.",
    "te2.",
    "clip_l.",
    "clip_g.",
    "t5xxl.",
)


@dataclass(frozen=True)
class Checkpoint:
    """The loaded checkpoint: the diffusion model, and the text encoders if a CLIP is connected."""

    families: tuple[str, ...]
    diffusion: LoadedWeights
    text_encoder: LoadedWeights | None


@dataclass(frozen=True)
class Fit:
    """A file that matches: its patches for both sides, and how many of its keys they use."""

    diffusion: MappedFile
    text_encoder: MappedFile | None
    matched: int
    unmatched: tuple[str, ...]
    """Keys that should change a weight, but don't."""
    without_clip: int
    """The number of text-encoder keys that aren't used because no CLIP is connected."""
    left_over: tuple[LeftOver, ...] = ()
    """All tensors that change nothing, by kind of layer and reason."""
    widened: tuple[str, ...] = ()
    """Input layers that have more inputs in the model than in the file; the additional inputs stay unchanged."""

    @property
    def verdict(self) -> str:
        """ "fits", or "fits partly" if some keys should change a weight, but don't."""
        return "fits partly" if self.unmatched else "fits"


@dataclass(frozen=True)
class Clash:
    """One key whose delta has a different size than the weight that it maps to."""

    key: str
    delta: tuple[int, ...]
    weight: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.key} ({_by(self.delta)} in the file, {_by(self.weight)} here)"


def check_fit(file: LoraFile, name: str, checkpoint: Checkpoint) -> Fit:
    """The file's patches for this checkpoint.

    `name` is what the user calls the entry. Raises Mismatch with code `notADiffusionLora`, `wrongArchitecture`,
    `shapeClash` or `noKeysMatch`, whose text names both architectures. For tensors that can't be read, the code is one
    of those of `changes_of` and `check_finite`.
    """
    try:
        diffusion = map_file(file, checkpoint.diffusion)
        encoder = map_file(file, checkpoint.text_encoder) if checkpoint.text_encoder else None
    except Mismatch as error:
        raise _cannot_be_read(file, name, checkpoint, error) from None
    clashes = list(_clashes(diffusion.patches, checkpoint.diffusion.shapes))
    if encoder and checkpoint.text_encoder:
        clashes += _clashes(encoder.patches, checkpoint.text_encoder.shapes)
    matched = diffusion.matched | (encoder.matched if encoder else frozenset())
    unused = {
        key: _reason(key, diffusion, encoder) for key in file.tensors if key not in matched
    }  # in the file's order
    unmatched = [key for key, reason in unused.items() if reason not in _HARMLESS]
    if (unmatched or clashes) and file.architecture.verdict == "not_a_diffusion_lora":
        raise _not_a_diffusion_lora(file, name, checkpoint)
    for_encoders = {key for key in unused if _is_for_text_encoder(key)}
    diffusion_left = tuple(key for key in unmatched if key not in for_encoders)
    shown = {
        key: reason for key, reason in unused.items() if checkpoint.text_encoder or key not in for_encoders
    }
    fit = Fit(
        diffusion=diffusion,
        text_encoder=encoder,
        matched=len(matched),
        unmatched=diffusion_left if checkpoint.text_encoder is None else tuple(unmatched),
        without_clip=0 if checkpoint.text_encoder else len(unmatched) - len(diffusion_left),
        left_over=left_over(shown, file.modules),
        widened=diffusion.widened,
    )
    patches = len(diffusion.patches) + (len(encoder.patches) if encoder else 0)
    # Matching text-encoder keys aren't enough if the file also has keys for the diffusion model: many families use
    # CLIP-L.
    nothing_for_diffusion = bool(diffusion_left) and not diffusion.patches
    if (
        clashes
        or not patches
        or nothing_for_diffusion
        or (diffusion.patches and _is_another_model_s(file, checkpoint, partly=bool(diffusion_left)))
    ):
        raise _mismatch(file, name, checkpoint, fit, clashes, diffusion_left)
    if file.has_values:
        try:
            factors = (key for key in file.tensors if key in matched and not key.endswith("alpha"))
            check_finite(file.tensors, factors)  # `changes_of` checks the alphas that are used
        except Mismatch as error:
            raise _cannot_be_read(file, name, checkpoint, error) from None
    return fit


def _is_for_text_encoder(key: str) -> bool:
    return key.startswith(TEXT_ENCODER_PREFIXES) or bool(place_of(split_name(key)[0] or key).slot)


# Unused tensors with these reasons don't reduce the LoRA's effect.
_HARMLESS = (ALONE, EMBEDDING, MARK)


def _reason(key: str, diffusion: MappedFile, encoder: MappedFile | None) -> str:
    """Why a tensor changes nothing. If the diffusion model has no weight for it, the text encoder's reason counts."""
    reason = diffusion.unused.get(key, NO_WEIGHT)
    if reason == NO_WEIGHT and encoder is not None:
        reason = encoder.unused.get(key, NO_WEIGHT)
    return reason


def _cannot_be_read(file: LoraFile, name: str, checkpoint: Checkpoint, error: Mismatch) -> Mismatch:
    return Mismatch(
        f"{name} can't be used: {error.message}",
        code=error.code,
        remedy=error.remedy,
        facts={
            "verdict": "cannot be read",
            "lora": name,
            "made_for": list(file.architecture.families),
            "loaded": list(checkpoint.families),
            "keys": len(file.tensors),
        },
    )


def _not_a_diffusion_lora(file: LoraFile, name: str, checkpoint: Checkpoint) -> Mismatch:
    return Mismatch(
        f"{name} isn't a LoRA for a diffusion model. {file.architecture.sentence}",
        code="notADiffusionLora",
        remedy="Remove the entry, or set on_mismatch to skip.",
        facts={
            "verdict": "not a diffusion LoRA",
            "lora": name,
            "loaded": list(checkpoint.families),
            "keys": len(file.tensors),
        },
    )


def _is_another_model_s(file: LoraFile, checkpoint: Checkpoint, *, partly: bool) -> bool:
    """Whether a file was trained on another model, although all or some of its keys map to weights here.

    Some models are smaller versions of others (LongCat-Image is a small FLUX.1, Mage-Flow a small Qwen-Image). So all
    of a file's keys can map to weights of a model that it wasn't trained on.
    """
    if checkpoint.families:
        return (partly or file.architecture.by_size) and _is_of_another_family(file, checkpoint)
    if not file.architecture.families:
        return False
    return partly or (file.architecture.by_size and _has_other_blocks(file, checkpoint))


def _has_other_blocks(file: LoraFile, checkpoint: Checkpoint) -> bool:
    """Whether no size of the file's families has the same numbers of blocks as the loaded model.

    Only sizes whose stacks of blocks have names that the loaded model also has are compared.
    """
    loaded = checkpoint.diffusion.blocks
    sizes = [size for family in file.architecture.families for size in family_blocks(family)]
    comparable = [size for size in sizes if size.keys() <= loaded.keys()]
    return bool(comparable) and all(
        any(loaded[name] != count for name, count in size.items()) for size in comparable
    )


def _is_of_another_family(file: LoraFile, checkpoint: Checkpoint) -> bool:
    families = file.architecture.families
    return bool(families and checkpoint.families) and not set(families) & set(checkpoint.families)


def _clashes(patches: Mapping[Target, Any], shapes: Mapping[str, torch.Size]) -> Iterator[Clash]:
    for target, value in patches.items():
        delta = delta_shape(value)
        if delta is None:
            continue
        weight = part_shape(tuple(shapes[target.key]), target.offset)
        if widened_to(value) is not None:
            clash = len(delta) != len(weight) or any(new < old for new, old in zip(delta, weight))
        elif len(delta) == 1 < len(weight) and getattr(value, "name", "") in ("oft", "boft"):
            clash = delta != weight[:1]
        else:
            clash = prod(delta) != prod(weight) or (len(delta) > 1 and delta[:1] != weight[:1])
        if clash:
            yield Clash(target.key, delta, weight)


def _mismatch(
    file: LoraFile,
    name: str,
    checkpoint: Checkpoint,
    fit: Fit,
    clashes: list[Clash],
    diffusion_left: tuple[str, ...],
) -> Mismatch:
    made_for = _family_names(file.architecture.families)
    loaded = _family_names(checkpoint.families) or "from an unknown model family"
    keys = len(file.tensors)

    def mismatch(verdict: str, code: str, message: str, remedy: str) -> Mismatch:
        facts = _facts(verdict, file, name, checkpoint, fit, clashes)
        return Mismatch(message, code=code, remedy=remedy, facts=facts)

    if _is_of_another_family(file, checkpoint) or (
        not clashes and _is_another_model_s(file, checkpoint, partly=bool(diffusion_left))
    ):
        return mismatch(
            "wrong family",
            "wrongArchitecture",
            f"{name} was trained for {made_for}, but the loaded checkpoint is {loaded}. "
            f"{_evidence(file, fit, clashes, keys)}",
            f"Choose a checkpoint of {made_for}, remove the entry, or set on_mismatch to skip.",
        )
    about = (
        f"The file was trained for {made_for}"
        if made_for
        else "The file doesn't show which model it was trained for"
    )
    if clashes:
        return mismatch(
            "shape clash",
            "shapeClash",
            f"{name} doesn't match the loaded checkpoint ({loaded}): the shape differs for {len(clashes)} of "
            f"its weights, for example {clashes[0]}. {about}. It might be for a different model size",
            "Use the checkpoint that it was trained on, remove the entry, or set on_mismatch to skip.",
        )
    if fit.without_clip == keys:
        return mismatch(
            "needs CLIP",
            "needsClip",
            f"{name} changes only text encoders, but no CLIP is connected to this node",
            "Connect the checkpoint's CLIP, or remove the entry.",
        )
    if set(file.architecture.families) & set(checkpoint.families):
        return mismatch(
            "right family, will not load",
            "willNotLoad",
            f"{name} was trained for {made_for}, like the loaded checkpoint, but can't be loaded: ComfyUI recognizes "
            f"0 of its {len(fit.unmatched)} keys for the diffusion model, for example {_example(file, fit)}",
            "Look for a version made for ComfyUI, remove the entry, or set on_mismatch to skip.",
        )
    return mismatch(
        "no key matches",
        "noKeysMatch",
        f"{name} has no key that matches the loaded checkpoint ({loaded}): "
        f"0 of {len(fit.unmatched) or keys} keys map to a weight, "
        f"for example {_example(file, fit)}. {about}",
        "Look for a version made for ComfyUI, remove the entry, or set on_mismatch to skip.",
    )


def _facts(
    verdict: str, file: LoraFile, name: str, checkpoint: Checkpoint, fit: Fit, clashes: list[Clash]
) -> dict[str, Any]:
    """The contents of the error message as fields; see `Mismatch.facts`."""
    example: dict[str, Any]
    if clashes:
        example = {
            "key": clashes[0].key,
            "in_file": list(clashes[0].delta),
            "here": list(clashes[0].weight),
        }
    else:
        key = _example(file, fit)
        shape = list(file.tensors[key].shape) if key in file.tensors else None
        example = {"key": key, "in_file": shape, "here": None}
    return {
        "verdict": verdict,
        "lora": name,
        "made_for": list(file.architecture.families),
        "loaded": list(checkpoint.families),
        "keys": len(file.tensors),
        "keys_unmatched": len(fit.unmatched),
        "shape_clashes": len(clashes),
        "example": example,
    }


def _evidence(file: LoraFile, fit: Fit, clashes: list[Clash], keys: int) -> str:
    if clashes:
        return f"The shape differs for {len(clashes)} of its weights, for example {clashes[0]}"
    if not fit.unmatched:
        return "All its keys match a weight, but the number or the types of its blocks don't match the checkpoint"
    unmatched = len(fit.unmatched)
    how_many = (
        f"None of its {keys} keys match"
        if unmatched == keys
        else f"{unmatched} of its {keys} keys don't match"
    )
    return f"{how_many} a weight of the checkpoint, for example {_example(file, fit)}"


def _example(file: LoraFile, fit: Fit) -> str:
    """A key that has no weight here, if possible of a factor, which is more helpful than an alpha."""
    keys = fit.unmatched or tuple(file.tensors)
    return next((key for key in keys if file.tensors[key].dim() > 1), next(iter(keys), "(none)"))


def _family_names(families: tuple[str, ...]) -> str:
    """ "SD 1.x", or "FLUX.1 or Chroma"."""
    return " or ".join(family_name(family) for family in families)


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(str(size) for size in shape)
