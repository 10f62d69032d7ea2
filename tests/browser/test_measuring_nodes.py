"""The nodes that analyze, sweep, and save an array also show its rows, and examples with them open unchanged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.conftest import ROOT

if TYPE_CHECKING:
    from tests.browser.comfy_page import ComfyPage

pytestmark = pytest.mark.integration

EXAMPLES = ROOT / "example_workflows"


def read(name: str) -> Any:
    return json.loads((EXAMPLES / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["weight-sweep", "analyze-and-merge"])
def test_an_example_opens_and_exports_as_it_is_written(name: str, comfy: ComfyPage) -> None:
    comfy.page.evaluate("(workflow) => app.loadGraphData(workflow)", read(f"{name}.json"))
    expect(comfy.rows).to_have_count(2)
    comfy.show(0.6)
    comfy.screenshot(f"example-{name}")
    exported = comfy.page.evaluate("async () => (await app.graphToPrompt()).output")
    expected = read(f"api/{name}.json")
    assert {key: node["class_type"] for key, node in exported.items()} == {
        key: node["class_type"] for key, node in expected.items()
    }
    for key, node in expected.items():
        inputs = exported[key]["inputs"]
        inputs.pop("preview", None)  # set by older versions of the page, for Preview as Text
        assert inputs == node["inputs"], key


OVERLAPS = """() => {
    const boxes = app.graph.nodes.map((node) => [node.title, ...node.getBounding()]);
    const shared = (a, b, at) => Math.min(a[at] + a[at + 2], b[at] + b[at + 2]) - Math.max(a[at], b[at]);
    return boxes.flatMap((a, number) => boxes.slice(number + 1)
        .filter((b) => shared(a, b, 1) > 2 && shared(a, b, 2) > 2).map((b) => `${a[0]} and ${b[0]}`));
}"""


@pytest.mark.parametrize("shared_page", [False], ids=["canvas"], indirect=True)
def test_no_node_of_an_example_lies_on_another(comfy: ComfyPage) -> None:
    """Only on the canvas, because Nodes 2.0 makes stock nodes larger than the file says."""
    for file in sorted(EXAMPLES.glob("*.json")):
        comfy.page.evaluate("(workflow) => app.loadGraphData(workflow)", read(file.name))
        comfy.page.wait_for_timeout(700)  # until the rows have their size
        comfy.wait_until_still()
        assert comfy.page.evaluate(OVERLAPS) == [], file.name


# The scale of the canvas if at least one of our nodes is completely visible, otherwise 0.
SEEN = """() => {
    const { scale, offset: [x, y] } = app.canvas.ds;
    const { width, height } = app.canvas.canvas.getBoundingClientRect();
    const isSeen = ([left, top, wide, high]) => (left + x) * scale >= 0 && (top + y) * scale >= 0
        && (left + x + wide) * scale <= width && (top + y + high) * scale <= height;
    const seen = app.graph.nodes.filter((node) => node.type.startsWith("AirLora") && isSeen(node.getBounding()));
    return seen.length ? scale : 0;
}"""


def test_an_example_opens_where_its_rows_can_be_read(comfy: ComfyPage) -> None:
    for file in sorted(EXAMPLES.glob("*.json")):
        comfy.page.evaluate("(workflow) => app.loadGraphData(workflow)", read(file.name))
        comfy.page.wait_for_timeout(300)
        comfy.wait_until_still()
        assert comfy.page.evaluate(SEEN) >= 0.8, file.name


@pytest.mark.parametrize("kind", ["AirLoraAnalyze", "AirLoraSave", "AirLoraSweep"])
def test_a_weight_in_its_rows_is_the_weight_that_it_gets(kind: str, comfy: ComfyPage) -> None:
    comfy.page.evaluate(
        """([kind, text]) => {
            const node = LiteGraph.createNode(kind);
            app.graph.add(node);
            node.widgets.find((each) => each.name === "lora").value = text;
        }""",
        [kind, json.dumps([{"model": "local:tiny_neon.safetensors", "weight": 0.5}])],
    )
    comfy.show()
    expect(comfy.rows).to_have_count(1)
    comfy.weight(0).fill("0.8")
    comfy.weight(0).press("Enter")
    exported = comfy.page.evaluate(
        "async () => Object.values((await app.graphToPrompt()).output)[0].inputs.lora"
    )
    assert json.loads(exported)[0]["weight"] == 0.8
