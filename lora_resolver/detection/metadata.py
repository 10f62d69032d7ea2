"""What a LoRA's metadata claims. It is often wrong, so it is only ever held against what the tensors say.

Vocabulary: kohya-ss/sd-scripts and musubi-tuner (`ss_base_model_version`), ai-toolkit, OneTrainer, and the
ModelSpec of Stability AI (`modelspec.architecture`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["claimed_families"]

KEYS = ("ss_base_model_version", "modelspec.architecture")

# First match wins; values are compared without case and with ".", "-" and "_" left out.
_CLAIMS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(pattern), families)
    for pattern, families in (
        (r"^(sd|stablediffusion)?v?xl|sdxl|stablediffusionxl|^ssd|^vega", ("sdxl", "kolors")),
        (r"^sdv?15?|^sd1|stablediffusionv1", ("sd1",)),
        (r"^sdv?2|^sd2|stablediffusionv2", ("sd2",)),
        (r"^sd3|stablediffusion(v)?3", ("sd3",)),
        (r"^flux2", ("flux2",)),
        (r"^flux", ("flux1",)),
        (r"^chroma", ("chroma",)),
        (r"^qwenimage", ("qwen_image", "qwen_image_2")),
        (r"^zimage", ("z_image",)),
        (r"^lumina", ("lumina2",)),
        (r"^wan", ("wan_14b", "wan_5b", "wan_1_3b")),
        (r"^hunyuanvideo|^framepack", ("hunyuan_video",)),
        (r"^ltx2", ("ltx2",)),
        (r"^ltx", ("ltxv",)),
        (r"^hidream", ("hidream",)),
        (r"^auraflow", ("auraflow",)),
        (r"^pixart", ("pixart",)),
        (r"^anima", ("anima",)),
        (r"^krea2", ("krea2",)),
        (r"^minimaxh3", ("minimax_h3",)),
        (r"^ernie", ("ernie_image",)),
        (r"^stablecascade|^wuerstchen", ("cascade",)),
    )
)


def claimed_families(metadata: Mapping[str, str]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """(key, value, families) for each claim that can be read."""
    for key in KEYS:
        value = metadata.get(key, "")
        plain = re.sub(r"[._\-/ ]", "", value.lower())
        for pattern, families in _CLAIMS:
            if plain and pattern.search(plain):
                yield key, value, families
                break
