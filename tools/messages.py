"""The catalogue of all error messages, read from the code: code → message and remedy, with placeholders.

python -m tools.messages     as a Markdown page
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("lora_resolver", "nodes", "fleet")
_PARTS = ("message", "code", "remedy")


@dataclass(frozen=True)
class Message:
    """One place that raises or lists an error."""

    code: str
    message: str
    """With placeholders as `{expression}`; empty if the message isn't in this call."""
    remedy: str
    place: str


def catalogue() -> list[Message]:
    """Returns all messages of calls that also have a code, sorted by code."""
    trees = {
        path: ast.parse(path.read_text(encoding="utf-8"))
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }
    takers: dict[str, dict[str, int]] = {}
    constants: dict[str, ast.expr] = {}
    for tree in trees.values():
        takers |= _takers(tree)
        constants |= _constants(tree)
    found: list[Message] = []
    for path, tree in trees.items():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            given = _given(call, takers.get(_name(call.func), {}))
            if not given.get("code"):
                continue
            place = f"{path.relative_to(ROOT).as_posix()}:{call.lineno}"
            codes, messages, remedies = (
                _texts(given[part], constants) if given.get(part) else [""]
                for part in ("code", "message", "remedy")
            )
            found += [
                Message(code, message, remedy, place)
                for code in codes
                for message in messages or [""]
                for remedy in remedies or [""]
            ]
    return sorted(set(found), key=lambda each: (each.code, each.message, each.remedy, each.place))


def _takers(tree: ast.Module) -> dict[str, dict[str, int]]:
    """Functions and classes with a parameter `code` → the positions of their message, code, and remedy."""
    found = {}
    for node in ast.walk(tree):
        for function in [node, *node.body] if isinstance(node, ast.ClassDef) else [node]:
            if not isinstance(function, ast.FunctionDef):
                continue
            names = [argument.arg for argument in function.args.args if argument.arg != "self"]
            if "code" in names + [argument.arg for argument in function.args.kwonlyargs]:
                name = node.name if function.name == "__init__" else function.name  # type: ignore[attr-defined]
                found[name] = {part: names.index(part) for part in _PARTS if part in names}
    return found


def _given(call: ast.Call, positions: dict[str, int]) -> dict[str, ast.expr]:
    given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg in _PARTS}
    for part, position in positions.items():
        if position < len(call.args):
            given.setdefault(part, call.args[position])
    if "code" in given and "message" not in given and call.args and not positions:
        given["message"] = call.args[0]
    return {str(part): value for part, value in given.items()}


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    """The module's text constants. Many errors share a remedy."""
    return {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, (ast.Constant, ast.JoinedStr))
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _texts(value: ast.expr, constants: dict[str, ast.expr]) -> list[str]:
    """Returns each text that the expression can evaluate to."""
    if isinstance(value, ast.IfExp):
        return [*_texts(value.body, constants), *_texts(value.orelse, constants)]
    if isinstance(value, ast.Name) and value.id in constants:
        return _texts(constants[value.id], {})
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return [value.value]
    if isinstance(value, ast.JoinedStr):
        return ["".join(_part(part) for part in value.values)]
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        lefts, rights = _texts(value.left, constants), _texts(value.right, constants)
        return [left + right for left in lefts for right in rights]
    return []


def _part(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    assert isinstance(part, ast.FormattedValue)  # noqa: S101 - f-strings contain nothing else
    return f"{{{ast.unparse(part.value)}}}"


def page() -> str:
    """The catalogue as a Markdown table."""
    rows = [
        f"| `{each.code}` | {_cell(each.message)} | {_cell(each.remedy)} |"
        for each in catalogue()
        if each.message or each.remedy
    ]
    head = (
        "# All messages\n\nWhat the pack can say, with `{placeholders}` for values.\n\n"
        "| code | message | remedy |\n|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


if __name__ == "__main__":
    sys.stdout.write(page())
