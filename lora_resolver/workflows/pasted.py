"""What people paste or drop to add LoRAs: whatever names some, in every shape that it comes in.

    [{"model": "civitai:120096@135931"}]              a `lora` array, or a Runware request that has one
    {"nodes": […], "links": […]}                      a workflow, on the canvas or in API format; see `named_loras`
    a red house <lora:pixel-art-xl:0.7>               a prompt of other programs, with tags in it
    civitai:120096@135931 0.7                         identifiers and addresses, line by line, a weight behind each
    - Pixel art: https://civitai.com/models/120096    the same among other words
    picture.png                                       what ComfyUI (or A1111, in `parameters`) saved in it

Several names of a line stand apart by commas or blanks. What names nothing is an error at its line that shows it; the
rest is taken all the same.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, BinaryIO

from ..array.lora_array import LoraEntry
from ..errors import InvalidIdentifier, InvalidInput, LoraResolverError
from ..file_names import listed_name
from ..identifiers import parse_identifier
from ..identifiers.suggestions import prompt_tags, without_prompt_tags
from ..wording import quoted
from .named_loras import loras_in
from .png_text import png_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..identifiers import Identifier
    from .named_loras import NamedLora, NamedLoras

__all__ = ["DEFAULT_WEIGHT", "Pasted", "PastedLora", "read_dropped", "read_pasted"]

DEFAULT_WEIGHT = 0.75
"""Of a LoRA that is named without a weight: strong enough to show, with room for a second one."""

MAX_LINES = 2000
MAX_LORAS = 1000
_MAX_ERRORS = 100
_MOST_WORDS_OF_ONE_FAULT = 5  # more lines that name nothing are some other text altogether

_NUMBER = r"-?(?:[0-9]{1,3}(?:\.[0-9]{0,6})?|\.[0-9]{1,6})"
_WEIGHT_BEHIND = re.compile(rf"(?P<name>.*?\S)(?:\s*[,;:=×*]\s*|\s+)(?P<weight>{_NUMBER})")
# Names that can be told from the words around them.
_NAME = re.compile(
    r"(?:https?://|urn:air:|air:|civitai:|huggingface:|hf:|sha256:|local:)[^\s,;<>\"'`()\[\]{}|]+",
    re.IGNORECASE,
)
# Model and version of CivitAI without saying so.
_BARE = re.compile(r"[0-9]@[0-9]")
_BETWEEN = re.compile(r"[,;]")
_DECIMAL_COMMA = re.compile(r"(?:(?<=\s[0-4])|(?<=\s-[0-4])),(?=[0-9]{1,3}(?![\w.@]))")
_ALONE = re.compile(rf"[\s:=×*()\]]*({_NUMBER})[\s)]*")  # a weight, and nothing else but marks
_NUMBERS = re.compile(rf"(?:[\s:=×*()\]]+{_NUMBER})+[\s)]*")
_OPEN_TAG = re.compile(r"<\s*(?:lora|lyco|lycoris)\s*:[^<>\n]{0,60}", re.IGNORECASE)
_LINK = re.compile(r"\[[^\[\]{}]{0,300}\]\(")  # in Markdown; else it begins like an array
_BULLET = re.compile(r"(?:[-*•–]|[0-9]{1,3}[.)])\s+")
_EDGES = " \t\r\n\f\v\u00a0\u200b\u2060\ufeff,;\"'`“”‘’"
_AROUND = _EDGES + "()[]{}<>:"


@dataclass(frozen=True)
class PastedLora:
    """One LoRA that was named."""

    entry: LoraEntry
    weight_given: bool
    """False where nothing says a weight, so that the entry has `DEFAULT_WEIGHT`."""


@dataclass(frozen=True)
class Pasted:
    """What was found, in the order of the text, and what could not be read."""

    loras: tuple[PastedLora, ...]
    errors: tuple[LoraResolverError, ...]


def read_pasted(text: str, local_names: Sequence[str] = ()) -> Pasted:
    """Every LoRA that `text` names. Never raises for what is in it: that is in `errors`.

    `local_names` are files as ComfyUI's loaders list them: `<lora:name:0.7>` leaves out folder and ending.
    """
    begin = text.lstrip("\ufeff \t\r\n")
    if not begin:
        return Pasted((), ())
    if begin[0] in '[{"/' and not _LINK.match(begin):
        return _from_named(loras_in(text, local_names=lambda: local_names))
    tags = prompt_tags(text)
    if tags:
        rest = without_prompt_tags(text)
        beside = [
            _from_word(each[0], (), "") for pattern in (_NAME, _OPEN_TAG) for each in pattern.finditer(rest)
        ]
        return _collect([*(_from_tag(name, weights, local_names) for name, weights in tags), *beside])
    return _from_lines(text)


def read_dropped(file: BinaryIO, local_names: Sequence[str] = ()) -> Pasted:
    """The same for a file: a picture or another result that ComfyUI saved, or a text."""
    found = _from_named(loras_in(file, local_names=lambda: local_names), local_names)
    if found.loras or not any(error.code == "noWorkflow" for error in found.errors):
        return found
    file.seek(0)
    parameters = png_texts(file, ("parameters",)).get("parameters", "")
    tags = prompt_tags(parameters)
    return _collect(_from_tag(name, weights, local_names) for name, weights in tags) if tags else found


def _from_named(named: NamedLoras, local_names: Sequence[str] = ()) -> Pasted:
    found = _collect(
        _entry(
            _found_anywhere(each, local_names),
            (each.weight, each.clip_weight),
            each.place,
            each.enabled,
            each.transformer,
        )
        for each in named.loras
    )
    return Pasted(found.loras, (*named.errors[:_MAX_ERRORS], *found.errors))


def _found_anywhere(named: NamedLora, local_names: Sequence[str]) -> Identifier:
    """A file that only its maker's computer knows by this name goes by its SHA-256, which CivitAI may know."""
    if named.identifier.source != "local" or not named.sha256 or not local_names:
        return named.identifier
    is_here = str(named.identifier).removeprefix("local:") in local_names
    return named.identifier if is_here else parse_identifier(f"sha256:{named.sha256}")


