"""Reads the LoRA loaders and stackers of ComfyUI and of other packs: the files of a node, and their strengths.

Most are rows of `loader_table`. These have their own formats:

    LoadLoraModel, LoadLoraTextEncoder    loras.0.lora_name, loras.0.strength, loras.0.enabled, loras.1.…
    Power Lora Loader (rgthree)           lora_1: {"on": true, "lora": "a.safetensors", "strength": 0.7,
                                          "strengthTwo": null}
    … (LoraManager)                       loras: [{"name": "a", "strength": "0.70", "clipStrength": 0.5,
                                          "active": true}], or {"__value__": […]}
    Nunchaku…LoraStackV1 to V4            lora_1: {"enabled", "lora_name", "lora_strength"}; lora_name_1, …
    CivitaiLoraLoader                     loras_json: '[{"air": "urn:air:…", "strength": 0.8, "on": true}]'
    CivitAI_Lora_Loader                   lora_air: "120096@135931", or lora_name
    Runware Lora Search                   LoraList: "civitai:1@2 (title)", weight

Inputs have these names in the API format. A workflow that the page saved has the names only if each input has a socket.
Otherwise it has only their order: `widget 0`, `widget 1`, … (see `canvas`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .linked_texts import comes_from_us, held_value
from .loader_table import NO_LOADERS, SAME, SINGLE, STACKS, TAGGED
from .prompt_tags import prompt_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .loader_table import Input, Single, Stack, Tagged

__all__ = ["LoaderRow", "is_known", "loaders_of_others", "rows_of_loader", "tagged_rows"]

_POWER_LOADER = "Power Lora Loader (rgthree)"
_MANAGER = "(LoraManager)"
_CORE_ROW = re.compile(r"loras\.([0-9]{1,3})\.lora_name")


@dataclass(frozen=True)
class LoaderRow:
    """One LoRA of a loader."""

    where: str
    """The input that contains it."""
    file: object
    """The name as the loader lists it; a link if another node provides it."""
    strengths: tuple[object, object]
    """For the model and for the text encoders; None if there is no such input."""
    enabled: bool = True
    model_only: bool = False
    anywhere: bool = False
    """Whether the loader finds the file in any folder below `loras` by its name without folder."""
    is_identifier: bool = False
    """Whether `file` is an AIR instead of a file name."""
    extensions: tuple[tuple[str, object], ...] = ()
    """A tag's options for steps and blocks, as members of an array's entry."""


def is_known(kind: str) -> bool:
    """Whether this module reads nodes of this class, or knows that they load no LoRA."""
    return (
        kind in SINGLE
        or kind in STACKS
        or kind in TAGGED
        or kind in NO_LOADERS
        or kind in _OTHERS
        or kind == _POWER_LOADER
        or kind in _MANAGER_LOADERS
    )


def loaders_of_others(workflow: Mapping[str, Any]) -> list[dict[str, str]]:
    """`node` and `class_type` of each enabled loader in a prompt that gets a LoRA from its inputs or through a link.

    A text that is computed in the run may contain tags, so it counts. LoRAs from our own nodes are reported elsewhere.
    """
    found = []
    for key, node in workflow.items():
        kind = str(node.get("class_type")) if isinstance(node, dict) else ""
        inputs = node.get("inputs") if is_known(kind) else None
        if not isinstance(inputs, dict):
            continue
        own = {
            name: held_value(value, workflow)
            for name, value in inputs.items()
            if not comes_from_us(value, workflow)
        }
        if any(map(_takes_part, rows_of_loader(kind, own))):
            found.append({"node": str(key), "class_type": kind})
    return found


def _takes_part(row: LoaderRow) -> bool:
    strengths = [each for each in row.strengths if each is not None]
    is_zero = bool(strengths) and all(isinstance(each, (int, float)) and each == 0 for each in strengths)
    return row.enabled and not is_zero


def rows_of_loader(
    kind: str, inputs: Mapping[str, Any], properties: Mapping[str, Any] | None = None
) -> list[LoaderRow]:
    """The LoRAs of a node of this class. Empty for unknown classes; empty rows are left out.

    `inputs` already contains the values of linked nodes (see `linked_texts`). A remaining link is computed in the run.
    `properties` are those that the page saved; None in the API format.
    """
    ordered = _Ordered(inputs, properties)
    rows: list[LoaderRow] = []
    if kind in SINGLE:
        rows += _of_single(SINGLE[kind], ordered)
    for stack in STACKS.get(kind, ()):
        rows += _of_stack(stack, ordered)
    if kind in TAGGED:
        rows += _of_texts(TAGGED[kind], ordered)
    if kind in _OTHERS:
        rows += _OTHERS[kind](ordered)
    if kind == _POWER_LOADER:
        rows += _of_power_loader(inputs, properties)
    if kind in _MANAGER_LOADERS:
        rows += _of_manager(inputs, model_only="WanVideo" in kind)
    return [row for row in rows if not _is_empty(row.file)]


def _is_empty(file: object) -> bool:
    return file is None or (isinstance(file, str) and file.strip().lower() in ("", "none", "[none]"))


class _Ordered:
    """Inputs by name, or by their position on the canvas."""

    def __init__(self, inputs: Mapping[str, Any], properties: Mapping[str, Any] | None = None) -> None:
        self.inputs = inputs
        self.properties = properties or {}

    def get(self, name: str, position: int) -> Any:
        return self.inputs.get(name, self.inputs.get(f"widget {position}"))

    def of(self, named: Input | None, number: int | None = None, shift: int = 0) -> Any:
        """The value of an input from the table, for a numbered row if given."""
        if named is None:
            return None
        name = named[0] if number is None else named[0].format(number)
        return self.get(name, named[1] + shift)

    @property
    def widgets(self) -> list[Any]:
        """The values whose names the page didn't save, in order."""
        numbered = [
            (int(key[7:]), value)
            for key, value in self.inputs.items()
            if re.fullmatch("widget [0-9]{1,5}", key)
        ]
        return [value for _, value in sorted(numbered, key=lambda pair: pair[0])]


