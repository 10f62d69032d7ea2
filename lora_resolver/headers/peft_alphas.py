"""The alphas that peft's configuration in a file's metadata gives, since diffusers writes no alpha tensors.

diffusers keeps that configuration as JSON under `lora_adapter_metadata`; in a pipeline's file each part has its own,
under its prefix, as `unet.lora_alpha`. Sources: peft `tuners/lora/config.py` and `utils/other.py`; diffusers
`loaders/lora_base.py`.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from ..errors import VerificationFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["alphas_of_peft"]

METADATA = "lora_adapter_metadata"

_PIPELINE_PART = re.compile(r"(unet|transformer(?:_\d)?|text_encoder(?:_\d)?)\.")
# What a pattern of peft's may hold to be compared as text. Others are regular expressions of whoever made the file.
_PLAIN_PATTERN = re.compile(r"\^?[\w.\-]+\$?")


def alphas_of_peft(metadata: Mapping[str, str]) -> Callable[[str, int], float | None]:
    """A function from a module's name in the file and its rank to its alpha, None where the metadata gives none.

    The alpha is what an alpha tensor would hold: alpha / rank is the module's scale, rank-stabilised ones included.
    The function raises VerificationFailed for alphas given by regular expressions, which are not tried.
    """
    try:
        configuration = json.loads(metadata.get(METADATA, ""))
    except (ValueError, RecursionError):
        configuration = None
    if not isinstance(configuration, dict):
        return lambda _module, _rank: None
    return lambda module, rank: _alpha(configuration, module, rank)


def _alpha(configuration: Mapping[str, Any], module: str, rank: int) -> float | None:
    module = module.removeprefix("base_model.model.")
    prefix = ""
    part = _PIPELINE_PART.match(module)
    if part is not None:
        module = module[part.end() :]
        if f"{part[0]}lora_alpha" in configuration:
            prefix = part[0]
    alpha = configuration.get(f"{prefix}lora_alpha")
    patterns = configuration.get(f"{prefix}alpha_pattern")
    if isinstance(patterns, dict):
        alpha = next((value for pattern, value in patterns.items() if _is_meant(pattern, module)), alpha)
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)):
        return None
    return alpha * math.sqrt(rank) if configuration.get(f"{prefix}use_rslora") is True else float(alpha)


def _is_meant(pattern: str, module: str) -> bool:
    """peft: `(.*\\.)?(pattern)$`. Only plain names are read, since a stranger's expression may never come to an end."""
    if not _PLAIN_PATTERN.fullmatch(pattern):
        raise VerificationFailed(
            f"the file's metadata gives alphas by the pattern {pattern[:80]!r}, which is not a plain name",
            code="unsupportedAlphaPattern",
            remedy="Convert it with diffusers' convert_state_dict_to_kohya, which writes the alphas as tensors.",
        )
    plain = pattern.removeprefix("^").removesuffix("$")
    return module == plain or (module.endswith(f".{plain}") and not pattern.startswith("^"))
