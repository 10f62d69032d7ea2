"""Adding LoRAs in the real page: pasted, found, and dropped LoRAs become rows."""

from __future__ import annotations

import base64
import io
import json
import re
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import expect

from tests.browser.comfy_page import workflow_with
from tests.browser.many_states import LOCAL, LOCAL_FOREIGN, LONG

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Request, Route

    from tests.browser.comfy_page import ComfyPage
    from tests.browser.many_states import BrowserStage

pytestmark = [pytest.mark.integration, pytest.mark.browser]


@pytest.fixture
def empty(comfy: ComfyPage) -> ComfyPage:
    comfy.load("[]")
    return comfy


def drop(comfy: ComfyPage, name: str, content: bytes) -> None:
    """Drops a file on the rows."""
    carried = comfy.page.evaluate_handle(
        "([name, content]) => { const carried = new DataTransfer();"
        "const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));"
        "carried.items.add(new File([bytes], name)); return carried }",
        [name, base64.b64encode(content).decode()],
    )
    widget = comfy.page.get_by_test_id("widget")
    widget.dispatch_event("dragover", {"dataTransfer": carried})
    expect(comfy.page.get_by_text("Drop to add")).to_be_visible()
    widget.dispatch_event("drop", {"dataTransfer": carried})


def found(comfy: ComfyPage, source: str) -> Locator:
    return comfy.page.get_by_test_id(f"found-{source}").get_by_test_id("found")


def test_an_empty_node_says_how_to_begin(empty: ComfyPage) -> None:
    expect(empty.page.get_by_test_id("empty")).to_contain_text("paste an AIR, a page URL, a lora array")
    empty.screenshot("empty")
    empty.page.get_by_test_id("empty").click()
    expect(empty.page.get_by_test_id("add-input")).to_be_focused()
    empty.page.keyboard.press("Escape")


def test_what_names_loras_is_pasted_in_any_form(empty: ComfyPage, stage: BrowserStage) -> None:
    first, second, third, fourth, fifth = (style.air for style in stage.styles)
    request = {
        "taskType": "imageInference",
        "positivePrompt": "a red car",
        "lora": [{"model": third, "weight": 0.4}],
    }
    model, version = fourth.removeprefix("civitai:").split("@")
    page_address = f"https://civitai.com/models/{model}?modelVersionId={version}"
    pasted = [
        (json.dumps([{"model": first, "weight": 0.6}]), [{"model": first, "weight": 0.6}]),
        (json.dumps(request), [{"model": third, "weight": 0.4}]),
        (f"{second}\n{fifth}", [{"model": second, "weight": 0.75}, {"model": fifth, "weight": 0.75}]),
        (page_address, [{"model": fourth, "weight": 0.75}]),
        ("a red car <lora:paper-cut:0.7>", [{"model": LOCAL, "weight": 0.7}]),
    ]
    expected: list[dict[str, object]] = []
    for text, entries in pasted:
        empty.paste(text)
        expected += entries
        expect(empty.rows).to_have_count(len(expected))
        expect(empty.page.get_by_role("dialog")).to_have_count(0)
    assert empty.array == empty.exported == expected
    empty.screenshot("pasted")


def test_a_paste_onto_the_rows_adds_too(comfy: ComfyPage, stage: BrowserStage) -> None:
    comfy.load([{"model": LOCAL, "weight": 0.5}])
    comfy.row(0).get_by_test_id("row-toggle").focus()
    comfy.page.evaluate("(text) => navigator.clipboard.writeText(text)", stage.styles[0].air)
    comfy.page.keyboard.press("Control+v")
    expect(comfy.rows).to_have_count(2)
    assert comfy.array[1] == {"model": stage.styles[0].air, "weight": 0.75}
    comfy.weight(0).click()
    comfy.page.evaluate("() => navigator.clipboard.writeText('0.35')")
    comfy.page.keyboard.press("Control+v")
    assert [entry["weight"] for entry in comfy.array] == [0.35, 0.75]


