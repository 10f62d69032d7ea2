"""The `lora` array of the Runware API: reads every form that people paste, and writes the shortest one.

    [ { "model": "civitai:120096@135931", "weight": 0.7 },
      { "model": "civitai:245889@277389", "weight": 0.5, "transformer": "high" } ]

    key            value                                    default
    model          a name, see `identifiers`                required
    weight         a number from -4 to 4                    1.0
    transformer    "high", "low" or "both"                  "both": the expert of a dual-expert video model that gets it
    clip_weight    a number from -4 to 4                    the weight (our extension)
    enabled        true or false                            true (our extension)
    start, end, hold, count, and a weight of points         see `schedule` (our extension)
    blocks         a preset, a vector or blocks by name     see `block_weights` (our extension)
    words          the trigger words to use                 all words of the file (our extension)

Format: https://runware.ai/docs/image-inference/api-reference#request-lora
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import InvalidIdentifier, InvalidInput, InvalidLoraArray, LoraResolverError
from ..identifiers import Identifier, parse_identifier
from ..identifiers.identifier import MAX_CHARACTERS
from ..identifiers.suggestions import is_prompt_tag
from ..text import nearest, quoted
from .entry_values import MAX_WEIGHT, READERS, TRANSFORMERS, read_transformer, read_weight, wrong_type
from .lenient_json import ObjectWithDuplicates, parse_json
from .runware_request import find_lora_members
from .schedule import Schedule, last_position

if TYPE_CHECKING:
    from .block_weights import BlockWeights

__all__ = [
    "MAX_ERRORS",
    "MAX_WEIGHT",
    "TRANSFORMERS",
    "LoraEntry",
    "entry_of_facts",
    "extensions_of",
    "format_lora_array",
    "parse_lora_array",
]

MAX_ERRORS = 1000  # then reading stops, because nobody needs 100,000 messages

_KEYS = (
    'An entry needs "model" and can have "weight", "transformer", "clip_weight", "enabled", "start", "end", "hold", '
    '"count", "blocks" and "words".'
)
_ARRAY = 'Write [{ "model": "civitai:120096@135931", "weight": 0.7 }].'
_MAX_KEY_FAULTS = 5  # in one entry; an object with more isn't an entry at all
# Other programs' names for the same members.
_OTHER_NAMES = {
    "active": "enabled",
    "air": "model",
    "clip_strength": "clip_weight",
    "clipweight": "clip_weight",
    "disabled": "enabled",
    "expert": "transformer",
    "file": "model",
    "id": "model",
    "lora_name": "model",
    "lora": "model",
    "multiplier": "weight",
    "name": "model",
    "network_multiplier": "weight",
    "on": "enabled",
    "path": "model",
    "scale": "weight",
    "strength": "weight",
    "strength_clip": "clip_weight",
    "strength_model": "weight",
    "strengthtwo": "clip_weight",
    "lbw": "blocks",
    "block_weights": "blocks",
    "start_percent": "start",
    "end_percent": "end",
    "stop": "end",
    "trigger_words": "words",
    "triggers": "words",
    "url": "model",
}


@dataclass(frozen=True)
class LoraEntry:
    """One entry of the array. Equal entries request the same thing, whatever their place.

    `clip_weight` is the weight for the text encoders; `place` is the entry's place, such as `lora[1]`. With a
    `schedule`, `weight` is its strongest weight. Raises InvalidInput for weights outside -4…4 and unknown transformers.
    """

    identifier: Identifier
    weight: float
    clip_weight: float
    enabled: bool = True
    transformer: str = "both"
    place: str = field(default="", compare=False)
    schedule: Schedule | None = None
    blocks: BlockWeights | None = None
    words: tuple[str, ...] | None = None
    """The trigger words to use; None for all words of its file."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", read_weight(self.weight))
        object.__setattr__(self, "clip_weight", read_weight(self.clip_weight))
        read_transformer(self.transformer)

    @property
    def active(self) -> bool:
        """Whether it has any effect. Inactive entries aren't looked up, downloaded, or read."""
        return self.enabled and (self.weight != 0 or self.clip_weight != 0)

    def with_weight(self, weight: float, clip_weight: float) -> LoraEntry:
        """The same entry at other weights. A schedule keeps its shape, and `weight` becomes its strongest weight."""
        schedule = self.schedule.with_strongest(weight) if self.schedule is not None else None
        return replace(self, weight=weight, clip_weight=clip_weight, schedule=schedule)

    def facts(self) -> dict[str, Any]:
        """The entry for programs: every member, but a schedule, blocks, and words only if it has them."""
        return {
            "model": str(self.identifier),
            "weight": self.weight,
            "clip_weight": self.clip_weight,
            "enabled": self.enabled,
            "transformer": self.transformer,
            **self.extensions(),
        }

    def extensions(self) -> dict[str, Any]:
        """`schedule` (with its members in the array), `blocks` and `words`; empty for most entries."""
        return {
            **extensions_of(self.schedule, self.blocks),
            **({"words": list(self.words)} if self.words is not None else {}),
        }


