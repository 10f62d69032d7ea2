"""Every workflow template of ComfyUI's page is read, and the result is compared with a second reader that uses the
nodes' own input lists from the installed ComfyUI."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import folder_paths
import pytest

import nodes as core_nodes
from lora_resolver.cli import main
from lora_resolver.identifiers import parse_identifier
from lora_resolver.workflows.named_loras import loras_in
from lora_resolver.workflows.pasted import read_pasted

if TYPE_CHECKING:
    from collections.abc import Iterator

EXTRAS = ("nodes_hooks", "nodes_lora_debug", "nodes_lora_stack", "nodes_lora_extract", "nodes_train")
MUTED = (2, 4)


def templates() -> dict[str, dict[str, Any]]:
    """Name → document of every workflow in the template packages, including those stored next to pictures."""
    found = {}
    folders = [Path(folder) for folder in dict.fromkeys(sys.path) if Path(folder).is_dir()]
    for file in sorted(
        file for each in folders for file in each.glob("comfyui_workflow_templates*/**/*.json")
    ):
        document = json.loads(file.read_bytes())
        if isinstance(document, dict) and isinstance(document.get("nodes"), list):
            found[file.name] = document
    return found


@pytest.fixture(scope="module")
def workflows() -> dict[str, dict[str, Any]]:
    return templates()


@pytest.fixture(scope="module")
def lora_inputs() -> dict[str, tuple[int, str]]:
    """Class → position and name of the widget whose options are the files of the `loras` folder."""
    classes = dict(core_nodes.NODE_CLASS_MAPPINGS)
    for name in EXTRAS:
        if importlib.util.find_spec(f"comfy_extras.{name}"):
            module = importlib.import_module(f"comfy_extras.{name}")
            classes |= getattr(module, "NODE_CLASS_MAPPINGS", {})
    asked = folder_paths.get_filename_list
    found = {}
    try:
        folder_paths.get_filename_list = lambda folder: [f"a file of {folder}"]
        for kind, node in classes.items():
            widgets = [*_widgets_of(node)]
            for place, (name, options) in enumerate(widgets):
                if options == ["a file of loras"]:
                    found[kind] = (place, name)
    finally:
        folder_paths.get_filename_list = asked
    return found


def _widgets_of(node: Any) -> Iterator[tuple[str, Any]]:
    types = node.INPUT_TYPES()
    for part in ("required", "optional"):
        for name, (kind, *about) in types.get(part, {}).items():
            options = about[0].get("options") if about and isinstance(about[0], dict) else None
            if isinstance(kind, list):
                yield name, kind
            elif kind in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"):
                yield name, options


def expected(document: dict[str, Any], inputs: dict[str, tuple[int, str]]) -> list[tuple[str, str]]:
    """(file, its address) of every active loader. Subgraphs are included once for each node that uses them."""
    subgraphs = {each["id"]: each for each in document.get("definitions", {}).get("subgraphs", [])}

    def of(graph: dict[str, Any]) -> Iterator[tuple[str, str]]:
        for node in graph["nodes"]:
            if node.get("mode") in MUTED:
                continue
            if node["type"] in subgraphs:
                yield from of(subgraphs[node["type"]])
            elif node["type"] in inputs:
                file = node["widgets_values"][inputs[node["type"]][0]]
                models = node.get("properties", {}).get("models", [])
                yield file, next((each["url"] for each in models if each["name"] == file), "")

    return [*of(document)]


def test_each_lora_of_each_template_is_named_with_its_source(
    workflows: dict[str, dict[str, Any]], lora_inputs: dict[str, tuple[int, str]]
) -> None:
    assert set(lora_inputs) >= {"LoraLoader", "LoraLoaderModelOnly"}
    counts: Counter[str] = Counter()
    for name, document in workflows.items():
        wanted = expected(document, lora_inputs)
        found = loras_in(json.dumps(document), name)
        assert [str(error) for error in found.errors] == [], "no false alarm"
        assert sorted(
            each.file or str(each.identifier).removeprefix("local:") for each in found.loras
        ) == sorted(file for file, _ in wanted), name
        for lora in found.loras:
            (address,) = {url for file, url in wanted if file == lora.file}
            assert lora.identifier == parse_identifier(address)
        counts.update(workflows=1, loras=len(wanted), with_source=sum(bool(url) for _, url in wanted))
        counts["with loras"] += bool(wanted)
    print(f"\ntemplates: {dict(counts)}")
    assert counts["workflows"] >= 100
    assert counts["loras"] == counts["with_source"] >= 29


def test_what_prefetch_names_a_paste_and_migrate_name_as_well(
    workflows: dict[str, dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIR_LORA_DIR", str(tmp_path))
    monkeypatch.setenv("AIR_LORA_SETTINGS", str(tmp_path / "none.json"))
    for name, document in workflows.items():
        text = json.dumps(document)
        named = [str(each.identifier) for each in loras_in(text).loras]
        assert [str(each.entry.identifier) for each in read_pasted(text).loras] == named, name
        if named:
            (tmp_path / name).write_text(text, encoding="utf-8")
    files = sorted(tmp_path.glob("*.json"))
    assert main(["migrate", "--json", *map(str, files)]) == 0
    migrated: dict[str, set[str]] = {}
    for report in json.loads(capsys.readouterr().out):
        migrated.setdefault(Path(report["file"]).name, set()).update(
            each["model"] for each in report["entries"]
        )
    for file in files:
        named = [str(each.identifier) for each in loras_in(json.dumps(workflows[file.name])).loras]
        assert migrated[file.name] == set(named)