def _of_single(node: Single, ordered: _Ordered) -> Iterator[LoaderRow]:
    file = ordered.of(node.name)
    if isinstance(file, dict):  # pysssss: {"content": "a.safetensors", "image": "a.png"}
        file = file.get("content")
    model = ordered.of(node.model)
    clip = model if node.clip == SAME else ordered.of(node.clip)
    enabled = ordered.of(node.switch) not in (False, "Off") and ordered.of(node.bypass) is not True
    yield LoaderRow(node.name[0], file, (model, clip), enabled=enabled, model_only=node.clip is None)


def _of_stack(node: Stack, ordered: _Ordered) -> Iterator[LoaderRow]:
    is_simple = ordered.of(node.mode) == "simple"
    is_on = node.toggle is None or ordered.of(node.toggle) not in (False, None, "False")
    most = _count(ordered.of(node.count), len(node.numbers)) if node.count else len(node.numbers)
    for place, number in enumerate(node.numbers[:most]):
        shift = node.step * place

        def value(named: Input | None, number: int = number, shift: int = shift) -> Any:
            return ordered.of(named, number, shift)

        model = value(node.simple) if is_simple else value(node.model)
        clip = model if is_simple or node.clip == SAME else value(node.clip)
        enabled = is_on and (node.switch is None or value(node.switch) == "On")
        yield LoaderRow(
            node.name[0].format(number),
            value(node.name),
            (model, clip),
            enabled,
            model_only=node.clip is None,
        )


def _count(value: object, most: int) -> int:
    return min(most, max(0, value)) if isinstance(value, int) else most


def _of_texts(node: Tagged, ordered: _Ordered) -> Iterator[LoaderRow]:
    populates = ordered.of(node.mode) in (True, "populate")
    for named in node.populated_from if populates else node.texts:
        text = ordered.of(named)
        if named[1] < 0 and text is None:
            text = " ".join(each for each in ordered.widgets if isinstance(each, str))
        if isinstance(text, list):  # through a link, from a node that computes it in the run
            yield LoaderRow(named[0], text, (None, None))
        elif isinstance(text, str):
            yield from tagged_rows(text, node.clip)


