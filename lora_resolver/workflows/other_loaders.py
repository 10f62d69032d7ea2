"""The LoRA loaders and stackers of ComfyUI and of other packs: which files a node names, and how strongly.

    LoraLoader, LoraLoaderModelOnly, CreateHookLora…   lora_name, strength_model, strength_clip
    Power Lora Loader (rgthree)     lora_1: {"on": true, "lora": "a.safetensors", "strength": 0.7, "strengthTwo": null}
    Lora Loader Stack (rgthree)     lora_01, strength_01, … lora_04, strength_04
    … (LoraManager)                 loras: [{"name": "name", "strength": "0.70", "clipStrength": 0.5, "active": true}],
                                    or {"__value__": […]}; where there are none, `<lora:name:0.7:0.5>` in its text
    CR LoRA Stack                   switch_1: "On", lora_name_1, model_weight_1, clip_weight_1, … of three
    LoRA Stacker                    input_mode, lora_count; lora_name_1, lora_wt_1, model_str_1, clip_str_1, … of fifty
    easy loraStack                  toggle, mode, num_loras; lora_1_name, lora_1_strength, lora_1_model_strength,
                                    lora_1_clip_strength, … of ten

Inputs have these names in the API format; what the page saves names them too where each has a socket, and else tells
their order alone: `widget 0`, `widget 1`, … (see `canvas`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .prompt_tags import prompt_tags

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["LoaderRow", "rows_of_loader"]

_CORE = frozenset({"LoraLoader", "LoraLoaderModelOnly", "CreateHookLora", "CreateHookLoraModelOnly"})
_POWER_LOADER = "Power Lora Loader (rgthree)"
_MANAGER = "(LoraManager)"


@dataclass(frozen=True)
class LoaderRow:
    """One LoRA of a loader."""

    where: str
    """The input that names it."""
    file: object
    """As the loader lists it; a link where another node says it."""
    strengths: tuple[object, object]
    """On the model and on the text encoders; None where it has no such input."""
    enabled: bool = True
    model_only: bool = False
    anywhere: bool = False
    """Whether the loader finds the file in any folder below `loras` by its bare name."""


def rows_of_loader(kind: str, inputs: Mapping[str, Any]) -> list[LoaderRow]:
    """What a node of this class names; nothing for classes that are not known here, and for rows that are empty."""
    if kind in _CORE:
        rows = _of_core(inputs, model_only=kind.endswith("ModelOnly"))
    elif kind == _POWER_LOADER:
        rows = _of_power_loader(inputs)
    elif kind.endswith(_MANAGER):
        rows = _of_manager(inputs)
    elif kind in _STACKS:
        rows = _STACKS[kind](_Ordered(inputs))
    else:
        return []
    return [row for row in rows if row.file not in (None, "", "None")]


class _Ordered:
    """Inputs by name, or by their place on the canvas."""

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self._inputs = inputs

    def get(self, name: str, position: int) -> Any:
        return self._inputs.get(name, self._inputs.get(f"widget {position}"))


def _of_core(inputs: Mapping[str, Any], *, model_only: bool) -> Iterator[LoaderRow]:
    ordered = _Ordered(inputs)
    strengths = (ordered.get("strength_model", 1), ordered.get("strength_clip", 2))
    yield LoaderRow("lora_name", ordered.get("lora_name", 0), strengths, model_only=model_only)


def _of_power_loader(inputs: Mapping[str, Any]) -> Iterator[LoaderRow]:
    for name, row in inputs.items():
        if isinstance(row, dict) and "lora" in row:
            strengths = (row.get("strength"), row.get("strengthTwo"))
            yield LoaderRow(name, row["lora"], strengths, enabled=row.get("on") is not False)


def _of_rgthree_stack(ordered: _Ordered) -> Iterator[LoaderRow]:
    for number in range(1, 5):
        name = f"lora_{number:02}"
        strength = ordered.get(f"strength_{number:02}", 2 * number - 1)
        yield LoaderRow(name, ordered.get(name, 2 * number - 2), (strength, strength))


def _of_comfyroll(ordered: _Ordered) -> Iterator[LoaderRow]:
    for number in range(1, 4):
        first = 4 * (number - 1)
        yield LoaderRow(
            f"lora_name_{number}",
            ordered.get(f"lora_name_{number}", first + 1),
            (
                ordered.get(f"model_weight_{number}", first + 2),
                ordered.get(f"clip_weight_{number}", first + 3),
            ),
            enabled=ordered.get(f"switch_{number}", first) == "On",
        )


def _of_efficiency(ordered: _Ordered) -> Iterator[LoaderRow]:
    simple = ordered.get("input_mode", 0) == "simple"
    for number in range(1, _count(ordered.get("lora_count", 1), 50) + 1):
        first = 2 + 4 * (number - 1)
        both = ordered.get(f"lora_wt_{number}", first + 1)
        model, clip = (
            ordered.get(f"model_str_{number}", first + 2),
            ordered.get(f"clip_str_{number}", first + 3),
        )
        name = f"lora_name_{number}"
        yield LoaderRow(name, ordered.get(name, first), (both, both) if simple else (model, clip))


def _of_easy_use(ordered: _Ordered) -> Iterator[LoaderRow]:
    simple = ordered.get("mode", 1) == "simple"
    for number in range(1, _count(ordered.get("num_loras", 2), 10) + 1):
        first = 3 + 4 * (number - 1)
        both = ordered.get(f"lora_{number}_strength", first + 1)
        model = ordered.get(f"lora_{number}_model_strength", first + 2)
        clip = ordered.get(f"lora_{number}_clip_strength", first + 3)
        yield LoaderRow(
            f"lora_{number}_name",
            ordered.get(f"lora_{number}_name", first),
            (both, both) if simple else (model, clip),
            enabled=ordered.get("toggle", 0) is not False,
        )


_STACKS = {
    "Lora Loader Stack (rgthree)": _of_rgthree_stack,
    "CR LoRA Stack": _of_comfyroll,
    "LoRA Stacker": _of_efficiency,
    "easy loraStack": _of_easy_use,
}


def _count(value: object, most: int) -> int:
    return min(most, max(0, value)) if isinstance(value, int) else most


def _of_manager(inputs: Mapping[str, Any]) -> Iterator[LoaderRow]:
    """Its rows hold what runs. What the page saved names none of its inputs; a row is known by its members."""
    rows = [row for value in inputs.values() for row in _manager_rows(value)]
    for number, row in enumerate(rows):
        yield LoaderRow(
            f"loras[{number}]",
            row["name"],
            (_number_of(row.get("strength")), _number_of(row.get("clipStrength"))),
            enabled=row.get("active") is True,
            anywhere=True,
        )
    if rows:
        return
    for value in inputs.values():
        for tag in prompt_tags(value) if isinstance(value, str) else ():
            model, clip = (*tag.weights, None, None)[:2]
            yield LoaderRow(f"<lora:{tag.name[:40]}>", tag.name, (model, clip), anywhere=True)


def _manager_rows(value: object) -> Sequence[Mapping[str, Any]]:
    listed = value.get("__value__") if isinstance(value, dict) else value
    if not isinstance(listed, list):
        return []
    return [
        row
        for row in listed
        if isinstance(row, dict) and isinstance(row.get("name"), str) and "strength" in row
    ]


def _number_of(value: object) -> object:
    """Lora Manager keeps some strengths as texts."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return None
