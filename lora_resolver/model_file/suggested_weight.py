"""The suggested weight for a LoRA. Its sources, the most reliable first:

<stem>.metadata.json                `usage_tips` of Lora Manager, JSON in a text: {"strength": 0.8, "strength_min": …}
<stem>.json                         "preferred weight" of AUTOMATIC1111's web UI and Forge; 0 is "not set" there
<name>.rgthree-info.json            rgthree's `strengthMin` and `strengthMax`, numbers or texts; both 0 is "not set"
modelspec.lora_default_weight       SwarmUI's, in the file's own header; 0 is "not set"
a source's record                   CivitAI's recommended strength, where it gives one
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..safe_files import parse_json, read_json_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["SuggestedWeight", "default_weight_of", "suggested_weight", "suggested_weight_of"]

_MOST_BYTES = 8 * 1024**2
_UNSET = (0.0,)
_LONGEST_NUMBER = 20


@dataclass(frozen=True)
class SuggestedWeight:
    """The weight that a LoRA's author, or the owner of the library, recommends."""

    weight: float
    least: float | None = None
    most: float | None = None
    source: str = ""
    """Where it is from: "CivitAI", "Lora Manager", "A1111", "rgthree", "SwarmUI"."""


LARGEST_WEIGHT = 4.0
"""The largest weight in a `lora` array."""


def suggested_weight_of(
    weight: object, least: object, most: object, source: str, *, unset: tuple[float, ...] = ()
) -> SuggestedWeight | None:
    """The weight from a service or a sidecar, or None if it isn't valid. A range alone gives its middle, to two digits.

    Numbers that aren't allowed in an array, and those in `unset`, count as missing.
    """

    def number(value: object) -> float | None:
        try:
            read = (
                float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else None
            )
        except (ValueError, OverflowError):
            return None
        return read if read is not None and abs(read) <= LARGEST_WEIGHT and read not in unset else None

    low, high, said = number(least), number(most), number(weight)
    if low is not None and high is not None and low > high:
        low = high = None
    if said is None and low is not None and high is not None:
        said = round((low + high) / 2, 2)
    return None if said is None else SuggestedWeight(said, low, high, source)


def suggested_weight(
    path: Path | None, default_weight: str, recorded: SuggestedWeight | None
) -> SuggestedWeight | None:
    """The weight in the notes next to the file, its header (`default_weight` is its text), or its source's record.

    A note that can't be read, or with a weight that isn't allowed in an array, is ignored.
    """
    if path is not None:
        for found in (_lora_manager(path), _a1111(path), _rgthree(path)):
            if found is not None:
                return found
    return suggested_weight_of(default_weight, None, None, "SwarmUI", unset=_UNSET) or recorded


def default_weight_of(metadata: Mapping[str, str]) -> str:
    """The weight in a header's metadata, as it is written there; empty if there is none."""
    said = metadata.get("modelspec.lora_default_weight") or metadata.get("lora_default_weight") or ""
    return said[:_LONGEST_NUMBER]


def _lora_manager(path: Path) -> SuggestedWeight | None:
    text = _note(path.with_suffix(".metadata.json")).get("usage_tips")
    try:
        tips = parse_json(text) if isinstance(text, str) and text else {}
    except (ValueError, RecursionError):
        return None
    if not isinstance(tips, dict):
        return None
    least, most = tips.get("strength_min"), tips.get("strength_max")
    span = tips.get("strength_range")
    if least is None and most is None and isinstance(span, str):
        least, _, most = span.strip().rpartition("-")
    # Lora Manager's script that imports A1111's notes writes "not set" as 0.
    return suggested_weight_of(tips.get("strength"), least, most, "Lora Manager", unset=_UNSET)


def _a1111(path: Path) -> SuggestedWeight | None:
    return suggested_weight_of(
        _note(path.with_suffix(".json")).get("preferred weight"), None, None, "A1111", unset=_UNSET
    )


def _rgthree(path: Path) -> SuggestedWeight | None:
    note = _note(path.with_name(f"{path.name}.rgthree-info.json"))
    found = suggested_weight_of(None, note.get("strengthMin"), note.get("strengthMax"), "rgthree")
    return found if found is not None and (found.least, found.most) != (0, 0) else None


def _note(path: Path) -> dict[str, Any]:
    try:
        content = read_json_file(path, _MOST_BYTES) if path.exists() else None
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
