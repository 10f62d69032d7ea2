"""The rows and ComfyUI's own features: canvas gestures, the clipboard, the node's size, runs that end early."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.many_states import LOCAL, LOCKED, LONG
from tests.browser.test_settings import close_dialogs
from tests.browser.test_toasts import TOAST, close_what_failed, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.browser.comfy_page import ComfyPage
    from tests.browser.many_states import BrowserStage

pytestmark = [pytest.mark.integration, pytest.mark.browser]

ROWS = [{"model": LOCAL, "weight": 0.5}, {"model": "civitai:1@2", "weight": 0.5, "enabled": False}]
NODE = "app.graph.nodes.find((node) => node.type === 'AirLoraApply')"


@pytest.fixture(autouse=True)
def as_before(comfy: ComfyPage) -> Iterator[None]:
    yield
    close_what_failed(comfy)
    close_dialogs(comfy)


def box_of(comfy: ComfyPage, index: int) -> Any:
    box = comfy.row(index).bounding_box()
    assert box
    return box


# a run that downloads


@contextmanager
def a_run_that_downloads(comfy: ComfyPage, stage: BrowserStage) -> Iterator[None]:
    """A run that has started a download, which stops halfway until this block ends."""
    comfy.load([{"model": stage.downloadable(), "weight": 0.5}])
    is_as_before_the_run(comfy)
    with stage.downloads_held():
        run(comfy)
        expect(comfy.row(0).get_by_role("progressbar")).to_be_visible(timeout=60_000)
        yield


def is_as_before_the_run(comfy: ComfyPage) -> None:
    expect(comfy.row(0).get_by_role("progressbar")).to_be_hidden()
    expect(comfy.row(0).get_by_test_id("row-state")).to_have_text("235 kB to download")


def test_the_rows_menu_cancels_the_run_that_downloads(comfy: ComfyPage, stage: BrowserStage) -> None:
    with a_run_that_downloads(comfy, stage):
        comfy.screenshot("run-downloads")
        comfy.choose(0, "Cancel the download")
        is_as_before_the_run(comfy)


def test_an_interrupted_run_ends_the_rows_progress(comfy: ComfyPage, stage: BrowserStage) -> None:
    with a_run_that_downloads(comfy, stage):
        comfy.page.evaluate("() => app.api.interrupt()")
        is_as_before_the_run(comfy)


def test_a_lost_connection_ends_the_rows_progress(comfy: ComfyPage, stage: BrowserStage) -> None:
    with a_run_that_downloads(comfy, stage):
        # Checked in the same call, because unlike after a real disconnect, the server continues to send progress.
        bar = "document.querySelector('[data-air-lora=row-progress]')"
        assert comfy.page.evaluate(
            f"() => {{ app.api.dispatchCustomEvent('reconnecting'); return {bar}.hidden; }}"
        )
        comfy.page.evaluate("() => app.api.interrupt()")
        # Otherwise the download, which goes on after this block, could end before the run does.
        comfy.page.wait_for_function(
            "async () => (await (await fetch('/queue')).json()).queue_running.length === 0"
        )
    is_as_before_the_run(comfy)


# the canvas


@pytest.mark.parametrize("over", ["row", "json"])
def test_the_middle_button_moves_the_canvas(comfy: ComfyPage, over: str) -> None:
    comfy.load(ROWS)
    before = box_of(comfy, 0)
    if over == "json":
        comfy.page.get_by_test_id("json-view").click()
        # In Nodes 2.0, a text that is being edited receives the middle button, as in ComfyUI's own prompts.
        comfy.page.evaluate("() => document.activeElement.blur()")
    offset = comfy.page.evaluate("() => [...app.canvas.ds.offset]")
    mouse = comfy.page.mouse
    mouse.move(before["x"] + 200, before["y"] + 12)
    mouse.down(button="middle")
    mouse.move(before["x"] + 240, before["y"] + 40, steps=4)
    mouse.move(before["x"] + 300, before["y"] + 52, steps=4)
    mouse.up(button="middle")
    moved = comfy.page.evaluate("() => [...app.canvas.ds.offset]")
    assert moved[0] - offset[0] == pytest.approx(100, abs=15)
    assert moved[1] - offset[1] == pytest.approx(40, abs=15)
    mouse.move(before["x"] + 400, before["y"] + 200, steps=4)
    assert comfy.page.evaluate("() => [...app.canvas.ds.offset]") == moved, "and it ends with the button"


def select_the_node(comfy: ComfyPage) -> None:
    comfy.page.evaluate(
        f"() => {{ app.canvas.deselectAll(); app.canvas.select({NODE}); document.activeElement?.blur(); }}"
    )


def test_what_is_pasted_on_the_selected_node_becomes_a_row(comfy: ComfyPage) -> None:
    comfy.load(ROWS)
    nodes = comfy.page.evaluate("() => app.graph.nodes.length")
    texts = ("civitai:9000001@9100001", '[{"model": "civitai:9000002@9100002", "weight": 0.3}]')
    for count, text in enumerate(texts, start=len(ROWS) + 1):
        select_the_node(comfy)
        comfy.page.evaluate("(text) => navigator.clipboard.writeText(text)", text)
        comfy.page.keyboard.press("Control+V")
        expect(comfy.rows).to_have_count(count)
    added = ["civitai:9000001@9100001", "civitai:9000002@9100002"]
    assert [entry["model"] for entry in comfy.array[2:]] == added
    # As after a click on a row's button and then on the canvas: the page's selection hasn't changed.
    comfy.page.evaluate(
        """() => {
          app.canvas.deselectAll();
          document.activeElement?.blur();
          getSelection().collapse(document.querySelector(".air-lora-weight-step"), 0);
        }"""
    )
    comfy.page.keyboard.press("Control+V")
    comfy.page.wait_for_timeout(300)
    assert [entry["model"] for entry in comfy.array[2:]] == added, "nothing is selected"
    assert comfy.page.evaluate("() => app.graph.nodes.length") == nodes


def test_a_click_between_the_rows_makes_them_the_place_to_paste(comfy: ComfyPage) -> None:
    comfy.load(ROWS)
    comfy.page.evaluate("() => { app.canvas.deselectAll(); document.activeElement?.blur(); }")
    comfy.page.evaluate("(text) => navigator.clipboard.writeText(text)", "civitai:9000001@9100001")
    comfy.page.get_by_text("Total 0.50").click()
    comfy.page.keyboard.press("Control+V")
    expect(comfy.rows).to_have_count(3)


def size_of(comfy: ComfyPage) -> list[float]:
    size: list[float] = comfy.page.evaluate(f"() => [...{NODE}.size]")
    return size


def make_as_small_as_can_be(comfy: ComfyPage) -> bool:
    """Returns whether it worked. In Nodes 2.0 of front end 1.32, only the pointer can change a node's size."""
    least = comfy.page.evaluate(f"() => {{ {NODE}.setSize({NODE}.computeSize()); return [...{NODE}.size]; }}")
    comfy.page.evaluate("() => app.canvas.setDirty(true, true)")
    comfy.page.wait_for_timeout(500)
    comfy.wait_until_still()
    if (
        size_of(comfy)[0] < least[0] + 50
        and comfy.page.get_by_test_id("widget").bounding_box()["width"] < 400
    ):
        return True
    comfy.page.evaluate(
        """() => {
          const drawn = document.querySelector(".air-lora").closest("[data-node-id]");
          drawn.style.setProperty("--node-width", "100px");
          drawn.style.width = "100px";
        }"""
    )
    return False


