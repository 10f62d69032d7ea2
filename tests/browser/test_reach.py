"""Accessibility of the rows: with the keyboard, a screen reader, any palette, zoom, and many rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.many_states import HOSTED, LOCAL, LOCAL_FOREIGN, LOCKED, LONG

if TYPE_CHECKING:
    from tests.browser.comfy_page import ComfyPage

pytestmark = [pytest.mark.integration, pytest.mark.browser]

MANY = 50
KEYS = "0.25" * 10

FOCUSED = (
    "() => document.activeElement.closest('.air-lora, .air-lora-menu, dialog')"
    " && (document.activeElement.dataset.airLora ?? '')"
)


def focused(comfy: ComfyPage) -> str | None:
    """The part of the rows that has the focus, or None."""
    part: str | None = comfy.page.evaluate(FOCUSED)
    return part


def test_every_part_is_reached_by_tab_and_used_by_keys(comfy: ComfyPage) -> None:
    page = comfy.page
    comfy.load([{"model": LOCAL, "weight": 0.5}, {"model": LOCAL_FOREIGN, "weight": 0.25}])
    expect(comfy.row(1).get_by_test_id("row-state")).to_have_text("incompatible")
    page.get_by_test_id("toggle-all").focus()
    parts = []
    for _ in range(18):
        parts.append(focused(comfy))
        page.keyboard.press("Tab")
    row = ["row-handle", "row-toggle", "row-thumbnail", "row-name", "row-weight", "row-menu"]
    second = [part for part in row if part != "row-thumbnail"]  # it has no picture
    assert parts[: 5 + 11] == ["toggle-all", "clip-all", "presets", "json-view", "add", *row, *second]

    comfy.row(0).get_by_test_id("row-toggle").focus()
    page.keyboard.press("Space")
    assert comfy.array[0]["enabled"] is False
    page.keyboard.press("ArrowDown")
    expect(comfy.row(1).get_by_test_id("row-toggle")).to_be_focused()
    comfy.row(1).get_by_test_id("row-handle").focus()
    page.keyboard.press("ArrowUp")
    assert [entry["model"] for entry in comfy.array] == [LOCAL_FOREIGN, LOCAL]
    expect(comfy.row(0).get_by_test_id("row-handle")).to_be_focused()

    comfy.weight(0).focus()
    page.keyboard.press("PageUp")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Alt+ArrowUp")
    assert comfy.array[0]["weight"] == 0.26
    page.keyboard.press("Enter")
    comfy.weight(0).focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("0.9")
    assert comfy.array[0]["weight"] == 0.9
    page.keyboard.press("Escape")
    assert comfy.array[0]["weight"] == 0.26

    comfy.row(0).get_by_test_id("row-menu").focus()
    page.keyboard.press("Enter")
    assert focused(comfy) == "menu-info"
    page.keyboard.press("d")
    page.keyboard.press("d")
    page.keyboard.press("End")
    assert focused(comfy) == "menu-remove"
    page.keyboard.press("Escape")
    expect(comfy.row(0).get_by_test_id("row-menu")).to_be_focused()
    page.keyboard.press("Delete")
    assert [entry["model"] for entry in comfy.array] == [LOCAL]
    expect(comfy.row(0).get_by_test_id("row-menu")).to_be_focused()

    page.get_by_test_id("json-view").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("json")).to_be_focused()
    page.get_by_test_id("json-view").press("Enter")
    comfy.row(0).get_by_test_id("row-thumbnail").press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(comfy.row(0).get_by_test_id("row-thumbnail")).to_be_focused()
    # The canvas received none of these keys: Delete would have removed a node.
    assert page.evaluate("() => app.graph.nodes.length") == 2


def test_everything_that_can_be_pressed_has_a_role_and_a_name(comfy: ComfyPage) -> None:
    comfy.load([{"model": LONG, "weight": 0.5, "clip_weight": 0.3}, {"model": LOCAL_FOREIGN, "weight": 0.5}])
    expect(comfy.row(1).get_by_test_id("row-state")).to_have_text("incompatible")
    expect(comfy.row(0).get_by_test_id("row-words")).not_to_be_empty()
    unnamed = comfy.page.evaluate(
        """() => [...document.querySelectorAll(".air-lora :is(button, input, textarea, [role])")]
          .filter((part) => part.checkVisibility() && part.ariaHidden !== "true" && part.role !== "listitem")
          .filter((part) => !(part.ariaLabel ?? part.textContent).trim())
          .map((part) => part.outerHTML.slice(0, 200))"""
    )
    assert unnamed == []
    heard = comfy.page.get_by_role("list", name="LoRAs").aria_snapshot()
    for said in (
        'switch "Use Cinematic golden hour',
        'spinbutton "Weight of Cinematic golden hour',
        'spinbutton "CLIP weight of Cinematic golden hour',
        'button "Move photo-real.',
        'img "SDXL: Incompatible: It was trained for SDXL, but the checkpoint is SD 3."',
        'group "Trigger words of Cinematic golden hour',
        'button "More options for photo-real"',
    ):
        assert said in heard


def contrast(comfy: ComfyPage) -> dict[str, float]:
    """The minimum contrast of each kind of text in the rows with its background, as WCAG defines it."""
    measured: dict[str, float] = comfy.page.evaluate(
        """() => {
          const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
          const over = (colours) => {
            canvas.fillStyle = "#000";
            canvas.fillRect(0, 0, 1, 1);
            for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
            return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
          };
          const light = (rgb) => rgb.map((each) => each / 255)
            .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4))
            .reduce((sum, each, index) => sum + each * [0.2126, 0.7152, 0.0722][index], 0);
          const least = {};
          const kinds = ["name", "version", "state", "badge", "word", "weight-input", "total", "advice"]
            .map((name) => `.air-lora .air-lora-${name}`).join();
          for (const part of document.querySelectorAll(kinds)) {
            if (!part.checkVisibility() || part.closest(".air-lora-off")) continue;
            const behind = [];
            for (let each = part; each; each = each.parentElement) {
              behind.unshift(getComputedStyle(each).backgroundColor);
            }
            if (!part.closest("[data-node-id]")) behind.unshift(LiteGraph.NODE_DEFAULT_BGCOLOR);
            const [text, ground] = [[...behind, getComputedStyle(part).color], behind].map((each) => light(over(each)));
            const ratio = (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
            const kind = part.dataset.airLora + (part.dataset.state ?? part.dataset.fits ?? "");
            least[kind] = Math.min(least[kind] ?? 99, ratio);
          }
          return least;
        }"""
    )
    return measured


@pytest.mark.parametrize(("palette", "least"), [("dark", 4.5), ("light", 4.5), ("solarized", 3.5)])
def test_every_text_can_be_read_in_every_palette(comfy: ComfyPage, palette: str, least: float) -> None:
    """WCAG requires 4.5 for small text. Solarized's own text has slightly more than 4."""
    set_palette = "(id) => app.extensionManager.setting.set('Comfy.ColorPalette', id)"
    comfy.load(
        [{"model": model, "weight": 0.9} for model in (LOCAL, LOCAL_FOREIGN, LONG, LOCKED, HOSTED)]
        + [{"weight": 1}]
    )
    expect(comfy.row(1).get_by_test_id("row-state")).to_have_text("incompatible")
    expect(comfy.row(2).get_by_test_id("row-words")).not_to_be_empty()
    comfy.page.evaluate(set_palette, palette)
    try:
        comfy.page.wait_for_timeout(400)
        comfy.wait_until_still()
        comfy.screenshot(f"palette-{palette}")
        ratios = contrast(comfy)
        assert len(ratios) >= 10
        assert {kind: ratio for kind, ratio in ratios.items() if ratio < least} == {}
    finally:
        comfy.page.evaluate(set_palette, "dark")


