"""The steps and blocks of an entry in the real page: marks in the row, and a dialog for each of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.many_states import LONG

if TYPE_CHECKING:
    from playwright.sync_api import Locator

    from tests.browser.comfy_page import ComfyPage
    from tests.browser.many_states import BrowserStage

pytestmark = [pytest.mark.integration, pytest.mark.browser]


def entry(stage: BrowserStage, **members: object) -> dict[str, object]:
    return {"model": stage.styles[0].air, "weight": 0.8, **members}


def dialog(comfy: ComfyPage, name: str) -> Locator:
    return comfy.page.get_by_test_id(f"dialog-{name}")


def open_blocks(comfy: ComfyPage) -> None:
    """Waits for the badge first: the dialog has bars only if the checkpoint is known when it opens."""
    expect(comfy.row(0).get_by_test_id("row-badge")).to_have_attribute("data-fits", "yes")
    comfy.choose(0, "Block weights…")


def test_a_row_shows_in_one_glance_that_it_has_them(comfy: ComfyPage, stage: BrowserStage) -> None:
    comfy.load(
        [
            entry(stage, weight=[[0, 0.2], [0.5, 1]]),
            {**entry(stage, start=0.5, blocks="OUTALL"), "model": stage.styles[1].air},
            {**entry(stage), "model": "local:plain"},
        ]
    )
    steps, blocks = comfy.row(0).get_by_test_id("row-steps"), comfy.row(1).get_by_test_id("row-blocks")
    expect(steps).to_be_visible()
    expect(steps).to_have_attribute("aria-label", "Weight schedule: 0.20 at 0 %, 1.00 at 50 %")
    expect(comfy.weight(0)).to_have_value("1.00")
    expect(comfy.row(0).get_by_test_id("row-blocks")).to_be_hidden()
    expect(comfy.row(1).get_by_test_id("row-steps")).to_have_attribute(
        "aria-label", "Weight schedule: from 50 %"
    )
    expect(blocks).to_have_text("▤ OUTALL")
    expect(comfy.row(2).get_by_test_id("row-steps")).to_be_hidden()
    comfy.screenshot("steps-and-blocks")


def test_a_weight_of_points_is_scaled_as_a_whole(comfy: ComfyPage, stage: BrowserStage) -> None:
    comfy.load([entry(stage, weight=[[0, 0.2], [0.5, 0.8]])])
    comfy.weight(0).fill("0.4")
    comfy.weight(0).press("Enter")
    assert comfy.array == [entry(stage, weight=[[0, 0.1], [0.5, 0.4]])]


def test_points_are_dragged_and_moved_by_keys(comfy: ComfyPage, stage: BrowserStage) -> None:
    comfy.load([entry(stage)])
    comfy.choose(0, "Weight schedule…")
    box = dialog(comfy, "steps")
    expect(box).to_be_visible()
    comfy.page.get_by_test_id("steps-preset-rising").click()
    assert comfy.array == [entry(stage, weight=[[0, 0], [1, 0.8]])]
    points = comfy.page.get_by_test_id("steps-point")
    expect(points).to_have_count(2)
    points.nth(0).focus()
    for _ in range(4):
        comfy.page.keyboard.press("ArrowUp")
    comfy.page.keyboard.press("ArrowRight")
    assert comfy.array == [entry(stage, weight=[[0.05, 0.2], [1, 0.8]])]
    expect(points.nth(0)).to_have_attribute("aria-valuenow", "0.2")
    comfy.page.keyboard.press("+")
    expect(points).to_have_count(3)
    comfy.screenshot("steps-dialog")
    middle = points.nth(1).bounding_box()
    assert middle
    x, y = middle["x"] + middle["width"] / 2, middle["y"] + middle["height"] / 2
    comfy.page.mouse.move(x, y)
    comfy.page.mouse.down()
    comfy.page.mouse.move(x + 30, y - 20, steps=4)
    comfy.page.mouse.up()
    weights = comfy.array[0]["weight"]
    assert isinstance(weights, list)
    assert len(weights) == 3
    assert weights[1][0] > 0.53
    assert weights[1][1] > 0.2
    points.nth(1).focus()
    comfy.page.keyboard.press("Delete")
    expect(points).to_have_count(2)
    comfy.page.keyboard.press("Escape")
    expect(box).to_be_hidden()
    expect(comfy.row(0).get_by_test_id("row-steps")).to_be_visible()


def test_a_span_by_its_fields(comfy: ComfyPage, stage: BrowserStage) -> None:
    comfy.load([entry(stage)])
    comfy.choose(0, "Weight schedule…")
    comfy.page.get_by_test_id("steps-start").fill("0.25")
    comfy.page.get_by_test_id("steps-end").fill("0.75")
    comfy.page.get_by_test_id("steps-end").press("Tab")
    assert comfy.array == [entry(stage, start=0.25, end=0.75)]
    comfy.page.get_by_test_id("steps-start").fill("0.9")  # must be before the end
    comfy.page.get_by_test_id("steps-start").press("Tab")
    expect(comfy.page.get_by_test_id("steps-start")).to_have_value("0.25")
    comfy.page.get_by_test_id("steps-count").select_option("numbers")
    comfy.page.get_by_test_id("steps-start").fill("5")
    comfy.page.get_by_test_id("steps-start").press("Tab")
    assert comfy.array == [entry(stage, start=5, count="numbers")]
    comfy.page.get_by_test_id("steps-preset-always").click()
    assert comfy.array == [entry(stage)]
    comfy.page.keyboard.press("Escape")


def test_blocks_by_preset_bars_and_text(comfy: ComfyPage, stage: BrowserStage) -> None:
    comfy.load([entry(stage)])
    open_blocks(comfy)
    box = dialog(comfy, "blocks")
    expect(box).to_be_visible()
    box.get_by_role("button", name="late", exact=True).click()
    assert comfy.array == [entry(stage, blocks="late")]
    bars = comfy.page.get_by_test_id("block")
    expect(bars.first).to_have_attribute("aria-valuenow", "0")
    expect(bars.last).to_have_attribute("aria-valuenow", "1")
    comfy.screenshot("blocks-dialog")
    comfy.page.get_by_test_id("blocks-all").click()
    assert comfy.array == [entry(stage)]
    bars.first.focus()
    comfy.page.keyboard.press("Home")
    name = bars.first.get_attribute("aria-label")
    assert comfy.array == [entry(stage, blocks={name: 0})]
    text = comfy.page.get_by_test_id("blocks-text")
    text.fill("1,0,1")
    text.press("Enter")
    expect(comfy.page.get_by_test_id("blocks-fault")).to_contain_text("12")
    assert comfy.array == [entry(stage, blocks={name: 0})]
    text.fill(json.dumps({f"{str(name).split('.', 1)[0]}.*": 0.5}))
    text.press("Enter")
    expect(comfy.page.get_by_test_id("blocks-fault")).to_be_empty()
    expect(bars.first).to_have_attribute("aria-valuenow", "0.5")
    comfy.page.keyboard.press("Escape")
    expect(comfy.row(0).get_by_test_id("row-blocks")).to_be_visible()


def test_a_tag_with_options_is_pasted_with_them(comfy: ComfyPage, stage: BrowserStage) -> None:
    comfy.load([])
    comfy.paste(f"<lora:{stage.styles[0].air}:0.6:lbw=OUTALL:start=5>")
    expect(comfy.rows).to_have_count(1)
    assert comfy.array == [
        {"model": stage.styles[0].air, "weight": 0.6, "start": 5, "count": "numbers", "blocks": "OUTALL"}
    ]


def test_what_analyze_measured_stands_behind_the_bars(comfy: ComfyPage, stage: BrowserStage) -> None:
    comfy.load([entry(stage)])
    measured = {stage.styles[0].air: {"joint_blocks.0": 0.01, "joint_blocks.1": 0.04}}
    comfy.page.evaluate(
        "(strengths) => app.graph.nodes.find((node) => node.type === 'AirLoraApply')"
        ".onExecuted({ air_lora: [{ strengths }] })",
        measured,
    )
    open_blocks(comfy)
    heights = comfy.page.locator(".air-lora-block-measured").evaluate_all(
        "(all) => all.map((each) => each.style.height)"
    )
    assert heights[:3] == ["25%", "100%", "0%"]
    comfy.screenshot("blocks-measured")
    comfy.page.keyboard.press("Escape")


def test_trigger_words_are_ticked(comfy: ComfyPage) -> None:
    long = {"model": LONG, "weight": 0.5}
    comfy.load([long])
    expect(comfy.row(0).get_by_test_id("word").first).to_be_visible()
    comfy.choose(0, "Choose trigger words…")
    ticks = comfy.page.get_by_test_id("word-tick")
    words = ticks.evaluate_all("(all) => all.map((each) => each.value)")
    assert words
    ticks.first.click()
    assert comfy.array == [{**long, "words": words[1:]}]
    comfy.screenshot("words-dialog")
    comfy.page.get_by_test_id("words-every").click()
    assert comfy.array == [long]
    comfy.page.get_by_test_id("words-none").click()
    assert comfy.array == [{**long, "words": []}]
    comfy.page.keyboard.press("Escape")
    expect(comfy.row(0).get_by_test_id("word")).to_have_count(0)


def test_a_lora_is_replaced_in_its_row(comfy: ComfyPage, stage: BrowserStage) -> None:
    """After a click on its name. Weight, switch, blocks, and position stay the same."""
    first, second, third = (stage.styles[number].air for number in range(3))
    row = {
        "model": first,
        "weight": 0.3,
        "clip_weight": 0.1,
        "enabled": False,
        "blocks": "early",
        "words": ["x"],
    }
    comfy.load([row, {"model": second, "weight": 0.5}])
    comfy.row(0).get_by_test_id("row-name").click()
    panel = comfy.page.get_by_test_id("dialog-add")
    expect(panel).to_be_visible()
    comfy.page.get_by_test_id("add-input").fill(stage.styles[2].name)
    panel.get_by_role("button", name=stage.styles[2].name).first.click()
    expect(panel).to_be_hidden()
    kept = {key: value for key, value in row.items() if key != "words"}
    assert comfy.array == [{**kept, "model": third}, {"model": second, "weight": 0.5}]
    comfy.choose(1, "Replace…")
    comfy.page.evaluate("(text) => navigator.clipboard.writeText(text)", first)
    comfy.page.get_by_test_id("add-input").press("Control+v")
    expect(panel).to_be_hidden()
    assert comfy.array[1] == {"model": first, "weight": 0.5}
