"""Maps the base model that a LoRA's page declares, in its service's own words, to families.

CivitAI's vocabulary: packages/civitai-shared/src/basemodel.constants.ts in civitai/civitai. At Hugging Face it is the
name of a repository. Authors choose it by hand and make mistakes, so it is only a hint: the tensors decide.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...text import quoted
from .families import family_name
from .metadata import families_named

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["declared_families", "declared_otherwise"]

# CivitAI's own words where they differ from those of trainers, without case, dots, dashes, underscores and blanks.
_CIVITAI = {
    "pony": ("sdxl",),
    "illustrious": ("sdxl",),
    "noobai": ("sdxl",),
    "ponyv7": ("auraflow",),
    "qwen": ("qwen_image",),
    "qwen2": ("qwen_image_2",),
    "hidream": ("hidream",),
    "hunyuan1": ("hunyuan_dit",),
    "aceaudio": ("ace_step",),
    "mochi": ("mochi",),
    "wanvideo13bt2v": ("wan_1_3b",),
    "wanvideo22ti2v5b": ("wan_5b",),
    "wanvideo22i2va14b": ("wan_14b",),
    "wanvideo22t2va14b": ("wan_14b",),
    "wanvideo14bt2v": ("wan_14b",),
    "wanvideo14bi2v480p": ("wan_14b",),
    "wanvideo14bi2v720p": ("wan_14b",),
}


def declared_families(base_model: str) -> tuple[str, ...]:
    """The families that a declared base model stands for ("SDXL 1.0", "black-forest-labs/FLUX.1-dev"); empty for an
    unknown one.
    """
    plain = re.sub(r"[._\- ]", "", base_model.rpartition("/")[2].lower())
    return _CIVITAI.get(plain) or families_named(base_model.rpartition("/")[2])


def declared_otherwise(base_model: str, families: Sequence[str]) -> str:
    """A note if the declared base model contradicts the tensors; empty otherwise."""
    declared = declared_families(base_model)
    if not declared or not families or set(declared) & set(families):
        return ""
    meant = " or ".join(family_name(family) for family in families)
    return f"its page declares {quoted(base_model)}, but the tensors are made for {meant}; the tensors decide"