def tagged_rows(text: str, clip_rule: str = "model", *, ours: bool = False) -> Iterator[LoaderRow]:
    """The rows of a prompt's tags, each file once, as the packs load it. Uses the tags' options only if `ours`."""
    seen: set[str] = set()
    for tag in prompt_tags(text):
        if tag.name in seen:
            continue
        seen.add(tag.name)
        model: object = tag.weights[0] if tag.weights else 1.0
        if tag.unread:  # {0.4|0.8}: the value in the run is unknown
            model = [tag.unread, 0]
        clip: object = tag.weights[1] if len(tag.weights) > 1 else 1.0 if clip_rule == "one" else model
        yield LoaderRow(
            f"<lora:{tag.name[:40]}>",
            tag.name,
            (model, clip),
            anywhere=True,
            is_identifier=tag.is_identifier,
            extensions=tuple(tag.extensions().items()) if ours else (),
        )


def _of_core_rows(ordered: _Ordered, *, on_text: bool) -> Iterator[LoaderRow]:
    """The rows of ComfyUI's own nodes with rows, for the model only or for the text encoder only."""
    numbers = sorted(int(match[1]) for key in ordered.inputs if (match := _CORE_ROW.fullmatch(str(key))))
    rows = [
        tuple(ordered.inputs.get(f"loras.{number}.{part}") for part in ("lora_name", "strength", "enabled"))
        for number in numbers
    ]
    widgets = ordered.widgets
    if not rows and widgets:
        # [count, name, strength, enabled, name, …]; the first versions have no switch.
        count = widgets[0] if isinstance(widgets[0], int) and not isinstance(widgets[0], bool) else None
        values = widgets[1:] if count is not None else widgets
        width = 3 if any(isinstance(each, bool) for each in values) else 2
        rows = [(*values[at : at + width], None)[:3] for at in range(0, len(values), width)]
        numbers = list(range(len(rows)))
    for number, (name, strength, enabled) in zip(numbers, rows):
        strengths = (0.0, strength) if on_text else (strength, None)
        yield LoaderRow(
            f"loras.{number}.lora_name", name, strengths, enabled is not False, model_only=not on_text
        )


def _of_power_loader(inputs: Mapping[str, Any], properties: Mapping[str, Any] | None) -> Iterator[LoaderRow]:
    shows_both = properties is None or properties.get("Show Strengths") == "Separate Model & Clip"
    for name, row in inputs.items():
        if isinstance(row, dict) and "lora" in row:
            strengths = (row.get("strength"), row.get("strengthTwo") if shows_both else None)
            yield LoaderRow(name, row["lora"], strengths, enabled=row.get("on") is not False)


_MANAGER_LOADERS = frozenset(
    f"{name} {_MANAGER}"
    for name in ("Lora Loader", "Lora Stacker", "Create Hook LoRA", "WanVideo Lora Select", "Lora Randomizer")
)


def _of_manager(inputs: Mapping[str, Any], *, model_only: bool) -> Iterator[LoaderRow]:
    """The node's rows are what runs. The page saves no input names, so a row is recognized by its members."""
    lists = [rows for value in inputs.values() if (rows := _manager_rows(value)) is not None]
    for number, row in enumerate(row for rows in lists for row in rows):
        yield LoaderRow(
            f"loras[{number}]",
            row["name"],
            (_number_of(row.get("strength")), _number_of(row.get("clipStrength"))),
            enabled=row.get("active") is True,
            model_only=model_only,
            anywhere=True,
        )
    if lists:  # in this case, the text is only the written form of the rows
        return
    for value in inputs.values():
        if isinstance(value, str):
            yield from tagged_rows(value)


def _manager_rows(value: object) -> Sequence[Mapping[str, Any]] | None:
    listed = value.get("__value__") if isinstance(value, dict) else value
    if not isinstance(listed, list) or _is_link(listed):
        return None
    return [
        row
        for row in listed
        if isinstance(row, dict) and isinstance(row.get("name"), str) and "strength" in row
    ]


def _is_link(value: list[Any]) -> bool:
    return len(value) == 2 and isinstance(value[0], (str, int)) and isinstance(value[1], int)


