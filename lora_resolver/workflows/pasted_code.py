"""The LoRAs of a piece of program text that asks Runware, or a service like it, for a picture.

    request = IImageInference(model="civitai:30240@102996", lora=[ILora(model="civitai:1@2", weight=0.4)])
    await runware.imageInference({ model: "…", lora: [{ model: "civitai:1@2", weight: 0.4 }] })
    $image->model('…')->addLora('civitai:1@2', 0.4)
    curl https://api.runware.ai/v1 -d '[{"taskType": "imageInference", "lora": […]}]'
    runware run … lora.0.model=civitai:1@2 lora.0.weight=0.4

Only what stands at a LoRA's place is taken: `model` beside it is the checkpoint. Nothing that a program computes is
guessed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from ..errors import InvalidIdentifier
from ..identifiers import parse_identifier
from .code_literals import Call, Code, Name, Unknown
from .entries_of_others import KEYS, NotUnderstood, OtherLora, key_of, other_lora

__all__ = ["embedded_json", "loras_in_code"]

MAX_COMMANDS = 100
_LISTS = frozenset({"lora", "loras", "imageloras", "loraarray"})
_ADDERS = frozenset({"addlora", "withlora"})
_MAKERS = frozenset({"ilora", "lora", "runwarelora"})
_ELSEWHERE = frozenset({"loadloraweights", "setadapters"})
_LIKE_CODE = re.compile(
    r"""\bi?loras?["'`]?\s*(?::=|=>|[:=])\s*(?:[\[\{(\$\w]) | \bI?Lora\s*[({] | lora\s*\( | \blora\.[0-9]
    | load_lora_weights""",
    re.IGNORECASE | re.VERBOSE,
)
_REQUEST = ("positiveprompt", "positive_prompt", "imageinference", "requestimages", "texttoimage")
_DOTTED = re.compile(r"""["']?\blora\.([0-9]{1,3})\.(\w+)=("[^"\n]*"|'[^'\n]*'|[^\s"']+)["']?""")
_CURL = re.compile(r"(?:^|[\s;&|$(`])curl(?:\.exe)?\s", re.IGNORECASE)
_HERE_DOCUMENT = re.compile(r"<<-?\s*(['\"]?)(\w+)\1[^\n]*\n(.*?)\n[ \t]*\2[ \t]*(?:\n|\Z)", re.DOTALL)
_DATA = re.compile(r"(?:-d|--data(?:-raw|-binary|-ascii|-urlencode)?|--json)(?:=(.*))?", re.DOTALL)
_JSON_STRING = re.compile(r"""=\s*[rb]?["'`]{1,3}\s*[\[{].{0,2000}?\\?"loras?\\?"\s*:""", re.DOTALL)
_JSON_WITH_LORA = re.compile(r"\s*[\[{].*lora", re.DOTALL | re.IGNORECASE)


def embedded_json(text: str) -> list[str]:
    """The bodies that the curl commands in a text send. Raises NotUnderstood for one that is not in the text."""
    if "curl" not in text.lower() or not _CURL.search(text):
        return _json_strings(text) if _JSON_STRING.search(text) else []
    here = [match[3] for match in _HERE_DOCUMENT.finditer(text)]
    joined = re.sub(r"[\\^`][ \t]*\r?\n", " ", _HERE_DOCUMENT.sub("\n", text))
    bodies: list[str] = []
    for command in re.split(r"(?=(?:^|(?<=\n))[ \t]*(?:\$ )?curl)", joined):
        if not _CURL.search(command):
            continue
        try:
            words = shlex.split(command, comments=False)
        except ValueError:
            raise NotUnderstood("the quotation marks of the curl command") from None
        bodies += _bodies(words)
    if len(bodies) > MAX_COMMANDS:
        raise NotUnderstood(f"which of {len(bodies):,} commands is meant. Paste one alone")
    files = [body for body in bodies if body.startswith("@") and body != "@-"]
    if files:
        raise NotUnderstood(f"what {files[0][1:60]} holds, the file that the curl command sends")
    return [body for body in bodies if body != "@-"] + here


def _json_strings(text: str) -> list[str]:
    """The texts of a program that are requests themselves."""
    strings = [
        token.value for token in Code(text).tokens if token.kind == "string" and isinstance(token.value, str)
    ]
    return [each for each in strings if _JSON_WITH_LORA.match(each)]


def _bodies(words: list[str]) -> list[str]:
    bodies = []
    for word, following in zip(words, [*words[1:], ""]):
        match = _DATA.fullmatch(word)
        if match:
            bodies.append(match[1] if match[1] is not None else following.removeprefix("$"))
        elif word.startswith("-d") and word[2:3] in ("[", "{", "@"):
            bodies.append(word[2:])
    return bodies


def loras_in_code(text: str) -> list[OtherLora] | None:
    """Every LoRA that a program text names, in its order, or that the rows of an array do which is no JSON; None for a
    text that is neither.

    Raises NotUnderstood where one cannot be read, or where two requests of it differ.
    """
    if text.lstrip()[:1] in ("[", "{"):
        rows = _rows(text)
        if rows is not None:
            return rows
    if "lora" not in text.lower() or not _LIKE_CODE.search(text):
        return [] if _is_request(text) else None
    dotted = _dotted(text)
    if dotted is not None:
        return dotted
    code = Code(text)
    finder = _Finder(code)
    finder.look()
    if finder.is_code or _is_request(text):
        return finder.loras()
    return None


