"""How strongly a file's factors count: alpha / rank, with the alpha from wherever the file has it.

Beside alpha tensors there is the metadata: peft's configuration as JSON (`lora_adapter_metadata`, as diffusers writes
it; each part of a pipeline under its prefix, as `unet.lora_alpha`), or its fields as they are (`lora_alpha`, `alpha`,
`network_alpha`, with the same prefixes). Sources: peft `tuners/lora/config.py`, `utils/other.py`; diffusers
`loaders/lora_base.py`. kohya's `ss_network_alpha` is what the trainer was told: what converters write may hold it
within the factors already, and so it is named and never applied.
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
"""Characters of one field that are read as JSON."""


@dataclass(frozen=True)
class MetadataAlphas:
    """The alphas that a file's metadata gives."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    """`lora_alpha`, `alpha_pattern`, `use_rslora` and so on, with the prefix of their part."""
    came_from: str = ""
    """The metadata's own name of what was read: `lora_adapter_metadata`, or `lora_alpha`."""
    of_trainer: str = ""
    """kohya's `ss_network_alpha`, which is not applied."""

    def alpha_of(self, module: str, rank: int) -> float | None:
        """What an alpha tensor of this module would hold, None where the metadata gives none.

        alpha / rank is the module's scale, rank-stabilised ones included. Raises Mismatch (`unsupportedAlphaPattern`)
        for a pattern that cannot be read, and (`badAlpha`) for an alpha that is no finite number.
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
        if alpha is None:  # the patterns may give every alpha
            having = (
                start for start in _prefixes(module) if any(start + name in self.fields for name in _RULES)
            )
            prefix = next(having, "")
        alpha = self._of_pattern(prefix, module, alpha)
        if alpha is None:
            return None
        if not math.isfinite(alpha):
            raise Mismatch(
                f"the file's metadata gives the alpha {alpha}",
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
    """What a file's metadata says of alphas. Never raises: what cannot be read says nothing."""
    found, came_from = _nested(metadata)
    if not found:
        found, came_from = _flat(metadata)
    return MetadataAlphas(found, came_from, metadata.get("ss_network_alpha", "")[:40])


def peft_configuration(metadata: Mapping[str, str]) -> dict[str, Any]:
    """peft's fields as they are, each part of a pipeline under its prefix; empty where there are none. Never raises."""
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
    """`{"unet": {"lora_alpha": 8}}` as `{"unet.lora_alpha": 8}`; an adapter's name as a level goes."""
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
    # A Python dict of numbers that somebody has turned into text. No parser of Python reads a stranger's text here.
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
    """The prefixes under which the fields for this module may be, its own first."""
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
    r"""peft: `re.match(r"(.*\.)?(pattern)$", module)`. A flattened name has underscores for its dots."""
    own = pattern
    for start in (*_DIFFUSION, *_ENCODERS.values()):
        own = own.removeprefix(start).removeprefix(start.replace(".", r"\."))
    before = r"(.*\.)?"
    if "." not in module:
        before = "(.*_)?"
        own = own.replace(r"\.", "_") if "\\" in own else own.replace(".", "_")
    try:
        from .safe_pattern import (
            matches_whole,  # here: hardly a file has patterns, and it needs parts inside of `re`
        )

        return matches_whole(f"{before}({own})", module)
    except (ValueError, ImportError) as error:
        raise Mismatch(
            f"the file's metadata gives alphas by the pattern {pattern[:80]!r}, which cannot be read: {error}",
            code="unsupportedAlphaPattern",
            remedy="Convert it with diffusers' convert_state_dict_to_kohya, which writes the alphas as tensors, or set "
            "on_mismatch to skip.",
        ) from None