def test_a_node_cannot_be_made_so_narrow_that_names_are_gone(comfy: ComfyPage) -> None:
    comfy.load([{"model": LONG, "weight": 0.5}, *ROWS])
    make_as_small_as_can_be(comfy)
    comfy.screenshot("narrow")
    name = comfy.row(0).get_by_test_id("row-name").bounding_box()
    assert name
    assert name["width"] >= 100
    assert size_of(comfy)[0] >= 300
    expect(comfy.row(0).get_by_test_id("row-thumbnail")).to_be_hidden()
    for part in ("row-weight", "row-menu", "row-toggle"):
        expect(comfy.row(0).get_by_test_id(part)).to_be_visible()


def test_rows_that_go_let_the_node_shrink(comfy: ComfyPage) -> None:
    comfy.load([])
    follows = make_as_small_as_can_be(comfy)
    low = size_of(comfy)[1]
    comfy.paste("\n".join(f"civitai:{number}@{number}" for number in range(1, 7)))
    expect(comfy.rows).to_have_count(6)
    comfy.page.wait_for_timeout(500)
    comfy.wait_until_still()
    assert not follows or size_of(comfy)[1] > low + 150
    for _ in range(6):
        comfy.choose(0, "Remove")
    expect(comfy.rows).to_have_count(0)
    comfy.page.wait_for_timeout(500)
    comfy.wait_until_still()
    assert not follows or size_of(comfy)[1] == pytest.approx(low, abs=8)


