"""The scale of a file's factors: alpha / rank, with the alpha from tensors or from the metadata.

The metadata has peft's configuration as JSON (`lora_adapter_metadata`, as written by diffusers, with a prefix for each
part of a pipeline, such as `unet.lora_alpha`), or its fields directly (`lora_alpha`, `alpha`, `network_alpha`, with the
same prefixes). Sources: peft `tuners/lora/config.py`, `utils/other.py`; diffusers `loaders/lora_base.py`. kohya's
`ss_network_alpha` is the trainer's setting. The factors in converted files may already include it, so it is reported
but never applied.
"""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import Mismatch
from ..safe_files import parse_json
from .tensor_names import part_of_slot, place_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MetadataAlphas", "alphas_of_metadata", "peft_configuration"]

_NESTED = ("lora_adapter_metadata", "adapter_config", "peft_config", "lora_config")
_ALPHAS = ("lora_alpha", "network_alpha", "alpha")
_DIFFUSION = ("transformer.", "unet.", "transformer_2.", "prior.", "diffusion_model.")
_ENCODERS = {"te1": "text_encoder.", "te2": "text_encoder_2.", "te3": "text_encoder_3."}
_FIELDS = (*_ALPHAS, "alpha_pattern", "use_rslora")
_RULES = ("alpha_pattern", "use_rslora")
_LONGEST_DICT = 2_000
_PYTHON_DICT = re.compile(r"\{(?:\s*'[^'\"\\]*'\s*:\s*[-+.\deE]+\s*,?)*\s*\}")
_LARGEST = 1_000_000
"""Longest field that is read as JSON, in characters."""


@dataclass(frozen=True)
class MetadataAlphas:
    """The alphas that a file's metadata gives."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    """`lora_alpha`, `alpha_pattern`, `use_rslora` and so on, with the prefix of their part."""
    came_from: str = ""
    """The metadata's name for the field that was read: `lora_adapter_metadata`, or `lora_alpha`."""
    of_trainer: str = ""
    """kohya's `ss_network_alpha`, which is not applied."""

    def alpha_of(self, module: str, rank: int) -> float | None:
        """The value that an alpha tensor of this module would have; None where the metadata gives none.

        alpha / rank is the module's scale, also for rank-stabilised LoRAs. Raises Mismatch (`unsupportedAlphaPattern`)
        for an unsupported pattern, and (`badAlpha`) for an alpha that isn't a finite number.
        """
        if not self.fields:
            return None
        prefix, alpha = next(
            (
                (prefix, self.fields[prefix + name])
                for prefix in _prefixes(module)
                for name in _ALPHAS
                if prefix + name in self.fields
            ),
            ("", None),
        )
        if alpha is None:  # the patterns may give all alphas
            having = (
                start for start in _prefixes(module) if any(start + name in self.fields for name in _RULES)
            )
            prefix = next(having, "")
        alpha = self._of_pattern(prefix, module, alpha)
        if alpha is None:
            return None
        if not math.isfinite(alpha):
            raise Mismatch(
                f"The file's metadata has an invalid alpha, {alpha}",
                code="badAlpha",
                remedy="Train or convert the file again, or set on_mismatch to skip.",
            )
        return alpha * math.sqrt(rank) if self.fields.get(f"{prefix}use_rslora") is True else alpha

    def _of_pattern(self, prefix: str, module: str, alpha: float | None) -> float | None:
        patterns = self.fields.get(f"{prefix}alpha_pattern")
        if not isinstance(patterns, dict):
            return alpha
        name = _without_prefixes(module)
        for pattern, value in patterns.items():
            number = _number(value)
            if number is not None and _is_meant(pattern, name):
                return number
        return alpha


def alphas_of_metadata(metadata: Mapping[str, str]) -> MetadataAlphas:
    """The alphas in a file's metadata. Never raises: fields that can't be read are ignored."""
    found, came_from = _nested(metadata)
    if not found:
        found, came_from = _flat(metadata)
    return MetadataAlphas(found, came_from, metadata.get("ss_network_alpha", "")[:40])


def peft_configuration(metadata: Mapping[str, str]) -> dict[str, Any]:
    """peft's fields, unchanged, with a prefix for each part of a pipeline; empty if there are none. Never raises."""
    for key in _NESTED:
        found = _read(metadata.get(key, ""))
        if isinstance(found, dict):
            return _without_levels(found)
    return {}


