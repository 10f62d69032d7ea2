"""A weight that changes over the steps of a run: "start", "end", and a weight of several points (our extension).

    { "model": "civitai:120096@135931", "weight": 0.7, "start": 0.5 }                        only the second half
    { "model": "civitai:120096@135931", "weight": [[0, 0.2], [0.5, 1]] }                     rising, then constant
    { "model": "civitai:120096@135931", "weight": [[0, 1], [0.3, 0.4]], "hold": true }       two levels

    key      value                                              default
    weight   [[position, weight], …], positions rising          a plain number: a constant weight
    start    a position from 0 to 1: no effect before it        0
    end      a position from 0 to 1: no effect from it on       1
    hold     true: each weight stays until the next position    false: straight lines between the points
    count    "steps", "percent" or "numbers"                    "steps"

A position is a share of the steps that a sampler takes: in a run of 10, step 6 (counted from 1) begins at 0.5. With
"percent" it is a share of the noise schedule, like ComfyUI's own *start_percent* and *end_percent*. With "numbers" it
is a number of steps, whatever their total: 5 begins after five steps, like `start=5` in a prompt tag.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeGuard

__all__ = ["COUNTS", "MAX_POINTS", "Schedule"]

COUNTS = ("steps", "percent", "numbers")
MAX_STEP = 10_000
MAX_POINTS = 64
"""Points of one weight. A run rarely has more steps."""

_ROUNDING = 1e-9
"""Tolerance for a position that is i/n: 3/10 must not come before 0.3."""


@dataclass(frozen=True)
class Schedule:
    """When an entry has an effect, and at which weight."""

    points: tuple[tuple[float, float], ...]
    """(position, weight), sorted by position. A single point is a constant weight."""
    start: float = 0.0
    end: float = 1.0
    hold: bool = False
    count: str = "steps"

    def at(self, position: float) -> float:
        """The weight at this position. Before the first point and after the last one, their weights apply."""
        position += _ROUNDING
        if position < self.start or (position >= self.end and self.end < self.last):
            return 0.0
        before = self.points[0]
        for after in self.points:
            if position < after[0]:
                return self._between(before, after, position - _ROUNDING)
            before = after
        return before[1]

    def _between(self, before: tuple[float, float], after: tuple[float, float], position: float) -> float:
        span = after[0] - before[0]
        if self.hold or span == 0:
            return before[1]
        share = (position - before[0]) / span
        return before[1] + share * (after[1] - before[1])

    @property
    def last(self) -> float:
        """The largest possible position."""
        return last_position(self.count)

    @property
    def strongest(self) -> float:
        """The weight that is farthest from zero. It is shown where there is room for only one number."""
        return max((weight for _, weight in self.points), key=lambda weight: (abs(weight), weight))

    @property
    def changes(self) -> bool:
        """Whether the weight isn't constant during the run."""
        return self.start > 0 or self.end < self.last or len({weight for _, weight in self.points}) > 1

    def plus(self, other: Schedule) -> Schedule:
        """The sum of two schedules with points at the same positions."""
        points = tuple((at, weight + more) for (at, weight), (_, more) in zip(self.points, other.points))
        return Schedule(points, self.start, self.end, self.hold, self.count)

    def with_strongest(self, weight: float) -> Schedule:
        """The same shape with another strongest weight."""
        factor = weight / self.strongest if self.strongest else 0.0
        points = tuple((position, float(f"{each * factor:.6g}")) for position, each in self.points)
        return Schedule(points, self.start, self.end, self.hold, self.count)

    def members(self) -> dict[str, object]:
        """The members for the array's JSON, without default values. The weight is always included."""
        found: dict[str, object] = {}
        if len(self.points) > 1:
            found["weight"] = [list(point) for point in self.points]
        else:
            found["weight"] = self.points[0][1]
        if self.start > 0:
            found["start"] = self.start
        if self.end < self.last:
            found["end"] = self.end
        if self.hold and len(self.points) > 1:
            found["hold"] = True
        if self.count != "steps":
            found["count"] = self.count
        return found


def last_position(count: str) -> float:
    """The largest possible position of a run's end."""
    return MAX_STEP if count == "numbers" else 1.0


def is_position(value: object) -> TypeGuard[float]:
    """Whether the value is a valid position for at least one `count`."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return math.isfinite(value) and 0 <= value <= MAX_STEP
