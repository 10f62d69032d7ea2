"""Combines weighted files into one patch for each weight. The result doesn't depend on the array's order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from ...lora_resolver import Mismatch
from .kinds import as_low_rank, replaces, widened_to
from .slices import overlap
from .stacked_adapter import Other, Section, StackedAdapter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ...lora_resolver import Schedule
    from .key_mapping import Target


@dataclass(frozen=True)
class WeightedPatches:
    """How one file changes one side of the checkpoint, and how strongly."""

    place: str
    """The entry's place, such as `lora[1]`."""
    name: str
    """What the user calls the entry."""
    sha256: str
    """The file's content hash."""
    strength: float
    patches: dict[Target, Any]
    schedule: Schedule | None = None
    """When it is active, and how strongly; `strength` is then its strongest weight."""
    factors: Mapping[str, float] = field(default_factory=dict)
    """Weight name → its block's factor, if that isn't 1."""

    @property
    def identity(self) -> tuple[str, str]:
        """Identifies the change, without `strength`. Entries are summed in this order, not in the array's."""
        return self.sha256, f"{self.schedule}{sorted(self.factors.items())}" if self.is_special else ""

    @property
    def is_special(self) -> bool:
        """Whether it has more than a single strength for all its weights."""
        return self.schedule is not None or bool(self.factors)

    def at(self, strength: float) -> WeightedPatches:
        """The same entry at a constant strength, without a schedule."""
        return replace(self, strength=strength, schedule=None)

    def only(self, patches: dict[Target, Any]) -> WeightedPatches:
        """The same entry with only these patches."""
        return replace(self, patches=patches)

    def strength_of(self, key: str) -> float:
        """The strength for one weight."""
        return self.strength * self.factors.get(key, 1.0) if self.factors else self.strength


def stack_patches(entries: Iterable[WeightedPatches]) -> dict[str, StackedAdapter]:
    """Weight name → the one patch that adds all entries' deltas.

    The same set of entries gives the same patches, bit for bit, in any order.
    Raises Mismatch with code `conflictingReplacement`, which names both entries, if one replaces a weight that another
    changes, or if two widen a weight to different shapes.
    """
    parts: dict[str, dict[Target, list[tuple[WeightedPatches, Any]]]] = {}
    for entry in sorted(entries, key=lambda entry: (entry.identity, entry.strength)):
        if entry.strength == 0:
            continue
        for target, value in entry.patches.items():
            if entry.strength_of(target.key) == 0:
                continue
            parts.setdefault(target.key, {}).setdefault(target, []).append((entry, value))
    return {key: _stack_weight(key, targets) for key, targets in parts.items()}


def _stack_weight(key: str, targets: dict[Target, list[tuple[WeightedPatches, Any]]]) -> StackedAdapter:
    _refuse_what_has_no_sum(key, targets)
    sections = []
    for target in sorted(targets, key=lambda target: target.offset or (-1, 0, 0)):
        low_rank, others = [], []
        for entry, value in targets[target]:
            plain = as_low_rank(value, entry.strength_of(key))
            if plain is not None:
                low_rank.append(plain)
            else:
                others.append(_as_other(value, entry.strength_of(key)))
        sections.append(Section(target.offset, target.function, tuple(low_rank), tuple(others)))
    return StackedAdapter(set(), tuple(sections))


def _as_other(value: Any, strength: float) -> Other:
    if isinstance(value, tuple):
        kind, weights = value
        return Other(kind, weights, strength)
    return Other(value.name, value.weights, strength)


def _refuse_what_has_no_sum(key: str, targets: dict[Target, list[tuple[WeightedPatches, Any]]]) -> None:
    """Raises Mismatch for changes of one weight that can't be combined.

    These are two replacements, a replacement and another change, and paddings to two different shapes.
    """
    changes = [(entry, target, value) for target, values in targets.items() for entry, value in values]
    alone = [change for change in changes if replaces(change[2]) or widened_to(change[2])]  # usually empty
    for (entry, target, value), (other, other_target, other_value) in product(alone, changes):
        if entry is other or not overlap(target.offset, other_target.offset):
            continue
        shape, other_shape = widened_to(value), widened_to(other_value)
        if replaces(value):
            what = f"{entry.name} replaces the weight {key}, which {other.name} also changes"
        elif other_shape and shape and other_shape != shape:
            what = f"{entry.name} widens the weight {key} to {_by(shape)}, and {other.name} to {_by(other_shape)}"
        else:
            continue
        raise Mismatch(
            f"{what}. These LoRAs can't be combined",
            code="conflictingReplacement",
            parameter=entry.place,
            remedy=f"Remove one of the two. {other.name} is {other.place}.",
        )


def _by(shape: list[int]) -> str:
    return "×".join(map(str, shape))
