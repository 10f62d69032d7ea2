"""The widget's text is the only state: whatever changes it, the rows show it, and runs use what the rows show."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.many_states import LOCAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.browser.comfy_page import ComfyPage, Entry

pytestmark = [pytest.mark.integration, pytest.mark.browser]

FIRST: Entry = {"model": LOCAL, "weight": 0.5}
SECOND: Entry = {"model": "civitai:9000202@9100202", "weight": 0.25}
BOTH = [FIRST, SECOND]

RUNS = itertools.count()

APPLY = "app.graph.nodes.find((node) => node.type === 'AirLoraApply')"
HOST = "app.graph.nodes.find((node) => node.subgraph)"


def press(comfy: ComfyPage, key: str) -> None:
    comfy.page.keyboard.press(key)
    comfy.page.wait_for_timeout(300)


@pytest.fixture
def back_outside(comfy: ComfyPage) -> Iterator[None]:
    """Returns to the root workflow, whatever the test opened."""
    yield
    comfy.page.evaluate("() => app.canvas.setGraph(app.rootGraph ?? app.graph.rootGraph)")


def shown_weights(comfy: ComfyPage) -> list[str]:
    """The weights of the visible rows."""
    weights: list[str] = comfy.page.evaluate(
        "() => [...document.querySelectorAll('[data-air-lora=row-weight]')]"
        ".filter((input) => input.checkVisibility()).map((input) => input.value)"
    )
    return weights


def expect_shown(comfy: ComfyPage, *weights: str) -> None:
    comfy.page.wait_for_function(
        "(weights) => JSON.stringify([...document.querySelectorAll('[data-air-lora=row-weight]')]"
        ".filter((input) => input.checkVisibility()).map((input) => input.value)) === JSON.stringify(weights)",
        arg=list(weights),
    )


def test_undo_and_redo_go_through_every_edit(comfy: ComfyPage) -> None:
    comfy.load(BOTH)
    comfy.page.wait_for_timeout(300)
    comfy.row(0).get_by_test_id("row-toggle").click()
    comfy.choose(0, "Duplicate")
    comfy.weight(2).click()
    comfy.page.keyboard.type("0.9")
    press(comfy, "Enter")
    comfy.row(0).get_by_test_id("row-toggle").focus()
    edited = [{**FIRST, "enabled": False}, {**FIRST, "enabled": False}, {**SECOND, "weight": 0.9}]
    assert comfy.array == edited

    comfy.undo()
    expect_shown(comfy, "0.50", "0.50", "0.25")
    comfy.undo()
    expect_shown(comfy, "0.50", "0.25")
    comfy.undo()
    expect(comfy.row(0).get_by_test_id("row-toggle")).to_be_checked()
    assert comfy.array == comfy.exported == BOTH
    for _ in range(3):
        comfy.redo()
    expect_shown(comfy, "0.50", "0.50", "0.90")
    assert comfy.array == comfy.exported == edited

    # The visible rows belong to the current node, not to one that undo removed.
    comfy.row(0).get_by_test_id("row-toggle").click()
    assert comfy.exported[0] == FIRST


def test_a_pasted_node_has_rows_of_its_own(comfy: ComfyPage) -> None:
    comfy.load(BOTH)
    comfy.page.evaluate(f"() => app.canvas.selectNode({APPLY})")
    comfy.page.locator("#graph-canvas").focus()
    comfy.page.keyboard.press("Control+c")
    comfy.page.keyboard.press("Control+v")
    expect(comfy.rows).to_have_count(4)
    comfy.page.evaluate(
        "() => app.graph.nodes.filter((node) => node.type === 'AirLoraApply')"
        ".forEach((node, index) => { node.pos = [0, 440 * index] })"
    )
    comfy.show(0.7)
    comfy.weight(2).click()
    comfy.page.keyboard.type("0.35")
    press(comfy, "Enter")
    texts = comfy.page.evaluate(
        "() => app.graph.nodes.filter((node) => node.type === 'AirLoraApply').map((node) => node.widgets[0].value)"
    )
    assert [json.loads(text)[0]["weight"] for text in texts] == [0.5, 0.35]


def test_a_reload_of_the_page_brings_the_rows_back(comfy: ComfyPage) -> None:
    persist = "(on) => app.extensionManager.setting.set('Comfy.Workflow.Persist', on)"
    comfy.page.evaluate(persist, True)
    try:
        comfy.load(BOTH)
        comfy.weight(0).click()
        comfy.page.keyboard.type("0.65")
        press(comfy, "Enter")
        # ComfyUI stores the workflow a moment after the change.
        comfy.page.wait_for_function(
            r"""() => [localStorage, sessionStorage].flatMap((each) => Object.values(each))
              .some((text) => /weight\\*": 0\.65/.test(text))"""
        )
        comfy.open()
        expect(comfy.rows).to_have_count(2)
        expect(comfy.weight(0)).to_have_value("0.65")
        assert comfy.array == comfy.exported == [{**FIRST, "weight": 0.65}, SECOND]
    finally:
        comfy.page.evaluate(persist, False)
        comfy.page.evaluate("() => { sessionStorage.clear(); localStorage.removeItem('workflow') }")


