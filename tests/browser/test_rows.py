"""The rows in the real page: what is seen, and what the text then says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from tests.browser.comfy_page import ComfyPage
    from tools.stage import ShowcaseStage

pytestmark = [pytest.mark.integration, pytest.mark.browser]


def two(stage: ShowcaseStage) -> list[dict[str, object]]:
    first, second, *_ = stage.styles
    return [{"model": first.air, "weight": 0.7}, {"model": second.air, "weight": 0.5}]


def test_rows_show_what_the_text_says(comfy: ComfyPage, stage: ShowcaseStage) -> None:
    comfy.load(two(stage))
    expect(comfy.rows).to_have_count(2)
    expect(comfy.row(0).get_by_test_id("row-name")).to_have_text(stage.styles[0].name)
    expect(comfy.weight(0)).to_have_value("0.70")
    expect(comfy.weight(1)).to_have_value("0.50")
    assert comfy.array == comfy.exported == two(stage)
    comfy.screenshot("two-rows")


def test_the_badge_knows_the_checkpoint_before_anything_ran(comfy: ComfyPage, stage: ShowcaseStage) -> None:
    comfy.load([*two(stage), {"model": stage.foreign_air, "weight": 0.75}])
    expect(comfy.row(0).get_by_test_id("row-badge")).to_have_attribute("data-fits", "yes")
    foreign = comfy.row(2).get_by_test_id("row-badge")
    expect(foreign).to_have_attribute("data-fits", "no")
    expect(foreign).to_contain_text("SDXL")
    comfy.screenshot("badges")


def test_weights_are_typed_stepped_and_dragged(comfy: ComfyPage, stage: ShowcaseStage) -> None:
    comfy.load(two(stage))
    comfy.weight(0).click()
    comfy.page.keyboard.type("0.9")
    comfy.page.keyboard.press("Enter")
    assert comfy.array[0]["weight"] == comfy.exported[0]["weight"] == 0.9
    comfy.weight(1).click()
    comfy.page.keyboard.press("ArrowUp")
    assert comfy.array[1]["weight"] == 0.55
    comfy.page.keyboard.press("Enter")
    box = comfy.weight(1).bounding_box()
    assert box
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    comfy.page.mouse.move(*middle)
    comfy.page.mouse.down()
    comfy.page.mouse.move(middle[0] + 60, middle[1], steps=6)
    comfy.page.mouse.up()
    assert comfy.array[1]["weight"] > 0.55


def test_a_switch_leaves_an_entry_out_and_the_header_all_of_them(
    comfy: ComfyPage, stage: ShowcaseStage
) -> None:
    comfy.load(two(stage))
    comfy.row(0).get_by_role("switch").click()
    assert [entry.get("enabled", True) for entry in comfy.exported] == [False, True]
    comfy.page.get_by_test_id("toggle-all").click()
    comfy.page.get_by_test_id("toggle-all").click()
    assert [entry.get("enabled", True) for entry in comfy.exported] == [False, False]
    comfy.screenshot("all-off")


def test_the_menu_duplicates_moves_and_removes(comfy: ComfyPage, stage: ShowcaseStage) -> None:
    comfy.load(two(stage))
    first, second = two(stage)
    comfy.choose(0, "Move down")
    assert comfy.array == [second, first]
    comfy.choose(0, "Duplicate")
    assert comfy.array == [second, second, first]
    comfy.choose(1, "Remove")
    assert comfy.array == [second, first]


def test_pasted_names_become_rows(comfy: ComfyPage, stage: ShowcaseStage) -> None:
    comfy.load("[]")
    expect(comfy.page.get_by_test_id("empty")).to_be_visible()
    comfy.screenshot("empty")
    comfy.paste("\n".join(style.air for style in stage.styles[:2]))
    expect(comfy.rows).to_have_count(2)
    assert [entry["weight"] for entry in comfy.array] == [0.75, 0.75]
    comfy.paste(
        json.dumps({"taskType": "imageInference", "lora": [{"model": stage.styles[2].air, "weight": 0.4}]})
    )
    expect(comfy.rows).to_have_count(3)
    assert comfy.array[2]["weight"] == 0.4


def test_a_search_on_civitai_adds_a_row(comfy: ComfyPage, stage: ShowcaseStage) -> None:
    comfy.load("[]")
    comfy.page.get_by_test_id("add").click()
    comfy.page.get_by_test_id("add-input").fill(stage.styles[0].name)
    comfy.page.get_by_test_id("found").first.wait_for()
    comfy.screenshot("search")
    comfy.page.get_by_test_id("found").first.click()
    comfy.page.get_by_test_id("dialog-close").click()
    expect(comfy.rows).to_have_count(1)
    assert comfy.array == [{"model": stage.styles[0].air, "weight": 0.75}]


def test_a_text_that_is_no_array_is_shown_as_text(comfy: ComfyPage) -> None:
    comfy.load("[{")
    expect(comfy.page.get_by_test_id("json")).to_have_value("[{")
    expect(comfy.page.get_by_test_id("json-note")).to_contain_text("not a lora array")
    comfy.screenshot("broken-text")


def test_a_screen_reader_hears_each_part_by_name(comfy: ComfyPage, stage: ShowcaseStage) -> None:
    comfy.load(two(stage))
    name = stage.styles[0].name
    row = comfy.page.get_by_role("list", name="LoRAs").get_by_role("listitem").first
    expect(row.get_by_role("switch", name=f"Use {name}")).to_be_checked()
    expect(row.get_by_role("spinbutton", name=f"Weight of {name}", exact=True)).to_have_attribute(
        "aria-valuenow", "0.7"
    )
    expect(row.get_by_role("button", name=f"More for {name}")).to_be_visible()


def test_fifty_rows_scroll_and_take_keys(comfy: ComfyPage) -> None:
    comfy.load([{"model": f"local:missing-{number}", "weight": 0.5} for number in range(50)])
    expect(comfy.rows).to_have_count(50)
    comfy.weight(49).scroll_into_view_if_needed()
    comfy.weight(49).click()
    comfy.page.keyboard.type("0.25")
    assert comfy.array[49]["weight"] == 0.25
    comfy.screenshot("fifty-rows")


@pytest.mark.parametrize("zoom", [0.6, 2.0])
def test_rows_work_zoomed(comfy: ComfyPage, stage: ShowcaseStage, zoom: float) -> None:
    comfy.load(two(stage)[:1])
    comfy.page.evaluate("() => { app.graph.nodes.find((node) => node.type === 'AirLoraApply').pos = [0, 0] }")
    comfy.show(zoom)
    comfy.row(0).get_by_role("switch").click()
    assert comfy.array[0]["enabled"] is False
    comfy.screenshot(f"zoom-{zoom}")


def test_a_clone_and_a_load_keep_the_rows(comfy: ComfyPage, stage: ShowcaseStage) -> None:
    comfy.load(two(stage))
    cloned = comfy.page.evaluate(
        "() => { const node = app.graph.nodes.find((each) => each.type === 'AirLoraApply');"
        "const copy = node.clone(); app.graph.add(copy);"
        "return copy.widgets.find((each) => each.name === 'lora').value }"
    )
    assert json.loads(cloned) == two(stage)
    comfy.page.evaluate("async () => { await app.loadGraphData(app.graph.serialize()) }")
    expect(comfy.rows).to_have_count(4)
