"""Detects the model family of a checkpoint from its header alone, with the same table, but with whole weights."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...text import quoted
from .families import UNET_FAMILIES, family_index, family_names
from .matching import match_whole
from .modules import read_weights
from .other_files import WHOLE_MODELS, kind_of_weights
from .sdxl_cuts import cut_of_sdxl

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ..safetensors_header import SafetensorsHeader, TensorInfo
    from .matching import Match
    from .modules import Contents

__all__ = ["Checkpoint", "detect_checkpoint"]

_ENCODERS = re.compile(r"(cond_stage_model|conditioner|text_encoders?)\.")
_VAE = re.compile(r"(first_stage_model|vae)\.")
_DIFFUSION = re.compile(r"(model\.diffusion_model|diffusion_model)\.")
_OUTER = re.compile(r"^(?:model\.diffusion_model|diffusion_model|model|net)\.(?:core\.)?|^core\.")
_WEIGHT = re.compile(r"(.+)\.(?:weight|scale|gamma)")
_SCALES = re.compile(r".*(\.scale_weight|\.weight_scale|scaled_fp8|\.comfy_quant)$")
_PACKED = re.compile(r".*\.(qweight|weight\.quant_state\.\w+|weight\.absmax|weight_scale_2)$")


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a file with whole weights.

    `verdict` is "known", "ambiguous" or "unknown", or "not_a_diffusion_model" if the file doesn't contain one.
    """

    verdict: str
    families: tuple[str, ...] = ()
    variant: str = ""
    """The model within the family, if its sizes identify it: "FLUX.2 klein 4B"."""
    parts: tuple[str, ...] = ()
    """ "unet" or "transformer", "text_encoders", "vae"."""
    precision: str = ""
    """The dtype of most of its bytes: "BF16", "F8_E4M3 scaled", "packed" for formats of four bits."""
    sentence: str = ""


def detect_checkpoint(header: SafetensorsHeader) -> Checkpoint:
    """The verdict on the header of a complete checkpoint or of a diffusion model alone, in any naming.

    A GGUF file's header (`read_gguf_header`) gives the same verdict. Never raises.
    """
    tensors = header.tensors
    parts = [
        part
        for part, pattern in (("text_encoders", _ENCODERS), ("vae", _VAE))
        if any(map(pattern.match, tensors))
    ]
    inner = {name: info for name, info in tensors.items() if _DIFFUSION.match(name)}
    if not inner:
        inner = {
            name: info for name, info in tensors.items() if not _ENCODERS.match(name) and not _VAE.match(name)
        }
    shapes: dict[str, tuple[int, ...]] = {}
    for name, info in inner.items():
        match = _WEIGHT.fullmatch(_OUTER.sub("", name, count=1))
        packed = f"{name}.absmax" in inner
        # Norms don't distinguish families. bitsandbytes writes a matrix as a column.
        if match and (packed or sum(size != 1 for size in info.shape) > 1):
            shapes[match[1]] = _unpacked(name, info, inner)
    index = family_index()
    contents = read_weights(shapes, index)
    found = match_whole(contents, index)
    families = tuple(dict.fromkeys(row.family for row in found.rows))
    precision = _precision(inner)
    if not families:
        return _unknown(tensors, shapes, parts, precision)
    variant = _variant(contents, found)
    own = "unet" if UNET_FAMILIES.issuperset(families) else "transformer"
    names = variant or family_names(families)
    held = ", ".join(part.replace("_", " ").replace("unet", "UNet") for part in (own, *parts))
    return Checkpoint(
        verdict="known" if len(families) == 1 else "ambiguous",
        families=families,
        variant=variant,
        parts=(own, *parts),
        precision=precision,
        sentence=f"It is {names} ({held}; {precision}).",
    )


def _unpacked(name: str, info: TensorInfo, tensors: Mapping[str, TensorInfo]) -> tuple[int, ...]:
    """The shape of the weight; () if its four-bit format doesn't show it."""
    if info.dtype not in ("U8", "I8", "I32"):
        return info.shape
    if f"{name}_scale_2" in tensors:  # NVFP4: two numbers per byte, along the inputs
        return (info.shape[0], *info.shape[1:-1], info.shape[-1] * 2)
    return () if any(name + ending in tensors for ending in _QUANTIZED) else info.shape


_QUANTIZED = (".absmax", ".quant_map", ".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4")


def _variant(contents: Contents, found: Match) -> str:
    """The model within the family, or "" if that isn't certain."""
    variants = {row.variant for row in found.rows}
    if variants == {""} and found.rows[0].family == "sdxl":
        return cut_of_sdxl(contents)
    return variants.pop() if len(variants) == 1 and found.by_size and variants != {"cut"} else ""


_FEWEST_WEIGHTS = 20  # a whole model has dozens


def _unknown(
    names: Collection[str], shapes: Mapping[str, tuple[int, ...]], parts: list[str], precision: str
) -> Checkpoint:
    what = kind_of_weights(names)
    large = [name for name, shape in shapes.items() if len(shape) > 1]
    if (what and what not in WHOLE_MODELS) or len(large) < _FEWEST_WEIGHTS:
        sentence = f"It is {what or 'no model'}."
        return Checkpoint("not_a_diffusion_model", (), "", tuple(parts), precision, sentence)
    sentence = f"It holds no diffusion model that this pack knows, e.g. {quoted(large[0])}."
    return Checkpoint("unknown", (), "", tuple(parts), precision, sentence)


def _precision(tensors: Mapping[str, TensorInfo]) -> str:
    if any(map(_PACKED.match, tensors)):
        return "packed"
    sizes: Counter[str] = Counter()
    for info in tensors.values():
        sizes[info.dtype] += max(info.end - info.start, 1)
    if not sizes:
        return ""
    dtype = sizes.most_common(1)[0][0]
    return f"{dtype} scaled" if dtype.startswith("F8") and any(map(_SCALES.match, tensors)) else dtype