def test_text_that_names_nothing_stays_with_the_reason(empty: ComfyPage) -> None:
    empty.paste("civitai:not-a-number")
    expect(empty.page.get_by_test_id("add-note")).to_contain_text("Not added")
    empty.screenshot("not-added")
    empty.page.keyboard.press("Escape")
    assert empty.array == []


def test_every_fault_of_a_paste_is_told(empty: ComfyPage) -> None:
    empty.paste("civitai:1@x\ncivitai:2@y")
    for line in ("line 1", "line 2"):
        expect(empty.page.get_by_test_id("add-note")).to_contain_text(line)
    empty.screenshot("not-added-several")
    empty.page.keyboard.press("Escape")
    assert empty.array == []


def test_a_workflow_s_loader_that_is_not_read_is_named_and_the_rest_added(empty: ComfyPage) -> None:
    workflow = {
        "3": {
            "class_type": "LoraLoaderModelOnly",
            "inputs": {"lora_name": LOCAL.removeprefix("local:"), "strength_model": 0.6},
        },
        "22": {"class_type": "SomeLoraLoader", "inputs": {"lora_name": "Lightx2v/x.safetensors"}},
        "23": {"class_type": "OtherLoraLoader", "inputs": {"lora_name": "y.safetensors"}},
    }
    empty.paste(json.dumps(workflow))
    expect(empty.rows).to_have_count(1)
    for node, file in (
        ("22, SomeLoraLoader", "Lightx2v/x.safetensors"),
        ("23, OtherLoraLoader", "y.safetensors"),
    ):
        toast = empty.page.get_by_text(re.compile(f"node {node}.*{re.escape(file)}")).first
        expect(toast).to_be_visible()
    empty.screenshot("unknown-loaders")
    assert empty.array == [{"model": LOCAL, "weight": 0.6, "clip_weight": 0}]


def test_a_search_finds_on_this_disk_and_on_civitai_what_fits(empty: ComfyPage, stage: BrowserStage) -> None:
    empty.page.get_by_test_id("add").click()
    expect(found(empty, "local").filter(has_text="paper-cut")).to_have_count(1)
    expect(found(empty, "local").filter(has_text="photo-real")).to_have_count(0)
    # If a test has already downloaded it, it is on this disk. In both cases there is one result.
    expect(empty.page.get_by_test_id("found").filter(has_text=stage.styles[0].name)).to_have_count(1)
    expect(found(empty, "civitai").filter(has_text="SDXL")).to_have_count(0)
    expect(empty.page.get_by_test_id("add-fitting")).to_be_checked()
    empty.page.wait_for_function(
        "() => [...document.querySelectorAll('.air-lora-card img')].some((image) => image.naturalWidth > 0)"
    )
    empty.screenshot("search")
    empty.page.get_by_test_id("add-input").fill("golden hour")
    # If a test has already downloaded it, it is on this disk and CivitAI finds nothing more; otherwise vice versa.
    expect(empty.page.get_by_test_id("found")).to_have_count(1)
    expect(empty.page.get_by_text("Nothing found")).to_have_count(1)
    empty.screenshot("search-words")
    empty.page.get_by_test_id("found").click()
    expect(empty.page.get_by_test_id("add-note")).to_have_text("Added 1")
    empty.page.get_by_test_id("dialog-close").click()
    assert empty.array == [{"model": LONG, "weight": 0.75}]


def test_what_the_array_has_is_marked_and_not_added_twice(empty: ComfyPage) -> None:
    empty.load([{"model": LONG, "weight": 0.5}])
    empty.page.get_by_test_id("add").click()
    taken = empty.page.get_by_test_id("found").filter(has_text="Cinematic golden hour")
    expect(taken).to_contain_text("in the list")
    taken.click(force=True)  # forced, because it is disabled
    other = found(empty, "local").filter(has_text="paper-cut")
    expect(other).not_to_contain_text("in the list")
    other.click()
    expect(other).to_contain_text("in the list")
    empty.screenshot("search-taken")
    other.click(force=True)
    expect(empty.page.get_by_test_id("add-note")).to_have_text("Added 1")
    empty.page.get_by_test_id("dialog-close").click()
    assert [entry["model"] for entry in empty.array] == [LONG, LOCAL]