def test_many_rows_scroll_and_take_keys_at_once(comfy: ComfyPage, record_property: Any) -> None:
    """The time for a key is printed (-s, or in the report) but has no limit, because it depends on the machine."""
    comfy.load([{"model": f"local:missing-{number}.safetensors", "weight": 0.5} for number in range(MANY)])
    expect(comfy.row(MANY - 1).get_by_test_id("row-state")).to_have_text("not found")
    comfy.weight(MANY - 1).scroll_into_view_if_needed()
    comfy.weight(MANY - 1).click()
    took = comfy.page.evaluate(
        """(keys) => {
          const input = document.activeElement;
          return [...keys].map((key, index) => {
            input.value = keys.slice(index - (index % 4), index + 1);
            const begin = performance.now();
            input.dispatchEvent(new InputEvent("input", { bubbles: true, data: key }));
            input.getBoundingClientRect();  // with the layout that the browser owes for it
            return performance.now() - begin;
          }).sort((one, other) => one - other);
        }""",
        KEYS,
    )
    said = f"{MANY} rows: {took[len(took) // 2]:.1f} ms a key, {took[-1]:.1f} ms at most"
    print(said)
    record_property("typing", said)
    assert comfy.array[MANY - 1]["weight"] == 0.25
    comfy.screenshot("fifty-rows-typed")