def extensions_of(schedule: Schedule | None, blocks: BlockWeights | None) -> dict[str, Any]:
    """`LoraEntry.extensions` without words, for a schedule and blocks that aren't in an entry."""
    return {
        **({"schedule": schedule.members()} if schedule is not None else {}),
        **({"blocks": blocks.as_json()} if blocks is not None else {}),
    }


def parse_lora_array(text_or_object: object) -> tuple[LoraEntry, ...]:
    """The entries of the `lora` array in a text or an already parsed JSON value, in order.

    Accepts the array; one entry; a Runware task with a `lora` member, or an array of tasks (all `lora` members that
    aren't empty must be the same); None, an empty or blank text, an empty array, and tasks without `lora`, which all
    mean "no LoRA". Text may contain comments and trailing commas, and may be a bare `"lora": [ … ]`.

    Raises InvalidLoraArray with every error found, each with its place (`lora[1].weight`) and remedy.
    """
    try:
        document = _parse_text(text_or_object) if isinstance(text_or_object, str) else text_or_object
        first, *others = find_lora_members(document) or [[]]
        entries = _read_entries(first)
        if any(other != first and _differ(entries, other) for other in others):
            raise InvalidInput(
                f'{len(others) + 1} tasks have different "lora" arrays',
                code="conflictingLora",
                parameter="lora",
                remedy="Paste only the task whose LoRAs you want.",
            )
    except InvalidLoraArray:
        raise
    except InvalidInput as error:
        raise InvalidLoraArray([error]) from None
    return entries


def read_extensions(members: Mapping[str, Any], weight: float) -> tuple[Schedule | None, BlockWeights | None]:
    """The schedule and the blocks from an entry's members, at this weight. Raises InvalidLoraArray."""
    (entry,) = _read_entries([{"model": "civitai:1@1", "weight": weight, **members}])
    return entry.schedule, entry.blocks


def entry_of_facts(facts: Mapping[str, Any], place: str = "") -> LoraEntry:
    """The entry from the result of `LoraEntry.facts`. Raises InvalidLoraArray for an invalid entry."""
    members = {
        key: facts[key]
        for key in ("model", "weight", "clip_weight", "transformer", "blocks", "words")
        if key in facts
    }
    schedule = facts.get("schedule")
    if isinstance(schedule, Mapping):
        members |= {
            key: schedule[key] for key in ("weight", "start", "end", "hold", "count") if key in schedule
        }
    if facts.get("enabled") is False:
        members["enabled"] = False
    (entry,) = _read_entries([members])
    return replace(entry, place=place)


def format_lora_array(entries: Iterable[LoraEntry]) -> str:
    """The array as JSON, one entry per line, without default values. `parse_lora_array` returns the same entries."""
    lines = []
    for entry in entries:
        members: dict[str, object] = {"model": str(entry.identifier)}
        if entry.schedule is not None:
            members |= entry.schedule.members()
        elif entry.weight != 1:
            members["weight"] = entry.weight
        if entry.clip_weight != entry.weight:
            members["clip_weight"] = entry.clip_weight
        if entry.transformer != "both":
            members["transformer"] = entry.transformer
        if entry.blocks is not None:
            members["blocks"] = entry.blocks.as_json()
        if entry.words is not None:
            members["words"] = list(entry.words)
        if not entry.enabled:
            members["enabled"] = False
        lines.append(json.dumps(members, ensure_ascii=False))
    return "[{}]".format(",\n ".join(lines))


def _parse_text(text: str) -> object:
    try:
        document = parse_json(text)
    except InvalidInput as error:
        raise _for_bare_identifier(text) or _for_prompt_tag(text) or error.at("lora") from None
    if isinstance(document, str):
        raise _for_bare_identifier(document) or wrong_type(document, "an array", _ARRAY).at("lora")
    return document


def _for_bare_identifier(text: str) -> InvalidInput | None:
    """The error for a text that is a valid `model`, but has no array around it."""
    canonical = _canonical_or_none(text)
    if canonical is None:
        return None
    return InvalidInput(
        f"{canonical} needs an array around it",
        code="invalidType",
        parameter="lora",
        remedy=f'Write [{{ "model": {canonical}, "weight": 1.0 }}].',
    )


def _for_prompt_tag(text: str) -> InvalidInput | None:
    """The error for `<lora:name:0.7>`, with what to write instead."""
    if not is_prompt_tag(text[:MAX_CHARACTERS].strip()):
        return None
    try:
        parse_identifier(text)
    except InvalidIdentifier as error:
        return error.at("lora")
    return None


def _canonical_or_none(text: str) -> str | None:
    """The quoted canonical text if `text` is an identifier, or None."""
    try:
        return quoted(str(parse_identifier(text)))
    except InvalidIdentifier:
        return None


def _differ(entries: tuple[LoraEntry, ...], other: object) -> bool:
    try:
        return _read_entries(other) != entries
    except InvalidInput:
        return True


