"""The badge of a row in the real page. It knows the checkpoint before the first run, wherever the loader is."""

from __future__ import annotations

import re
from itertools import count
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.many_states import LOCAL, LOCAL_FOREIGN, LOCKED

if TYPE_CHECKING:
    from tests.browser.comfy_page import ComfyPage

pytestmark = [pytest.mark.integration, pytest.mark.browser]

ENTRIES = [{"model": LOCAL, "weight": 0.5}, {"model": LOCAL_FOREIGN, "weight": 0.5}]
WEIGHTS = (number / 100 for number in count(50))
# In the page: the two nodes of the workflow.
NODES = """
const [loader, apply] = ["CheckpointLoaderSimple", "AirLoraApply"]
    .map((type) => app.graph.nodes.find((node) => node.type === type));
"""


def in_page(comfy: ComfyPage, script: str) -> None:
    comfy.page.evaluate(f"async () => {{ {NODES} {script} }}")


def expect_fits(comfy: ComfyPage, *fits: str) -> None:
    for index, each in enumerate(fits):
        expect(comfy.row(index).get_by_test_id("row-badge")).to_have_attribute("data-fits", each)


def test_green_fits_red_says_why_not_and_grey_is_not_known(comfy: ComfyPage) -> None:
    comfy.load([*ENTRIES, {"model": LOCKED, "weight": 0.5}, {"model": "runware:100@1", "weight": 0.5}])
    expect_fits(comfy, "yes", "no", "unknown", "unknown")
    badges = comfy.page.get_by_test_id("row-badge")
    expect(badges.nth(0)).to_have_text("SD 3")
    expect(badges.nth(0)).to_have_attribute("title", "Compatible with the checkpoint (SD 3).")
    expect(badges.nth(1)).to_have_text("SDXL")
    reason = "It was trained for SDXL, but the checkpoint is SD 3."
    expect(badges.nth(1)).to_have_attribute("title", f"Incompatible: {reason}")
    expect(comfy.page.get_by_role("img", name=f"SDXL: Incompatible: {reason}")).to_be_visible()
    expect(badges.nth(2)).to_have_attribute("title", re.compile("Not yet known"))
    expect(badges.nth(3)).to_have_text("?")
    green, red, grey = (
        badges.nth(index).evaluate("(badge) => getComputedStyle(badge).color") for index in (0, 1, 2)
    )
    assert len({green, red, grey}) == 3
    comfy.screenshot("badges")


def test_amber_after_a_run_that_could_not_load_all_of_it(comfy: ComfyPage) -> None:
    # A new weight each time, because ComfyUI sends no events for a node whose result is cached.
    comfy.load([{"model": "local:half-known.safetensors", "weight": next(WEIGHTS)}, ENTRIES[0]])
    in_page(
        comfy,
        'const preview = LiteGraph.createNode("PreviewAny"); app.graph.add(preview); preview.pos = [1000, 0];'
        "apply.connect(3, preview, 0); await app.queuePrompt(0, 1);",
    )
    badge = comfy.row(0).get_by_test_id("row-badge")
    expect(badge).to_have_attribute("data-fits", "partly", timeout=60_000)
    expect(badge).to_have_attribute("title", re.compile(r"3 of 9 attention layers \(6 keys\)"))
    expect_fits(comfy, "partly", "yes")
    comfy.screenshot("badge-partly")


def test_without_a_checkpoint_it_is_not_known(comfy: ComfyPage) -> None:
    comfy.load(ENTRIES)
    expect_fits(comfy, "yes", "no")
    in_page(comfy, "app.graph.remove(loader)")
    expect_fits(comfy, "unknown", "unknown")
    expect(comfy.row(1).get_by_test_id("row-badge")).to_have_attribute(
        "title", re.compile("SDXL.*checkpoint")
    )
    comfy.screenshot("badges-without-a-checkpoint")


def test_another_checkpoint_is_seen_at_once(comfy: ComfyPage) -> None:
    comfy.load(ENTRIES)
    expect_fits(comfy, "yes", "no")
    in_page(comfy, "loader.widgets[0].value = 'tiny_sdxl.ckpt'")
    expect_fits(comfy, "no", "yes")


@pytest.mark.parametrize(
    "nodes", [["Reroute"], ["ModelSamplingSD3", "LoraLoaderModelOnly"], ["Reroute", "AirLoraApply"]]
)
def test_the_checkpoint_is_found_through_nodes_between(comfy: ComfyPage, nodes: list[str]) -> None:
    comfy.load(ENTRIES)
    in_page(comfy, "apply.disconnectInput(0)")
    expect_fits(comfy, "unknown", "unknown")
    in_page(
        comfy,
        "let last = loader; for (const type of "
        + repr(nodes)
        + ") { const node = LiteGraph.createNode(type);"
        "app.graph.add(node); last.connect(0, node, 0); last = node; } last.connect(0, apply, 0)",
    )
    expect_fits(comfy, "yes", "no")


def test_the_checkpoint_is_found_inside_a_subgraph(comfy: ComfyPage) -> None:
    comfy.load(ENTRIES)
    in_page(comfy, "app.graph.convertToSubgraph(new Set([loader]))")
    comfy.page.wait_for_timeout(1200)
    expect_fits(comfy, "yes", "no")


def test_rows_inside_a_subgraph_find_the_checkpoint_outside(comfy: ComfyPage) -> None:
    comfy.load(ENTRIES)
    in_page(comfy, "app.graph.convertToSubgraph(new Set([apply]))")
    expect(comfy.page.get_by_test_id("widget")).to_be_hidden()
    comfy.page.evaluate("() => app.canvas.setGraph(app.graph.nodes.find((node) => node.subgraph).subgraph)")
    expect_fits(comfy, "yes", "no")
    comfy.page.evaluate("() => app.canvas.setGraph(app.rootGraph ?? app.graph.rootGraph)")
