"""Reads a line of text with LoRAs among other words, each followed by a weight: exactly, or with an error.

    civitai:120096@135931 0.7                             civitai:1@2, civitai:3@4: 0.5
    - Pixel: https://civitai.com/models/1?modelVersionId=2 (weight 0.4)
    civitai:5@6 → 0.6        civitai:5 @ 6 = 60 %         | Pixel | civitai:1@2 | strength: 0.5 |

An unclear number after a name is an error, and never falls back to the default weight.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from ..errors import InvalidIdentifier, InvalidInput
from ..identifiers import parse_identifier
from ..text import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..identifiers import Identifier

__all__ = ["NAME", "WeightedName", "is_heading", "names_in_line", "weight_alone"]

NAME = re.compile(
    r"(?:https?://|(?:www\.)?civitai\.(?:com|red|green)/|(?:huggingface|hf)\.co/"
    r"|urn:air:|air:|civitai:|huggingface:|hf:|sha256:|local:)[^\s,;<>\"'`()\[\]{}|]+",
    re.IGNORECASE,
)
"""A name that can be distinguished from the words around it."""

_NUMBER = r"-?(?:[0-9]{1,3}(?:\.[0-9]{0,6})?|\.[0-9]{1,6})"
_WORD = (
    r"(?:(?:(?:model|lora)\s)?(?:weight|strength|scale|multiplier)(?:\s(?:of|is))?"
    r"|gewicht|stärke|权重|强度|重み|強度)"
)
_SIGNS = r"(?:->|=>|[\s:=×*@→(|\[–—~≈_`])"
# A number, with nothing else except signs and a word such as "weight".
_PHRASE = re.compile(
    rf"{_SIGNS}{{0,9}}(?:(?:at|with|w/)\s{{1,3}})?(?:,?-{{0,2}}\s?{_WORD}){{0,1}}{_SIGNS}{{0,9}}"
    rf"(?P<weight>{_NUMBER})(?P<percent>\s?%)?[\s)\]|*_`.!]*",
    re.IGNORECASE,
)
_NAMED_WEIGHT = re.compile(
    rf"\b{_WORD}{_SIGNS}{{0,9}}(?P<weight>{_NUMBER})(?P<percent>\s?%)?(?![\w.%/–-])", re.IGNORECASE
)
_WHOLE = re.compile(rf"(?P<name>.*?\S)(?P<behind>(?:\s*[,;:=×*]\s*|\s+){_NUMBER})")
_SIMPLE = re.compile(rf"\s*(?P<name>[A-Za-z][^\s,;|()\[\]{{}}]{{0,500}})(?:\s+(?P<weight>{_NUMBER}))?\s*")
# Numbers in the name of a base model or of a version: "SDXL 1.0", "v2", "Wan 2.2".
_OTHER_NUMBER = re.compile(
    r"\b(?:stable diffusion|sd|sdxl|flux\.?|wan|ltx|pony|qwen|hunyuan|krea|lumina|version|ver\.?|v)[\s._-]?"
    r"[0-9]{1,2}(?:\.[0-9]{1,2}){0,2}\b(?!\s?%)",
    re.IGNORECASE,
)
_NUMBERLIKE = re.compile(r"(?<![\w@])[-+]?\.?[0-9][0-9.,:/–-]*%?(?![\w@])")
# CivitAI's model and version without the prefix.
_BARE = re.compile(r"[0-9]@[0-9]")
_BETWEEN = re.compile(r"[,;]")
_DECIMAL_COMMA = re.compile(r"(?:(?<=[\s(=:@×*|][0-4])|(?<=\s-[0-4])),(?=[0-9]{1,3}(?![\w.@]))")
_SPACED_VERSION = re.compile(
    r"(\bcivitai:[0-9]{1,18})[ \t]*@[ \t]+([0-9]{1,18})(?![\w.,]?[0-9])|"
    r"(\bcivitai:[0-9]{1,18})[ \t]+@[ \t]*([0-9]{2,18})(?![\w.,]?[0-9])",
    re.IGNORECASE,
)
_BULLET = re.compile(r"\A(?:[-*•–+]|[0-9]{1,3}[.)])\s+")
_LINK = re.compile(r"\[([^\[\]]{0,300})\]\((\S{1,2000}?)\)")  # in Markdown
# A weight in words, or a switch: its value as a number is unclear.
_UNCLEAR = re.compile(
    r"[¼½¾⅓⅔⅛]|\A\W{0,9}(?:half|double|off|disabled)\b|\A\W{0,9}(?:(?:at|with)\s)?(?:weight|strength|scale)\b",
    re.IGNORECASE,
)
_OTHER_MODEL = re.compile(
    r"\b(?:check-?point|base[ _-]?model|vae|refiner|embeddings?|textual inversion|control-?net|up-?scaler|unet)\b"
    r"\W{0,6}$"
    r"|--(?:model|ckpt|checkpoint|vae)[ =]$|\bmodel\b[\"']?\s*[=:(]+\s*[\"'`]$",
    re.IGNORECASE,
)
_TABLE_NUMBER = re.compile(r"\|\s*[0-9]{1,3}\s*(?=\|)")
_EDGES = " \t\r\n\f\v\u00a0\u200b\u2060\ufeff,;\"'`“”‘’|"
_AROUND = _EDGES + "()[]{}<>:"
_BLANK = re.compile(r"\s")
_PATH = re.compile(r"local:|huggingface:|hf:", re.IGNORECASE)
_LONGEST_NAME = 4500
_NEAR = 500  # characters after a name in which a number may be its weight
_FILE_ENDINGS = (".safetensors", ".sft", ".ckpt", ".pt")


@dataclass(frozen=True)
class WeightedName:
    """One LoRA from a line."""

    identifier: Identifier
    weights: tuple[float, ...] = ()
    """Its weight; empty if the line contains none."""


def names_in_line(line: str) -> Iterator[WeightedName | InvalidInput]:
    """The LoRAs in a line, and errors for what looks like a name or a weight but isn't valid."""
    simple = _SIMPLE.fullmatch(line)
    if simple:
        with contextlib.suppress(InvalidIdentifier):
            weights = (float(simple["weight"]),) if simple["weight"] else ()
            yield WeightedName(parse_identifier(simple["name"]), weights)
            return
    line = _TABLE_NUMBER.sub("", line, count=1)
    line = _BULLET.sub("", line.strip(_EDGES), count=1).strip(_EDGES)
    line = _LINK.sub(_link_text, line)
    if " @" in line or "@ " in line:
        line = _SPACED_VERSION.sub(lambda match: f"{match[1] or match[3]}@{match[2] or match[4]}", line)
    if not line:
        return
    if not _is_among_words(line):
        whole = _whole(line)
        if isinstance(whole, WeightedName) or not (NAME.search(line) or _BARE.search(line)):
            yield whole
            return
    last: WeightedName | InvalidInput | None = None
    for part in _BETWEEN.split(_DECIMAL_COMMA.sub(".", line)):
        alone = _PHRASE.fullmatch(part) if part.strip(_EDGES) else None
        if alone and isinstance(last, WeightedName) and not last.weights:
            last = WeightedName(last.identifier, (_weight(alone),))
        elif part.strip(_EDGES):
            for each in _in_part(part.strip(_EDGES)):
                if last is not None:
                    yield last
                last = each
    if last is not None:
        yield last


