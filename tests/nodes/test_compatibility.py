"""Everything that the pack uses of ComfyUI exists in the ComfyUI that the tests run with.

The list of uses is read from the pack's sources: each import, each attribute of an import, and the argument names in
node descriptions, because an argument that a version doesn't know would break the whole pack there.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import warnings
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT, comfyui_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OF_COMFYUI = re.compile(
    r"(comfy|comfy_\w+|folder_paths|server|execution|nodes|node_helpers|latent_preview)(\.|$)"
)

MEMBERS = {
    "comfy.model_patcher:ModelPatcher": {"clone", "add_patches"},
    "comfy.sd:CLIP": {"clone", "add_patches"},
    "server:PromptServer": {"send_sync", "send_progress_text", "add_on_prompt_handler"},
    "execution:PromptQueue": {"get_current_queue_volatile"},
    "comfy.utils:ProgressBar": {"update_absolute"},
}
"""Methods of objects that ComfyUI passes to the pack, so no import names them."""


class Uses(ast.NodeVisitor):
    """What one source file uses of ComfyUI: dotted names, and the arguments of calls to them."""

    def __init__(self) -> None:
        self.bound: dict[str, str] = {}
        self.names: set[str] = set()
        self.calls: list[tuple[str, set[str]]] = []

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if OF_COMFYUI.match(alias.name):
                self.bound[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
                self.names.add(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level == 0 and node.module and OF_COMFYUI.match(node.module):
            for alias in node.names:
                self.bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                self.names.add(f"{node.module}.{alias.name}")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        name = self.dotted(node)
        if name is None:
            self.generic_visit(node)
        else:
            self.names.add(name)

    def visit_Call(self, node: ast.Call) -> None:
        name = self.dotted(node.func)
        if name is not None:
            self.calls.append((name, {keyword.arg for keyword in node.keywords if keyword.arg}))
        self.generic_visit(node)

    def dotted(self, node: ast.expr) -> str | None:
        """Returns `comfy.utils.ProgressBar` for an expression that refers to it, whatever name it was imported with."""
        if isinstance(node, ast.Name):
            return self.bound.get(node.id)
        if isinstance(node, ast.Attribute):
            before = self.dotted(node.value)
            return None if before is None else f"{before}.{node.attr}"
        return None


def sources() -> Iterator[Path]:
    yield ROOT / "__init__.py"
    yield from sorted((ROOT / "nodes").rglob("*.py"))


def uses_of(path: Path) -> Uses:
    uses = Uses()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):  # late imports too, before the names that they import are used
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            uses.visit(node)
    uses.visit(tree)
    return uses


def found(name: str) -> Any:
    """Returns the object with that dotted name. Raises AttributeError or ImportError."""
    parts = name.split(".")
    # `nodes` must be ComfyUI's own module and not our folder with that name.
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.syspath_prepend(str(comfyui_path()))
        warnings.simplefilter("ignore")  # from ComfyUI's dependencies, which we can't fix
        importlib.import_module("utils.extra_config")  # first, as in main.py, or comfy/utils.py is found
        module = importlib.import_module(parts[0])
        for number, part in enumerate(parts[1:], start=2):
            try:
                module = getattr(module, part)
            except AttributeError:  # noqa: PERF203 - a module that isn't imported yet
                if not inspect.ismodule(module):
                    raise
                module = importlib.import_module(".".join(parts[:number]))
    return module


def missing(names: set[str]) -> list[str]:
    def is_missing(name: str) -> bool:
        try:
            found(name)
        except (AttributeError, ImportError):
            return True
        return False

    return sorted(filter(is_missing, names))


USES = {path: uses_of(path) for path in sources()}


def test_the_sources_are_read() -> None:
    """The list isn't empty by mistake: it contains what every node pack like this must use."""
    names = set().union(*(uses.names for uses in USES.values()))
    assert names >= {
        *("comfy_api.latest.ComfyExtension", "comfy_api.latest.io.Schema", "comfy_api.latest.io.Model.Input"),
        *("folder_paths.get_folder_paths", "comfy.lora.model_lora_keys_unet", "server.PromptServer"),
    }
    assert missing({"comfy.utils.no_such_thing", "comfy.no_such_module.thing"}) != []


@pytest.mark.parametrize("path", [path for path in USES if USES[path].names], ids=lambda path: path.stem)
def test_this_comfyui_has_what_the_file_uses(path: Path) -> None:
    assert missing(USES[path].names) == [], f"missing in the ComfyUI of {comfyui_path().name}"


def test_this_comfyui_takes_the_arguments_with_which_nodes_are_described() -> None:
    refused = []
    for path, uses in USES.items():
        for name, arguments in uses.calls:
            if not name.startswith("comfy_api."):
                continue
            parameters = inspect.signature(found(name)).parameters
            if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
                continue
            refused += [f"{path.stem}: {name}({each}=…)" for each in sorted(arguments - parameters.keys())]
    assert refused == []


@pytest.mark.parametrize("name", MEMBERS)
def test_this_comfyui_s_objects_have_the_methods_that_are_called(name: str) -> None:
    module, cls = name.split(":")
    members = dir(found(f"{module}.{cls}"))
    assert MEMBERS[name] - set(members) == set()


def packages_of_comfyui() -> set[str]:
    """What ComfyUI's requirements.txt installs, and the installed dependencies of these packages."""
    text = (comfyui_path() / "requirements.txt").read_text(encoding="utf-8")
    waiting = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    packages: set[str] = set()
    while waiting:
        requirement = Requirement(waiting.pop())
        name = _plain(requirement.name)
        if name in packages or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        packages.add(name)
        try:
            waiting += metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # for another system, or not in the development runtime
            continue
    return packages


def _plain(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


@pytest.mark.parametrize("package", (ROOT / "requirements.txt").read_text(encoding="utf-8").split())
def test_comfyui_brings_every_package_that_the_pack_needs(package: str) -> None:
    """In its requirements, or because it can't start without it. The README explains what each one is for."""
    started_with = "\n".join(
        file.read_text(encoding="utf-8") for file in (comfyui_path() / "app").glob("*.py")
    )
    imported = re.search(rf"^import {re.escape(package)}$", started_with, re.MULTILINE)
    assert imported or _plain(package) in packages_of_comfyui()
    assert f"`{package}` (" in (ROOT / "README.md").read_text(encoding="utf-8")