# messages


CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("palette", ["dark", "light"])
def test_a_row_that_is_off_can_be_read(comfy: ComfyPage, palette: str) -> None:
    comfy.page.evaluate("(name) => app.extensionManager.setting.set('Comfy.ColorPalette', name)", palette)
    try:
        comfy.load([{"model": LOCAL, "weight": 0.5, "enabled": False}, {"model": LOCKED, "enabled": False}])
        expect(comfy.row(0).get_by_test_id("row-state")).to_have_text("on disk")
        comfy.screenshot(f"off-{palette}")
        for index in (0, 1):
            for part in ("row-name", "row-state", "row-badge", "row-weight"):
                found = comfy.row(index).get_by_test_id(part).evaluate(CONTRAST)
                assert found >= 4.5, (palette, index, part, found)
    finally:
        comfy.page.evaluate("() => app.extensionManager.setting.set('Comfy.ColorPalette', 'dark')")


def test_a_weight_out_of_range_says_why_it_goes_back(comfy: ComfyPage) -> None:
    comfy.load(ROWS)
    comfy.weight(0).click()
    comfy.weight(0).fill("7")
    expect(comfy.weight(0)).to_have_attribute("title", "Enter a number from -4 to 4.")
    comfy.page.keyboard.press("Enter")
    expect(comfy.page.locator(TOAST, has_text="reset to 0.50")).to_be_visible()
    comfy.screenshot("weight-out-of-range")
    expect(comfy.weight(0)).to_have_value("0.50")
    assert comfy.array[0]["weight"] == 0.5


def test_needs_a_token_leads_to_the_setting(comfy: ComfyPage) -> None:
    comfy.load([{"model": LOCKED, "weight": 0.5}])
    button = comfy.row(0).get_by_role("button", name="needs a token")
    expect(button).to_be_enabled()
    button.click()
    field = comfy.page.get_by_test_id("setting-civitai")
    expect(field).to_be_visible()
    comfy.screenshot("needs-a-token")


@pytest.mark.parametrize("typed", ["12", "45"])
def test_a_weight_out_of_range_goes_back_to_what_it_was(comfy: ComfyPage, typed: str) -> None:
    """The weight is typed key by key, and its first digit is also a weight."""
    comfy.load([{"model": LOCAL, "weight": 0.5}])
    comfy.weight(0).click()
    comfy.page.keyboard.type(typed)
    comfy.page.keyboard.press("Enter")
    expect(comfy.weight(0)).to_have_value("0.50")
    assert comfy.array[0]["weight"] == 0.5


def test_a_node_that_was_made_narrower_stays_so(comfy: ComfyPage) -> None:
    comfy.load([{"model": LOCAL, "weight": 0.5}])
    width = "() => Math.round(app.graph.getNodeById(2).size[0])"
    comfy.page.evaluate("() => { const node = app.graph.getNodeById(2); node.setSize([330, node.size[1]]) }")
    if comfy.page.evaluate(width) != 330:
        return  # in Nodes 2.0 of front end 1.32, code can't change a node's size
    comfy.choose(0, "Duplicate")
    expect(comfy.rows).to_have_count(2)
    comfy.page.wait_for_timeout(300)
    assert comfy.page.evaluate(width) == 330
    comfy.page.evaluate("() => app.loadGraphData(app.graph.serialize())")
    expect(comfy.rows).to_have_count(2)
    comfy.page.wait_for_timeout(300)
    assert comfy.page.evaluate(width) == 330


def test_an_unknown_key_is_told_at_its_row(comfy: ComfyPage) -> None:
    comfy.load([{"model": LOCAL, "weigth": 0.9}])
    expect(comfy.row(0).get_by_test_id("row-state")).to_have_text("unknown key")
    expect(comfy.row(0).get_by_test_id("row-state")).to_have_attribute("title", "weigth")
