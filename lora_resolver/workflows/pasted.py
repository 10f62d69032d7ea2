"""Reads what people paste or drop to add LoRAs: anything that identifies a LoRA, in any format.

    [{"model": "civitai:120096@135931"}]              a `lora` array, or a Runware request that has one
    {"nodes": […], "links": […]}                      a workflow, on the canvas or in API format; see `named_loras`
    lora=[ILora(model="civitai:1@2", weight=0.4)]     a piece of a program, or a curl command; see `pasted_code`
    {"sui_image_params": …}, Steps: 20, Civitai …     another program's record of a picture; see `other_programs`
    a red house <lora:pixel-art-xl:0.7>               another program's prompt with tags
    civitai:120096@135931 0.7                         identifiers and addresses, one per line, each followed by a weight
    - Pixel art: https://civitai.com/models/120096    the same with other words around it; see `weighted_names`
    picture.png                                       what ComfyUI (or another program, as text) saved in it

From a program, an array, or a record, either all LoRAs are added, or none and one error is reported. In lines of text,
a line without a LoRA is reported as an error with its text, and the other lines are still read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, BinaryIO

from ..array.lenient_json import parse_json
from ..array.lora_array import LoraEntry, read_extensions
from ..errors import InvalidIdentifier, InvalidInput, InvalidLoraArray, LoraResolverError
from ..identifiers import parse_identifier
from ..identifiers.file_names import name_finder
from ..model_file.file_kinds import kind_of_file
from ..text import quoted
from .code_literals import TooLong
from .curl_commands import bodies_of_curl
from .entries_of_others import NotUnderstood
from .named_loras import is_like_json, loras_in
from .other_programs import RECORD_MARKS, from_tag, loras_in_document, loras_in_record_text
from .pasted_code import Program
from .png_text import png_texts
from .prompt_tags import prompt_tags, without_prompt_tags
from .weighted_names import NAME, WeightedName, is_heading, names_in_line, weight_alone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..array.block_weights import BlockWeights
    from ..array.schedule import Schedule
    from ..identifiers import Identifier
    from .entries_of_others import OtherLora
    from .named_loras import NamedLora, NamedLoras
    from .prompt_tags import PromptTag

__all__ = ["DEFAULT_WEIGHT", "Pasted", "PastedLora", "read_dropped", "read_pasted"]

DEFAULT_WEIGHT = 0.75
"""The weight of a LoRA without a given weight: strong enough to be visible, with room for a second LoRA."""

MAX_BLOCKS = 100
MAX_LINES = 2000
MAX_LINE = 100_000
MAX_LORAS = 1000
_MAX_ERRORS = 100
_MOST_WORDS_OF_ONE_FAULT = 5  # with more errors and no LoRA, the whole text is something else

_OPEN_TAG = re.compile(r"<\s*(?:lora|lyco|lycoris)\s*:[^<>\n]{0,60}", re.IGNORECASE)
_FENCED = re.compile(
    r"^[ \t]*(?:```|~~~)[^\n`]*\n(.*?)(?:^[ \t]*(?:```|~~~)[ \t]*$|\Z)", re.MULTILINE | re.DOTALL
)
_SECRET = re.compile(
    r"(?:api[_-]?key|token|bearer|authorization|password|passwd|secret|(?<=\s)-u|await \w+\()"
    r"[\"']{0,2}\s{0,3}[:=\s,(]\s{0,3}"
    r"[\"'`]?(?:bearer\s+)?([^\s\"'`,;&<>()\[\]{}]{3,400})",
    re.IGNORECASE,
)
_MOST_SECRETS = 100
_MOST_TEXT = 1024 * 1024
_SHORTEST_SECRET = 4
_TYPOGRAPHIC = "“”„‟‘’‚"
_STRAIGHT = str.maketrans(_TYPOGRAPHIC, 4 * '"' + 3 * "'")
_LINK = re.compile(r"\[[^\[\]{}]{0,300}\]\(")  # a Markdown link; it begins like an array


@dataclass(frozen=True)
class PastedLora:
    """One LoRA from the text."""

    entry: LoraEntry
    weight_given: bool
    """False if the text contains no weight, so that the entry has `DEFAULT_WEIGHT`."""


@dataclass(frozen=True)
class Pasted:
    """What was found, in the order of the text, and what couldn't be read."""

    loras: tuple[PastedLora, ...]
    errors: tuple[LoraResolverError, ...]


def read_pasted(text: str, local_names: Sequence[str] = ()) -> Pasted:
    """Every LoRA in `text`. Invalid content never raises; it is reported in `errors`.

    `local_names` are files as ComfyUI's loaders list them: `<lora:name:0.7>` omits the folder and the extension.
    """
    return _without_secrets(_Reader(local_names).read(text), text)


