"""Parses JSON as people paste it: with comments, trailing commas, unusual white space, or without the outer braces.

    [ { "model": "civitai:120096@135931", // pixel art
        "weight": 0.7, }, ]

`parse_json` replaces comments and trailing commas with spaces, so that every other character keeps its place, and
passes the text to the standard library. It explains the library's errors in a sentence with line and column.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, NoReturn

from ..errors import InvalidInput
from ..text import quoted

__all__ = ["MAX_CHARACTERS", "MAX_DEPTH", "ObjectWithDuplicates", "parse_json"]

MAX_CHARACTERS = 64_000_000  # a whole request may contain images as base64
MAX_BRACKETS = 2_000_000  # each list takes at least 56 bytes of memory, but only three characters of text
MAX_DEPTH = 200  # far below the limit of the standard library's parser, which recurses for each level

_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)'
# White space that isn't part of JSON, but that text copied from web pages contains.
_ODD_SPACES = "\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000\ufeff"
_STRUCTURE = re.compile(
    rf"(?P<string>{_STRING})|(?P<blank>//[^\r\n]*|/\*.*?(?:\*/|\Z)|[{_ODD_SPACES}])|(?P<bracket>[\[\]{{}}])",
    re.DOTALL,
)
_ANY_STRING = re.compile(_STRING, re.DOTALL)
_ANY_BLANK = re.compile(rf"//|/\*|[{_ODD_SPACES}]")
_BRACKET = re.compile(r"[\[\]{}]")
_TRAILING_COMMA = re.compile(rf"(?P<string>{_STRING})|,(?=[ \t\r\n]*[\]}}])", re.DOTALL)
_ANY_TRAILING_COMMA = re.compile(r",[ \t\r\n]*[\]}]")
_MEMBER = re.compile(rf"[ \t\r\n]*{_STRING}[ \t\r\n]*:", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)
_LINE_END = re.compile(r"\r\n|\r|\n")
_NOT_LINE_END = re.compile(r"[^\r\n]")

_PYTHON_AND_JAVASCRIPT = {"True": "true", "False": "false", "None": "null", "undefined": "null"}
_NOT_FINITE = ("nan", "inf")
_SMART_QUOTES = "“”„‟«»‘’‚‛＂＇"


class ObjectWithDuplicates(dict[str, Any]):
    """A JSON object with repeated keys. The last value of a key counts, and `duplicates` lists the repeated keys."""

    duplicates: tuple[str, ...] = ()


def parse_json(text: str) -> Any:
    """The value of a JSON text; None for a text that contains only white space and comments.

    In addition to standard JSON, it accepts `//` and `/* */` comments, trailing commas, a byte order mark, every kind
    of space, and members without the braces around them (`"lora": [ … ]`, as copied from a documentation page). NaN
    and Infinity become floats. Integers of more than 20 digits also become floats, so that no number takes long to
    read. An object with a repeated key is an `ObjectWithDuplicates`.

    Raises InvalidInput with line and column.
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidInput(
            f"The text is too long ({len(text):,} characters)",
            code="inputTooLarge",
            remedy=f"The limit is {MAX_CHARACTERS:,} characters.",
        )
    if sum(map(text.count, "[{")) > MAX_BRACKETS:
        raise InvalidInput(
            f"The text has more than {MAX_BRACKETS:,} brackets",
            code="inputTooLarge",
            remedy="A lora array or a workflow needs far fewer.",
        )
    source = _Source(text.removeprefix("\ufeff"))
    if not source.plain.strip(" \t\r\n"):
        return None
    try:
        return _DECODER.decode(source.plain)
    except json.JSONDecodeError as error:
        source.explain(error)
    except RecursionError:  # the caller's own stack was already deep
        raise _too_deep("") from None