def test_a_search_can_be_for_everything_and_in_another_order(empty: ComfyPage) -> None:
    def is_for_all_the_newest_first(request: Request) -> bool:
        asked = request.post_data_json if "/air_lora/search" in request.url else {}
        return asked.get("sort") == "newest" and "checkpoint" not in asked

    empty.page.get_by_test_id("add").click()
    expect(found(empty, "civitai").filter(has_text="by demo").first).to_be_visible()
    expect(found(empty, "local").filter(has_text="photo-real")).to_have_count(0)
    empty.page.get_by_test_id("add-fitting").uncheck()
    expect(found(empty, "local").filter(has_text="photo-real")).to_contain_text("sdxl/")
    expect(empty.page.get_by_test_id("found").filter(has_text="Watercolour for SDXL")).to_have_count(1)
    empty.screenshot("search-everything")
    with empty.page.expect_request(is_for_all_the_newest_first):
        empty.page.get_by_test_id("add-sort").select_option("newest")
    expect(found(empty, "civitai").first).to_be_visible()
    empty.page.keyboard.press("Escape")


def test_more_results_are_reached_by_keys(empty: ComfyPage) -> None:
    def in_two_parts(route: Route) -> None:
        asked = route.request.post_data_json
        if asked["source"] == "civitai" or "checkpoint" not in asked:
            route.continue_()
            return
        whole = route.fetch(post_data={key: value for key, value in asked.items() if key != "cursor"}).json()
        first = asked.get("cursor") is None
        items = whole["items"][:1] if first else whole["items"][1:]
        route.fulfill(json={**whole, "items": items, "next": "1" if first else None})

    empty.page.route("**/air_lora/search", in_two_parts)
    empty.page.get_by_test_id("add").click()
    more = empty.page.get_by_test_id("found-local").get_by_role("button", name="More")
    expect(found(empty, "local")).to_have_count(1)
    more.focus()
    empty.page.keyboard.press("Enter")
    expect(found(empty, "local").nth(1)).to_be_focused()
    empty.page.unroute("**/air_lora/search")
    empty.page.keyboard.press("Escape")


def test_the_focus_stays_at_a_result_that_turns_out_to_be_here(empty: ComfyPage) -> None:
    """CivitAI responds first, and the user has focused a card that is then replaced by one from this disk."""
    waiting: list[Route] = []
    # The search that hovering the button starts has no checkpoint. It isn't the panel's.
    empty.page.route(
        "**/air_lora/search",
        lambda route: (
            waiting.append(route)
            if route.request.post_data_json["source"] == "local"
            and "checkpoint" in route.request.post_data_json
            else route.continue_()
        ),
    )
    empty.page.get_by_test_id("add").click()
    card = found(empty, "civitai").first
    expect(card).to_be_visible()
    card.focus()
    model = card.get_attribute("title")
    (route,) = waiting
    answer = route.fetch().json()
    with empty.page.expect_response("**/air_lora/search"):
        route.fulfill(json={**answer, "items": [{**answer["items"][0], "model": model, "name": "Mine"}]})
    expect(found(empty, "local").first).to_be_focused()
    expect(found(empty, "civitai").and_(empty.page.get_by_title(model or "", exact=True))).to_have_count(0)
    empty.page.unroute("**/air_lora/search")
    empty.page.keyboard.press("Escape")


