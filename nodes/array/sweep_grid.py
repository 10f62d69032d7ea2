"""Two axes of a sweep make a table of pictures: the first from left to right, the second from top to bottom."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ...lora_resolver import InvalidInput, parse_lora_array
from .sweep_axes import nameless, sweep_over
from .weight_sweep import Swept

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...lora_resolver import LoraEntry
    from .sweep_axes import VersionsOf

MOST_PICTURES = 400
BETWEEN = "\t"
"""Separates the column's head from the row's head in a label. LoRA Picture Grid makes a table from such labels."""


class Axis(NamedTuple):
    """What changes, in which entry (from 1; 0 is all), and its values."""

    kind: str
    entry: int
    values: str


def sweep_both(
    entries: Sequence[LoraEntry],
    across: Axis,
    down: Axis | None,
    name_of: Callable[[int], str] = nameless,
    versions_of: VersionsOf | None = None,
) -> tuple[Swept, ...]:
    """One array for each value of `across`; with `down`, for each pair of values, row by row.

    `name_of` returns the entry's name for labels, or "" to show its identifier. Raises InvalidInput with code
    `invalidSweep` or `noSuchEntry`; errors of `down` are placed at the inputs that end in `_2`.
    """

    def one(axis: Axis, of: Sequence[LoraEntry]) -> tuple[Swept, ...]:
        return sweep_over(axis.kind, of, axis.entry, axis.values, name_of, versions_of)

    columns = one(across, entries)
    if down is None:
        return columns
    _check_pair(across, down)
    try:
        rows = one(down, entries)
    except InvalidInput as error:
        raise error.at(f"{error.parameter}_2") from None
    if len(columns) * len(rows) > MOST_PICTURES:
        raise InvalidInput(
            f"{len(columns)} × {len(rows)} is more than {MOST_PICTURES} images",
            code="invalidSweep",
            parameter="values_2",
            remedy="Remove some values from one axis.",
        )
    # The entries axis is applied last, because the other axes enable the entry that they change.
    if down.kind == "entries":
        by_column = [one(down, parse_lora_array(column.lora)) for column in columns]
        arrays = [[by_column[column][row].lora for column in range(len(columns))] for row in range(len(rows))]
    else:
        arrays = [[each.lora for each in one(across, parse_lora_array(row.lora))] for row in rows]
    return tuple(
        Swept(lora, f"{column.label}{BETWEEN}{row.label}", column.prompt or row.prompt)
        for row, of_row in zip(rows, arrays)
        for column, lora in zip(columns, of_row)
    )


def _check_pair(across: Axis, down: Axis) -> None:
    is_whole = across.kind in ("prompts", "entries")
    if across.kind == down.kind and (
        is_whole or across.entry == down.entry or 0 in (across.entry, down.entry)
    ):
        raise InvalidInput(
            f"Both axes change the {down.kind} of the same entry, so the second would undo the first",
            code="invalidSweep",
            parameter="axis_2",
            remedy="Choose a different axis, or a different entry for one axis.",
        )
