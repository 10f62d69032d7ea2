"""Compares a file's modules with every row of the table, to find the rows that have all of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .modules import Contents, Group
    from .table import Entry, Index, Row

__all__ = ["Match", "fits_without_prefix", "match", "match_whole", "rows_of"]

# Names that no model outside the table has. With these names, unknown sizes are those of a small or pruned model.
_UNMISTAKABLE = re.compile(
    r"joint_blocks_|(double|single)_blocks_|(double|single)_stream_blocks_|joint_transformer_blocks_|double_layers_"
    r"|(noise|context)_refiner_|txtfusion_|llm_adapter_|.*_(img|txt)_(mlp|mod)_|.*_(self|cross)_attn_[qkvo]$"
    r"|.*_audio_attn|.*_adaln_modulation_|blocks_#_(self|cross)_attn_\w+_proj$"
)


@dataclass(frozen=True)
class Match:
    """`rows` are the rows of the table that a file may belong to, in the table's order.

    `by_size` is false if only the names match, and the sizes match no row. `telling` is the group of modules that the
    fewest rows have. `foreign` are groups whose names no row has, or the ones that prevent rows from matching.
    """

    rows: tuple[Row, ...]
    by_size: bool = True
    telling: Group | None = None
    foreign: tuple[Group, ...] = ()
    encoders_differ: bool = False
    """No row that has the other modules has these text encoders."""


class _Known(NamedTuple):
    group: Group
    rows: frozenset[int]
    by_size: frozenset[int]


def match_whole(contents: Contents, index: Index) -> Match:
    """Like `match`, for a whole model: rows whose essential name is missing are excluded."""
    found = match(contents, index, whole=True)
    names = [place.template for place in contents.numbers]
    rows = tuple(
        row
        for row in found.rows
        if not row.essential or any(name.startswith(row.essential) for name in names)
    )
    return replace(found, rows=rows)


def fits_without_prefix(groups: Sequence[Group], index: Index, prefix: str) -> bool:
    """Whether one row has all of these modules by name and size, after the prefix of each name is removed."""
    rows: frozenset[int] | None = None
    for group in groups:
        if not group.place.template.startswith(prefix):
            return False
        place = group.place._replace(template=group.place.template[len(prefix) :])
        fitting = rows_of(replace(group, place=place), index)[1]
        rows = fitting if rows is None else rows & fitting
    return bool(rows)


def match(contents: Contents, index: Index, *, whole: bool = False) -> Match:
    """The rows that have every module of the file.

    Names and sizes decide together, and norms don't count. If no row has all the sizes, unmistakable names are enough:
    a small or pruned model of a known kind is still of that kind. A module that no row has is evidence against all
    rows. `whole`: the file is a whole model, and a few unknown modules aren't evidence.
    """
    found = _match(contents, index)
    if not found.rows and index.last_resort:
        found = _match(contents, index.last_resort)
    if not found.rows:  # flattened names that no trainer writes
        found = _match(contents, index, flattened_or_not=True)
    if not found.rows:
        found = _match(contents, index, by_size=False, whole=whole)
    return found


def _match(
    contents: Contents,
    index: Index,
    *,
    by_size: bool = True,
    whole: bool = False,
    flattened_or_not: bool = False,
) -> Match:
    known: list[_Known] = []
    foreign: list[Group] = []
    for group in contents.groups:
        if group.is_vector:  # rows list few norms, since they don't distinguish families
            continue
        named, fitting = rows_of(group, index, flattened_or_not=flattened_or_not)
        if named:
            known.append(_Known(group, fitting if by_size else named, fitting))
        elif whole or not group.is_whole:  # a replaced weight may not be a layer, but a token
            foreign.append(group)
    if not known or _speaks_against(foreign, known, whole=whole):
        return Match((), foreign=tuple(foreign or contents.groups[:1]))

    diffusion = [item for item in known if not item.group.place.slot]
    for chosen in (known, diffusion) if 0 < len(diffusion) < len(known) else (known,):
        rows = frozenset.intersection(*(item.rows for item in chosen))
        if not any(_is_proven(index.rows[row], chosen) for row in rows):
            rows = frozenset()
        if rows and not by_size:
            rows = frozenset(row for row in rows if _may_be_small(row, chosen, contents.kind))
        if rows and (by_size or _are_one_kind(rows, chosen, index)):
            telling = min(chosen, key=lambda item: len(item.rows)).group
            if by_size:
                rows = _without_longer(rows, contents, index)
            in_order = tuple(index.rows[row] for row in sorted(rows))
            return Match(in_order, by_size, telling, tuple(foreign), len(chosen) < len(known))
    nobodys = [item.group for item in known if not item.rows]
    return Match((), foreign=tuple(nobodys or foreign or [known[0].group]))


def _speaks_against(foreign: Sequence[Group], known: Sequence[_Known], *, whole: bool) -> bool:
    """Whether modules that no row has are evidence against every row.

    In a LoRA's diffusion part, one is enough: a file can't belong to a family that doesn't have the module. Text
    encoders may be exchanged, and whole models may have a few added modules.
    """
    in_model = [group for group in foreign if not group.place.slot]
    if in_model and not whole:
        return True
    if not whole and any(not item.group.place.slot for item in known):
        return False
    share = 20 if whole else 2
    return _count(foreign) * share > _count([item.group for item in known])


_KERNELS = (3, 4, 5, 7, 9, 16, 25, 27, 49, 256, 512)
_SMALL = 512
"""No published model is as narrow as this."""


def _may_be_small(row: int, known: Sequence[_Known], kind: str) -> bool:
    """Whether sizes that differ from a row's may belong to a small model, or only a few of them are wrong.

    The sizes of a LoKr are the products of its factors' sizes, which are seldom correct if they were written by hand.
    """
    if kind == "lokr":
        return True
    sized = [item for item in known if item.group.inputs and item.group.outputs]
    if all(min(item.group.inputs or 0, item.group.outputs or 0) <= _SMALL for item in sized):
        return True
    return sum(row in item.by_size for item in sized) * 2 >= len(sized)


def _is_proven(row: Row, known: Sequence[_Known]) -> bool:
    return not row.proof or any(proof in item.group.example for proof in row.proof for item in known)


def _count(groups: Sequence[Group]) -> int:
    return sum(group.count for group in groups)


def _are_one_kind(rows: Iterable[int], known: Sequence[_Known], index: Index) -> bool:
    """Whether names alone are enough: they are unmistakable, and these rows have a layout in common. Names that merely
    coincide belong to a model that isn't in the table."""
    texts = [{layout.text for layout in index.rows[row].layouts} for row in rows]
    kin = bool(set.intersection(*texts)) or len({index.rows[row].family for row in rows}) == 1
    return kin and any(_UNMISTAKABLE.match(item.group.place.template) for item in known)