def read_dropped(file: BinaryIO, local_names: Sequence[str] = ()) -> Pasted:
    """The same for a file: a picture or another result that ComfyUI saved, or a text file."""
    reader = _Reader(local_names)
    found = reader.from_named(loras_in(file, local_names=lambda: local_names), in_a_picture=True)
    if found.loras:
        return found
    text = _text_in(file, local_names)
    if text is not None:
        return text
    if not any(error.code in ("noWorkflow", "invalidJson") for error in found.errors):
        return found
    file.seek(0)
    parameters = png_texts(file, ("parameters",)).get("parameters", "")
    if not parameters:
        return found
    read = read_pasted(parameters, local_names)
    return read if read.loras or any(error.code == "notUnderstood" for error in read.errors) else found


def _text_in(file: BinaryIO, local_names: Sequence[str]) -> Pasted | None:
    """What a text file contains, unless it is JSON, whose fault is known. None if the file isn't text."""
    file.seek(0)
    content = file.read(_MOST_TEXT + 1)
    is_cut = len(content) > _MOST_TEXT
    if is_cut:
        content = content[: content.rfind(b"\n", 0, _MOST_TEXT) + 1]
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    if not text.strip() or is_like_json(text.lstrip()):
        return None
    kind = kind_of_file(content)
    if kind is not None:
        return Pasted((), (InvalidInput(f"The file is {kind[0]}", code="notUnderstood", remedy=kind[1]),))
    read = read_pasted(text, local_names)
    if is_cut:
        more = _too_much(f"more than {_MOST_TEXT:,} bytes in the file", "The rest wasn't read.")
        return Pasted(read.loras, (*read.errors, more))
    if read.loras or not all(isinstance(error, InvalidIdentifier) for error in read.errors):
        return read
    return _without_secrets(Pasted((), (_names_nothing(text),)), text)


def _without_secrets(found: Pasted, text: str) -> Pasted:
    """The same result, with the values after `token=`, `apiKey:`, and similar words masked in the error messages."""
    whole = [match[1] for match in islice(_SECRET.finditer(text), _MOST_SECRETS)] if found.errors else []
    secrets = {*whole, *(part for each in whole for part in each.split(":") if len(part) >= _SHORTEST_SECRET)}
    if not secrets:
        return found

    def masked(said: str) -> str:
        for secret in sorted(secrets, key=len, reverse=True):
            said = said.replace(secret, "…")
        return said

    errors = tuple(
        type(error)(
            masked(error.message),
            code=error.code,
            parameter=masked(error.parameter),
            remedy=masked(error.remedy),
        )
        for error in found.errors
    )
    return Pasted(found.loras, errors)