def _from_tag(
    name: str, weights: Sequence[float], local_names: Sequence[str]
) -> PastedLora | LoraResolverError:
    place = f"<lora:{name[:40]}>"
    try:
        identifier = parse_identifier(f"local:{listed_name(name, local_names)}")
    except InvalidIdentifier as error:
        return error.at(place)
    return _entry(identifier, weights, place)


def _from_lines(text: str) -> Pasted:
    lines = text.splitlines()
    several = sum(1 for line in lines if line.strip()) > 1
    outcomes: list[PastedLora | LoraResolverError] = []
    for number, line in enumerate(lines[:MAX_LINES], start=1):
        outcomes += _from_line(line, f"line {number}" if several else "")
    if len(lines) > MAX_LINES:
        outcomes.append(_too_much(f"{len(lines):,} lines", f"The first {MAX_LINES:,} were read."))
    found = _collect(outcomes)
    if not found.loras and len(found.errors) > _MOST_WORDS_OF_ONE_FAULT:
        return Pasted((), (_names_nothing(text),))
    return found


def _from_line(line: str, place: str) -> list[PastedLora | LoraResolverError]:
    line = _BULLET.sub("", line.strip(_EDGES), count=1).strip(_EDGES)
    if not line:
        return []
    whole = _from_name(line, place)
    if not isinstance(whole, InvalidIdentifier) or not (_NAME.search(line) or _BARE.search(line)):
        return [whole]
    outcomes: list[PastedLora | LoraResolverError] = []
    for part in _BETWEEN.split(_DECIMAL_COMMA.sub(".", line)):
        last = outcomes[-1] if outcomes else None
        number = _ALONE.fullmatch(part)
        if number and isinstance(last, PastedLora) and not last.weight_given:
            outcomes[-1] = _entry(last.entry.identifier, (float(number[1]),), place)
        elif part.strip(_EDGES):
            outcomes += _from_part(part.strip(_EDGES), place)
    return outcomes


