"""An applied entry as the patching's own functions take it, for nodes that measure or save an array."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .patching.stack import WeightedPatches

if TYPE_CHECKING:
    from .patching.application import Applied


def patches_of(applied: Applied, *, text_encoder: bool) -> WeightedPatches:
    """What it does to one side of the checkpoint, at its weight there; nothing for an entry that does not fit."""
    fit = applied.fit
    side = (fit.text_encoder if text_encoder else fit.diffusion) if fit else None
    return WeightedPatches(
        place=applied.lora.place,
        name=applied.lora.name,
        sha256=applied.lora.sha256,
        strength=applied.lora.clip_strength if text_encoder else applied.lora.model_strength,
        patches=side.patches if side else {},
    )