def _is_among_words(text: str) -> bool:
    """Whether the text contains a recognizable name with other words before or after it. In that case, the whole text
    isn't a name. Only file paths may contain spaces."""
    return bool(_BLANK.search(text) and NAME.search(text)) and not _PATH.match(text)


def _whole(text: str) -> WeightedName | InvalidInput:
    """The LoRA if the whole text is one name, with or without a weight after it; otherwise the error."""
    try:
        return WeightedName(parse_identifier(text))
    except InvalidIdentifier as error:
        fault = error
    weighted = _WHOLE.fullmatch(text) if len(text) <= _LONGEST_NAME else None
    if weighted:
        with contextlib.suppress(InvalidIdentifier):
            number = _PHRASE.fullmatch(weighted["behind"].replace(",", " ").replace(";", " "))
            if number:
                return WeightedName(parse_identifier(weighted["name"].strip(_EDGES)), (_weight(number),))
    return fault


def _in_part(part: str) -> Iterator[WeightedName | InvalidInput]:
    """The LoRAs between two commas: a name and its weight, or names among other words."""
    names = [*NAME.finditer(part)]
    if not names or not _is_among_words(part):
        whole = _whole(part)
        if isinstance(whole, WeightedName) or not names:
            yield whole
            return
    previous = 0
    for name, following in zip_longest(names, names[1:]):
        before, behind = (
            part[previous : name.start()],
            part[name.end() : following.start() if following else None],
        )
        previous = name.end()
        if _OTHER_MODEL.search(before):
            continue  # the checkpoint, or something else that isn't a LoRA
        faults = [*_before(before)] if name is names[0] else []
        yield from faults
        read = _named(name[0].rstrip(".:!?*_"), behind)
        if not (
            isinstance(read, WeightedName)
            and not read.weights
            and any(each.code == "unclearWeight" for each in faults)
        ):
            yield read
        yield from _lost_names(behind)


