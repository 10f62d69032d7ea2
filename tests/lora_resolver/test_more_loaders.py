"""Loaders of many packs, read in both formats; unsupported loaders, reported; files with a source in the workflow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lora_resolver.cli import main
from lora_resolver.workflows.loader_table import SINGLE, STACKS
from lora_resolver.workflows.named_loras import loras_in
from lora_resolver.workflows.other_loaders import is_known
from lora_resolver.workflows.pasted import read_pasted
from tests.conftest import ROOT
from tests.lora_resolver.served_loras import write_safetensors
from tools.huggingface_server import HuggingFaceServer, Repository

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A, B = "local:a.safetensors", "local:b.safetensors"
AIR = "urn:air:sdxl:lora:civitai:1@2"
Row = tuple[str, float, float, bool]
NAMES = ("styles/pixel.safetensors", "a.safetensors", "b.safetensors")

# Class, inputs in the API format, widgets as the page saves them, and the LoRAs that they name.
CASES = json.loads((ROOT / "tests" / "data" / "loaders.json").read_text(encoding="utf-8"))


def read(document: object) -> tuple[list[Row], list[tuple[str, str]]]:
    found = loras_in(json.dumps(document), local_names=lambda: NAMES)
    rows = [(str(each.identifier), each.weight, each.clip_weight, each.enabled) for each in found.loras]
    return rows, [(error.code, str(error.parameter)) for error in found.errors]


def page(kind: str, values: list[Any], **more: Any) -> dict[str, Any]:
    return {
        "nodes": [{"id": 3, "type": kind, "mode": 0, "inputs": [], "widgets_values": values, **more}],
        "links": [],
    }


@pytest.mark.parametrize("case", CASES, ids=[case["class"] for case in CASES])
def test_a_loader_names_the_same_in_both_formats(case: dict[str, Any]) -> None:
    expected = [tuple(each) for each in case["loras"]]
    node = {"class_type": case["class"], "inputs": {"model": ["1", 0], **case["inputs"]}}
    assert read({"3": node}) == (expected, [])
    assert read(page(case["class"], case["widgets"])) == (expected, [])


def test_every_row_of_the_table_reads_a_file_by_its_name_and_by_its_place() -> None:
    for kind, node in SINGLE.items():
        values: list[Any] = [None] * 20
        values[node.name[1]], values[node.model[1]] = "a.safetensors", 0.25
        for document in (
            {"3": {"class_type": kind, "inputs": {node.name[0]: "a.safetensors", node.model[0]: 0.25}}},
            page(kind, values),
        ):
            ((name, weight, *_),) = read(document)[0]
            assert (name, weight) == (A, 0.25), kind
    for kind, stacks in STACKS.items():
        last = stacks[-1]
        number = last.numbers[-1]
        on = {
            "toggle": True,
            "mode": "advanced",
            "input_mode": "advanced",
            last.model[0].format(number): 0.25,
        }
        counted = {last.count[0]: 50} if last.count else {}
        switched = {last.switch[0].format(number): "On"} if last.switch else {}
        inputs = {**on, **counted, **switched, last.name[0].format(number): "a.safetensors"}
        ((name, weight, *_),) = read({"3": {"class_type": kind, "inputs": inputs}})[0]
        assert (name, weight) == (A, 0.25), kind


def test_a_group_node_is_read_with_its_own_values() -> None:
    inner = {"type": "LoraLoaderModelOnly", "mode": 0, "inputs": [], "index": 0}
    group = {
        "nodes": [
            {**inner, "widgets_values": ["old.safetensors", 1]},
            {**inner, "index": 1, "widgets_values": ["x.safetensors", 1]},
        ]
    }
    for kind in ("workflow/Two", "workflow>Two"):
        document = {
            **page(kind, ["a.safetensors", 0.5, "b.safetensors", 0.2]),
            "extra": {"groupNodes": {"Two": group}},
        }
        assert read(document) == ([(A, 0.5, 0.0, True), (B, 0.2, 0.0, True)], [])
    unfit = {**page("workflow/Two", ["a.safetensors"]), "extra": {"groupNodes": {"Two": group}}}
    assert read(unfit)[1] == [("unknownLoader", "node 3, workflow/Two")]


def test_what_comes_over_a_wire_from_a_node_that_holds_it_is_read() -> None:
    nodes = {
        "1": {"class_type": "LoraLoaderModelOnly", "inputs": {"lora_name": ["4", 0], "strength_model": ["5", 0]}},
        "2": {"class_type": "LoRA Text Loader (LoraManager)", "inputs": {"lora_syntax": ["6", 0]}},
        "3": {"class_type": "AirLoraApply", "inputs": {"lora": ["6", 0]}},
        "4": {"class_type": "easy loraNames", "inputs": {"lora_name": "a.safetensors"}},
        "5": {"class_type": "PrimitiveFloat", "inputs": {"value": 0.3}},
        "6": {"class_type": "PrimitiveStringMultiline", "inputs": {"value": "a cat <lora:pixel:0.7>"}},
    }  # fmt: skip
    pixel = ("local:styles/pixel.safetensors", 0.7, 0.7, True)
    assert read(nodes) == ([(A, 0.3, 0.0, True), pixel, pixel], [])


def test_a_weight_that_a_node_makes_is_told_where_it_counts() -> None:
    nodes = {
        "1": {"class_type": "LoraLoaderModelOnly", "inputs": {"lora_name": "a.sft", "strength_model": ["5", 0]}},
        "5": {"class_type": "SimpleMath+", "inputs": {"value": "a*b", "a": 1.0, "b": 2.0}},
    }  # fmt: skip
    assert read(nodes)[1] == [], "the file is needed, whatever its weight"
    pasted = read_pasted(json.dumps(nodes), NAMES)
    assert (pasted.loras, [error.code for error in pasted.errors]) == ((), ["computedWeight"])


# Unsupported loaders

UNKNOWN: list[tuple[str, dict[str, Any], str]] = [
    ("My LoRA Loader", {"lora_name": "Lightx2v/x.safetensors"}, "Lightx2v/x.safetensors"),
    ("SuperLoader", {"lora_3": "x.sft"}, "x.sft"),
    ("SuperLoader", {"loras": [{"file": "x.safetensors", "w": 1}]}, "x.safetensors"),
    ("SuperLoader", {"settings": {"lora": {"name": "x.safetensors"}}}, "x.safetensors"),
    ("SuperLoader", {"what": "styles\\pixel.safetensors"}, "pixel.safetensors"),
    ("SuperLoader", {"adapter": AIR}, "civitai:1@2"),
    ("LoRA Prompt", {"text": "a <lora:pixel:0.5>"}, "pixel"),
]


@pytest.mark.parametrize(("kind", "inputs", "named"), UNKNOWN)
def test_an_unknown_loader_is_named(kind: str, inputs: dict[str, Any], named: str) -> None:
    assert not is_known(kind)
    for document in ({"22": {"class_type": kind, "inputs": inputs}}, {**page(kind, list(inputs.values()))}):
        if "nodes" in document and kind == "SuperLoader" and "x." in named:
            continue  # the page doesn't save input names, and nothing indicates a LoRA
        found = loras_in(json.dumps(document), local_names=lambda: NAMES)
        assert [error.code for error in found.errors] == ["unknownLoader"]
        assert named in found.errors[0].message
        assert kind in str(found.errors[0].parameter)


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("VAELoader", {"vae_name": "a.safetensors"}),
        ("UNETLoader", {"unet_name": "a.safetensors"}),
        ("SuperLoader", {"model_name": "a.safetensors"}),
        ("SuperLoader", {"file": "other.safetensors"}),
        ("My LoRA Loader", {"lora_name": "None"}),
        ("SaveLoRA", {"filename_prefix": "loras/x.safetensors"}),
        ("MarkdownNote", {"text": f"use {AIR} and <lora:a:1>, see a.safetensors"}),
        ("Note", {"text": "a.safetensors"}),
        ("PrimitiveString", {"value": "a <lora:pixel:0.5>"}),
    ],
)
def test_no_false_alarm(kind: str, inputs: dict[str, Any]) -> None:
    assert read({"1": {"class_type": kind, "inputs": inputs}}) == ([], [])
    if "model_name" not in inputs:  # the page may not save input names
        assert read(page(kind, list(inputs.values()))) == ([], [])


def test_muted_loaders_are_no_alarm() -> None:
    for mode in (2, 4):
        assert read(page("My LoRA Loader", ["x.safetensors"], mode=mode)) == ([], [])


# Programs


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("AIR_LORA_DIR", str(tmp_path / "loras"))
    monkeypatch.setenv("AIR_LORA_SETTINGS", str(tmp_path / "none.json"))
    monkeypatch.setenv("AIR_LORA_OFFLINE", "1")
    (tmp_path / "loras").mkdir()
    return tmp_path


@pytest.mark.parametrize("command", ["prefetch", "migrate"])
def test_a_program_fails_for_an_unknown_loader_unless_it_is_allowed(
    command: str, quiet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = quiet / "workflow.json"
    file.write_text(json.dumps(page("My LoRA Loader", ["Lightx2v/x.safetensors", 1])))
    assert main([command, str(file)]) == 1
    said = capsys.readouterr().err
    assert "node 3" in said
    assert "My LoRA Loader" in said
    assert "Lightx2v/x.safetensors" in said
    assert main([command, "--allow-unknown", str(file)]) == 0
    assert "My LoRA Loader" in capsys.readouterr().err


def located(url: str, name: str = "style.safetensors", **more: Any) -> dict[str, Any]:
    models = [{"name": name, "url": url, "directory": "loras", **more}]
    return page("LoraLoaderModelOnly", [name, 1], properties={"models": models})


def test_where_a_workflow_says_that_a_file_comes_from() -> None:
    here = "https://huggingface.co/org/repo/resolve/main/style.safetensors?download=true"
    found = loras_in(json.dumps(located(here)))
    assert [(str(each.identifier), each.file) for each in found.loras] == [
        ("huggingface:org/repo@main/style.safetensors", "style.safetensors")
    ]
    listed = loras_in(json.dumps(located(here)), local_names=lambda: ("style.safetensors",))
    assert [str(each.identifier) for each in listed.loras] == ["local:style.safetensors"], (
        "it is on this disk"
    )
    elsewhere = loras_in(json.dumps(located("https://files.example/style.safetensors?token=SECRET")))
    assert [(str(each.identifier), each.address) for each in elsewhere.loras] == [
        ("local:style.safetensors", "https://files.example/style.safetensors")
    ]
    other = json.dumps(located(here, "other.safetensors")).replace(
        '["other.safetensors", 1]', '["style.safetensors", 1]'
    )
    assert [str(each.identifier) for each in loras_in(other).loras] == ["local:style.safetensors"]


def test_prefetch_says_an_address_that_none_of_the_sources_has(
    quiet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = quiet / "workflow.json"
    file.write_text(json.dumps(located("https://files.example/style.safetensors?token=SECRET")))
    assert main(["prefetch", str(file)]) == 1
    said = capsys.readouterr()
    assert "https://files.example/style.safetensors" in said.out
    assert "SECRET" not in said.out + said.err


@pytest.fixture
def ink(quiet: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file, and a Hugging Face that has it as ink-org/ink/ink.safetensors."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(quiet / "hub-cache"))
    served = write_safetensors(quiet / "served" / "ink.safetensors", 30_000)
    with HuggingFaceServer([Repository("ink-org/ink", {"ink.safetensors": served})]) as hub:
        monkeypatch.delenv("AIR_LORA_OFFLINE")
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("AIR_LORA_CIVITAI_URL", "http://localhost:9")  # the Hub's storage is on localhost
        yield served


INK = "https://huggingface.co/ink-org/ink/resolve/main/ink.safetensors"


def test_prefetch_downloads_from_where_the_workflow_says_under_the_name_that_its_loader_looks_for(
    quiet: Path, ink: Path
) -> None:
    file = quiet / "workflow.json"
    file.write_text(json.dumps(located(INK, "styles/the ink.safetensors")))
    assert main(["prefetch", str(file)]) == 0
    named = quiet / "loras" / "styles" / "the ink.safetensors"
    assert named.read_bytes() == ink.read_bytes()
    named.unlink()
    own = write_safetensors(named, 20_000, seed=2).read_bytes()
    assert main(["prefetch", str(file)]) == 0
    assert named.read_bytes() == own, "what is there stays"


def test_a_file_that_is_not_the_one_that_the_workflow_means_is_an_error(
    quiet: Path, ink: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = quiet / "workflow.json"
    file.write_text(json.dumps(located(INK, "ink.safetensors", hash="ab" * 32, hash_type="SHA256")))
    assert main(["prefetch", "--json", str(file)]) == 1
    (lora,) = json.loads(capsys.readouterr().out)["loras"]
    assert lora["error"]["code"] == "wrongHash"
    assert not (quiet / "loras" / "ink.safetensors").exists()
    assert ink.exists()


ODD = json.loads((ROOT / "tests" / "data" / "odd_workflows.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", ODD, ids=[case["name"] for case in ODD])
def test_odd_workflows_are_read_or_told(case: dict[str, Any]) -> None:
    """Cases from a review: computed texts, Get and Set nodes, invalid groups, JSON in a widget, other packs."""
    names = ("a.safetensors", "c.safetensors", "styles/pixel.safetensors")
    found = loras_in(json.dumps(case["workflow"]), local_names=lambda: names)
    rows = [[str(each.identifier), each.weight, each.enabled, each.weight_known] for each in found.loras]
    assert (rows, [error.code for error in found.errors]) == (case["loras"], case["errors"])
    assert "KEY" not in "".join(each.address for each in found.loras)


def test_a_file_that_is_no_workflow_is_bad_input(quiet: Path) -> None:
    for text in ("{broken", "[[[", '{"nodes": 3'):
        (quiet / "broken.json").write_text(text)
        assert main(["migrate", str(quiet / "broken.json")]) == 2
        assert main(["prefetch", str(quiet / "broken.json")]) == 2
