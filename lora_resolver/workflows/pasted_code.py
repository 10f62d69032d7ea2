"""Reads the LoRAs from program text that requests a picture from Runware or a similar service.

    request = IImageInference(model="civitai:30240@102996", lora=[ILora(model="civitai:1@2", weight=0.4)])
    await runware.imageInference({ model: "…", lora: [{ model: "civitai:1@2", weight: 0.4 }] })
    $image->model('…')->addLora('civitai:1@2', 0.4)
    fetch("https://api.runware.ai/v1", { body: '[{"taskType": "imageInference", "lora": […]}]' })
    runware run … lora.0.model=civitai:1@2 lora.0.weight=0.4

Only values in the position of a LoRA are read: a `model` outside such a position is the checkpoint. Computed values are
never guessed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ..errors import InvalidIdentifier
from ..identifiers import parse_identifier
from .code_literals import Call, Code, Name, Unknown
from .entries_of_others import KEYS, NotUnderstood, OtherLora, key_of, other_lora

__all__ = ["Program"]

_LONGEST_KEY = 40
_LOOKED_AT = 20_000  # characters of a text that are checked for a request
_LISTS = frozenset({"lora", "loras", "imageloras", "loraarray"})
_BY_AIR = "additionalnetworks"
_PATHS = {
    "loraweights": "lorascale",
    "extralora": "extralorascale",
    "hflora": "lorascale",
    "loraurl": "loraweight",
}
"""Key of a single address → key of its weight (Replicate, muapi)."""
_ADDERS = frozenset({"addlora", "withlora"})
_MAKERS = frozenset({"ilora", "lora", "runwarelora"})
_ELSEWHERE = frozenset({"loadloraweights", "setadapters"})
_LIKE_CODE = re.compile(
    r"""(?:\bi?|image_?)loras?["'`]?\s*(?::=|=>|[:=])\s*(?:[\[\{(\$\w"'`]) | \bI?Lora[({] | \bI?Lora\s+\{ | lora\(
    | \blora\.[0-9] | load_lora_weights | additionalNetworks | lora_weights | extra_lora | hf_lora | lora_url""",
    re.IGNORECASE | re.VERBOSE,
)
_REQUEST = re.compile(
    r"""positive_?prompt["'`]?\s*[:=]\s*["'`]|imageInference\s*[({]|requestImages\s*\(|textToImage\s*\("""
    r"""|IEmbedding\s*\(|ILycoris\s*\(|\b(?:embeddings|lycoris)\s*[:=]\s*\[|->model\s*\(""",
    re.IGNORECASE,
)
_DOTTED = re.compile(r"""["']?\blora\.([0-9]{1,3})\.(\w+)=("[^"\n]*"|'[^'\n]*'|[^\s"']+)["']?""")
_JSON_STRING = re.compile(r"""["'`]\s{0,9}[\[{]""")
_JSON_WITH_LORA = re.compile(r"""\s*[\[{].*["']loras?["']\s*:""", re.DOTALL | re.IGNORECASE)


class Program:
    """A text as a program. It is split into tokens only if part of it looks like a program."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._about_loras = "lora" in text.lower()

    @cached_property
    def _code(self) -> Code:
        return Code(self._text)

    def requests(self) -> list[str]:
        """The string values in it that are requests themselves: `body: '[{"lora": […]}]'`."""
        if not self._about_loras or not _JSON_STRING.search(self._text):
            return []
        return [
            token.value
            for place, token in enumerate(self._code.tokens)
            if isinstance(token.value, str)
            and _JSON_WITH_LORA.match(token.value[:_LOOKED_AT])
            and key_of(self._code.word(place - 2)) not in _LISTS  # the array itself
        ]

    def loras(self) -> list[OtherLora] | None:
        """Every LoRA in the program, in order, or in the rows of an array that isn't valid JSON; None for any other
        text.

        Raises NotUnderstood if a LoRA can't be read, or if two requests in the text differ.
        """
        if self._text.lstrip()[:1] in ("[", "{"):
            rows = self._rows()
            if rows is not None:
                return rows
        if not self._about_loras or not _LIKE_CODE.search(self._text):
            return [] if self._is_request() else None
        dotted = _dotted(self._text)
        if dotted is not None:
            return dotted
        finder = _Finder(self._code)
        finder.look()
        return finder.loras() if finder.is_code or self._is_request() else None

    def _is_request(self) -> bool:
        """Whether it requests a picture, possibly without LoRAs."""
        return bool(_REQUEST.search(self._text))

    def _rows(self) -> list[OtherLora] | None:
        """Reads `[{ model: 'civitai:1@2', weight: 0.4 }]`, with or without the outer brackets."""
        code, rows = self._code, []
        index = 1 if code.sign(0) == "[" else 0
        while index < len(code.tokens):
            if code.sign(index) in (",", ";", "]"):
                index += 1
                continue
            row, index = code.value(index, depth=1)
            if not isinstance(row, dict):
                return None
            keys = {key_of(str(key)) for key in row}
            if "model" not in row or not keys <= KEYS or keys & _LISTS:
                return None
            rows.append(row)
        return [other_lora(row, code.value_of) for row in rows] if rows else None


def _dotted(text: str) -> list[OtherLora] | None:
    """Reads `lora.0.model=… lora.0.weight=…`, the format of Runware's command line."""
    entries: dict[int, dict[str, str]] = {}
    for number, key, value in _DOTTED.findall(text):
        entries.setdefault(int(number), {})[key] = value.strip("\"'")
    return [other_lora(entries[number]) for number in sorted(entries)] if entries else None


class _Finder:
    """Goes through a program's tokens and collects the values in the position of a LoRA."""

    def __init__(self, code: Code) -> None:
        self._code = code
        self._lists: list[Any] = []
        self._single: list[Any] = []
        self._scales: dict[str, list[int]] | None = None
        self.is_code = False

    def look(self) -> None:
        """Collects the LoRAs. Raises NotUnderstood for LoRAs in an unsupported form."""
        code, index = self._code, 0
        while index < len(code.tokens):
            word = code.word(index)
            key = key_of(word) if word and len(word) <= _LONGEST_KEY else ""
            if key in _LISTS and code.is_key(index):
                index = self._list(index)
            elif key == _BY_AIR and code.is_key(index):
                value, index = code.value(index + 2)
                self._take_by_air(code.value_of(value))
            elif key in _PATHS and code.is_key(index) and code.word(index + 2):
                index = self._path(key, index)
            elif key == "lycoris" and code.is_key(index):
                value, index = code.value(index + 2)
                if value:
                    raise NotUnderstood(
                        '"lycoris" isn\'t supported. Move its entries to "lora", which also accepts LyCORIS files'
                    )
            elif key in _ELSEWHERE and code.is_call(index):
                raise NotUnderstood(f"{word}(…) is for diffusers")
            elif (key in _ADDERS and code.is_call(index)) or (key in _MAKERS and self._makes(index)):
                value, index = code.call(index)
                self.is_code = True
                self._single.append(value)
            else:
                index += 1

    def _makes(self, index: int) -> bool:
        """Whether a LoRA is created here: `ILora("…", 0.4)`, `Lora{Model: "…"}`, but not text like "LoRA (style)"."""
        code = self._code
        if code.tokens[index].kind != "name":
            return False
        opening = code.sign(index + 1)
        held = code.tokens[index + 2] if index + 2 < len(code.tokens) else None
        return (
            opening in ("(", "{")
            and held is not None
            and (
                held.kind == "string"
                or code.is_key(index + 2)
                or (code.tokens[index].text.lower() == "ilora")
            )
        )

    def _take_by_air(self, networks: Any) -> None:
        """Reads CivitAI's generator: {"urn:air:…": {"type": "Lora", "strength": 0.4}}."""
        self.is_code = True
        if not isinstance(networks, dict):
            raise NotUnderstood("additionalNetworks isn't known until the program runs")
        kinds = {
            air: each.get("type", "lora") if isinstance(each, dict) else None
            for air, each in networks.items()
        }
        self._lists.append(
            [
                {
                    "air": air,
                    **{key: value for key, value in networks[air].items() if key_of(key) == "strength"},
                }
                for air, kind in kinds.items()
                if isinstance(kind, str) and kind.lower() in ("lora", "locon", "dora", "lycoris")
            ]
        )

    def _path(self, key: str, index: int) -> int:
        """Reads `lora_weights="https://…", lora_scale=0.8`: a scale that occurs once belongs to the address."""
        code = self._code
        if self._scales is None:
            self._scales = {}
            for place in range(len(code.tokens)):
                if code.is_key(place):
                    self._scales.setdefault(key_of(code.word(place)[:_LONGEST_KEY]), []).append(place + 2)
        places = self._scales.get(_PATHS[key], [])
        weight = (
            code.value_of(code.value(places[0])[0]) if len(places) == 1 else Unknown("…") if places else 1.0
        )
        self.is_code = True
        self._single.append({"path": code.tokens[index + 2].value, "weight": weight})
        return index + 3

    def _list(self, index: int) -> int:
        code = self._code
        start = self._behind_type(index + 2)
        value, end = code.value(start)
        known = code.value_of(value)
        if isinstance(known, str) and known.lstrip()[:1] in ("[", "{"):
            known = Code(known).value(0)[0]
        if not self._is_list(known, value, start, end):
            return index + 1
        names = [code.word(index)] + ([value.text] if isinstance(value, Name) else [])
        if any(
            code.is_changed(name)
            for name in names
            if code.tokens[index].kind == "name" or name != code.word(index)
        ):
            known = Unknown(names[-1][:40])
        self.is_code = True
        self._lists.append(known)
        return end

    def _is_list(self, known: Any, value: Any, start: int, end: int) -> bool:
        """Whether it is a program's array, or an expression for one. Text may look similar ("lora: my style"), so a
        computed value counts only if it contains a quoted string or is a name."""
        if isinstance(known, Unknown):
            return isinstance(value, Name) or any(
                each.kind == "string" for each in self._code.tokens[start:end]
            )
        return known is None or isinstance(known, (list, dict, Call))

    def _behind_type(self, index: int) -> int:
        """The position after a type: `lora: ILora[] = […]`."""
        code = self._code
        if code.sign(index - 1) != ":" or (index < len(code.tokens) and code.tokens[index].kind != "name"):
            return index
        for place in range(index, min(len(code.tokens), index + 12)):
            if code.sign(place) == "=":
                return place + 1
            if code.sign(place) in (",", ";", "}", ")", "(") or code.tokens[place].kind == "string":
                break
        return index

    def loras(self) -> list[OtherLora]:
        """The LoRAs that were collected. Raises NotUnderstood."""
        read: dict[int, list[OtherLora]] = {}  # the same list may be used many times
        for each in self._lists:
            if each is not None and id(each) not in read:
                read[id(each)] = self._entries(each)
        lists = [*read.values()]
        filled = [each for each in lists if each]
        if filled and len(filled) < len(lists):
            raise NotUnderstood("one of its requests has no LoRA. Paste only one request")
        # The LoRAs of a variable also occur at its assignment.
        single = [self._entry(each) for each in self._single]
        if not filled:
            names = Counter(each.name for each in single)
            twice = next((name for name, times in names.items() if times > 1), None)
            if twice is not None:
                raise NotUnderstood(f"{twice} has several weights")
            return single
        if any(each != filled[0] for each in filled[1:]):
            raise NotUnderstood("its requests have different LoRAs. Paste only one request")
        listed = set(filled[0])
        beside = next((each for each in single if each not in listed), None)
        if beside is not None:
            raise NotUnderstood(f"it isn't clear whether {beside.name} belongs to the array next to it")
        return filled[0]

    def _entries(self, value: Any) -> list[OtherLora]:
        if isinstance(value, Unknown):
            raise NotUnderstood(f"{value.text} isn't known until the program runs")
        if isinstance(value, dict):
            return [self._entry(value)]
        if isinstance(value, Call):
            if _holds_rows(value):
                return [self._entry(each) for each in value.arguments]
            if key_of(value.name) in _MAKERS:
                return [self._entry(value)]
            if len(value.arguments) == 1 and isinstance(
                value.arguments[0], list
            ):  # list([…]), json_encode([…])
                return self._entries(value.arguments[0])
            raise NotUnderstood(f"{value.name}(…) isn't known until the program runs")
        return [self._entry(each) for each in value]

    def _entry(self, value: Any) -> OtherLora:
        value = self._code.value_of(value)
        if isinstance(value, Call):
            made = key_of(value.name) in _MAKERS | _ADDERS | {"dict", "object", "array"}
            if not made or len(value.arguments) > 2:
                raise NotUnderstood(f"{value.name[:40]}(…) isn't supported")
            value = {**dict(zip(("model", "weight"), value.arguments)), **value.named}
        if isinstance(value, str):
            raise NotUnderstood(f"{_shown(value)} needs an object around it. Write {{ model: …, weight: … }}")
        if not isinstance(value, Mapping):
            raise NotUnderstood(f"unsupported value {getattr(value, 'text', value)} in the array")
        strange = [str(key) for key in value if key_of(str(key)) not in KEYS]
        if strange:
            raise NotUnderstood(f"unknown key {strange[0][:40]!r} in an entry")
        return other_lora(value, self._code.value_of)


def _holds_rows(call: Call) -> bool:
    """Whether a call is Go's `[]models.LoRA{{…}, {…}}`."""
    return (
        bool(call.arguments)
        and all(isinstance(each, (dict, Call)) for each in call.arguments)
        and not call.named
    )


def _shown(text: str) -> str:
    try:
        return str(parse_identifier(text))
    except InvalidIdentifier:
        return "a text"