def _named(name: str, behind: str) -> WeightedName | InvalidInput:
    try:
        identifier = parse_identifier(name)
    except InvalidIdentifier as error:
        return error
    rest = re.sub(r"\(\s*\)", " ", _OTHER_NUMBER.sub(" ", behind[:_NEAR]))
    said = _PHRASE.fullmatch(rest)
    if said is None and len(_NUMBERLIKE.findall(rest)) == 1:
        said = _NAMED_WEIGHT.search(rest)
    if said is not None:
        return WeightedName(identifier, (_weight(said),))
    if _NUMBERLIKE.search(rest) or _UNCLEAR.search(rest):
        return InvalidInput(
            f"{identifier}: Could not read the weight in {quoted(behind.strip(), 60)}",
            code="unclearWeight",
            remedy=f'Write "{identifier} 0.7" with the weight that you want.',
        )
    return WeightedName(identifier)


def _before(text: str) -> Iterator[InvalidInput]:
    """Errors for the text before the first name: a number alone isn't a title."""
    numbers = _NUMBERLIKE.findall(text)
    rest = _OTHER_NUMBER.sub(" ", text)
    alone = not _NUMBERLIKE.sub("", text).strip(_AROUND + "=×*@→–—-")
    if numbers and (
        alone or _NAMED_WEIGHT.search(text) or any("." in each for each in _NUMBERLIKE.findall(rest))
    ):
        yield InvalidInput(
            f"Could not read {quoted(text.strip(), 60)}",
            code="unclearWeight",
            remedy='Write the weight after the name, such as "civitai:120096@135931 0.7".',
        )
    yield from _lost_names(text)


def _link_text(link: re.Match[str]) -> str:
    """Both parts of the link, or only the first one if it already identifies the LoRA."""
    with contextlib.suppress(InvalidIdentifier):
        return str(parse_identifier(link[1]))
    return f"{link[1]} {link[2]}"


def weight_alone(line: str) -> float | None:
    """The weight in a line that contains only a weight for the LoRA of the previous line: "weight: 0.4"."""
    said = _PHRASE.fullmatch(_BULLET.sub("", line.strip(_EDGES), count=1))
    return _weight(said) if said else None


def is_heading(line: str) -> bool:
    """Whether a line only introduces others: a heading, a table's head or rule, a label, a fence."""
    text = line.strip()
    return bool(
        text.startswith(("#", "```", "|--", "|:-", "---"))
        or (text.startswith("|") and not re.search("[0-9]", text))
        or re.fullmatch(r"[\w -]{0,30}loras?\W{0,5}", text, re.IGNORECASE)
    )


def _lost_names(text: str) -> Iterator[InvalidInput]:
    """Errors for invalid names. Other words are ignored as descriptions."""
    for word in text.split():
        inside = word.strip(_AROUND)
        if _BARE.search(word) or inside.lower().endswith(_FILE_ENDINGS):
            try:
                parse_identifier(inside)
            except InvalidIdentifier as error:
                yield error


def _weight(said: re.Match[str]) -> float:
    number = float(said["weight"])
    return round(number / 100, 6) if said["percent"] else number