class _Reader:
    """Reads one text. Knows the names of the user's files."""

    def __init__(self, local_names: Sequence[str]) -> None:
        self._names = local_names
        self._find = name_finder(local_names)

    def read(self, text: str) -> Pasted:
        """The LoRAs in the whole text."""
        try:
            if "```" in text or "~~~" in text:
                return self._fenced(text)
            return self._plain(text)
        except NotUnderstood as fault:
            return Pasted((), (_not_understood(fault),))
        except TooLong:
            return Pasted((), (_not_understood(NotUnderstood("the text is too long. Paste only the array")),))

    def _fenced(self, text: str) -> Pasted:
        """Reads a chat's response or a README. Only ``` blocks count, unless the text around them contains LoRAs."""
        outside = _FENCED.sub("\n", text)
        blocks = [match[1] for match in _FENCED.finditer(text) if match[1].strip()]
        if NAME.search(outside) or next(prompt_tags(outside), None) or not blocks:
            return self._plain(
                "\n".join(line for line in text.splitlines() if not line.strip().startswith(("```", "~~~")))
            )
        if len(blocks) > MAX_BLOCKS:
            raise NotUnderstood(f"it has {len(blocks):,} blocks. Paste only one")
        read = [self._plain(block) for block in blocks]
        return self._one_of([each for each in read if each.loras] or read, "blocks", text)

    def _one_of(self, read: Sequence[Pasted], what: str, text: str) -> Pasted:
        """The result, which must be the same for all of them. Raises NotUnderstood if they differ."""
        if not read:
            return Pasted((), (_names_nothing(text),))
        if any(each.loras != read[0].loras for each in read[1:]):
            raise NotUnderstood(f"its {what} have different LoRAs. Paste only one")
        return read[0]

    def _plain(self, text: str) -> Pasted:
        """Reads text without ``` blocks. Raises NotUnderstood."""
        begin = text.lstrip("\ufeff \t\r\n")
        if not begin:
            return Pasted((), ())
        if is_like_json(begin) and not _LINK.match(begin):
            return self._from_json(text)
        is_record = any(mark in text for mark in RECORD_MARKS)
        recorded = loras_in_record_text(text) if is_record else None
        found = None if recorded is not None else self._from_program(text)
        if found is not None:
            return found
        if recorded is None and not is_record:
            recorded = loras_in_record_text(text)
        if recorded is not None and (recorded or not NAME.search(text)):
            return self._from_others(recorded, text)
        tags = [*islice(prompt_tags(text), MAX_LORAS + 1)]
        return self._from_prompt(text, tags) if tags else _from_lines(text)

    def _from_prompt(self, text: str, tags: Sequence[PromptTag]) -> Pasted:
        rest = without_prompt_tags(text)
        beside = (
            outcome for line in rest.splitlines() if NAME.search(line) for outcome in _from_line(line, "")
        )
        opened = (_from_word(each[0], (), "") for each in _OPEN_TAG.finditer(rest))
        ignored = (_ignored(tag) for tag in tags if tag.ignored)
        return _collect(chain((self._from_tag(tag) for tag in tags), beside, opened, ignored))

    def _from_json(self, text: str) -> Pasted:
        """Reads text that looks like JSON. Raises NotUnderstood."""
        try:
            document = parse_json(text)
        except InvalidInput:
            named = self.from_named(self._named(text))
            try:
                found = self._from_program(text)
            except NotUnderstood:
                found = None  # the place of the fault in the JSON says more
            return found if found is not None and found.loras else named
        if isinstance(document, list) and len(document) > MAX_LORAS:
            return Pasted((), (_too_much(f"{len(document):,} entries", f"The limit is {MAX_LORAS:,}."),))
        others = loras_in_document(document)
        return self._from_others(others, text) if others is not None else self.from_named(self._named(text))

    def _named(self, text: str) -> NamedLoras:
        return loras_in(text, local_names=lambda: self._names)

    def _from_program(self, text: str) -> Pasted | None:
        """The LoRAs that a curl command sends, or that a program text contains. Raises NotUnderstood."""
        if any(quote in text for quote in _TYPOGRAPHIC):
            text = text.translate(_STRAIGHT)
        program = Program(text)
        bodies = bodies_of_curl(text) or program.requests()
        if not bodies:
            found = program.loras()
            return None if found is None else self._from_others(found, text)
        read = [self._from_json(body) for body in bodies if body.strip()]
        faults = [error for each in read for error in each.errors]
        if faults:
            return Pasted((), tuple(faults))
        return self._one_of([each for each in read if each.loras], "commands", text)

    def _from_others(self, loras: Sequence[OtherLora], text: str) -> Pasted:
        """Raises NotUnderstood if one of them can't be an entry. In that case, none is added."""
        if not loras:
            return Pasted((), (_names_nothing(text),))
        entries: list[PastedLora] = []
        for lora in loras:
            read = self._of_other(lora)
            if isinstance(read, LoraResolverError):
                raise NotUnderstood(read.message, [f"{each.entry.identifier}" for each in entries])
            entries.append(read)
        return _collect(entries)

    def _of_other(self, lora: OtherLora, place: str = "") -> PastedLora | LoraResolverError:
        try:
            identifier = parse_identifier(f"local:{self._find(lora.name)}" if lora.is_file else lora.name)
        except InvalidIdentifier as error:
            return error.at(place) if place else error
        weight = lora.weights[0] if lora.weights else DEFAULT_WEIGHT
        try:
            schedule, blocks = (
                read_extensions(dict(lora.extensions), weight) if lora.extensions else (None, None)
            )
        except InvalidLoraArray as faults:
            return faults.errors[0].at(place)
        return _entry(identifier, lora.weights, place, lora.enabled, lora.transformer, schedule, blocks)

    def _from_tag(self, tag: PromptTag) -> PastedLora | LoraResolverError:
        place = f"<lora:{tag.name[:40]}>"
        if tag.unread:
            return InvalidInput(
                f"Could not read the weight in {quoted(tag.unread, 60)}",
                code="unclearWeight",
                remedy="Write one number, such as <lora:name:0.7>.",
            ).at(place)
        read = self._of_other(from_tag(tag), place)
        if isinstance(read, PastedLora) and not tag.weights:
            entry = read.entry.with_weight(DEFAULT_WEIGHT, DEFAULT_WEIGHT)
            return PastedLora(entry, weight_given=False)
        return read

    def from_named(self, named: NamedLoras, *, in_a_picture: bool = False) -> Pasted:
        """The LoRAs of a workflow, an array, or a picture's record."""
        found = _collect(
            _entry(
                _found_anywhere(each, self._names) if in_a_picture else each.identifier,
                (each.weight, each.clip_weight),
                each.place,
                each.enabled,
                each.transformer,
                each.schedule,
                each.blocks,
                each.words,
            )
            if each.weight_known
            else _computed_weight(each)
            for each in named.loras
        )
        return Pasted(found.loras, (*named.errors[:_MAX_ERRORS], *found.errors))