def _nested(metadata: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    for key in _NESTED:
        found = _read(metadata.get(key, ""))
        if isinstance(found, dict):
            found = _without_levels(found)
            fields = {name: _value(name, value) for name, value in found.items() if _is_field(name)}
            fields = {name: value for name, value in fields.items() if value is not None}
            if fields:
                return fields, key
    return {}, ""


def _without_levels(found: dict[str, Any]) -> dict[str, Any]:
    """`{"unet": {"lora_alpha": 8}}` → `{"unet.lora_alpha": 8}`. A level that is an adapter's name is removed."""
    flat: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, dict) and name.rpartition(".")[2] not in _FIELDS:
            prefix = f"{name}." if f"{name}." in (*_DIFFUSION, *_ENCODERS.values()) else ""
            flat.update({f"{prefix}{inner}": deeper for inner, deeper in value.items()})
        else:
            flat[name] = value
    return flat


def _flat(metadata: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    fields: dict[str, Any] = {}
    for name, text in metadata.items():
        if _is_field(name):
            value = _value(name, _read(text.strip().lower() if name.endswith("use_rslora") else text))
            if value is not None:
                fields[name] = value
    return fields, next((name for name in fields if name.rpartition(".")[2] in _ALPHAS), "")


def _is_field(name: str) -> bool:
    prefix, dot, last = name.rpartition(".")
    return last in _FIELDS and (not dot or f"{prefix}." in (*_DIFFUSION, *_ENCODERS.values()))


def _value(name: str, value: Any) -> Any:
    last = name.rpartition(".")[2]
    if last == "use_rslora":
        return value if isinstance(value, bool) else None
    if last == "alpha_pattern":
        return value if isinstance(value, dict) else None
    return _number(value)


def _read(text: str) -> Any:
    if len(text) > _LARGEST:
        return None
    with contextlib.suppress(ValueError):
        return parse_json(text)
    # A Python dict of numbers that was written as text. Untrusted text is never passed to a parser of Python code.
    if _PYTHON_DICT.fullmatch(text[:_LONGEST_DICT]):
        with contextlib.suppress(ValueError):
            return parse_json(text.replace("'", '"'))
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return (
            float(value)
            if isinstance(value, (int, float)) or (isinstance(value, str) and len(value) < 40)
            else None
        )
    except (ValueError, OverflowError):
        return None


def _prefixes(module: str) -> tuple[str, ...]:
    """The prefixes that the fields for this module may have, its own first."""
    part = part_of_slot(place_of(module).slot)
    if part:
        return (_ENCODERS[part], "")
    start = module.removeprefix("base_model.model.").partition(".")[0] + "."
    return (*((start,) if start in _DIFFUSION else ()), "", *_DIFFUSION)


def _without_prefixes(name: str) -> str:
    if "." not in name:  # flattened
        return place_of(name).template
    for start in ("base_model.model.", *_DIFFUSION, *_ENCODERS.values(), "base_model.model."):
        name = name.removeprefix(start)
    return name


def _is_meant(pattern: str, module: str) -> bool:
    r"""As in peft: `re.match(r"(.*\.)?(pattern)$", module)`. A flattened name has underscores in place of dots."""
    own = pattern
    for start in (*_DIFFUSION, *_ENCODERS.values()):
        own = own.removeprefix(start).removeprefix(start.replace(".", r"\."))
    before = r"(.*\.)?"
    if "." not in module:
        before = "(.*_)?"
        own = own.replace(r"\.", "_") if "\\" in own else own.replace(".", "_")
    try:
        from .safe_pattern import (
            matches_whole,  # imported here: few files have patterns, and it uses internals of `re`
        )

        return matches_whole(f"{before}({own})", module)
    except (ValueError, ImportError) as error:
        raise Mismatch(
            f"The file's metadata has an unsupported alpha pattern, {pattern[:80]!r}: {error}",
            code="unsupportedAlphaPattern",
            remedy="Convert it with diffusers' convert_state_dict_to_kohya, which writes the alphas as tensors, or set "
            "on_mismatch to skip.",
        ) from None
