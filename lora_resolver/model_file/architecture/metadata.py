"""What a LoRA's metadata claims. It is often wrong, so it never decides, and is only compared with the tensors.

ai-toolkit writes `sd_1.5` by default, forks of sd-scripts keep `stable-diffusion-v1/lora` for new models, merged files
keep the metadata of their source, and Pony, Illustrious and NoobAI all say SDXL. Vocabularies: sd-scripts and
musubi-tuner (`ss_base_model_version`), ai-toolkit, OneTrainer, Stability AI's ModelSpec (`modelspec.architecture`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Claim", "claims", "families_named", "named_models"]

_KEYS = (
    "modelspec.architecture",
    "ss_base_model_version",
    "architecture",
    "general.architecture",
    "base_model",
)
_TITLES = (
    "ss_sd_model_name",
    "modelspec.title",
    "ss_output_name",
    "ss_base_model_version",
    "modelspec.architecture",
)

# The beginning of a value, without case, dots, dashes, underscores and blanks → families. The first match counts.
# A newer version than the known ones (FLUX.3) is another model, not the nearest known one.
_CLAIMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("stablediffusionxlv1refiner", ("sdxl_refiner",)),
    ("stablediffusionxl", ("sdxl", "kolors")),
    ("sdxl", ("sdxl", "kolors")),
    ("ssd", ("sdxl",)),
    ("vega", ("sdxl",)),
    ("kolors", ("kolors",)),
    ("stablediffusionv1", ("sd1",)),
    ("stablediffusion1", ("sd1",)),
    ("stablediffusionv2", ("sd2",)),
    ("stablediffusion2", ("sd2",)),
    ("stablediffusion3", ("sd3",)),
    ("stablediffusionv3", ("sd3",)),
    ("sdv1", ("sd1",)),
    ("sd1", ("sd1",)),
    ("sdv2", ("sd2",)),
    ("sd2", ("sd2",)),
    ("sd3", ("sd3",)),
    ("flux2", ("flux2",)),
    ("flux(?![03-9])", ("flux1",)),
    ("chroma", ("chroma",)),
    ("qwenimage2", ("qwen_image_2",)),
    ("qwenimage", ("qwen_image",)),
    ("zimage", ("z_image",)),
    ("lumina", ("lumina2",)),
    ("wan215b", ("wan_5b",)),
    ("wan225b", ("wan_5b",)),
    ("wan2214b", ("wan_14b",)),
    ("wan", ("wan_14b", "wan_5b", "wan_1_3b")),
    ("hunyuanvideo15", ("hunyuan_video_1_5",)),
    ("hunyuanvideo", ("hunyuan_video",)),
    ("framepack", ("hunyuan_video",)),
    ("hunyuanimage", ("hunyuan_image",)),
    ("ltx2", ("ltx2",)),
    ("ltxv2", ("ltx2",)),
    ("ltx", ("ltxv",)),
    ("hidreami1", ("hidream",)),
    ("auraflow", ("auraflow",)),
    ("pixart", ("pixart",)),
    ("sana", ("sana",)),
    ("stablecascade", ("cascade",)),
    ("wuerstchen", ("cascade",)),
    ("anima", ("anima",)),
    ("krea2", ("krea2",)),
    ("minimaxh3", ("minimax_h3",)),
    ("ernie", ("ernie_image",)),
    ("omnigen2", ("omnigen2",)),
    ("kandinsky5", ("kandinsky5",)),
)

# Models that share a family's names and sizes, so that only metadata can name them.
_MODELS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (r"pony(?!.?v?7)", "Pony", ("sdxl",)),
    (r"illustrious|\bilxl\b", "Illustrious", ("sdxl",)),
    (r"noob", "NoobAI", ("sdxl",)),
    (r"pony.?v?7", "Pony V7", ("auraflow",)),
    (r"kontext", "FLUX.1 Kontext", ("flux1",)),
    (r"flux.?1?.?krea", "FLUX.1 Krea", ("flux1",)),
    (r"flux.?1?.?fill", "FLUX.1 Fill", ("flux1",)),
    (r"schnell", "FLUX.1 schnell", ("flux1",)),
    (r"qwen.?image.?edit", "Qwen-Image-Edit", ("qwen_image",)),
    (r"wan.?2.?2", "Wan 2.2", ("wan_14b",)),
    (r"framepack", "FramePack", ("hunyuan_video",)),
)
_EXPERTS = ((r"high.?noise|\bhigh\b", "high"), (r"low.?noise|\blow\b", "low"))


class Claim(NamedTuple):
    """One field of the metadata that names a family."""

    key: str
    value: str
    families: tuple[str, ...]


def claims(metadata: Mapping[str, str]) -> list[Claim]:
    """Every field that names a family, the most informative first."""
    found = []
    for key in _KEYS:
        value = metadata.get(key, "")
        families = families_named(value)
        if families:
            found.append(Claim(key, value, families))
    return found


def families_named(value: str) -> tuple[str, ...]:
    """The families that a text in one of these vocabularies names; empty if it names no known family."""
    plain = re.sub(r"[._\- ]", "", value.lower())
    return next((families for start, families in _CLAIMS if re.match(start, plain)), ())


def named_models(metadata: Mapping[str, str], families: tuple[str, ...]) -> list[str]:
    """The models of these families that the metadata names ("Pony"), and which expert of a dual model ("high")."""
    text = "\n".join(metadata.get(key, "") for key in _TITLES).lower()
    found = [name for pattern, name, of in _MODELS if set(of) & set(families) and re.search(pattern, text)]
    if "wan_14b" in families:
        found += [f"the {expert}-noise expert" for pattern, expert in _EXPERTS if re.search(pattern, text)]
    return found