def _number_of(value: object) -> object:
    """Converts a strength to a number. Lora Manager stores some strengths as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return None


def _of_lines(ordered: _Ordered) -> Iterator[LoaderRow]:
    """Coziness: one LoRA per line, `name:0.6`, `name:0.6:0.4` or a tag. `#` begins a comment."""
    text = ordered.get("text", 0)
    for line in text.splitlines() if isinstance(text, str) else ():
        line = line.partition("#")[0].strip()
        if line and "<" not in line:
            yield from tagged_rows(f"<lora:{line}>")
        else:
            yield from tagged_rows(line)


def _of_art_venture(ordered: _Ordered) -> Iterator[LoaderRow]:
    named = ordered.get("lora_override", 3)
    where, file = ("lora_name", ordered.get("lora_name", 0)) if _is_empty(named) else ("lora_override", named)
    strengths = (ordered.get("strength_model", 1), ordered.get("strength_clip", 2))
    yield LoaderRow(where, file, strengths, enabled=ordered.get("enabled", 4) is not False)


def _made_while_it_runs(ordered: _Ordered) -> Iterator[LoaderRow]:
    """Lora Manager's cycler uses the next file of its library in each run."""
    if ordered.inputs:
        yield LoaderRow("cycler_config", ["", 0], (None, None))


def _of_lora_switcher(ordered: _Ordered) -> Iterator[LoaderRow]:
    selected = ordered.get("select", 1)
    if isinstance(selected, int):
        strength = ordered.get("lora_strength", 3)
        name = f"lora_{selected}_name"
        is_on = ordered.get("toggle", 0) not in (False, None, "False")
        yield LoaderRow(name, ordered.get(name, 3 + selected), (strength, strength), is_on)


def _of_objects(ordered: _Ordered) -> Iterator[LoaderRow]:
    """Nunchaku's V1 stacks: each row is an object."""
    # On the page: [cpu_offload, apply_awq_mod, stack_enabled, (save…), {…}, …], or [stack_enabled, {…}, …].
    switches = [each for each in ordered.widgets if isinstance(each, bool)]
    saved = switches[: 2 if isinstance((ordered.widgets or [None])[0], str) else 1]
    is_on = ordered.inputs.get("stack_enabled", saved[-1] if saved else True) is not False
    for name, row in ordered.inputs.items():
        if isinstance(row, dict) and "lora_name" in row:
            enabled = is_on and row.get("enabled") is not False
            yield LoaderRow(
                name, row["lora_name"], (row.get("lora_strength"), None), enabled, model_only=True
            )


def _of_shown_rows(ordered: _Ordered, width: int) -> Iterator[LoaderRow]:
    """Nunchaku's V2 to V4: the page saves the visible rows after settings that differ between versions."""
    widgets = ordered.widgets
    if widgets:
        text = str(ordered.properties.get("visibleLoraCount", widgets[0]))
        shown = int(text) if re.fullmatch("[0-9]{1,2}", text) else 0
        # Saved before the page had rebuilt the node: all ten rows after the count.
        rows = 10 if not isinstance(widgets[0], str) and len(widgets) > 10 * width else shown
        values = widgets[len(widgets) - rows * width :] if rows * width < len(widgets) else []
        for number in range(shown):
            row = values[number * width : (number + 1) * width]
            if row:
                enabled = width == 2 or row[0] is not False
                yield LoaderRow(f"lora_name_{number + 1}", row[-2], (row[-1], None), enabled, model_only=True)
        return
    for number in range(1, _count(ordered.get("lora_count", -1), 10) + 1):
        enabled = ordered.inputs.get(f"enabled_{number}") is not False
        strength = ordered.inputs.get(f"lora_strength_{number}")
        name = f"lora_name_{number}"
        yield LoaderRow(name, ordered.inputs.get(name), (strength, None), enabled, model_only=True)