def test_a_file_that_came_since_the_last_look_appears(empty: ComfyPage) -> None:
    """While thousands of files are scanned, the first response comes from the previous list."""

    def as_before(route: Route) -> None:
        asked = route.request.post_data_json
        if asked["source"] == "civitai" or "checkpoint" not in asked or answered:
            route.continue_()
            return
        answered.append(1)
        answer = route.fetch().json()
        kept = [item for item in answer["items"] if "paper-cut" not in item["local_name"]]
        route.fulfill(json={**answer, "items": kept, "current": False})

    answered: list[int] = []
    empty.page.route("**/air_lora/search", as_before)
    empty.page.get_by_test_id("add").click()
    expect(found(empty, "local").first).to_be_visible()
    expect(found(empty, "local").filter(has_text="paper-cut")).to_have_count(1)
    empty.page.unroute("**/air_lora/search")
    empty.page.keyboard.press("Escape")


def test_a_search_is_done_by_keys_alone(empty: ComfyPage) -> None:
    empty.page.get_by_test_id("add").focus()
    empty.page.keyboard.press("Enter")
    empty.page.keyboard.type("paper")
    expect(found(empty, "civitai")).to_have_count(0)
    expect(found(empty, "local")).to_have_count(1)
    empty.page.keyboard.press("ArrowDown")
    expect(found(empty, "local")).to_be_focused()
    empty.page.keyboard.press("Enter")
    empty.page.keyboard.press("Escape")
    assert empty.array == [{"model": LOCAL, "weight": 0.75}]
    expect(empty.page.get_by_test_id("add")).to_be_focused()


def test_keys_that_come_before_the_results_mean_the_new_ones(empty: ComfyPage) -> None:
    empty.page.get_by_test_id("add").click()
    expect(empty.page.get_by_test_id("found").nth(3)).to_be_visible()
    empty.page.keyboard.type("paper")
    empty.page.keyboard.press("ArrowDown")
    empty.page.keyboard.press("Enter")
    expect(empty.rows).to_have_count(1)
    assert empty.array == [{"model": LOCAL, "weight": 0.75}]
    empty.page.keyboard.press("Escape")


def test_without_a_checkpoint_everything_is_found(empty: ComfyPage) -> None:
    empty.page.evaluate(
        "() => app.graph.remove(app.graph.nodes.find((node) => node.type === 'CheckpointLoaderSimple'))"
    )
    empty.page.get_by_test_id("add").click()
    expect(found(empty, "local").filter(has_text="photo-real")).to_have_count(1)
    expect(found(empty, "civitai").filter(has_text="SDXL")).to_have_count(1)
    expect(empty.page.get_by_test_id("add-note")).to_be_empty()
    empty.page.keyboard.press("Escape")


def test_a_dropped_lora_is_found_among_the_users_files(empty: ComfyPage, stage: BrowserStage) -> None:
    file = stage.base / "models" / "loras" / "sdxl" / "photo-real.safetensors"
    drop(empty, "renamed by somebody.safetensors", file.read_bytes())
    expect(empty.rows).to_have_count(1)
    assert empty.array == [{"model": LOCAL_FOREIGN, "weight": 0.75}]


def test_a_dropped_picture_brings_the_loras_of_its_workflow(empty: ComfyPage, stage: BrowserStage) -> None:
    entries = [{"model": stage.styles[0].air, "weight": 0.6}, {"model": LOCAL, "weight": 0.3}]
    facts = PngInfo()
    facts.add_text("workflow", json.dumps(workflow_with(json.dumps(entries))))
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG", pnginfo=facts)
    drop(empty, "picture.png", picture.getvalue())
    expect(empty.rows).to_have_count(2)
    assert empty.array == entries
    assert empty.page.evaluate("() => app.graph.nodes.length") == 2


def test_a_dropped_file_that_names_nothing_is_refused_by_name(empty: ComfyPage) -> None:
    drop(empty, "holiday.png", b"\x89PNG\r\n\x1a\n")
    expect(empty.page.get_by_text(re.compile("^holiday.png: ")).first).to_be_visible()
    expect(empty.page.get_by_text("Drop to add")).to_be_hidden()
    empty.screenshot("refused-file")
    assert empty.array == []