def _ignored(tag: PromptTag) -> InvalidInput:
    named = ", ".join(quoted(each, 30) for each in tag.ignored[:5])
    return InvalidInput(
        f"Unsupported in this tag: {named}",
        code="unknownKey",
        remedy="The LoRA was added without these parts.",
    ).at(f"<lora:{tag.name[:40]}>")


def _not_understood(fault: NotUnderstood) -> InvalidInput:
    understood = f" (read so far: {', '.join(fault.understood[:5])})" if fault.understood else ""
    return InvalidInput(
        f"Could not read the text: {fault}{understood}",
        code="notUnderstood",
        remedy='Nothing was added. Write it as [{ "model": "civitai:120096@135931", "weight": 0.7 }].',
    )


def _computed_weight(named: NamedLora) -> LoraResolverError:
    return InvalidInput(
        f"{named.identifier}: The weight comes from another node and isn't known until the workflow runs",
        code="computedWeight",
        remedy="Add it with the weight that you want.",
    ).at(named.place)


def _found_anywhere(named: NamedLora, local_names: Sequence[str]) -> Identifier:
    """The LoRA's identifier. Uses the SHA-256, which CivitAI may know, if the local name isn't on this computer."""
    if named.identifier.source != "local" or not named.sha256 or not local_names:
        return named.identifier
    is_here = str(named.identifier).removeprefix("local:") in local_names
    return named.identifier if is_here else parse_identifier(f"sha256:{named.sha256}")


def _from_lines(text: str) -> Pasted:
    lines = text.splitlines()
    several = sum(1 for line in lines if line.strip()) > 1
    found = _collect(_of_lines(lines[:MAX_LINES], several=several))
    if len(lines) > MAX_LINES:
        more = _too_much(f"{len(lines):,} lines", f"Only the first {MAX_LINES:,} were read.")
        found = Pasted(found.loras, (*found.errors[: _MAX_ERRORS - 1], more))
    if not found.loras and (len(found.errors) > _MOST_WORDS_OF_ONE_FAULT or not found.errors):
        return Pasted((), (_names_nothing(text),))
    return found


def _of_lines(lines: Sequence[str], *, several: bool) -> Iterator[PastedLora | LoraResolverError]:
    """Reads lines. A weight on a separate line belongs to the LoRA before it."""
    last: PastedLora | LoraResolverError | None = None
    for number, line in enumerate(lines, start=1):
        place = f"line {number}" if several else ""
        weight = weight_alone(line) if isinstance(last, PastedLora) and not last.weight_given else None
        if weight is not None and isinstance(last, PastedLora):
            last = _entry(last.entry.identifier, (weight,), place)
        elif not (several and is_heading(line)):
            if len(line) > MAX_LINE:
                yield _too_much(
                    f"{len(line):,} characters in a line", f"Only the first {MAX_LINE:,} were read."
                ).at(place)
            for outcome in _from_line(line[:MAX_LINE], place):
                if last is not None:
                    yield last
                last = outcome
    if last is not None:
        yield last


def _from_line(line: str, place: str) -> Iterator[PastedLora | LoraResolverError]:
    for each in names_in_line(line):
        if isinstance(each, WeightedName):
            yield _entry(each.identifier, each.weights, place)
        else:
            yield each.at(place)


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
    schedule: Schedule | None = None,
    blocks: BlockWeights | None = None,
    words: tuple[str, ...] | None = None,
) -> PastedLora | LoraResolverError:
    """The entry. `weights` are the model's and the text encoder's, as many as are given."""
    try:
        weight = weights[0] if weights else DEFAULT_WEIGHT
        entry = LoraEntry(
            identifier=identifier,
            weight=weight,
            clip_weight=weights[1] if len(weights) > 1 else weight,
            enabled=enabled,
            transformer=transformer,
            place=place,
            schedule=schedule,
            blocks=blocks,
            words=words,
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
            if len(errors) > _MAX_ERRORS:
                break
        elif len(loras) < MAX_LORAS:
            loras.append(outcome)
        else:
            errors.append(_too_much(f"more than {MAX_LORAS:,} LoRAs", "The rest was left out."))
            break
    return Pasted(tuple(loras), tuple(errors[:_MAX_ERRORS]))


def _too_much(what: str, remedy: str) -> InvalidInput:
    return InvalidInput(f"There are {what}", code="tooManyEntries", remedy=remedy)


def _names_nothing(text: str) -> InvalidInput:
    return InvalidInput(
        f"No LoRA found in {quoted(text.strip(), 60)}",
        code="noLora",
        remedy="Paste a lora array, identifiers or model pages (one per line), a prompt with <lora:name:0.7>, "
        "or a workflow.",
    )