def _of_json_list(ordered: _Ordered) -> Iterator[LoaderRow]:
    """CivitAI's loader: AIRs as JSON, or (in its first versions) one AIR and its strength. Another pack's loader of the
    same name has an address."""
    url = ordered.inputs.get("url")
    if isinstance(url, str):
        strengths = (ordered.inputs.get("strength_model"), ordered.inputs.get("strength_clip"))
        yield LoaderRow("url", url, strengths, is_identifier=True)
        return
    text = ordered.get("loras_json", 0)
    listed = _objects_in(text) if isinstance(text, str) else []
    if isinstance(text, list) or (isinstance(text, str) and text.lstrip()[:1] in ("[", "{") and not listed):
        if text not in ("[]", "{}"):
            yield LoaderRow("loras_json", text if isinstance(text, list) else [text, 0], (None, None))
    elif listed:
        for number, row in enumerate(listed):
            air, strength = row.get("air"), row.get("strength", 1.0)
            where = f"loras_json[{number}].air"
            yield LoaderRow(where, air, (strength, strength), row.get("on") is not False, is_identifier=True)
    else:
        air, strength = ordered.get("air", 0), ordered.get("strength", 1)
        yield LoaderRow("air", air, (strength, strength), is_identifier=True)


def _of_data_list(ordered: _Ordered) -> Iterator[LoaderRow]:
    text = ordered.get("data", 0)
    for number, row in enumerate(_objects_in(text) if isinstance(text, str) else []):
        yield LoaderRow(f"data[{number}].name", row.get("name"), (row.get("strength"), row.get("strength")))


def _objects_in(text: str) -> list[dict[str, Any]]:
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def _of_old_civitai(ordered: _Ordered) -> Iterator[LoaderRow]:
    strengths = (ordered.get("strength_model", 2), ordered.get("strength_clip", 3))
    name, air = ordered.get("lora_name", 1), ordered.get("lora_air", 0)
    if not _is_empty(name):
        yield LoaderRow("lora_name", name, strengths)
    elif (
        isinstance(air, str) and "{" not in air and not _is_empty(air)
    ):  # "{model_id}@{model_version}" is a placeholder that shows the format
        bare = re.fullmatch(r"\s*[0-9]+(?:@[0-9]+)?\s*", air)
        yield LoaderRow("lora_air", f"civitai:{air.strip()}" if bare else air, strengths, is_identifier=True)
    elif isinstance(air, list):
        yield LoaderRow("lora_air", air, strengths, is_identifier=True)


def _of_runware_search(ordered: _Ordered) -> Iterator[LoaderRow]:
    typed, listed = ordered.get("Lora Search", 0), ordered.get("LoraList", 3)
    air = typed if ordered.get("Use Search Value", 5) is True else listed
    if isinstance(air, str):
        weight = ordered.get("weight", 4)
        yield LoaderRow(
            "LoraList", air.strip().split(" ")[0], (weight, None), model_only=True, is_identifier=True
        )


def _of_runware_video(ordered: _Ordered) -> Iterator[LoaderRow]:
    yield LoaderRow(
        "model",
        ordered.get("model", 0),
        (ordered.get("weight", 1), None),
        model_only=True,
        is_identifier=True,
    )


_OTHERS: dict[str, Callable[[_Ordered], Iterator[LoaderRow]]] = {
    "LoadLoraModel": lambda ordered: _of_core_rows(ordered, on_text=False),
    "LoadLoraTextEncoder": lambda ordered: _of_core_rows(ordered, on_text=True),
    "easy loraSwitcher": _of_lora_switcher,
    "NunchakuQwenImageLoraStackV1": _of_objects,
    "NunchakuZImageTurboLoraStackV1": _of_objects,
    "NunchakuQwenImageLoraStack": lambda ordered: _of_shown_rows(ordered, 2),
    "NunchakuQwenImageLoraStackV2": lambda ordered: _of_shown_rows(ordered, 2),
    "NunchakuQwenImageLoraStackV3": lambda ordered: _of_shown_rows(ordered, 3),
    "NunchakuZImageTurboLoraStackV3": lambda ordered: _of_shown_rows(ordered, 3),
    "NunchakuZImageTurboLoraStackV4": lambda ordered: _of_shown_rows(ordered, 3),
    "CivitaiLoraLoader": _of_json_list,
    "CivitAI_Lora_Loader": _of_old_civitai,
    "AV_LoraListLoader": _of_data_list,
    "AV_LoraListStacker": _of_data_list,
    "AV_LoraLoader": _of_art_venture,
    "MultiLoraLoader-70bf3d77": _of_lines,
    "Lora Cycler (LoraManager)": _made_while_it_runs,
    "Runware Lora Search": _of_runware_search,
    "Runware Video Inference Lora": _of_runware_video,
}
