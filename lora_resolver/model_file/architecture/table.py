"""The notation of the table of families, and the index for fast lookups in it.

A layout lists the modules of one naming of one model, one per line: the name, its input size, its output size.

    double_blocks.<D>.(img|txt)_mlp.0    h    4h

    <D>        any block below D, whose value depends on the family; a plain number in the name means itself
    (a|b)      either
    h, 4h, h+m a size of the family, a multiple, a sum; `768` itself; `64,128` one of these; `-` any size
    *          at the end: a convolution, whose factors may have more than two dimensions

A family may have several layouts (its own names, those of diffusers, its text encoders). Since trainers write `.`, `_`
or both, names are compared with `_` only, and their numbers separately: `double_blocks_#_img_mlp_#`.
"""

from __future__ import annotations

import functools
import itertools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["Entry", "Index", "Layout", "Row", "Template"]


@dataclass(frozen=True)
class Layout:
    """Modules by name, as described above.

    `slot` is the part of a pipeline that they belong to ("" is the diffusion model, "te1" a text encoder…).
    `dotted`: no trainer writes these names flattened (`lora_unet_…`), so a flattened name belongs to another family.
    `sizes` are the layout's own letters, in addition to the row's.
    """

    text: str
    slot: str = ""
    dotted: bool = False
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A family, or one size of it: the unit that a file is compared with.

    `family` is the public ID, `variant` distinguishes its sizes, `sizes` has the values of the letters in the layouts.
    """

    family: str
    variant: str
    layouts: tuple[Layout, ...]
    sizes: Mapping[str, int]
    stacks: tuple[tuple[tuple[str, int], ...], ...] = ()
    """For each naming, its stacks of blocks: (name, number of blocks)."""
    essential: tuple[str, ...] = ()
    """Beginnings of names. The whole model always has one of them; other rows have all of its other names."""
    proof: tuple[str, ...] = ()
    """Parts of names. A file matches this row only with one of them, because other models have all other names."""


class Entry(NamedTuple):
    """One name of one layout, for one row. `fixed` are the numbers that the name must have (position, value), `limits`
    are the upper limits of the others by position (0 at the fixed ones). Empty sizes stand for any size."""

    row: int
    fixed: tuple[tuple[int, int], ...]
    limits: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    convolution: bool
    dotted: bool


@dataclass
class Template:
    """Every entry of one name. `telling` are the positions of the numbers that distinguish entries (the others have
    only upper limits). Most entries are found by the values there; `loose` are entries that don't fix all of them."""

    entries: list[Entry] = field(default_factory=list)
    telling: tuple[int, ...] = ()
    by_numbers: dict[tuple[int, ...], list[Entry]] = field(default_factory=dict)
    loose: list[Entry] = field(default_factory=list)

    def sort(self) -> None:
        """Prepares the entries for lookups."""
        self.telling = tuple(sorted({place for entry in self.entries for place, _ in entry.fixed}))
        for entry in self.entries:
            if len(entry.fixed) == len(self.telling):
                self.by_numbers.setdefault(tuple(number for _, number in entry.fixed), []).append(entry)
            else:
                self.loose.append(entry)

    def candidates(self, numbers: Sequence[int]) -> list[Entry]:
        """The entries that a name with these numbers may belong to, regardless of their upper limits."""
        found = self.by_numbers.get(tuple(numbers[place] for place in self.telling), [])
        if not self.loose:
            return found
        loose = [
            entry for entry in self.loose if all(numbers[place] == number for place, number in entry.fixed)
        ]
        return found + loose


class Index:
    """All rows, indexed by slot and template."""

    def __init__(self, rows: Iterable[Row], last_resort: Iterable[Row] = ()) -> None:
        self.rows = tuple(rows)
        last = tuple(last_resort)
        self.last_resort = Index(last) if last else None
        """Rows that are used only if none of the others has all of a file's modules."""
        self.templates: dict[tuple[str, str], Template] = {}
        for number, row in enumerate(self.rows):
            for layout in row.layouts:
                self._add(number, layout, {**row.sizes, **layout.sizes})
        for template in self.templates.values():
            template.sort()

    def _add(self, number: int, layout: Layout, sizes: Mapping[str, int]) -> None:
        for line in _lines(layout.text):
            inputs = tuple(_value(size, sizes) for size in line.inputs)
            outputs = tuple(_value(size, sizes) for size in line.outputs)
            # A stack of no blocks has the upper limit -1, which no number is below.
            limits = tuple((_value(limit, sizes) or -1) if limit else 0 for limit in line.limits)
            entry = Entry(number, line.fixed, limits, inputs, outputs, line.convolution, layout.dotted)
            self.templates.setdefault((layout.slot, line.template), Template()).entries.append(entry)


class _Line(NamedTuple):
    """One name of a layout, with its sizes still in letters."""

    template: str
    fixed: tuple[tuple[int, int], ...]
    limits: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    convolution: bool


_NUMBER_OR_LIMIT = re.compile(r"_(?:(\d+)|<(\w+)>)(?=_|$)")
_CHOICE = re.compile(r"\(([^()]*)\)")
_TERM = re.compile(r"(\d*)([a-zA-Z]?)")


@functools.cache
def _lines(text: str) -> tuple[_Line, ...]:
    """Every name of a layout. Cached, since several families share most layouts."""
    lines = []
    for line in text.splitlines():
        if line.strip():
            pattern, inputs, outputs, *star = line.split()
            sizes = tuple(() if size == "-" else tuple(size.split(",")) for size in (inputs, outputs))
            for name in _names(pattern.replace(".", "_")):
                parts = _NUMBER_OR_LIMIT.split(name)
                numbers = tuple(enumerate(parts[1::3]))
                fixed = tuple((place, int(number)) for place, number in numbers if number is not None)
                limits = tuple(limit or "" for limit in parts[2::3])
                lines.append(_Line("_#".join(parts[::3]), fixed, limits, sizes[0], sizes[1], bool(star)))
    return tuple(lines)


def _names(pattern: str) -> Iterator[str]:
    """`a_(b|c)` → `a_b`, `a_c`."""
    pieces = _CHOICE.split(pattern)
    choices = [piece.split("|") if place % 2 else [piece] for place, piece in enumerate(pieces)]
    return map("".join, itertools.product(*choices))


def _value(text: str, sizes: Mapping[str, int]) -> int:
    """`768`, `h`, `4h`, `h+4h`."""
    if text.isdigit():
        return int(text)
    total = 0
    for term in text.split("+"):
        match = _TERM.fullmatch(term)
        if match is None:
            raise ValueError(f"{text!r} is no size")
        times, symbol = match.groups()
        total += int(times or 1) * (sizes[symbol] if symbol else 1)
    return total
