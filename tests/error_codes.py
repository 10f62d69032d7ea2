"""All codes that an error of the package can have, read from its source."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("lora_resolver", "nodes")


def error_codes() -> dict[str, str]:
    """Code → one place that sets it: a `code` argument of a call, by name or by position, or a table."""
    trees = {
        path: ast.parse(path.read_text(encoding="utf-8"))
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }
    positions = {name: position for tree in trees.values() for name, position in _takers(tree)}
    codes: dict[str, str] = {}
    for path, tree in trees.items():
        for table in (node for node in ast.walk(tree) if isinstance(node, ast.Dict)):
            for key, value in zip(table.keys, table.values):
                if isinstance(key, ast.Constant) and key.value == "code":
                    for text in _texts(value):
                        codes.setdefault(text, f"{path.relative_to(ROOT)}:{table.lineno}")
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            given = [keyword.value for keyword in call.keywords if keyword.arg == "code"]
            position = positions.get(_name(call.func))
            if position is not None and position < len(call.args):
                given.append(call.args[position])
            for value in given:
                for text in _texts(value):
                    codes.setdefault(text, f"{path.relative_to(ROOT)}:{call.lineno}")
    return codes


def _takers(tree: ast.Module) -> list[tuple[str, int]]:
    """Functions and classes with a positional parameter `code`, and its position."""
    found = []
    for node in ast.walk(tree):
        for function in [node, *node.body] if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(function, ast.FunctionDef):
                names = [argument.arg for argument in function.args.args if argument.arg != "self"]
                if "code" in names:
                    name = node.name if function.name == "__init__" else function.name  # type: ignore[attr-defined]
                    found.append((name, names.index("code")))
    return found


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _texts(value: ast.expr) -> list[str]:
    if isinstance(value, ast.IfExp):
        return [*_texts(value.body), *_texts(value.orelse)]
    return (
        [value.value]
        if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value
        else []
    )