def _from_name(text: str, place: str) -> PastedLora | LoraResolverError:
    """The LoRA that the whole text names, with or without a weight behind; InvalidIdentifier where it names none."""
    try:
        return _entry(parse_identifier(text), (), place)
    except InvalidIdentifier as error:
        fault = error.at(place)
    weighted = _WEIGHT_BEHIND.fullmatch(text)
    if weighted:
        with contextlib.suppress(InvalidIdentifier):
            return _entry(
                parse_identifier(weighted["name"].strip(_EDGES)), (float(weighted["weight"]),), place
            )
    return fault


def _from_part(part: str, place: str) -> list[PastedLora | LoraResolverError]:
    """What stands between two commas: a name and its weight, or names among other words."""
    whole = _from_name(part, place)
    names = [*_NAME.finditer(part)]
    if not isinstance(whole, InvalidIdentifier) or not names:
        return [whole]
    outcomes = _lost(part[: names[0].start()], place)
    for name, following in zip_longest(names, names[1:]):
        behind = part[name.end() : following.start() if following else None]
        weight = _ALONE.fullmatch(behind)
        outcomes.append(_from_word(name[0].rstrip(".:!?*_"), (float(weight[1]),) if weight else (), place))
        if not weight:
            outcomes += _lost(behind, place)
    return outcomes


def _lost(text: str, place: str) -> list[PastedLora | LoraResolverError]:
    """Errors for what looks like a name or like weights, beside a name; other words only tell what it is."""
    if _NUMBERS.fullmatch(text):
        return [_from_word(text.strip(), (), place)]
    return [
        _from_word(word.strip(_AROUND), (), place)
        for word in text.split()
        if _BARE.search(word)
        or word.strip(_AROUND).lower().endswith((".safetensors", ".sft", ".ckpt", ".pt"))
    ]


def _from_word(word: str, weights: Sequence[float], place: str) -> PastedLora | LoraResolverError:
    try:
        return _entry(parse_identifier(word), weights, place)
    except InvalidIdentifier as error:
        return error.at(place)


def _entry(
    identifier: Identifier,
    weights: Sequence[float],
    place: str,
    enabled: bool = True,
    transformer: str = "both",
) -> PastedLora | LoraResolverError:
    """`weights` are the model's and the text encoder's, as many of them as are given."""
    try:
        weight = weights[0] if weights else DEFAULT_WEIGHT
        entry = LoraEntry(
            identifier=identifier,
            weight=weight,
            clip_weight=weights[1] if len(weights) > 1 else weight,
            enabled=enabled,
            transformer=transformer,
            place=place,
        )
    except InvalidInput as error:
        named = InvalidInput(f"{identifier}: {error.message}", code=error.code, remedy=error.remedy)
        return named.at(place)
    return PastedLora(entry, weight_given=bool(weights))


def _collect(outcomes: Iterable[PastedLora | LoraResolverError]) -> Pasted:
    loras: list[PastedLora] = []
    errors: list[LoraResolverError] = []
    for outcome in outcomes:
        if isinstance(outcome, LoraResolverError):
            errors.append(outcome)
        elif len(loras) < MAX_LORAS:
            loras.append(outcome)
        else:
            errors.append(_too_much(f"more than {MAX_LORAS:,} LoRAs", "The rest was left out."))
            break
    return Pasted(tuple(loras), tuple(errors[:_MAX_ERRORS]))


def _too_much(what: str, remedy: str) -> InvalidInput:
    return InvalidInput(f"there are {what}", code="tooManyEntries", remedy=remedy)


def _names_nothing(text: str) -> InvalidInput:
    return InvalidInput(
        f"{quoted(text.strip(), 60)} names no LoRA",
        code="noLora",
        remedy="Paste a lora array, identifiers or model pages line by line, a prompt with <lora:name:0.7>, "
        "or a workflow.",
    )
