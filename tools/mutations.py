"""Breaks the code in one place at a time, and reports which changes no test detects. Not part of CI: it takes hours.

    python -m tools.mutations identifiers array --count 60     60 mutations of each part, chosen at random
    python -m tools.mutations patching --seed 2

It works on a temporary copy of the tree. PYTHON runs the tests there. For each mutation that survives, it prints the
line before and after. Decide then whether a user would notice the change.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 300
"""The time limit for the tests of one mutation, which also detects endless loops."""

# Part → its folder, and the tests that should detect mutations.
PARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "identifiers": (
        "lora_resolver/identifiers",
        ("test_identifiers", "test_file_names", "test_which_file", "test_pasted", "test_resolver"),
    ),
    "array": (
        "lora_resolver/array",
        ("test_lora_array", "test_schedule", "test_tag_options", "test_image_request", "test_pasted"),
    ),
    "transfer": (
        "lora_resolver/transfer",
        (
            "test_resolver",
            "test_faults",
            "test_peek",
            "test_work",
            "test_download_claims",
            "test_secrets",
            "test_flush",
            "test_address_rules",
            "test_outside_input",
            "test_shared_folder",
            "test_progress_figures",
            "test_memory_limit",
        ),
    ),
    "patching": (
        "nodes/patching",
        (
            *(
                "test_application",
                "test_stacked_adapter",
                "test_merging",
                "test_analysis",
                "test_kept",
                "test_every_pair",
            ),
            *(
                "test_more_spellings",
                "test_each_forward",
                "test_odd_files",
                "test_changed_files",
                "test_tensor_file",
            ),
            *("test_bypass_layers", "test_bypass_choice", "test_bypass", "test_schedules", "test_blocks"),
            *("test_every_class", "test_field_files"),
        ),
    ),
}

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_COUNTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult, ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip


def mutants(tree: ast.Module) -> Iterator[tuple[int, ast.Module]]:
    """Yields (line, the module with one change), for all code that runs. Texts and annotations don't change."""
    places = [node for node in _that_run(tree) if _variants(node)]
    for number in range(len(places)):
        for variant in range(len(_variants(places[number]))):
            changed = copy.deepcopy(tree)
            node = [each for each in _that_run(changed) if _variants(each)][number]
            _variants(node)[variant]()
            yield getattr(node, "lineno", 0), changed


def _that_run(node: ast.AST) -> Iterator[ast.AST]:
    """Yields the node and its descendants, except annotations."""
    yield node
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns"):
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, ast.AST):
                    yield from _that_run(each)


def _variants(node: ast.AST) -> list[_Change]:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARED:
        return [_Change(node, "ops", [_COMPARED[type(node.ops[0])](), *node.ops[1:]])]
    if isinstance(node, ast.BinOp) and type(node.op) in _COUNTED:
        return [_Change(node, "op", _COUNTED[type(node.op)]())]
    if isinstance(node, ast.BoolOp):
        return [_Change(node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And())]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return [_Change(node, "op", ast.UAdd()), _Change(node, "operand", ast.Constant(False))][1:]
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return [_Change(node, "value", node.value + 1)]
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        return [_Change(node, "value", not node.value)]
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return []
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        return [_Change(node, "test", ast.Constant(True)), _Change(node, "test", ast.Constant(False))]
    if isinstance(node, ast.Return) and ast.unparse(node) != "return None" and node.value is not None:
        return [_Change(node, "value", None)]
    return []


class _Change:
    """Sets one field of one node."""

    def __init__(self, node: ast.AST, field: str, value: object) -> None:
        self._node, self._field, self._value = node, field, value

    def __call__(self) -> None:
        setattr(self._node, self._field, self._value)


def run(part: str, count: int, seed: int) -> tuple[int, list[str]]:
    """Returns how many mutations were tried, and those that survived."""
    folder, tests = PARTS[part]
    chance = random.Random(seed)  # noqa: S311 - no secrets
    every = [
        (file.relative_to(ROOT), line, ast.unparse(tree))
        for file in sorted((ROOT / folder).rglob("*.py"))
        for line, tree in mutants(ast.parse(file.read_text(encoding="utf-8")))
    ]
    chosen = chance.sample(every, min(count, len(every)))
    survived = []
    with tempfile.TemporaryDirectory(prefix="air-lora-mutations-") as place:
        tree = Path(place) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", ".venv", ".runtime", "__pycache__"))
        for name in (".venv", ".runtime"):
            (tree / name).symlink_to(ROOT / name)
        kind = "nodes" if folder.startswith("nodes") else "lora_resolver"
        files = [f"tests/{kind}/{test}.py" for test in tests]
        if not _passes(tree, files):
            raise SystemExit("the tests fail before anything is broken")
        for number, (file, line, text) in enumerate(chosen, 1):
            before = (tree / file).read_text(encoding="utf-8")
            (tree / file).write_text(text, encoding="utf-8")
            if _passes(tree, files):
                survived.append(f"{file}:{line}  {_difference(before, text, line)}")
                print(f"  survived: {survived[-1]}", flush=True)
            (tree / file).write_text(before, encoding="utf-8")
            if number % 20 == 0:
                print(
                    f"{part}: {number} of {len(chosen)} (there are {len(every)}), {len(survived)} survived",
                    flush=True,
                )
    return len(chosen), survived


def _passes(tree: Path, files: list[str]) -> bool:
    command = [
        os.environ.get("PYTHON") or sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        *files,
    ]
    try:
        done = subprocess.run(command, cwd=tree, capture_output=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _difference(before: str, after: str, line: int) -> str:
    """Returns the first changed line, as `ast` writes it: before and after."""
    old = ast.unparse(ast.parse(before)).splitlines()
    new = after.splitlines()
    changed = [f"{a.strip()}  →  {b.strip()}" for a, b in zip(old, new) if a != b]
    return (changed or [f"line {line}"])[0]


def main() -> int:
    """Returns 1 if any mutation survived."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.mutations", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--count", type=int, default=50, help="of each part (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    left = 0
    for part in arguments.parts:
        tried, survived = run(part, arguments.count, arguments.seed)
        left += len(survived)
        print(f"{part}: {tried} tried, {len(survived)} survived", flush=True)
    return int(left > 0)


if __name__ == "__main__":
    raise SystemExit(main())
