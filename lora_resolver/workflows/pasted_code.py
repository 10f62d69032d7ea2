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
_BY_AIR = "additionalnetworks"
_PATHS = {
    "loraweights": "lorascale",
    "extralora": "extralorascale",
    "hflora": "lorascale",
    "loraurl": "loraweight",
}
"""One address, and where its weight is (Replicate, muapi)."""
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
_CURL = re.compile(r"(?:^|[\s;&|$(`])curl(?:\.exe)?\s", re.IGNORECASE)
_HERE_DOCUMENT = re.compile(r"<<-?\s*(['\"]?)(\w+)\1[^\n]*\n(.*?)\n[ \t]*\2[ \t]*(?:\n|\Z)", re.DOTALL)
_DATA = re.compile(r"(?:-[a-zA-Z]*d|--data(?:-raw|-binary|-ascii|-urlencode)?|--json)(?:=(.*))?", re.DOTALL)
_ANSI_C = re.compile(r"\$'((?:[^'\\]|\\.)*)'", re.DOTALL)
_MOST_HERE_DOCUMENTS = 20
_JSON_STRING = re.compile(r"""["'`]\s{0,9}[\[{]""")
_JSON_WITH_LORA = re.compile(r"""\s*[\[{].*["']loras?["']\s*:""", re.DOTALL | re.IGNORECASE)


def embedded_json(text: str) -> list[str]:
    """The bodies that the curl commands in a text send. Raises NotUnderstood for one that is not in the text."""
    if "curl" not in text.lower() or not _CURL.search(text):
        return _json_strings(text) if "lora" in text.lower() and _JSON_STRING.search(text) else []
    text = _ANSI_C.sub(lambda match: shlex.quote(match[1].replace("\\'", "'").replace("\\n", "\n")), text)
    if '^"' in text:  # cmd.exe
        text = text.replace('^\\^"', '\\"').replace('^"', '"')
    few = text.count("<<") <= _MOST_HERE_DOCUMENTS
    here = [match[3] for match in _HERE_DOCUMENT.finditer(text)] if few else []
    joined = re.sub(r"[\\^`][ \t]*\r?\n", " ", _HERE_DOCUMENT.sub("\n", text) if few else text)
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
    bodies = [body for body in bodies if body != "@-" and not re.fullmatch(r"\$\{?\w+\}?", body)] + here
    return bodies or _json_strings(text)


def _json_strings(text: str) -> list[str]:
    """The texts of a program that are requests themselves."""
    code = Code(text)
    return [
        token.value
        for place, token in enumerate(code.tokens)
        if token.kind == "string"
        and isinstance(token.value, str)
        and _JSON_WITH_LORA.match(token.value[:20_000])
        and not (place > 1 and key_of(code.word(place - 2)) in _LISTS)  # the array itself
    ]


def _bodies(words: list[str]) -> list[str]:
    bodies = []
    for word, following in zip(words, [*words[1:], ""]):
        match = _DATA.fullmatch(word)
        if match:
            bodies.append(match[1] if match[1] is not None else following)
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
    return bool(_REQUEST.search(text))


def _rows(text: str) -> list[OtherLora] | None:
    """`[{ model: 'civitai:1@2', weight: 0.4 }]`, with or without the outer brackets."""
    code = Code(text if text.lstrip()[:1] == "[" else f"[{text}\n]")
    value, end = code.value(0)
    if end < len(code.tokens) and code.sign(end) != ";":
        return None
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
        return None
    keys = [{key_of(str(key)) for key in each} for each in value]
    if not all("model" in each and each <= KEYS and not each & _LISTS for each in keys):
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
            elif key == _BY_AIR and code.is_key(index):
                value, index = code.value(index + 2)
                self._take_by_air(code.value_of(value))
            elif key in _PATHS and code.is_key(index) and isinstance(code.value(index + 2)[0], str):
                index = self._path(key, index)
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
        """Whether a LoRA is made here: `ILora("…", 0.4)`, `Lora{Model: "…"}`, and no words such as "LoRA (style)"."""
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
        """CivitAI's generator: {"urn:air:…": {"type": "Lora", "strength": 0.4}}."""
        self.is_code = True
        if not isinstance(networks, dict):
            raise NotUnderstood("additionalNetworks, which the program makes while it runs")
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
        code = self._code
        address, end = code.value(index + 2)
        scales = [
            place
            for place in range(len(code.tokens))
            if code.is_key(place) and key_of(code.word(place)) == _PATHS[key]
        ]
        weight = (
            code.value_of(code.value(scales[0] + 2)[0])
            if len(scales) == 1
            else 1.0
            if not scales
            else Unknown("…")
        )
        self.is_code = True
        self._single.append({"path": address, "weight": weight})
        return end

    def _list(self, index: int) -> int:
        code = self._code
        start = self._behind_type(index + 2)
        value, end = code.value(start)
        known = code.value_of(value)
        if isinstance(known, str):
            if known.lstrip()[:1] in ("[", "{"):
                known = Code(known).value(0)[0]
            else:
                return end
        if isinstance(known, Unknown):
            # Words may look like this; what has a text in quotation marks is a program.
            if not isinstance(value, Name) and all(each.kind != "string" for each in code.tokens[start:end]):
                return end
        elif not isinstance(known, (list, dict, Call)) and known is not None:
            return end
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

    def _behind_type(self, index: int) -> int:
        """The place behind a type: `lora: ILora[] = […]`."""
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
        """Raises NotUnderstood."""
        lists = [self._entries(each) for each in self._lists if each is not None]
        filled = [each for each in lists if each]
        if filled and len(filled) < len(lists):
            raise NotUnderstood("which of the requests in it is meant: one has no LoRA. Paste one alone")
        # Those of a variable stand in the text once more, where it is assigned.
        single = [self._entry(each) for each in self._single]
        if not filled:
            if any(each.name == other.name for place, each in enumerate(single) for other in single[:place]):
                raise NotUnderstood(f"which weight of {single[0].name} is meant")
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