def _read_entries(value: object) -> tuple[LoraEntry, ...]:
    """The entries. Raises InvalidLoraArray with all errors of all entries."""
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, (list, tuple)):
        bare = _for_bare_identifier(value) if isinstance(value, str) else None
        raise bare or wrong_type(
            value, "an array", 'Write "lora": [{ "model": "civitai:120096@135931" }].'
        ).at("lora")
    entries: list[LoraEntry] = []
    faults: list[LoraResolverError] = []
    for position, item in enumerate(value):
        reader = _EntryReader(f"lora[{position}]")
        entry = reader.read(item)
        if entry is not None:
            entries.append(entry)
        faults += reader.faults
        if len(faults) >= MAX_ERRORS and position + 1 < len(value):
            message = (
                f"Stopped after {len(faults):,} errors. Entries not checked: {len(value) - position - 1:,}"
            )
            faults.append(
                InvalidInput(message, code="tooManyErrors", parameter="lora", remedy="Fix these first.")
            )
            break
    if faults:
        raise InvalidLoraArray(faults)
    return tuple(entries)


class _EntryReader:
    """Reads one entry and collects everything that is wrong with it."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.faults: list[LoraResolverError] = []

    def read(self, item: object) -> LoraEntry | None:
        """The entry, or None where there are `faults`."""
        if not isinstance(item, Mapping):
            model = (_canonical_or_none(item) if isinstance(item, str) else None) or '"civitai:120096@135931"'
            self.faults.append(wrong_type(item, "an entry", f'Write {{ "model": {model} }}.').at(self.place))
            return None
        if isinstance(item, ObjectWithDuplicates):
            for key in item.duplicates[:_MAX_KEY_FAULTS]:
                self._add(
                    f"The key {quoted(key)} appears more than once", "duplicateKey", "Keep one of them."
                )
        values = self._known_values(item)
        unknown = [str(key) for key in item if key not in READERS]
        self._add_unknown(unknown)
        if "model" not in item and not any(_meant(key) == "model" for key in unknown[:_MAX_KEY_FAULTS]):
            self._add(
                '"model" is missing', "missingModel", 'Add it, such as "model": "civitai:120096@135931".'
            )
        schedule = None if self.faults else self._schedule(values)
        if self.faults:
            return None
        weight = values.get("weight", 1.0)
        if schedule is not None:
            weight = schedule.strongest
        elif isinstance(weight, tuple):  # points that all have the same weight
            weight = weight[0][1]
        return LoraEntry(
            identifier=values["model"],
            weight=weight,
            clip_weight=values.get("clip_weight", weight),
            enabled=values.get("enabled", True),
            transformer=values.get("transformer", "both"),
            schedule=schedule,
            blocks=values.get("blocks"),
            words=values.get("words"),
            place=self.place,
        )

    def _schedule(self, values: Mapping[str, Any]) -> Schedule | None:
        """The schedule; None if the weight is constant, or if a value is invalid."""
        weight = values.get("weight", 1.0)
        points = weight if isinstance(weight, tuple) else ((0.0, weight),)
        count = values.get("count", "steps")
        last = last_position(count)
        start, end = values.get("start", 0.0), values.get("end", last)
        for key, position in (("start", start), ("end", end), ("weight", points[-1][0])):
            if position > last:
                error = InvalidInput(
                    f"{position:g} is out of range",
                    code="valueOutOfRange",
                    remedy="Write a number from 0 to 1, such as 0.5 for half of the noise schedule."
                    if count == "percent"
                    else 'Write a number from 0 to 1, or add "count": "numbers" to count whole steps.',
                )
                self.faults.append(error.at(f"{self.place}.{key}"))
                return None
        if start >= end:
            self._add(
                f'"start" ({start:g}) must come before "end" ({end:g})',
                "invalidValue",
                "Both count whole steps here, such as 5 and 15."
                if count == "numbers"
                else 'Both are numbers from 0 to 1, such as "start": 0, "end": 0.5.',
            )
            return None
        found = Schedule(points, start, end, values.get("hold", False), count)
        return found if found.changes else None

    def _known_values(self, item: Mapping[Any, Any]) -> dict[str, Any]:
        values = {}
        for key, value in item.items():
            if key in READERS:
                try:
                    values[key] = READERS[key](value)
                except InvalidInput as error:
                    self.faults.append(error.at(f"{self.place}.{key}"))
        return values

    def _add_unknown(self, keys: list[str]) -> None:
        for key in keys[:_MAX_KEY_FAULTS]:
            meant = _meant(key)
            if meant:
                self._add(
                    f'Unknown key {quoted(key, 40)}. Did you mean "{meant}"?',
                    "unknownKey",
                    "Rename or remove it.",
                )
            else:
                self._add(f"Unknown key {quoted(key, 40)}", "unknownKey", _KEYS)
        if len(keys) > _MAX_KEY_FAULTS:
            self._add(f"More unknown keys: {len(keys) - _MAX_KEY_FAULTS:,}", "unknownKey", _KEYS)

    def _add(self, message: str, code: str, remedy: str) -> None:
        self.faults.append(InvalidInput(message, code=code, parameter=self.place, remedy=remedy))


def _meant(key: str) -> str | None:
    plain = key[:64].lower().replace("-", "_")
    return _OTHER_NAMES.get(plain) or nearest(plain, READERS, cutoff=0.7)
