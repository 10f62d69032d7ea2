"""Reads literal values from program text: Python, JavaScript, TypeScript, PHP, Go.

    lora=[ILora(model="civitai:1@2", weight=0.4)]        lora: [{ model: 'civitai:1@2', weight: 0.4 }]
    'lora' => [['model' => 'civitai:1@2', 'weight' => 0.4]]        []models.LoRA{{Model: "civitai:1@2"}}

Nothing is executed. A computed value (`scale * 0.5`, f-strings) is an `Unknown` with its text. A name that is assigned
once is a `Name`, which `Code.value_of` looks up. Comments are ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["Call", "Code", "Name", "TooLong", "Unknown"]

_TOKEN = re.compile(
    r'''
\s*(?:(?P<comment>//[^\n]*|\#[^\n]*|/\*.*?(?:\*/|\Z))
    | (?P<string>(?P<prefix>[rRbBfFuU]{0,2})
        (?P<quoted>"""(?:[^"\\]|\\.|"(?!""))*"""|\'\'\'(?:[^'\\]|\\.|'(?!''))*\'\'\'
        |"(?:[^"\\\n]|\\.)*"|(?<![A-Za-z])'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`))
    | (?P<number>[-+]?(?:[0-9][0-9_]{0,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][-+]?[0-9]{1,4})?(?![\w.]))
    | (?P<name>\$?[^\W\d]\w*)
    | (?P<sign>=>|->|::|\?\.|:=|===?|!==?|<=|>=|\.\.\.|[\[\]{}(),:=;.])
    | (?P<other>\S)|\Z)
    ''',
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|\r?\n|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0"}
_WORDS = {
    "true": True, "false": False, "none": None, "null": None, "nil": None, "undefined": None,
}  # fmt: skip
_OPEN = {"[": "]", "{": "}", "(": ")"}
_ASSIGNS = frozenset({":", "=", "=>", ":="})
_OPERATORS = frozenset({"if", "else", "or", "and", "for", "in", "not", "is"})
_CHANGES = frozenset(
    {"append", "extend", "insert", "push", "unshift", "splice", "concat", "add", "pop", "remove", "clear"}
)
_JOINS = frozenset({".", "::", "->", "?."})
_ENDS = frozenset({",", "]", "}", ")", ";"})
_DEFINES = frozenset({"def", "function", "fn", "func", "lambda"})
_NEAR = 12  # tokens
_LONGEST_ITEM = 100
MAX_DEPTH = 60
MAX_TOKENS = 60_000
"""A request with a thousand LoRAs has ten thousand tokens."""
_LONGEST_SHOWN = 40


class TooLong(Exception):
    """There are more than MAX_TOKENS tokens."""


@dataclass(frozen=True)
class Unknown:
    """A value that is known only when the program runs."""

    text: str


@dataclass(frozen=True)
class Name:
    """A name in the place of a value."""

    text: str


@dataclass(frozen=True)
class Call:
    """`ILora("civitai:1@2", weight=0.4)`, `new Lora(…)`, or `models.LoRA{…}`."""

    name: str
    """The last part of the called name."""
    arguments: tuple[Any, ...] = ()
    named: dict[str, Any] = field(default_factory=dict)


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int
    value: Any = None


class Code:
    """A program text as tokens, and the values that begin at each token."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[_Token] = []
        for match in _TOKEN.finditer(text):
            kind = match.lastgroup
            if kind is None or kind == "comment":
                continue
            if len(self.tokens) == MAX_TOKENS:
                raise TooLong
            start, end = match.span(kind)
            value: Any = None
            if kind == "string":
                value = _text_of(match["prefix"], match["quoted"])
            elif kind == "number":
                value = _number_of(match["number"])
            self.tokens.append(_Token(kind, text[start:end], start, end, value))
        self._given: dict[str, list[int]] = {}
        """Name → positions of the values that are assigned to it."""
        self._changed: set[str] = set()
        self._values: dict[str, Any] = {}
        self._look_at_names()

    def _look_at_names(self) -> None:
        depth = 0
        for index, token in enumerate(self.tokens):
            if token.kind == "sign":
                depth += (token.text == "(") - (token.text == ")")
            if token.kind != "name" or self.sign(index - 1) in _JOINS:
                continue
            if self.sign(index + 1) not in ("=", ":="):
                if self._is_changed_at(index):
                    self._changed.add(token.text)
            elif depth == 0:
                self._given.setdefault(token.text, []).append(index + 2)
            elif self._in_a_definition(
                index
            ):  # a parameter, whose value a caller may change; otherwise a named argument
                self._changed.add(token.text)

    def _is_changed_at(self, index: int) -> bool:
        """`w += 0.2`, `rows.append(…)`, `row.weight = 0.4`, `rows[0]["weight"] = 0.4`."""
        behind = self.sign(index + 1)
        if behind in _JOINS:
            is_method = self.word(index + 2).lower() in _CHANGES and self.sign(index + 3) == "("
            return is_method or (bool(self.word(index + 2)) and self.sign(index + 3) == "=")
        if behind == "[":
            closing = next(
                (at for at in range(index + 2, index + _NEAR) if self.sign(at) == "]"), index + _NEAR
            )
            rest = [self.sign(at) for at in range(closing + 1, closing + 6)]
            return rest[0] == "=" or (rest[0] in ("[", ".") and "=" in rest)
        operator = self.tokens[index + 1].text if index + 1 < len(self.tokens) else ""
        return operator in ("+", "-", "*", "/", "|", "??") and self.sign(index + 2) == "="

    def _in_a_definition(self, index: int) -> bool:
        """Whether the innermost bracket around this token belongs to `def name(` or `function (`."""
        depth = 0
        for place in range(index - 1, max(-1, index - 200), -1):
            sign = self.sign(place)
            depth += (sign == ")") - (sign == "(")
            if depth < 0:
                return self.word(place - 1) in _DEFINES or self.word(place - 2) in _DEFINES
        return False

    def sign(self, index: int) -> str:
        """The sign at a position; "" if there isn't one."""
        token = self.tokens[index] if 0 <= index < len(self.tokens) else None
        return token.text if token is not None and token.kind == "sign" else ""

    def word(self, index: int) -> str:
        """The name, or the quoted text, at a position; "" if there is neither."""
        token = self.tokens[index] if 0 <= index < len(self.tokens) else None
        if token is None or token.kind not in ("name", "string"):
            return ""
        if token.kind == "name":
            return token.text.lstrip("$")
        return token.value if isinstance(token.value, str) else ""

    def is_key(self, index: int) -> bool:
        """Whether the token here is the key of the following value: `lora:`, `"lora":`, `lora=`, `'lora' =>`."""
        return bool(self.word(index)) and self.sign(index + 1) in _ASSIGNS

    def is_call(self, index: int) -> bool:
        """Whether the token here is the name of a call."""
        return index < len(self.tokens) and self.tokens[index].kind == "name" and self.sign(index + 1) == "("

    def value_of(self, value: Any) -> Any:
        """The value, or the value of its name. `Unknown` for a name that is assigned several times or never."""
        for _ in range(MAX_DEPTH):
            if not isinstance(value, Name):
                return value
            name = value.text
            if name not in self._values:
                is_one = len(self._given.get(name, ())) == 1 and name not in self._changed
                shown = Unknown(name[:_LONGEST_SHOWN])
                self._values[name] = self.value(self._given[name][0])[0] if is_one else shown
            value = self._values[name]
        return Unknown("…")

    def is_changed(self, name: str) -> bool:
        """Whether the text changes the value that it assigned to this name."""
        return name in self._changed or len(self._given.get(name, ())) > 1

    def value(self, index: int, depth: int = 0) -> tuple[Any, int]:
        """(the value that begins here, the position after it). The value ends at the next comma or closing bracket."""
        if index >= len(self.tokens):
            return Unknown(""), index
        value, behind = self._primary(index, depth)
        if (
            behind >= len(self.tokens)
            or self.sign(behind) in _ENDS
            or (depth == 0 and self._line_ends(behind))
        ):
            return value, behind
        end = self._end_of_item(behind)
        begin = self.tokens[index].start
        return Unknown(_without_texts(self.text[begin : self.tokens[end - 1].end])), end

    def call(self, index: int) -> tuple[Any, int]:
        """(the call that begins here, the position after it), however its result is used."""
        return self._primary(index, 0)

    def _line_ends(self, behind: int) -> bool:
        """Whether a statement may end before this token: the next line doesn't begin with an operator."""
        gap = self.text[self.tokens[behind - 1].end : self.tokens[behind].start]
        token = self.tokens[behind]
        return (
            token.text not in _OPERATORS
            and ("\n" in gap or token.text == "as")
            and token.kind in ("name", "string")
        )

    def _end_of_item(self, index: int) -> int:
        """The position after a computed value. The search is limited, so that many such values take little time."""
        depth = 0
        last = min(len(self.tokens), index + _LONGEST_ITEM)
        while index < last:
            sign = self.sign(index)
            if sign in _OPEN:
                depth += 1
            elif sign in _ENDS:
                if depth == 0:
                    break
                depth -= sign in ("]", "}", ")")
            index += 1
        return index

    def _primary(self, index: int, depth: int) -> tuple[Any, int]:
        token = self.tokens[index]
        if depth > MAX_DEPTH:
            return Unknown("…"), self._end_of_item(index)
        if token.kind == "string":
            return token.value, index + 1
        if token.kind == "number":
            return token.value, index + 1
        if token.kind == "name":
            return self._named(index, depth)
        if token.text == "[" and self.sign(index + 1) == "]" and self.word(index + 2):
            return self._primary(index + 2, depth + 1)  # Go's []models.LoRA{…}
        if token.kind == "sign" and token.text in _OPEN:
            return self._bracket(index, depth)
        return Unknown(token.text), index + 1

    def _named(self, index: int, depth: int) -> tuple[Any, int]:
        first = self.tokens[index].text
        if first == "new" and self.sign(index + 1) == "[" and self.sign(index + 2) == "]":
            return (
                self._bracket(index + 3, depth)
                if self.sign(index + 3) == "{"
                else (Unknown("new[]"), index + 3)
            )
        if first == "new" and index + 1 < len(self.tokens) and self.tokens[index + 1].kind == "name":
            return self._named(index + 1, depth)
        if first.lower() in _WORDS:
            return _WORDS[first.lower()], index + 1
        name, behind = first, index + 1
        while (
            self.sign(behind) in _JOINS
            and behind + 1 < len(self.tokens)
            and self.tokens[behind + 1].kind == "name"
        ):
            name, behind = self.tokens[behind + 1].text, behind + 2
        if self.sign(behind) in ("(", "{"):
            items, end = self._bracket(behind, depth)
            if isinstance(items, Unknown):
                return items, end
            if isinstance(items, dict):
                return Call(name, (), items), end
            if isinstance(items, _Arguments):
                return Call(name, tuple(items.positional), items.named), end
            if name.lower() == "array":
                return items, end
            return Call(name, tuple(items)), end
        return (Name(first) if behind == index + 1 else Unknown(name)), behind

    def _bracket(self, index: int, depth: int) -> tuple[Any, int]:
        """A list, or an object if its items have keys; for the arguments of a call, both."""
        opening = self.tokens[index].text
        closing = _OPEN[opening]
        items: list[Any] = []
        named: dict[str, Any] = {}
        index += 1
        while index < len(self.tokens) and self.sign(index) != closing:
            if self.sign(index) in (",", ";"):
                index += 1
            elif self.sign(index) in _ENDS:  # the end of another bracket
                return Unknown(opening), index
            elif self.is_key(index):
                key = self.word(index)
                value, index = self.value(index + 2, depth + 1)
                named[key] = value
            else:
                start = index
                value, index = self.value(index, depth + 1)
                if opening == "{" and isinstance(value, Name):
                    named[value.text] = value  # { model, weight: 0.3 }
                else:
                    items.append(value)
                index = max(index, start + 1)
        if index >= len(self.tokens):
            return Unknown(opening), index
        if opening == "(" and named:
            return _Arguments(items, named), index + 1
        if named:
            return ({**named} if not items else Unknown(f"{opening}…{closing}")), index + 1
        return items, index + 1


@dataclass(frozen=True)
class _Arguments:
    positional: list[Any]
    named: dict[str, Any]


def _without_texts(text: str) -> str:
    """A computed value as it may be shown: without texts, which may be secrets."""
    return re.sub(r"""(["'`]).*?(?:\1|\Z)""", r"\1…\1", text[:1000], flags=re.DOTALL)[:_LONGEST_SHOWN]


def _text_of(prefix: str, quoted: str) -> Any:
    marks = 3 if quoted[:3] in ('"""', "'''") and len(quoted) > 5 else 1
    inside = quoted[marks:-marks]
    computed = ("f" in prefix.lower() and "{" in inside) or (quoted[0] == "`" and "${" in inside)
    if computed:
        return Unknown("text with variables in it")
    if "r" in prefix.lower():
        return inside
    text = _ESCAPE.sub(_unescaped, inside)
    # Two \\u escapes may form one character (a surrogate pair). One half alone is invalid.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if "\\u" in inside else text


def _unescaped(match: re.Match[str]) -> str:
    what = match[1]
    if what[0] in "ux" and len(what) > 1:
        return chr(int(what[1:], 16))
    return "" if what.endswith("\n") else _ESCAPES.get(what, what)


def _number_of(text: str) -> float | int | Unknown:
    plain = text.replace("_", "")
    try:
        return float(plain) if any(sign in plain for sign in ".eE") else int(plain[:30])
    except ValueError:
        return Unknown(text[:_LONGEST_SHOWN])
