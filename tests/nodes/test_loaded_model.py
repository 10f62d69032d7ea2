"""What the loaded model is called."""

from __future__ import annotations

import comfy.supported_models
from air_lora_pack.nodes.patching.loaded_model import FAMILY_OF_CONFIG, FAMILY_OF_WAN_WIDTH

from lora_resolver import family_name


def test_every_family_that_a_model_can_be_has_a_name() -> None:
    families = {family for families in FAMILY_OF_CONFIG.values() for family in families}
    families |= set(FAMILY_OF_WAN_WIDTH.values())
    assert [family for family in sorted(families) if family_name(family) == family] == []


def test_the_models_of_this_comfyui_are_known_by_their_own_names() -> None:
    """A configuration that ComfyUI renames would silently lose its family."""
    there = {model.__name__ for model in comfy.supported_models.models}
    bases = {base.__name__ for model in comfy.supported_models.models for base in model.__mro__}
    of_newer_ones = {"LTXAV", "Anima", "Kandinsky5"}
    assert set(FAMILY_OF_CONFIG) - of_newer_ones <= there | bases
