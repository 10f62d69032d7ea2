"""The rows in the real page: what they show, and what they write to the text."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.many_states import (
    HOSTED,
    LOCAL,
    LOCAL_FOREIGN,
    LOCKED,
    LONG,
    LONG_NAME,
    LONG_WORDS,
    MISSING,
    NEW_VERSION,
    OLD_VERSION,
)

if TYPE_CHECKING:
    from playwright.sync_api import Locator

    from tests.browser.comfy_page import ComfyPage
    from tests.browser.many_states import BrowserStage

pytestmark = [pytest.mark.integration, pytest.mark.browser]


def two(stage: BrowserStage) -> list[dict[str, object]]:
    first, second, *_ = stage.styles
    return [{"model": first.air, "weight": 0.7}, {"model": second.air, "weight": 0.5}]


def clipboard(comfy: ComfyPage) -> str:
    text: str = comfy.page.evaluate("() => navigator.clipboard.readText()")
    return text


def expect_clipboard(comfy: ComfyPage, text: str) -> None:
    """The page writes to the clipboard shortly after the click."""
    said = comfy.page.evaluate(
        """async (text) => {
          const read = () => navigator.clipboard.readText();
          for (let each = 0; each < 300 && (await read()) !== text; each += 1) {
            await new Promise((done) => setTimeout(done, 100));
          }
          return read();
        }""",
        text,
    )
    assert said == text


def expect_toast(comfy: ComfyPage, text: str) -> None:
    """Newer front ends show it twice: on the screen, and for screen readers."""
    expect(comfy.page.get_by_text(text).first).to_be_visible()


def middle_of(part: Locator) -> tuple[float, float]:
    box = part.bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(comfy: ComfyPage, part: Locator, right: float = 0, down: float = 0) -> None:
    x, y = middle_of(part)
    comfy.page.mouse.move(x, y)
    comfy.page.mouse.down()
    comfy.page.mouse.move(x + right, y + down, steps=6)
    comfy.page.mouse.up()


def test_rows_show_what_the_text_says(comfy: ComfyPage, stage: BrowserStage) -> None:
    comfy.load(two(stage))
    expect(comfy.rows).to_have_count(2)
    expect(comfy.row(0).get_by_test_id("row-name")).to_have_text(stage.styles[0].name)
    expect(comfy.row(0).get_by_test_id("row-version")).to_have_text("v1.0")
    expect(comfy.weight(0)).to_have_value("0.70")
    expect(comfy.weight(1)).to_have_value("0.50")
    assert comfy.array == comfy.exported == two(stage)
    comfy.screenshot("two-rows")


def test_a_row_says_whether_its_lora_can_be_had(comfy: ComfyPage) -> None:
    said = {
        LONG: "235 kB to download",
        LOCAL: "on disk",
        LOCAL_FOREIGN: "incompatible",
        LOCKED: "needs a token",
        HOSTED: "hosted only",
        MISSING: "not found",
        "civitai:9000203": "choose a version",
        "local:nothing": '"nothing" doesn\'t end in ".safetensors"',
    }
    comfy.load([{"model": model, "weight": 0.5} for model in said])
    for index, text in enumerate(said.values()):
        expect(comfy.row(index).get_by_test_id("row-state")).to_have_text(text)
    expect(comfy.row(3).get_by_test_id("row-state")).to_have_attribute("title", re.compile("token"))
    comfy.screenshot("states")


def test_a_row_that_cannot_be_read_says_so(comfy: ComfyPage) -> None:
    entries = [{"model": LOCAL, "weight": 9}, {"weight": 0.5}, 7, {"model": LOCAL}, {"model": LOCAL}]
    comfy.load(json.dumps(entries))
    said = [
        "weight must be a number from -4 to 4",
        "model is missing",
        "not a LoRA entry",
        "duplicate: weights are added",
    ]
    for index, text in enumerate(said):
        expect(comfy.row(index).get_by_test_id("row-state")).to_have_text(text)
    comfy.screenshot("faults")


def test_a_long_name_stays_on_its_line(comfy: ComfyPage) -> None:
    comfy.load([{"model": LONG, "weight": 0.5, "clip_weight": 0.25}, {"model": LOCAL, "weight": 0.5}])
    name = comfy.row(0).get_by_test_id("row-name")
    expect(name).to_have_text(LONG_NAME)
    expect(name).to_have_attribute("title", re.compile(LONG_NAME))
    row, weight, other = (part.bounding_box() for part in (comfy.row(0), comfy.weight(0), comfy.weight(1)))
    assert row
    assert weight
    assert other
    assert weight["x"] + weight["width"] < row["x"] + row["width"]
    assert weight["x"] == pytest.approx(other["x"], abs=1)
    comfy.screenshot("long-name")


def test_typing_dragging_and_arrows_change_a_weight_and_the_wheel_does_not(
    comfy: ComfyPage, stage: BrowserStage
) -> None:
    comfy.load(two(stage))
    comfy.weight(0).click()
    comfy.page.keyboard.type("0,9")
    comfy.page.keyboard.press("Enter")
    assert comfy.array[0]["weight"] == comfy.exported[0]["weight"] == 0.9
    expect(comfy.weight(0)).to_have_value("0.90")
    comfy.weight(1).click()
    for keys, weight in (
        ("ArrowUp", 0.55),
        ("ArrowDown", 0.5),
        ("Shift+ArrowUp", 1.0),
        ("Alt+ArrowDown", 0.99),
    ):
        comfy.page.keyboard.press(keys)
        assert comfy.array[1]["weight"] == weight
    comfy.page.keyboard.press("Enter")
    comfy.page.mouse.move(*middle_of(comfy.weight(1)))
    comfy.page.mouse.wheel(0, 200)
    comfy.page.wait_for_timeout(100)
    assert comfy.array[1]["weight"] == 0.99
    comfy.show()
    drag(comfy, comfy.weight(1), right=-60)
    assert 0.3 <= comfy.array[1]["weight"] <= 0.6
    comfy.row(1).get_by_test_id("row-weight-up").click()
    assert comfy.array == comfy.exported


def test_a_wrong_number_is_marked_and_not_taken(comfy: ComfyPage, stage: BrowserStage) -> None:
    comfy.load(two(stage))
    comfy.weight(0).click()
    comfy.page.keyboard.type("much")
    expect(comfy.weight(0)).to_have_attribute("aria-invalid", "true")
    comfy.page.keyboard.press("Enter")
    expect(comfy.weight(0)).to_have_value("0.70")
    assert comfy.array == two(stage)


def test_step_range_and_first_weight_come_from_the_settings(comfy: ComfyPage, stage: BrowserStage) -> None:
    set_all = (
        "(values) => { for (const [name, value] of values)"
        " app.extensionManager.setting.set(`AirLora.Widget.${name}`, value) }"
    )
    comfy.page.evaluate(set_all, [["Step", 0.1], ["Min", 0], ["Max", 1], ["DefaultWeight", 0.6]])
    try:
        comfy.load(two(stage))
        comfy.weight(0).click()
        comfy.page.keyboard.press("ArrowUp")
        assert comfy.array[0]["weight"] == 0.8
        comfy.page.keyboard.press("Shift+ArrowUp")
        assert comfy.array[0]["weight"] == 1
        expect(comfy.weight(0)).to_have_attribute("aria-valuemax", "1")
        comfy.paste(stage.styles[2].air)
        expect(comfy.weight(2)).to_have_value("0.60")
    finally:
        comfy.page.evaluate(set_all, [["Step", 0.05], ["Min", -4], ["Max", 4], ["DefaultWeight", 0.75]])


def test_a_clip_weight_comes_and_goes_by_the_menu(comfy: ComfyPage, stage: BrowserStage) -> None:
    comfy.load(two(stage))
    expect(comfy.row(0).get_by_test_id("row-clip-weight")).to_be_hidden()
    comfy.choose(0, "Set a CLIP weight")
    assert comfy.array[0]["clip_weight"] == 0.7
    clip = comfy.row(0).get_by_test_id("row-clip-weight")
    expect(clip).to_be_focused()
    comfy.page.keyboard.press("ArrowDown")
    assert comfy.exported[0] == {**two(stage)[0], "clip_weight": 0.65}
    comfy.screenshot("clip-weight")
    comfy.choose(0, "Same weight for CLIP")
    assert comfy.array == two(stage)


def test_a_switch_leaves_an_entry_out_and_the_header_all_of_them(
    comfy: ComfyPage, stage: BrowserStage
) -> None:
    comfy.load(two(stage))
    comfy.row(0).get_by_role("switch").click()
    assert [entry.get("enabled", True) for entry in comfy.exported] == [False, True]
    expect(comfy.page.get_by_test_id("total")).to_have_text("Total 0.50")
    comfy.page.get_by_test_id("toggle-all").click()
    assert [entry.get("enabled", True) for entry in comfy.exported] == [True, True]
    comfy.page.get_by_test_id("toggle-all").click()
    assert [entry.get("enabled", True) for entry in comfy.exported] == [False, False]
    comfy.screenshot("all-off")


def test_the_header_adds_the_weights_up_and_advises_where_loras_compete(
    comfy: ComfyPage, stage: BrowserStage
) -> None:
    total, advice = comfy.page.get_by_test_id("total"), comfy.page.get_by_test_id("advice")
    comfy.load(two(stage))
    expect(total).to_have_text("Total 1.20")
    expect(advice).to_be_hidden()
    comfy.weight(0).click()
    comfy.page.keyboard.type("1")
    expect(total).to_have_text("Total 1.50")
    expect(advice).to_have_text("Try 0.5–0.8 each")
    expect(advice).to_have_attribute("title", re.compile("2 LoRAs"))
    comfy.row(1).get_by_role("switch").click()
    expect(advice).to_be_hidden()


def test_the_handle_moves_a_row(comfy: ComfyPage, stage: BrowserStage) -> None:
    first, second = two(stage)
    third = {"model": LOCAL, "weight": 0.3}
    comfy.load([first, second, third])
    x, y = middle_of(comfy.row(0).get_by_test_id("row-handle"))
    comfy.page.mouse.move(x, y)
    comfy.page.mouse.down()
    comfy.page.mouse.move(x, y + 70, steps=5)
    comfy.screenshot("dragged")
    comfy.page.mouse.up()
    assert comfy.array == comfy.exported == [second, first, third]
    comfy.row(2).get_by_test_id("row-handle").focus()
    comfy.page.keyboard.press("ArrowUp")
    assert comfy.array == [second, third, first]


def test_the_thumbnail_enlarges(comfy: ComfyPage) -> None:
    comfy.load([{"model": LOCAL, "weight": 0.5}])
    thumb = comfy.row(0).get_by_test_id("row-thumbnail")
    expect(thumb).to_be_enabled()
    thumb.click()
    picture = comfy.page.get_by_role("dialog").get_by_role("img", name="paper-cut")
    expect(picture).to_be_visible()
    comfy.page.wait_for_function("() => document.querySelector('.air-lora-picture')?.naturalWidth > 0")
    comfy.screenshot("picture")
    comfy.page.keyboard.press("Escape")
    expect(picture).to_have_count(0)
    expect(thumb).to_be_focused()


def test_a_trigger_word_is_copied_or_appended_to_the_prompt(comfy: ComfyPage) -> None:
    comfy.load([{"model": LONG, "weight": 0.5}])
    comfy.page.evaluate(
        "() => { const prompt = LiteGraph.createNode('CLIPTextEncode'); prompt.pos = [1000, 0]; app.graph.add(prompt);"
        "app.graph.nodes.find((node) => node.type === 'AirLoraApply').connect(1, prompt, 0);"
        "prompt.widgets[0].value = 'a red car' }"
    )
    word = comfy.row(0).get_by_role("button", name=LONG_WORDS[0], exact=True)
    word.click()
    expect_toast(comfy, f"Copied: {LONG_WORDS[0]}")
    assert clipboard(comfy) == LONG_WORDS[0]
    prompt = "() => app.graph.nodes.find((node) => node.type === 'CLIPTextEncode').widgets[0].value"
    word.click(modifiers=["Shift"])
    assert comfy.page.evaluate(prompt) == f"a red car, {LONG_WORDS[0]}"
    all_words = comfy.row(0).get_by_role("button", name="Copy trigger words", exact=True)
    expect(all_words).to_have_text(str(len(LONG_WORDS)))
    all_words.click()
    expect_clipboard(comfy, ", ".join(LONG_WORDS))
    comfy.page.evaluate("() => navigator.clipboard.writeText('')")
    comfy.choose(0, "Copy trigger words")
    expect_clipboard(comfy, ", ".join(LONG_WORDS))
    comfy.choose(0, "Append trigger words to the prompt")
    assert comfy.page.evaluate(prompt) == ", ".join(["a red car", *LONG_WORDS]), "the first is there already"
    comfy.screenshot("trigger-words")

    comfy.load([{"model": LONG, "weight": 0.5, "words": [LONG_WORDS[1]]}, {"model": LONG, "words": []}])
    comfy.choose(0, "Copy trigger words")
    expect_clipboard(comfy, LONG_WORDS[1])
    comfy.row(1).get_by_test_id("row-menu").click()
    for item in ("Copy trigger words", "Append trigger words to the prompt"):
        expect(comfy.page.get_by_role("menuitem", name=item, exact=True)).to_be_disabled()
    comfy.page.keyboard.press("Escape")


def test_a_download_is_seen_in_its_row_and_can_be_cancelled(comfy: ComfyPage, stage: BrowserStage) -> None:
    model = stage.downloadable()
    comfy.load([{"model": model, "weight": 0.5}])
    state = comfy.row(0).get_by_test_id("row-state")
    bar = comfy.row(0).get_by_role("progressbar")
    expect(state).to_have_text("235 kB to download")
    with stage.downloads_held():
        comfy.choose(0, "Download now")
        expect(bar).to_be_visible()
        comfy.screenshot("downloading")
        comfy.choose(0, "Cancel the download")
        expect(bar).to_be_hidden()
        expect(state).to_have_text("235 kB to download")
    comfy.choose(0, "Download now")
    expect(state).to_have_text("on disk")
    expect(bar).to_be_hidden()


def test_the_menu_opens_the_page_and_copies_names(comfy: ComfyPage) -> None:
    comfy.load([{"model": LONG, "weight": 0.5}, {"model": LOCAL_FOREIGN, "weight": 0.5}])
    expect(comfy.row(0).get_by_test_id("row-name")).to_have_text(LONG_NAME)
    expect(comfy.row(1).get_by_test_id("row-state")).to_have_text("incompatible")
    comfy.page.context.route("https://civitai.com/**", lambda route: route.fulfill(body="a model's page"))
    with comfy.page.context.expect_page() as opened:
        comfy.choose(0, "Open the model page")
    opened.value.wait_for_url("https://civitai.com/models/9000201?modelVersionId=9100201")
    opened.value.close()
    comfy.page.bring_to_front()
    comfy.choose(0, "Copy AIR")
    expect_toast(comfy, f"Copied: {LONG}")
    assert clipboard(comfy) == LONG
    comfy.choose(1, "Copy local file name")
    expect_toast(comfy, "Copied: sdxl/photo-real.safetensors")
    assert clipboard(comfy) == "sdxl/photo-real.safetensors"
    comfy.row(1).get_by_test_id("row-menu").click()
    expect(comfy.page.get_by_role("menuitem", name="Open the model page")).to_be_disabled()
    comfy.screenshot("menu")
    comfy.page.keyboard.press("Escape")


def test_a_version_is_changed_by_the_menu_and_by_the_row_that_lacks_one(comfy: ComfyPage) -> None:
    comfy.load([{"model": OLD_VERSION, "weight": 0.5}, {"model": "civitai:9000203", "weight": 0.4}])
    comfy.choose(0, "Change version…")
    dialog = comfy.page.get_by_role("dialog")
    expect(dialog.get_by_test_id("choice")).to_have_count(2)
    expect(dialog.get_by_role("button", name="v1.0")).to_contain_text("in use")
    comfy.screenshot("versions")
    dialog.get_by_role("button", name="v2.0").click()
    comfy.row(1).get_by_text("choose a version").click()
    dialog.get_by_role("button", name="v1.0").click()
    assert comfy.array == [{"model": NEW_VERSION, "weight": 0.5}, {"model": OLD_VERSION, "weight": 0.4}]


def test_the_menu_duplicates_moves_and_removes(comfy: ComfyPage, stage: BrowserStage) -> None:
    comfy.load(two(stage))
    first, second = two(stage)
    comfy.choose(0, "Move down")
    assert comfy.array == [second, first]
    comfy.choose(1, "Move up")
    assert comfy.array == [first, second]
    comfy.choose(0, "Duplicate")
    assert comfy.array == [first, first, second]
    comfy.choose(1, "Remove")
    assert comfy.array == [first, second]
    comfy.row(0).click(button="right")
    comfy.page.get_by_role("menuitem", name="Remove", exact=True).click()
    assert comfy.array == [second]


def test_a_preset_is_saved_loaded_shared_and_deleted(comfy: ComfyPage, stage: BrowserStage) -> None:
    presets, page = comfy.page.get_by_test_id("presets"), comfy.page
    comfy.load(two(stage))
    presets.click()
    page.get_by_role("menuitem", name="Save as preset…").click()
    page.keyboard.type("Two of them")
    comfy.screenshot("preset-name")
    page.keyboard.press("Enter")
    expect_toast(comfy, "Preset saved: Two of them")
    presets.click()
    page.get_by_role("menuitem", name="Copy all as JSON").click()
    expect_toast(comfy, "Copied: [")
    assert json.loads(clipboard(comfy)) == two(stage)
    comfy.choose(0, "Remove")
    presets.click()
    comfy.screenshot("presets")
    page.get_by_role("menuitem", name="Two of them").click()
    assert comfy.array == two(stage)
    presets.click()
    page.get_by_role("menuitem", name="Delete a preset…").click()
    page.get_by_role("dialog").get_by_role("button", name="Two of them").click()
    expect_toast(comfy, "Preset deleted: Two of them")
    presets.click()
    expect(page.get_by_role("menuitem", name="Save as preset…")).to_be_visible()
    expect(page.get_by_role("menuitem", name="Two of them")).to_have_count(0)
    page.keyboard.press("Escape")


def test_the_json_view_is_the_same_text(comfy: ComfyPage, stage: BrowserStage) -> None:
    comfy.load(two(stage))
    comfy.page.get_by_test_id("json-view").click()
    text = comfy.page.get_by_test_id("json")
    assert json.loads(text.input_value()) == two(stage)
    text.fill(json.dumps(two(stage)[1:]))
    comfy.screenshot("json")
    assert comfy.exported == two(stage)[1:]
    comfy.page.get_by_test_id("json-view").click()
    expect(comfy.rows).to_have_count(1)
    expect(comfy.row(0).get_by_test_id("row-name")).to_have_text(stage.styles[1].name)


def test_a_text_that_is_no_array_is_shown_as_text(comfy: ComfyPage) -> None:
    comfy.load("[{")
    expect(comfy.page.get_by_test_id("json")).to_have_value("[{")
    expect(comfy.page.get_by_test_id("json-note")).to_contain_text("as rows")
    comfy.screenshot("broken-text")


def test_a_screen_reader_hears_each_part_by_name(comfy: ComfyPage, stage: BrowserStage) -> None:
    comfy.load(two(stage))
    name = stage.styles[0].name
    row = comfy.page.get_by_role("list", name="LoRAs").get_by_role("listitem").first
    expect(row.get_by_role("switch", name=f"Use {name}")).to_be_checked()
    expect(row.get_by_role("spinbutton", name=f"Weight of {name}", exact=True)).to_have_attribute(
        "aria-valuenow", "0.7"
    )
    expect(row.get_by_role("button", name=f"More options for {name}")).to_be_visible()


def test_fifty_rows_scroll_and_take_keys(comfy: ComfyPage) -> None:
    comfy.load([{"model": f"local:missing-{number}.safetensors", "weight": 0.5} for number in range(50)])
    expect(comfy.rows).to_have_count(50)
    comfy.weight(49).scroll_into_view_if_needed()
    comfy.weight(49).click()
    comfy.page.keyboard.type("0.25")
    assert comfy.array[49]["weight"] == 0.25
    comfy.screenshot("fifty-rows")


@pytest.mark.parametrize("zoom", [0.6, 2.0])
def test_rows_work_zoomed(comfy: ComfyPage, stage: BrowserStage, zoom: float) -> None:
    comfy.load(two(stage)[:1])
    comfy.page.evaluate("() => { app.graph.nodes.find((node) => node.type === 'AirLoraApply').pos = [0, 0] }")
    comfy.show(zoom)
    comfy.row(0).get_by_role("switch").click()
    assert comfy.array[0]["enabled"] is False
    comfy.screenshot(f"zoom-{zoom}")


def test_a_clone_and_a_load_keep_the_rows(comfy: ComfyPage, stage: BrowserStage) -> None:
    comfy.load(two(stage))
    cloned = comfy.page.evaluate(
        "() => { const node = app.graph.nodes.find((each) => each.type === 'AirLoraApply');"
        "const copy = node.clone(); app.graph.add(copy);"
        "return copy.widgets.find((each) => each.name === 'lora').value }"
    )
    assert json.loads(cloned) == two(stage)
    comfy.page.evaluate("async () => { await app.loadGraphData(app.graph.serialize()) }")
    expect(comfy.rows).to_have_count(4)
