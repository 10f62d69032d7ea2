"""Draws a batch as one picture: one parameter of the tasks across, another one down, with labels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

from .batch import BatchFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .batch import Result, Task

CELL = 384
"""Pixels of a cell's longer side."""
LABEL = 44
GAP = 8
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
LONGEST_LABEL = 60


def check_axes(tasks: Sequence[Task], *names: str) -> None:
    """Raises BatchFailed if no task has one of these parameters."""
    for name in names:
        if name != "seed" and not any(name in task.body for task in tasks):
            there = sorted({key for task in tasks for key in task.body} - {"taskType", "taskUUID", "seed"})
            raise BatchFailed(f"No task has {name!r}. Available parameters: {', '.join(['seed', *there])}.")


def draw(
    tasks: Sequence[Task], results: Sequence[Result], folder: Path, across: str, down: str
) -> Image.Image:
    """The grid: a column for each value of `across`, and a row for each value of `down`, in the file's order.

    A cell shows its first picture. Raises BatchFailed if no task has a picture, or no task has the parameter.
    """
    check_axes(tasks, across, down)
    cells: dict[tuple[str, str], Path] = {}
    columns: dict[str, str] = {}
    rows: dict[str, str] = {}
    for task, result in zip(tasks, results):
        if not result.files:  # its cell stays empty
            columns.setdefault(_value(task.body, across), _label(task.body, across))
            rows.setdefault(_value(task.body, down), _label(task.body, down))
        for seed, name in zip(result.seeds, result.files):
            if not name.lower().endswith(PICTURES):
                continue
            member = {**task.body, "seed": seed}
            column, row = _value(member, across), _value(member, down)
            columns.setdefault(column, _label(member, across))
            rows.setdefault(row, _label(member, down))
            cells.setdefault((row, column), folder / name)
    if not cells:
        raise BatchFailed("None of the tasks has a picture.")
    pictures = {place: _small(path) for place, path in cells.items()}
    width = max(each.width for each in pictures.values())
    height = max(each.height for each in pictures.values())
    font = ImageFont.load_default(size=18)
    left = max(int(font.getlength(_short(label))) for label in rows.values()) + 2 * GAP
    left = min(left, width)
    sheet = Image.new(
        "RGB", (left + len(columns) * (width + GAP) + GAP, LABEL + len(rows) * (height + GAP) + GAP), "white"
    )
    pen = ImageDraw.Draw(sheet)
    for number, label in enumerate(columns.values()):
        middle = left + number * (width + GAP) + width // 2
        pen.text((middle, LABEL // 2), _fitting(label, font, width), "black", font, anchor="mm")
    for number, (row, label) in enumerate(rows.items()):
        top = LABEL + number * (height + GAP)
        pen.text(
            (left - GAP, top + height // 2), _fitting(label, font, left - 2 * GAP), "black", font, anchor="rm"
        )
        for place, column in enumerate(columns):
            picture = pictures.get((row, column))
            box = (left + place * (width + GAP), top)
            if picture is None:
                pen.rectangle((*box, box[0] + width, box[1] + height), outline="lightgrey")
                pen.text((box[0] + width // 2, box[1] + height // 2), "no picture", "grey", font, anchor="mm")
            else:
                sheet.paste(picture, box)
    return sheet


def _value(task: Mapping[str, Any], name: str) -> str:
    return json.dumps(task.get(name), sort_keys=True, ensure_ascii=False)


def _label(task: Mapping[str, Any], name: str) -> str:
    value = task.get(name)
    if name in ("lora", "lycoris") and isinstance(value, list):
        return ", ".join(_entry(each) for each in value) or "none"
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _entry(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    name = str(entry.get("model", "")).removeprefix("local:").removesuffix(".safetensors")
    weight = entry.get("weight", 1)
    others = [f"{key} {value}" for key, value in entry.items() if key not in ("model", "weight")]
    shown = f"{name} {weight:g}" if isinstance(weight, (int, float)) else name
    return " ".join([shown, *others])


def _short(label: str, most: int = LONGEST_LABEL) -> str:
    """Shortens a label in the middle, because prompts often differ in their last words."""
    label = " ".join(label.split())
    if len(label) <= most:
        return label
    half = (most - 1) // 2
    return f"{label[: most - 1 - half]}…{label[len(label) - half :]}"


def _fitting(label: str, font: Any, width: int) -> str:
    label = _short(label)
    while len(label) > 3 and font.getlength(label) > width:
        label = _short(label, len(label) - 1)
    return label


def _small(path: Path) -> Image.Image:
    try:
        with Image.open(path) as opened:
            opened.thumbnail((CELL, CELL))
            return opened.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise BatchFailed(
            f"{path} isn't a valid image ({error}). Delete it, and run the same command again."
        ) from None