def rows_of(
    group: Group, index: Index, *, flattened_or_not: bool = False
) -> tuple[frozenset[int], frozenset[int]]:
    """The rows that have modules of this name, and those of these rows that have them at this size."""
    template = index.templates.get((group.place.slot, group.place.template))
    if template is None:
        return frozenset(), frozenset()
    by_name, by_size = [], []
    numbers, flat = group.numbers, group.place.flat and not flattened_or_not
    for entry in template.candidates(numbers):
        for number, limit in zip(numbers, entry.limits):
            if limit and number >= limit:
                break
        else:
            by_name.append(entry.row)
            if not (flat and entry.dotted) and _has_size(entry, group):
                by_size.append(entry.row)
    return frozenset(by_name), frozenset(by_size)


def _has_size(entry: Entry, group: Group) -> bool:
    inputs, outputs = group.inputs, group.outputs
    if group.convolution and not entry.convolution:
        return False
    if outputs is not None and entry.outputs and outputs not in entry.outputs:
        return False
    if inputs is None or not entry.inputs or inputs in entry.inputs:
        return True
    # LyCORIS flattens a convolution's kernel into the inputs of its factors.
    return entry.convolution and any(inputs == size * kernel for size in entry.inputs for kernel in _KERNELS)


def _without_longer(rows: frozenset[int], contents: Contents, index: Index) -> frozenset[int]:
    """The rows without those that have more blocks than the file, if the file covers all blocks of another row.

    FLUX.1 and HunyuanVideo differ in little else: a file that covers 19 and 38 blocks wasn't trained on 20 and 40.
    """
    if len(rows) < 2:
        return rows
    covered = _covered(contents)
    whole = [
        stacks
        for row in rows
        for stacks in index.rows[row].stacks
        if all(covered.get(name) == length for name, length in stacks)
    ]
    longer = {
        row
        for row in rows
        for mine in index.rows[row].stacks
        for other in whole
        if [name for name, _ in mine] == [name for name, _ in other]
        and any(length > their for (_, length), (_, their) in zip(mine, other))
    }
    return rows - longer


def _covered(contents: Contents) -> dict[str, int]:
    """Stack of blocks → its number of blocks, for stacks of which the file has every block, beginning with 0."""
    seen: dict[str, set[int]] = {}
    for place, everyone in contents.numbers.items():
        name, has_number, _ = place.template.partition("_#")
        if has_number:
            at = f"{place.slot}:{name}" if place.slot else name
            seen.setdefault(at, set()).update(numbers[0] for numbers in everyone)
    return {at: len(blocks) for at, blocks in seen.items() if max(blocks) == len(blocks) - 1}
