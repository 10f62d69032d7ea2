"""Reads one LoRA in the format of another program or service, such as `{"path": "https://…", "scale": 0.8}`.

    Runware, its SDKs          {model, weight, transformer}; the old Go SDK has modelId
    CivitAI                    {type, modelVersionId, weight, air, strength}
    Lora Manager               {file_name, hash, strength, modelVersionId, exclude}, or {name, strength, active}
    InvokeAI                   {model: {key, hash, name, type}, weight}, or {lora: {model_name}, weight}
    Draw Things                {model or file: "name.ckpt", weight}
    AI Horde                   {name: "247778", is_version: true, model: 1.0, clip: 1.0}
    fal, Together, Novita      {path, scale}, {model_name, strength}

A missing weight counts as 1, as in all of these formats.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidIdentifier
from ..identifiers import parse_identifier

__all__ = ["KEYS", "NotUnderstood", "OtherLora", "file_stem", "key_of", "other_lora"]

_WEIGHTS = (
    *("weight", "strength", "scale", "multiplier", "loraweight", "lorascale", "lorastrength"),
    *("strengthmodel", "modelstrength", "modelweight"),
)
_CLIP_WEIGHTS = ("clipweight", "strengthclip", "clipstrength", "clip")
_SWITCHES = ("active", "on", "enabled", "isenabled")
_NUMBERS = ("modelversionid", "versionid")
_MODELS = ("air", "model", "lora", "path", "url", "loraurl", "modelid")
_HASHES = ("sha256", "hash")
_FILES = ("file", "filename", "loraname", "modelname", "name", "key")

KEYS = frozenset(
    {*_WEIGHTS, *_CLIP_WEIGHTS, *_SWITCHES, *_NUMBERS, *_MODELS, *_HASHES, *_FILES, "transformer", "exclude"}
)
"""All keys that are read, in the form of `key_of`."""

_NUMBER = re.compile(r"\s*[-+]?(?:[0-9]{1,4}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})\s*")
_OTHER_ENDINGS = re.compile(r"(?:_lora_(?:f16|f32|q\w+))?\.(?:ckpt|pt|bin|safetensors|sft)\Z", re.IGNORECASE)
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_WRAPPING = re.compile(r"float|ptr|pointer|number|decimal", re.IGNORECASE)
_LONGEST_SHOWN = 60


class NotUnderstood(Exception):
    """Says what couldn't be read, in words for an error message, and what was read before that."""

    def __init__(self, what: str, understood: Sequence[str] = ()) -> None:
        super().__init__(what)
        self.understood = tuple(understood)


@dataclass(frozen=True)
class OtherLora:
    """One LoRA in another program's format."""

    name: str
    """An identifier; if `is_file`, the name of a file without its extension."""
    weights: tuple[float, ...] = (1.0,)
    """The model's weight, and the text encoder's if it has a separate one."""
    is_file: bool = False
    enabled: bool = True
    transformer: str = "both"
    extensions: tuple[tuple[str, object], ...] = ()
    """Options for steps and blocks, as members of an array's entry."""


def key_of(name: str) -> str:
    """A key in normal form: `strength_model`, `strengthModel` and `Strength model` are equal.

    >>> key_of("strength_model")
    'strengthmodel'
    """
    return re.sub(r"[^a-z0-9]", "", name.lower())


def file_stem(name: str) -> str:
    """A file's name without the extension or suffix that its program adds."""
    return _OTHER_ENDINGS.sub("", name.strip())


def other_lora(entry: Mapping[str, Any], value_of: Callable[[Any], Any] = lambda value: value) -> OtherLora:
    """The LoRA in an entry. `value_of` looks up values that aren't literal. Raises NotUnderstood."""
    members = {key_of(str(key)): value_of(value) for key, value in entry.items()}
    if members.get("isversion") is not None and isinstance(members.get("model"), (int, float)):
        return _of_horde(members)
    name, is_file = _name_of(members)
    weight = _first_number(members, _WEIGHTS, name)
    clip = _first_number(members, _CLIP_WEIGHTS, name)
    switch = next((members[key] for key in _SWITCHES if isinstance(members.get(key), bool)), True)
    transformer = members.get("transformer", "both")
    if not isinstance(transformer, str):
        raise NotUnderstood(f"the transformer of {_short(name)} isn't text")
    weights = (1.0 if weight is None else weight, *(() if clip is None else (clip,)))
    return OtherLora(name, weights, is_file, switch and members.get("exclude") is not True, transformer)


def _of_horde(members: Mapping[str, Any]) -> OtherLora:
    number = str(members.get("name"))
    if not re.fullmatch(r"[0-9]{1,18}", number):
        raise NotUnderstood(f"{_short(number)} isn't a CivitAI ID")
    name = f"civitai:@{number}" if members["isversion"] is True else f"civitai:{number}"
    weights = [_first_number(members, (key,), name) for key in ("model", "clip")]
    return OtherLora(name, tuple(each for each in weights if each is not None))


def _name_of(members: Mapping[str, Any]) -> tuple[str, bool]:
    for key in _NUMBERS:
        number = members.get(key)
        if isinstance(number, (int, str)) and re.fullmatch(r"[1-9][0-9]{0,17}", str(number)):
            model = str(members.get("modelid", ""))
            return f"civitai:{model if re.fullmatch('[1-9][0-9]{0,17}', model) else ''}@{number}", False
    for key in _MODELS:
        value = members.get(key)
        if isinstance(value, Mapping):
            return _name_of({key_of(str(inner)): each for inner, each in value.items()})
        if isinstance(value, str) and value.strip():
            return _identifier_or_file(value.strip())
        if value is not None and not isinstance(value, str):
            raise NotUnderstood(f"unsupported {key} {_short(_text_of(value))}")
    for key in _HASHES:
        value = members.get(key)
        if isinstance(value, str) and re.fullmatch(r"[0-9a-fA-F]{64}", value):
            return f"sha256:{value.lower()}", False
    for key in _FILES:
        value = members.get(key)
        if isinstance(value, str) and value.strip():
            return file_stem(value), True
    raise NotUnderstood("an entry has no model")


def _identifier_or_file(text: str) -> tuple[str, bool]:
    try:
        return str(parse_identifier(text)), False
    except InvalidIdentifier as error:
        if _REPOSITORY.fullmatch(text) and not _OTHER_ENDINGS.search(text):
            return f"huggingface:{text}", False
        if re.search(r'[:<>"|?*$]', text) or text.startswith(("/", "\\", "~")):
            raise NotUnderstood(error.message) from None
        return file_stem(text), True


def _first_number(members: Mapping[str, Any], keys: tuple[str, ...], name: str) -> float | None:
    for key in keys:
        value = members.get(key)
        if value is None:
            continue
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            return float(value)
        # floatPtr(0.8), Float(0.8): one number in a wrapper that indicates its type.
        inside: tuple[Any, ...] = getattr(value, "arguments", ())
        if len(inside) == 1 and _WRAPPING.search(str(getattr(value, "name", ""))):
            value = inside[0]
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise NotUnderstood(f"the {key} of {_short(name)} isn't a number: {_short(_text_of(value))}")
        return float(value)
    return None


def _text_of(value: object) -> str:
    return str(getattr(value, "text", None) or getattr(value, "name", None) or value)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"