def _is_request(text: str) -> bool:
    """Whether it is a program's request for a picture, if perhaps for one without LoRAs."""
    lower = text.lower()
    return any(word in lower for word in _REQUEST)


def _rows(text: str) -> list[OtherLora] | None:
    """`[{ model: 'civitai:1@2', weight: 0.4 }]`, with or without the outer brackets."""
    code = Code(text if text.lstrip()[:1] == "[" else f"[{text}\n]")
    value, end = code.value(0)
    if end < len(code.tokens) and code.sign(end) != ";":
        return None
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
        return None
    if not all("model" in each and {key_of(str(key)) for key in each} <= KEYS for each in value):
        return None
    return [other_lora(each, code.value_of) for each in value]


def _dotted(text: str) -> list[OtherLora] | None:
    """`lora.0.model=… lora.0.weight=…`, as Runware's command line takes it."""
    entries: dict[int, dict[str, str]] = {}
    for number, key, value in _DOTTED.findall(text):
        entries.setdefault(int(number), {})[key] = value.strip("\"'")
    return [other_lora(entries[number]) for number in sorted(entries)] if entries else None


class _Finder:
    """Goes through a program's tokens and keeps what stands at a LoRA's place."""

    def __init__(self, code: Code) -> None:
        self._code = code
        self._lists: list[Any] = []
        self._single: list[Any] = []
        self._inside: list[str] = []
        self.is_code = False

    def look(self) -> None:
        """Raises NotUnderstood for what names LoRAs in a way that is not read."""
        code, index = self._code, 0
        while index < len(code.tokens):
            word = code.word(index)
            key = key_of(word) if word and len(word) <= 40 else ""
            if key in _LISTS and code.is_key(index):
                index = self._list(index)
            elif key == "lycoris" and code.is_key(index):
                value, index = code.value(index + 2)
                if value:
                    raise NotUnderstood('"lycoris"; move its entries into "lora", where LyCORIS files work')
            elif key in _ELSEWHERE and code.is_call(index):
                raise NotUnderstood(f"{word}(…), which is for diffusers")
            elif (key in _ADDERS and code.is_call(index)) or (key in _MAKERS and self._makes(index)):
                value, index = code.call(index)
                self.is_code = True
                self._single.append(value)
            else:
                index += 1

    def _makes(self, index: int) -> bool:
        return self._code.is_call(index) or (
            self._code.tokens[index].kind == "name" and self._code.sign(index + 1) == "{"
        )

    def _list(self, index: int) -> int:
        value, end = self._code.value(index + 2)
        known = self._code.value_of(value)
        if isinstance(known, (list, dict, Call)) or isinstance(value, Name):
            self.is_code = True
            self._lists.append(known)
        elif isinstance(known, str) and _JSON_WITH_LORA.match(known):
            return end
        elif isinstance(known, Unknown) and self._code.sign(index + 2) in ("[", "{", "("):
            self.is_code = True
            self._lists.append(known)
        return end

    def loras(self) -> list[OtherLora]:
        """Raises NotUnderstood."""
        lists = [self._entries(each) for each in self._lists if each is not None]
        filled = [each for each in lists if each]
        # Those of a variable stand in the text once more, where it is assigned.
        single = [self._entry(each) for each in self._single]
        if not filled:
            return single
        if any(each != filled[0] for each in filled[1:]):
            raise NotUnderstood("which of the requests in it is meant: their LoRAs differ. Paste one alone")
        beside = [each for each in single if each not in filled[0]]
        if beside:
            raise NotUnderstood(f"whether {beside[0].name} belongs to the array beside it")
        return filled[0]

    def _entries(self, value: Any) -> list[OtherLora]:
        if isinstance(value, Unknown):
            raise NotUnderstood(f"{value.text}, which the program makes while it runs")
        if isinstance(value, dict):
            return [self._entry(value)]
        if isinstance(value, Call):
            if key_of(value.name) in _MAKERS and not _is_list(value):
                return [self._entry(value)]
            if _is_list(value):
                return [self._entry(each) for each in value.arguments]
            if len(value.arguments) == 1 and isinstance(
                value.arguments[0], list
            ):  # json_encode([…]), list([…])
                return self._entries(value.arguments[0])
            raise NotUnderstood(f"{value.name}(…), which the program makes while it runs")
        return [self._entry(each) for each in value]

    def _entry(self, value: Any) -> OtherLora:
        value = self._code.value_of(value)
        if isinstance(value, Call):
            made = key_of(value.name) in _MAKERS | _ADDERS | {"dict", "object", "array"}
            if not made or len(value.arguments) > 2:
                raise NotUnderstood(f"{value.name[:40]}(…)")
            value = {**dict(zip(("model", "weight"), value.arguments)), **value.named}
        if isinstance(value, str):
            raise NotUnderstood(f"{_shown(value)} without its object: write {{ model: …, weight: … }}")
        if not isinstance(value, Mapping):
            raise NotUnderstood(f"{getattr(value, 'text', value)} in the array")
        strange = [str(key) for key in value if key_of(str(key)) not in KEYS]
        if strange:
            raise NotUnderstood(f"the key {strange[0][:40]!r} of an entry")
        return other_lora(value, self._code.value_of)


def _is_list(call: Call) -> bool:
    """Go's `[]models.LoRA{{…}, {…}}`."""
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
