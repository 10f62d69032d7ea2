"""Further information in a row: details of its LoRA, the suggested weight, a newer version; compact rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.many_states import LOCAL, LONG, NEW_VERSION, OLD_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Locator

    from tests.browser.comfy_page import ComfyPage
    from tests.browser.many_states import BrowserStage

pytestmark = [pytest.mark.integration, pytest.mark.browser]


def dialog(comfy: ComfyPage, name: str) -> Locator:
    return comfy.page.get_by_test_id(f"dialog-{name}")


def test_everything_about_a_lora(comfy: ComfyPage) -> None:
    comfy.load([{"model": OLD_VERSION, "weight": 0.8}])
    expect(comfy.row(0).get_by_test_id("row-name")).to_have_text("Two versions")
    comfy.choose(0, "Info…")
    box = dialog(comfy, "info")
    expect(box.get_by_role("heading", name="About Two versions")).to_be_visible()
    about = box.get_by_test_id("info-about")
    expect(about).to_contain_text("A calm style for small pictures.\nBest with short prompts & few words.")
    expect(about).not_to_contain_text("hacked")
    expect(box.get_by_test_id("info-picture")).to_have_count(4)
    for index in range(4):
        picture = box.get_by_test_id("info-picture").nth(index).locator("img")
        comfy.page.wait_for_function(
            "(each) => each.complete && each.naturalWidth > 0", arg=picture.element_handle()
        )
    facts = box.get_by_test_id("info-facts")
    for text in (
        "v1.0 · 2026-01-01",
        "trained for SD 3",
        "demo",
        "0.55 (0.40 to 0.70), CivitAI",
        "lora, rank",
        "no credit required; commercial use: Image, RentCivit; merges allowed; same license",
        "style, demo",
    ):
        expect(facts).to_contain_text(text)
    expect(box.get_by_test_id("info-notes")).to_contain_text(OLD_VERSION)  # a note stored with the file
    expect(box.get_by_test_id("info-page")).to_have_attribute(
        "href", "https://civitai.com/models/9000203?modelVersionId=9100203"
    )
    comfy.screenshot("info")
    ticks = box.get_by_test_id("word-tick")
    ticks.nth(1).uncheck()
    assert comfy.array == [{"model": OLD_VERSION, "weight": 0.8, "words": ["two"]}]
    box.get_by_test_id("info-versions").get_by_role("button", name="v2.0").click()
    expect(box).to_be_hidden()
    assert comfy.array[0]["model"] == NEW_VERSION


def test_info_of_a_file_that_no_service_has(comfy: ComfyPage) -> None:
    comfy.load([{"model": LOCAL, "weight": 0.8}])
    comfy.choose(0, "Info…")
    box = dialog(comfy, "info")
    expect(box.get_by_test_id("info-notes")).to_contain_text("paper cut")
    expect(box.get_by_test_id("info-facts")).to_contain_text("paper-cut.safetensors")
    expect(box.get_by_test_id("info-versions")).to_have_count(0)
    comfy.page.keyboard.press("Escape")
    expect(box).to_be_hidden()


def test_a_newer_version_is_marked_and_its_news_are_shown(comfy: ComfyPage) -> None:
    comfy.load([{"model": OLD_VERSION, "weight": 0.8}, {"model": NEW_VERSION, "weight": 0.8}])
    mark = comfy.row(0).get_by_test_id("row-newer")
    expect(mark).to_have_text("↑ v2.0")
    expect(mark).to_have_attribute(
        "aria-label", "Newer version available: v2.0 (2026-03-04). Click to choose a version."
    )
    expect(comfy.row(1).get_by_test_id("row-newer")).to_be_hidden()
    comfy.screenshot("newer-version")
    comfy.choose(0, "Hide version v2.0")
    expect(mark).to_be_hidden()
    comfy.load([{"model": OLD_VERSION, "weight": 0.8}])
    expect(comfy.row(0).get_by_test_id("row-badge")).to_be_visible()
    expect(mark).to_be_hidden()
    comfy.choose(0, "Show version v2.0 again")
    mark.click()
    choices = dialog(comfy, "versions")
    expect(choices).to_contain_text("Trained again on twice as many pictures.\n\n- calmer lines")
    comfy.screenshot("versions")
    choices.get_by_test_id("choice").first.click()
    assert comfy.array[0] == {"model": NEW_VERSION, "weight": 0.8}
    expect(mark).to_be_hidden()


def test_a_new_row_takes_the_weight_that_is_suggested(comfy: ComfyPage) -> None:
    comfy.load([])
    comfy.paste(f"{OLD_VERSION}\n{LONG}")
    comfy.page.keyboard.press("Escape")
    expect(comfy.rows).to_have_count(2)
    expect(comfy.weight(0)).to_have_value("0.55")
    mark = comfy.row(0).get_by_test_id("row-suggested")
    expect(mark).to_have_text("★ CivitAI")
    expect(mark).to_have_attribute("aria-disabled", "true")
    expect(comfy.weight(1)).to_have_value("0.75")
    assert comfy.array == [{"model": OLD_VERSION, "weight": 0.55}, {"model": LONG, "weight": 0.75}]
    comfy.weight(0).fill("0.9")
    comfy.weight(0).press("Enter")
    expect(mark).to_have_text("★ 0.55")
    expect(mark).to_have_attribute(
        "title", "Suggested weight: 0.55 (0.40 to 0.70), CivitAI. Click to use it."
    )
    comfy.screenshot("suggested-weight")
    mark.click()
    assert comfy.array[0]["weight"] == 0.55


def test_adding_is_one_undo_step_even_if_the_weights_come_later(comfy: ComfyPage) -> None:
    comfy.load([])
    comfy.paste(f"{OLD_VERSION}\n{LONG}")
    comfy.page.keyboard.press("Escape")
    expect(comfy.weight(0)).to_have_value("0.55")
    comfy.page.mouse.click(1200, 700)  # ComfyUI looks for changes with every click
    comfy.undo()
    expect(comfy.rows).to_have_count(0)


def test_a_weight_that_somebody_gave_stays(comfy: ComfyPage) -> None:
    comfy.load([])
    comfy.paste(json.dumps([{"model": OLD_VERSION, "weight": 1.2}, {"model": OLD_VERSION}]))
    expect(comfy.row(1).get_by_test_id("row-suggested")).to_be_visible()
    assert [entry.get("weight", 1) for entry in comfy.array] == [1.2, 1]


def test_what_the_library_notes_is_where_a_row_begins(comfy: ComfyPage, stage: BrowserStage) -> None:
    note = stage.base / "models/loras/paper-cut.json"
    note.write_text('{"preferred weight": 0.35, "activation text": "paper"}')
    try:
        comfy.load([])
        comfy.page.get_by_test_id("add").click()
        comfy.page.get_by_test_id("add-input").fill("paper-cut")
        comfy.page.get_by_test_id("found").filter(has_text="paper-cut").first.click()
        comfy.page.keyboard.press("Escape")
        assert comfy.array == [{"model": LOCAL, "weight": 0.35}]
    finally:
        note.unlink()


def test_one_switch_for_all_clip_weights(comfy: ComfyPage, stage: BrowserStage) -> None:
    first, second, *_ = stage.styles
    comfy.load(
        [{"model": first.air, "weight": 0.7}, {"model": second.air, "weight": 0.5, "clip_weight": 0.2}]
    )
    switch = comfy.page.get_by_test_id("clip-all")
    expect(switch).to_have_attribute("aria-pressed", "false")
    switch.click()
    assert [entry["clip_weight"] for entry in comfy.array] == [0.7, 0.2]
    expect(switch).to_have_attribute("aria-pressed", "true")
    expect(comfy.row(0).get_by_test_id("row-clip-weight")).to_be_visible()
    comfy.screenshot("clip-weights")
    switch.click()
    assert all("clip_weight" not in entry for entry in comfy.array)
    expect(comfy.row(0).get_by_test_id("row-clip-weight")).to_be_hidden()


@pytest.fixture
def compact(comfy: ComfyPage) -> Iterator[ComfyPage]:
    change = "(on) => app.extensionManager.setting.set('AirLora.Widget.Compact', on)"
    comfy.page.evaluate(change, True)
    yield comfy
    comfy.page.evaluate(change, False)


def test_compact_rows_take_one_line_each(compact: ComfyPage, stage: BrowserStage) -> None:
    entries = [{"model": style.air, "weight": 0.7} for style in stage.styles[:4]]
    compact.load(
        [*entries, {"model": LONG, "weight": 0.5, "clip_weight": 0.3}, {"model": OLD_VERSION, "weight": 0.5}]
    )
    expect(compact.row(5).get_by_test_id("row-newer")).to_be_visible()
    for index in range(6):
        box = compact.row(index).bounding_box()
        assert box
        assert box["height"] <= 30
        weight = compact.weight(index).bounding_box()
        assert weight
        assert weight["x"] + weight["width"] <= box["x"] + box["width"]
    compact.screenshot("compact-rows")
    compact.page.evaluate("() => app.extensionManager.setting.set('AirLora.Widget.Compact', false)")
    expect(compact.page.get_by_test_id("widget").last).not_to_have_attribute("data-compact", "")
    whole = compact.row(0).bounding_box()
    assert whole
    assert whole["height"] > 40, "the setting counts at once"
    compact.weight(0).fill("0.4")
    compact.weight(0).press("Enter")
    assert compact.array[0]["weight"] == 0.4