def test_an_api_client_s_text_becomes_rows(comfy: ComfyPage) -> None:
    """A script sets the text on the widget. Then it is loaded in the API format of a program that doesn't know rows."""
    comfy.load([])
    comfy.page.evaluate(f"(text) => {{ {APPLY}.widgets[0].value = text }}", json.dumps(BOTH))
    expect_shown(comfy, "0.50", "0.25")
    graph: dict[str, Any] = comfy.page.evaluate("async () => (await app.graphToPrompt()).output")
    comfy.start_over()
    comfy.page.evaluate("(graph) => app.loadApiJson(graph, 'from a program')", graph)
    expect_shown(comfy, "0.50", "0.25")
    assert comfy.array == comfy.exported == BOTH


def test_rows_over_a_wire_show_what_ran_last_and_cannot_be_changed(comfy: ComfyPage) -> None:
    comfy.load([])
    comfy.page.evaluate(
        """(text) => {
          const apply = app.graph.nodes.find((node) => node.type === "AirLoraApply");
          const text_node = LiteGraph.createNode("PrimitiveStringMultiline");
          const preview = LiteGraph.createNode("PreviewAny");
          for (const node of [text_node, preview]) app.graph.add(node);
          text_node.pos = [0, 200];
          text_node.widgets[0].value = text;
          text_node.connect(0, apply, apply.inputs.findIndex((input) => input.name === "lora"));
          preview.pos = [1000, 0];
          apply.connect(3, preview, 0);
        }""",
        # A different text each time, because ComfyUI sends no events for a node whose result is cached.
        json.dumps([FIRST]) + " " * next(RUNS),
    )
    note = comfy.page.get_by_test_id("wired")
    expect(comfy.page.get_by_test_id("empty")).to_have_text(
        re.compile("Set by a connected input. Rows appear after the first run.$")
    )
    comfy.show()
    comfy.screenshot("wired-before-a-run")
    comfy.page.evaluate("() => app.queuePrompt(0, 1)")
    expect(comfy.rows).to_have_count(1, timeout=60_000)
    expect(comfy.weight(0)).to_be_visible()
    expect(comfy.weight(0)).to_have_value("0.50")
    expect(note).to_have_text("Set by a connected input. Showing the last run.")
    expect(comfy.row(0).get_by_test_id("row-toggle")).to_be_disabled()
    expect(comfy.row(0).get_by_test_id("row-handle")).to_be_disabled()
    expect(comfy.weight(0)).to_have_attribute("readonly", "")
    expect(comfy.page.get_by_test_id("add")).to_be_hidden()
    comfy.weight(0).focus()
    press(comfy, "ArrowUp")
    expect(comfy.weight(0)).to_have_value("0.50")
    expect(comfy.row(0).get_by_test_id("row-state")).to_have_text("on disk")
    comfy.row(0).get_by_test_id("row-menu").click()
    expect(comfy.page.get_by_role("menuitem", name="Remove", exact=True)).to_be_disabled()
    expect(comfy.page.get_by_role("menuitem", name="Copy local file name")).to_be_enabled()
    comfy.page.keyboard.press("Escape")
    comfy.screenshot("wired")
    assert comfy.array == []

    # Undo recreates the node. Its rows still show the last run.
    comfy.page.evaluate(
        f"() => {{ {APPLY}.widgets.find((each) => each.name === 'on_mismatch').value = 'skip';"
        "const tracker = app.extensionManager.workflow.activeWorkflow.changeTracker;"
        "(tracker.captureCanvasState ?? tracker.checkState).call(tracker) }"
    )
    comfy.row(0).get_by_test_id("row-menu").focus()
    comfy.undo()
    assert (
        comfy.page.evaluate(f"() => {APPLY}.widgets.find((each) => each.name === 'on_mismatch').value")
        == "error"
    )
    expect_shown(comfy, "0.50")

    comfy.page.evaluate(
        f"() => {APPLY}.disconnectInput({APPLY}.inputs.findIndex((each) => each.name === 'lora'))"
    )
    expect(comfy.page.get_by_test_id("empty")).to_be_visible()
    expect(comfy.page.get_by_test_id("add")).to_be_visible()


