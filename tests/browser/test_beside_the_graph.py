"""Rows where the current page shows a widget outside its node: in the right panel and in app mode."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tools.browser import FRONT_ENDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Locator

    from tests.browser.comfy_page import ComfyPage

pytestmark = [pytest.mark.integration, pytest.mark.browser]

# Front end 1.32 has neither of them.
newest = pytest.mark.parametrize(
    "comfyui", FRONT_ENDS[-1:], ids=[f"front-end-{FRONT_ENDS[-1]}"], indirect=True
)
FOUR = [{"model": f"civitai:{number}@{number}", "weight": 0.5} for number in (11, 12, 13, 14)]


@pytest.fixture
def panel(comfy: ComfyPage) -> Iterator[Locator]:
    """The right panel with the *Parameters* of our node."""
    panel = comfy.page.locator("[data-testid=properties-panel]")
    comfy.load(FOUR)
    comfy.page.evaluate("() => app.canvas.selectNode(app.graph.getNodeById(2))")
    _toggle_panel(comfy, shown=True)
    panel.locator("[data-testid=panel-tab-parameters]").click()
    yield panel
    _toggle_panel(comfy, shown=False)


def _toggle_panel(comfy: ComfyPage, *, shown: bool) -> None:
    panel = comfy.page.locator("[data-testid=properties-panel]")
    if panel.is_visible() != shown:
        comfy.page.locator("[aria-label='Toggle properties panel']:visible").click()
    expect(panel).to_be_visible(visible=shown)


def _widths(comfy: ComfyPage) -> list[float]:
    """The widths of the rows in the node."""
    return comfy.page.evaluate(
        "() => [...document.querySelectorAll('.air-lora:not(.air-lora-in-panel)')].map((each) => each.offsetWidth)"
    )


@newest
def test_the_right_panel_shows_rows_and_the_node_keeps_its_own(comfy: ComfyPage, panel: Locator) -> None:
    rows = panel.get_by_test_id("row")
    expect(rows).to_have_count(4)
    comfy.screenshot("right-panel")
    # An edit in one of them is also made in the other.
    weight = rows.nth(1).get_by_test_id("row-weight")
    weight.fill("0.8")
    weight.press("Enter")
    assert comfy.array[1]["weight"] == 0.8
    assert comfy.exported[1]["weight"] == 0.8
    in_node = comfy.page.locator(".air-lora:not(.air-lora-in-panel)")
    expect(in_node.get_by_test_id("row-weight").nth(1)).to_have_value("0.80")
    in_node.get_by_test_id("row-toggle").nth(0).click()
    expect(rows.nth(0)).to_have_class("air-lora-row air-lora-off")
    assert min(_widths(comfy)) > 400

    _toggle_panel(comfy, shown=False)
    comfy.page.wait_for_timeout(1200)  # the page polls once per second
    assert min(_widths(comfy)) > 400
    expect(comfy.rows).to_have_count(4)


@newest
def test_the_right_panel_follows_the_selection(comfy: ComfyPage, panel: Locator) -> None:
    comfy.page.evaluate(
        "() => { const node = LiteGraph.createNode('AirLoraApply'); node.pos = [400, 600]; app.graph.add(node);"
        'node.widgets.find((each) => each.name === \'lora\').value = \'[{"model":"civitai:1@2","weight":1}]\';'
        "app.canvas.selectNode(node) }"
    )
    expect(panel.get_by_test_id("row")).to_have_count(1)
    comfy.page.evaluate("() => app.canvas.selectNode(app.graph.getNodeById(2))")
    expect(panel.get_by_test_id("row")).to_have_count(4)


@newest
def test_app_mode_shows_rows_that_can_be_used(comfy: ComfyPage) -> None:
    comfy.load(FOUR)
    comfy.page.evaluate(
        "async () => { const workflow = app.graph.serialize();"
        "workflow.extra.linearData = { inputs: [[2, 'lora']], outputs: [2] };"
        "await app.loadGraphData(workflow);"
        "app.extensionManager.command.execute('Comfy.ToggleLinear') }"
    )
    inputs = comfy.page.locator("[data-testid=linear-widgets]")
    rows = inputs.get_by_test_id("row")
    try:
        expect(rows).to_have_count(4)
        comfy.page.wait_for_timeout(1200)  # the page polls once per second
        expect(rows).to_have_count(4)
        for index in range(4):
            expect(rows.nth(index)).to_be_in_viewport(ratio=1)
        comfy.screenshot("app-mode")
        weight = rows.nth(3).get_by_test_id("row-weight")
        weight.fill("0.9")
        weight.press("Enter")
        assert comfy.exported[3]["weight"] == 0.9
        # Undo recreates the node. The displayed rows must belong to the new node.
        rows.nth(0).get_by_test_id("row-toggle").click()
        assert comfy.exported[0].get("enabled") is False
        comfy.page.keyboard.press("Control+z")
        expect(rows.nth(0)).not_to_have_class(re.compile("air-lora-off"))
        rows.nth(2).get_by_test_id("row-toggle").click()
        assert [entry.get("enabled", True) for entry in comfy.exported] == [True, True, False, True]
    finally:
        comfy.page.evaluate("() => app.extensionManager.command.execute('Comfy.ToggleLinear')")
    expect(inputs).to_be_hidden()
    comfy.page.wait_for_timeout(1200)
    expect(comfy.weight(3)).to_have_value("0.90")
    expect(comfy.row(3)).to_be_in_viewport()
    comfy.wait_until_still()
    assert min(_widths(comfy)) > 400
