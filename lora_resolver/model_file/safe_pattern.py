"""Matches untrusted regular expressions in bounded time.

A LoRA file can contain regular expressions, and Python's own `re` may take forever on a malicious one. This module goes
through an expression once, for all positions in the text at the same time, without backtracking. It supports what names
of modules need: characters, classes, groups, alternatives, repetitions, and the two ends of the text.
"""

from __future__ import annotations

import re
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    try:
        from re import _constants as codes  # type: ignore[attr-defined]
        from re import _parser as parser  # type: ignore[attr-defined]
    except ImportError:  # Python 3.10
        import sre_constants as codes
        import sre_parse as parser

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["matches_whole"]

_LONGEST, _DEEPEST = 300, 12

_CATEGORIES: dict[Any, Callable[[str], bool]] = {
    codes.CATEGORY_DIGIT: str.isdecimal,
    codes.CATEGORY_NOT_DIGIT: lambda character: not character.isdecimal(),
    codes.CATEGORY_WORD: lambda character: character.isalnum() or character == "_",
    codes.CATEGORY_NOT_WORD: lambda character: not (character.isalnum() or character == "_"),
    codes.CATEGORY_SPACE: str.isspace,
    codes.CATEGORY_NOT_SPACE: lambda character: not character.isspace(),
}


def matches_whole(pattern: str, text: str) -> bool:
    """Like `re.fullmatch(pattern, text)`. Raises ValueError for an invalid or unsupported expression."""
    return len(text) in _ends(_parsed(pattern), text, {0})


@cache
def _parsed(pattern: str) -> tuple[Any, ...]:
    if len(pattern) > _LONGEST:
        raise ValueError(f"longer than {_LONGEST} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about syntax whose meaning changes in a later Python
            parsed = tuple(parser.parse(pattern))
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(str(error)) from None
    _check(parsed, 0)
    return parsed


def _check(nodes: Any, depth: int) -> None:
    """Raises ValueError for anything that `_step` doesn't support."""
    if depth > _DEEPEST:
        raise ValueError("too many nested groups")
    for node, argument in nodes:
        if node is codes.SUBPATTERN:
            _group, added, removed, inner = argument
            if added or removed:
                raise ValueError("it changes flags")
            _check(inner, depth + 1)
        elif node is codes.BRANCH:
            for branch in argument[1]:
                _check(branch, depth + 1)
        elif node in (codes.MAX_REPEAT, codes.MIN_REPEAT):
            _check(argument[2], depth + 1)
        elif node is codes.AT:
            _stands(argument, 0, 0)
        elif node not in (codes.LITERAL, codes.NOT_LITERAL, codes.ANY, codes.IN):
            raise ValueError(f"{str(node).lower()} isn't supported")


def _ends(nodes: Any, text: str, starts: set[int]) -> set[int]:
    """The positions where a match of these nodes can end if it begins at one of `starts`."""
    here = starts
    for node, argument in nodes:
        here = _step(node, argument, text, here)
    return here


def _step(node: Any, argument: Any, text: str, starts: set[int]) -> set[int]:
    if node is codes.SUBPATTERN:
        return _ends(argument[3], text, starts)
    if node is codes.BRANCH:
        return set().union(*(_ends(branch, text, starts) for branch in argument[1]))
    if node in (codes.MAX_REPEAT, codes.MIN_REPEAT):
        least, most, inner = argument
        return _repeated(least, most, inner, text, starts)
    if node is codes.AT:
        return {at for at in starts if _stands(argument, at, len(text))}
    return {at + 1 for at in starts if at < len(text) and _takes(node, argument, text[at])}


def _repeated(least: int, most: Any, inner: Any, text: str, starts: set[int]) -> set[int]:
    reached = set(starts) if least == 0 else set()
    here, seen, count = starts, set[tuple[int, ...]](), 0
    while here and (most is codes.MAXREPEAT or count < most):
        here = _ends(inner, text, here)
        count += 1
        if count >= least:
            here = here - reached
            reached |= here
        elif tuple(sorted(here)) in seen:  # it repeats empty matches, so it can reach any count
            reached |= here
            break
        seen.add(tuple(sorted(here)))
    return reached


def _stands(place: Any, at: int, length: int) -> bool:
    if place in (codes.AT_BEGINNING, codes.AT_BEGINNING_STRING):
        return at == 0
    if place in (codes.AT_END, codes.AT_END_STRING):
        return at == length
    raise ValueError("word boundaries aren't supported")


def _takes(node: Any, argument: Any, character: str) -> bool:
    if node is codes.LITERAL:
        return bool(ord(character) == argument)
    if node is codes.NOT_LITERAL:
        return bool(ord(character) != argument)
    if node is codes.ANY:
        return character != "\n"
    if node is codes.IN:
        items = list(argument)
        negated = bool(items) and items[0][0] is codes.NEGATE
        return negated != any(_takes(kind, item, character) for kind, item in items[negated:])
    if node is codes.RANGE:
        return bool(argument[0] <= ord(character) <= argument[1])
    return _CATEGORIES[argument](character)
