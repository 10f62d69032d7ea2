"""Weighted files → one patch for each weight, in an order that does not depend on the array's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...lora_resolver import Mismatch
from .stacked_adapter import LowRank, Other, Section, StackedAdapter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .key_mapping import Target


@dataclass(frozen=True)
class WeightedPatches:
    """What one file does to one side of the checkpoint, and how strongly."""

    place: str
    """Where the entry stands, such as `lora[1]`."""
    name: str
    """What the user calls the entry."""
    sha256: str
    """The file's content hash: the order of summation, which must not be the array's."""
    strength: float
    patches: dict[Target, Any]


def stack_patches(entries: Iterable[WeightedPatches]) -> dict[str, StackedAdapter]:
    """Weight name → the one patch that adds all entries' deltas.

    The same set of entries gives the same patches, bit for bit, in whatever order it comes.
    Raises Mismatch where two entries replace the same weight, since two replacements have no sum.
    """
    parts: dict[str, dict[Target, list[tuple[WeightedPatches, Any]]]] = {}
    for entry in sorted(entries, key=lambda entry: entry.sha256):
        if entry.strength == 0:
            continue
        for target, value in entry.patches.items():
            parts.setdefault(target.key, {}).setdefault(target, []).append((entry, value))
    return {key: _stack_weight(key, targets) for key, targets in parts.items()}


def _stack_weight(key: str, targets: dict[Target, list[tuple[WeightedPatches, Any]]]) -> StackedAdapter:
    sections = []
    for target in sorted(targets, key=lambda target: target.offset or (-1, 0, 0)):
        low_rank, others = [], []
        for entry, value in targets[target]:
            plain = _as_low_rank(value, entry.strength)
            if plain is not None:
                low_rank.append(plain)
            else:
                others.append((entry, _as_other(value, entry.strength)))
        _refuse_replacements(key, others, low_rank)
        sections.append(
            Section(target.offset, target.function, tuple(low_rank), tuple(other for _, other in others))
        )
    return StackedAdapter(set(), tuple(sections))


def _as_low_rank(value: Any, strength: float) -> LowRank | None:
    """Plain LoRA: two factors, no mid, no DoRA scale, no reshape. Everything else is None."""
    if getattr(value, "name", "") != "lora":
        return None
    up, down, alpha, mid, dora_scale, reshape = value.weights
    if mid is not None or dora_scale is not None or reshape is not None or up.dim() < 2 or down.dim() < 2:
        return None
    scale = alpha / down.shape[0] if alpha is not None else 1.0
    return LowRank(up, down, strength * scale)


def _as_other(value: Any, strength: float) -> Other:
    if isinstance(value, tuple):
        kind, weights = value
        return Other(kind, weights, strength)
    return Other(value.name, value.weights, strength)


def _refuse_replacements(
    key: str, others: list[tuple[WeightedPatches, Other]], low_rank: list[LowRank]
) -> None:
    replacing = [entry for entry, other in others if other.kind == "set"]
    if not replacing or len(others) + len(low_rank) == 1:
        return
    others_there = [entry for entry, _ in others if entry is not replacing[0]]
    second = others_there[0].name if others_there else "another entry"
    raise Mismatch(
        f"{replacing[0].name} replaces the weight {key}, which {second} changes as well, and the two have no sum",
        code="conflictingReplacement",
        parameter=replacing[0].place,
        remedy="Keep one of the two.",
    )
