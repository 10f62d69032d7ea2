"""The family of the loaded model, by its class."""

from __future__ import annotations

import comfy.supported_models
from air_lora_pack.nodes.patching.loaded_model import FAMILY_OF_CONFIG, FAMILY_OF_WAN_WIDTH

from lora_resolver import family_name


def test_every_family_that_a_model_can_be_has_a_name() -> None:
    families = {family for families in FAMILY_OF_CONFIG.values() for family in families}
    families |= set(FAMILY_OF_WAN_WIDTH.values())
    assert [family for family in sorted(families) if family_name(family) == family] == []


def test_a_class_that_is_renamed_would_lose_its_family() -> None:
    """Each class of this ComfyUI has its own entry. Classes of newer versions also have one."""
    there = {model.__name__ for model in comfy.supported_models.models}
    assert there <= set(FAMILY_OF_CONFIG)