class _Source:
    """The text, and the same text with spaces for comments and trailing commas (`plain`)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.open_brackets: list[int] = []
        plain = text if self._is_simple() else self._without_comments()
        self.shift = 0
        if _MEMBER.match(plain):
            plain, self.shift = f"{{{plain}}}", 1
        self.plain = _without_trailing_commas(plain)

    def _is_simple(self) -> bool:
        """Whether there are no comments and no unusual spaces, and brackets aren't nested too deeply."""
        bare = _ANY_STRING.sub("", self.text)
        if _ANY_BLANK.search(bare):
            return False
        depth = 0
        for bracket in _BRACKET.finditer(bare):
            depth += 1 if bracket[0] in "[{" else -1
            if depth > MAX_DEPTH:
                return False
        return True

    def _without_comments(self) -> str:
        """Replaces comments with spaces. Also rejects brackets nested too deeply, before any parser recurses."""
        pieces: list[str] = []
        copied, open_brackets = 0, self.open_brackets
        for token in _STRUCTURE.finditer(self.text):
            if token.lastgroup == "blank":
                if token.group().startswith("/*") and not re.fullmatch(r"/\*.*\*/", token.group(), re.DOTALL):
                    break  # never closed: stays in the text, so that the parser reports it
                pieces += (self.text[copied : token.start()], _NOT_LINE_END.sub(" ", token.group()))
                copied = token.end()
            elif token.lastgroup == "bracket":
                if token.group() in "[{":
                    open_brackets.append(token.start())
                    if len(open_brackets) > MAX_DEPTH:
                        raise _too_deep(self.place(token.start()))
                elif open_brackets:
                    open_brackets.pop()
        return "".join((*pieces, self.text[copied:]))

    def place(self, position: int) -> str:
        """`line 3, column 7`, both counted from 1."""
        lines = _LINE_END.split(self.text[:position])
        return f"line {len(lines)}, column {len(lines[-1]) + 1}"

    def explain(self, error: json.JSONDecodeError) -> NoReturn:
        """Raises the standard library's error with an explanation and a remedy."""
        if not self.open_brackets:
            self._without_comments()
        position = min(error.pos - self.shift, len(self.text))
        message, remedy = self._reason(error.msg, position)
        message = f"{self.place(position).capitalize()}: {message}"
        raise InvalidInput(message, code="invalidJson", remedy=remedy) from None

    def _reason(self, problem: str, position: int) -> tuple[str, str]:
        """(message, remedy). Shows only one character or one known word of the text, since the rest may be secret."""
        text = self.text
        found = text[position : position + 1]
        word_match = _WORD.match(text, position)
        word = word_match.group() if word_match else ""
        if problem.startswith("Unterminated string"):
            return "This quotation mark is never closed", 'Add the closing ".'
        if problem.startswith("Invalid control character"):
            return (
                f"Quoted text contains {_character(found)}",
                'Close the quotation marks on the line where they open. A " may be missing.',
            )
        if problem.startswith("Invalid \\"):
            return (
                "This backslash doesn't start a JSON escape",
                "Write / in file names, or \\\\ for one backslash.",
            )
        if text.startswith("/*", position):
            return "This comment is never closed", "Add */ where it ends."
        if not found and problem.startswith("Extra data"):
            return (
                "The last bracket has no matching opening bracket",
                "Remove it, or copy the opening bracket, too.",
            )
        if not found:
            return self._ends_early()
        if found in ".+" and text[position + 1 : position + 2].isdigit():
            return f"A number can't start with {found}", "Write 0.5 instead of .5, and 1 instead of +1."
        if found in _SMART_QUOTES:
            return f"{found} is a typographic quotation mark", 'Use a straight one (") instead.'
        if found == "`":
            return "` isn't valid in JSON", "Paste only the text between the ``` lines."
        if found == "'":
            return "JSON doesn't allow single quotation marks", 'Use " instead.'
        if problem.startswith("Extra data"):
            if found == ",":
                return "The JSON ends here, but a comma follows", "Put [ ] around the entries."
            return (
                f"The JSON ends here, but {_character(found)} follows",
                "Remove what follows, or put [ ] around everything.",
            )
        if word in _PYTHON_AND_JAVASCRIPT:
            return f"{word} isn't valid JSON", f"Write {_PYTHON_AND_JAVASCRIPT[word]}."
        if word in _NOT_FINITE:
            return f"{word} isn't a valid JSON number", "Write a finite number."
        if problem.startswith("Expecting property name"):
            if word:
                return "This key has no quotation marks", 'Put " on both sides of it.'
            return (
                f"Expected a key in quotation marks, found {_character(found)}",
                'An object member looks like "weight": 0.7.',
            )
        if problem.startswith("Expecting ':'"):
            return (
                f"Expected : after the key, found {_character(found)}",
                'An object member looks like "weight": 0.7.',
            )
        if problem.startswith("Expecting ','"):
            return (
                f"Expected , or a closing bracket, found {_character(found)}",
                "A comma may be missing before it.",
            )
        if word and not text[:position].strip():
            return f"This isn't JSON: it begins with the word {quoted(word, 40)}", "JSON begins with [ or {."
        if word:
            return "This word has no quotation marks", 'Put " on both sides of text.'
        return (
            f"Expected a value, found {_character(found)}",
            'A value is text in ", a number, true, false, [ ], or { }.',
        )

    def _ends_early(self) -> tuple[str, str]:
        if not self.open_brackets:
            return "The text ends where a value is expected", "Check that you copied all of it."
        opened = self.open_brackets[-1]
        bracket = self.text[opened]
        return (
            f"The text ends, but the {bracket} at {self.place(opened)} isn't closed",
            f"Add {']' if bracket == '[' else '}'}, or copy all of it.",
        )


def _without_trailing_commas(plain: str) -> str:
    if not _ANY_TRAILING_COMMA.search(plain):
        return plain

    def blank(token: re.Match[str]) -> str:
        if token.lastgroup == "string":
            return token.group()
        before = token.start() - 1
        while before >= 0 and plain[before] in " \t\r\n":
            before -= 1
        # Only a comma after a value is a trailing comma: `[,]` stays invalid.
        return "," if before < 0 or plain[before] in "[{,:" else " "

    return _TRAILING_COMMA.sub(blank, plain)


def _character(found: str) -> str:
    if found in "\r\n":
        return "a line break"
    if found == '"':
        return "a quotation mark"
    return (
        f'"{found}"' if found.isprintable() and not found.isspace() else f"the character U+{ord(found):04X}"
    )


def _too_deep(place: str) -> InvalidInput:
    where = f"{place.capitalize()}: " if place else ""
    return InvalidInput(
        f"{where}Brackets are nested more than {MAX_DEPTH} levels deep",
        code="jsonTooDeep",
        remedy="A lora array needs only two levels.",
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    doubled = ObjectWithDuplicates(members)
    doubled.duplicates = tuple(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
    return doubled


def _integer(digits: str) -> int | float:
    # Depending on Python's version, int() rejects thousands of digits or is slow to read them. float() does neither.
    return int(digits) if len(digits) <= 20 else float(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer)