def promote(comfy: ComfyPage) -> None:
    """Puts the node into a subgraph that shows its rows, as dragging its socket to the subgraph's edge does."""
    comfy.page.evaluate(
        f"""() => {{
          const {{ subgraph }} = app.graph.convertToSubgraph(new Set([{APPLY}]));
          const inner = subgraph.nodes[0];
          subgraph.addInput("lora", "STRING").connect(inner.inputs.find((each) => each.name === "lora"), inner);
          {HOST}.pos = [400, 0];
        }}"""
    )


@pytest.mark.usefixtures("back_outside")
def test_a_subgraph_shows_the_rows_of_the_node_inside(comfy: ComfyPage) -> None:
    comfy.load(BOTH)
    promote(comfy)
    expect_shown(comfy, "0.50", "0.25")
    comfy.show()
    seen = comfy.page.locator("[data-air-lora=widget]:visible")
    weight = seen.get_by_test_id("row-weight").first
    weight.click()
    comfy.page.keyboard.type("0.6")
    press(comfy, "Enter")
    expect(seen.get_by_test_id("row-badge").first).to_have_attribute("data-fits", "yes")
    comfy.screenshot("subgraph")
    assert comfy.exported == [{**FIRST, "weight": 0.6}, SECOND]
    seen.get_by_test_id("row-toggle").first.click()
    expect(seen.get_by_test_id("row-toggle").first).not_to_be_checked()
    comfy.undo()
    expect(seen.get_by_test_id("row-toggle").first).to_be_checked()
    expect_shown(comfy, "0.60", "0.25")
    assert comfy.exported == [{**FIRST, "weight": 0.6}, SECOND]

    saved = comfy.page.evaluate("() => JSON.parse(JSON.stringify(app.graph.serialize()))")
    comfy.start_over()
    comfy.page.evaluate("(saved) => app.loadGraphData(saved)", saved)
    expect_shown(comfy, "0.60", "0.25")
    assert comfy.exported == [{**FIRST, "weight": 0.6}, SECOND]

    # Inside it is the same text, so an edit there also changes what the subgraph shows.
    comfy.page.evaluate(f"() => app.canvas.setGraph({HOST}.subgraph)")
    comfy.show()
    expect_shown(comfy, "0.60", "0.25")
    seen.get_by_test_id("row-toggle").first.click()
    comfy.screenshot("subgraph-inside")
    comfy.page.evaluate("() => app.canvas.setGraph(app.rootGraph ?? app.graph.rootGraph)")
    expect(seen.get_by_test_id("row-toggle").first).not_to_be_checked()
    assert comfy.exported == [{**FIRST, "weight": 0.6, "enabled": False}, SECOND]
