"""A malicious model record has no effect on the page except for its text: in the row, its menu, picture, and versions,
in search results, in an error, and in a preset's name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.hostile_record import HOSTILE, SCRIPT, TURNING, TWIN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Dialog, Locator, Request

    from tests.browser.comfy_page import ComfyPage
    from tests.browser.many_states import BrowserStage

pytestmark = [pytest.mark.integration, pytest.mark.browser]

COMFYUIS_OWN = "https://api.comfy.org/"
"""The page itself loads help pages and similar content from here, whatever the record contains."""

TOAST = ".p-toast-message, li[role=alert]"
ENTRIES = [
    {"model": TWIN, "weight": 0.5},
    {"model": HOSTILE, "weight": 0.5},
    {"model": f"{SCRIPT}{TURNING}", "weight": 0.5},
    {"model": "local:<img src=x onerror=window.hacked=6>.safetensors", "weight": 0.5},
]

# Tags, classes, and names of attributes, without text.
SHAPE = """(root) => {
  const shape = (node) => [
    node.tagName, node.getAttribute("class"), node.getAttributeNames().sort().join(" "),
    [...node.children].map(shape),
  ];
  return JSON.stringify(shape(root));
}"""
# All visible and accessible text of an element, and its addresses.
SAID = """(root) => [root, ...root.querySelectorAll("*")].flatMap((node) => [
  ...node.getAttributeNames().map((name) => node.getAttribute(name)),
  ...[...node.childNodes].filter((each) => each.nodeType === Node.TEXT_NODE).map((each) => each.data),
]).join("\\n")"""
# What would exist if a text had been interpreted as more than text.
HARM = """() => {
  const all = [...document.querySelectorAll("*")];
  return {
    hacked: window.hacked ?? null,
    handlers: all.filter((node) => node.getAttributeNames().some((name) => name.startsWith("on"))).length,
    elements: document.querySelectorAll("img[src='x'], iframe, object, embed").length,
    scripts: [...document.scripts].filter((script) => script.text.includes("hacked")).length,
    overflow: document.documentElement.scrollWidth > innerWidth,
    direction: getComputedStyle(document.body).direction,
  };
}"""


@pytest.fixture
def watched(comfy: ComfyPage, stage: BrowserStage) -> Iterator[ComfyPage]:
    """The rows of both records. Only this server may be contacted, and no browser dialog may open."""
    asked: list[str] = []
    opened: list[str] = []

    def on_request(request: Request) -> None:
        asked.append(request.url)

    def on_dialog(dialog: Dialog) -> None:
        opened.append(dialog.message)
        dialog.dismiss()

    page = comfy.page
    with stage.hostile_record():
        comfy.load([])
        before = page.evaluate(HARM)
        page.on("request", on_request)
        page.on("dialog", on_dialog)
        comfy.load(ENTRIES)
        for row in (0, 1):
            expect(comfy.row(row).get_by_test_id("row-state")).to_have_text("needs a token")
        yield comfy
        page.remove_listener("request", on_request)
        page.remove_listener("dialog", on_dialog)
        assert page.evaluate(HARM) == before
        assert opened == []
        assert [url for url in asked if not url.startswith((comfy.url, "data:", "blob:", COMFYUIS_OWN))] == []


def is_only_text(hostile: Locator, twin: Locator) -> None:
    """A hostile record's element must have the same structure and size as a harmless one's."""
    assert hostile.evaluate(SHAPE) == twin.evaluate(SHAPE)
    boxes = [each.bounding_box() or {} for each in (hostile, twin)]
    assert [(round(box["width"]), round(box["height"])) for box in boxes[:1]] == [
        (round(box["width"]), round(box["height"])) for box in boxes[1:]
    ]
    is_plain(hostile)


def is_plain(element: Locator) -> None:
    """The text is short and contains nothing that turns the writing direction."""
    said = element.evaluate(SAID)
    assert len(said) < 20_000
    assert not set(said) & set(TURNING)


def test_a_hostile_record_changes_nothing_but_text(watched: ComfyPage) -> None:
    comfy, page = watched, watched.page
    twin, hostile = comfy.row(0), comfy.row(1)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.air-lora-thumb-picture')].filter((each) => each.naturalWidth).length > 1"
    )
    expect(hostile.get_by_test_id("row-name")).to_contain_text('<img src=x onerror="window.hacked=1">')
    is_only_text(hostile, twin)
    for row in (2, 3):
        expect(comfy.row(row).get_by_test_id("row-name")).to_contain_text("<img src=x")
        is_plain(comfy.row(row))
    comfy.screenshot("hostile-record")

    hostile.get_by_test_id("word").nth(1).click()
    page.wait_for_function("async () => (await navigator.clipboard.readText()) === 'turned'")

    hostile.get_by_test_id("row-thumbnail").click()
    picture = page.get_by_test_id("dialog-picture")
    page.wait_for_function("() => document.querySelector('.air-lora-picture')?.naturalWidth > 0")
    is_plain(picture)
    address = picture.locator("img").get_attribute("src") or ""
    answer = page.request.get(comfy.url + address)
    assert answer.headers["content-type"] == "image/webp"
    assert b"hacked" not in answer.body()
    page.keyboard.press("Escape")

    hostile.get_by_test_id("row-menu").click()
    is_plain(page.get_by_test_id("menu"))
    page.get_by_role("menuitem", name="Change version…", exact=True).click()
    versions = page.get_by_test_id("dialog-versions")
    expect(versions.get_by_test_id("choice")).to_contain_text("<script>window.hacked=2</script>")
    is_plain(versions)
    comfy.screenshot("hostile-versions")
    page.keyboard.press("Escape")

    page.get_by_test_id("add").click()
    page.get_by_test_id("add-input").fill("script")
    found = page.get_by_test_id("found-civitai").get_by_test_id("found")
    expect(found).to_have_count(2)
    cards = [found.filter(has_text=text) for text in ("<img src=x", "Harmless")]
    for card in cards:
        card.scroll_into_view_if_needed()
        expect(card.locator("img")).to_have_count(1)
    is_only_text(*cards)
    comfy.screenshot("hostile-search")
    page.keyboard.press("Escape")


def test_what_is_told_of_a_hostile_record_is_text(watched: ComfyPage) -> None:
    comfy, page = watched, watched.page
    # What the row's "Download now" would send. The row has no such item, because the file needs a token.
    sent = page.evaluate(POST, ["/air_lora/prefetch", {"models": [HOSTILE]}])
    assert sent == 200
    toast = page.locator(TOAST, has_text="<img src=x")
    expect(toast).to_be_visible()
    is_plain(toast)
    expect(comfy.row(1)).to_contain_text("download failed")
    is_plain(comfy.row(1))
    comfy.screenshot("hostile-toast")
    # Clicked in the page, because the toast may go by itself before the mouse is there.
    toast.get_by_role("button", name="Close").evaluate_all("(all) => all.forEach((each) => each.click())")
    expect(toast).to_have_count(0)

    name = "<img src=x onerror=window.hacked=7>"
    assert page.evaluate(POST, ["/air_lora/presets", {"name": name, "lora": json.dumps(ENTRIES[:2])}]) == 200
    try:
        page.get_by_test_id("presets").click()
        expect(page.get_by_role("menuitem", name=name)).to_be_visible()
        is_plain(page.get_by_test_id("menu"))
        page.keyboard.press("Escape")
    finally:
        page.evaluate(POST, ["/air_lora/presets/delete", {"name": name}])


POST = """async ([path, body]) => (await fetch(path, {
  method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
})).status"""


def test_a_workflow_from_a_stranger_is_text_too(comfy: ComfyPage) -> None:
    """The array of a workflow can contain anything. What rows can't show is shown as text."""
    strange: list[Any] = [
        {"model": SCRIPT, "weight": SCRIPT, "clip_weight": {"a": SCRIPT}, "enabled": SCRIPT},
        SCRIPT,
        {SCRIPT: SCRIPT, "__proto__": {"polluted": "yes"}},
        [SCRIPT],
    ]
    before = comfy.page.evaluate(HARM)
    comfy.load(json.dumps(strange))
    expect(comfy.rows).to_have_count(4)
    comfy.screenshot("hostile-array")
    comfy.load(f"not an array {SCRIPT}")
    expect(comfy.page.get_by_test_id("widget").locator("textarea")).to_have_value(f"not an array {SCRIPT}")
    assert comfy.page.evaluate(HARM) == before
    assert comfy.page.evaluate("() => ({}).polluted ?? null") is None
