"""Pictures with content above the level that the settings allow: blurred until they are clicked, and never cached."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.many_states import ADULT, FILMS, LONG
from tests.browser.test_settings import close_dialogs, open_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.browser.comfy_page import ComfyPage

pytestmark = [pytest.mark.integration, pytest.mark.browser]

SET = """async (value) => {
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify({ key: "AIR_LORA_PICTURES", value });
  await fetch("/air_lora/settings", { method: "POST", headers, body });
}"""
FILTER = "(element) => getComputedStyle(element.querySelector('img')).filter"


@pytest.fixture(autouse=True)
def as_before(comfy: ComfyPage) -> Iterator[None]:
    yield
    close_dialogs(comfy)
    comfy.page.evaluate(SET, None)


def test_a_picture_above_the_level_is_blurred_until_it_is_clicked(comfy: ComfyPage) -> None:
    comfy.load([{"model": ADULT, "weight": 0.5}, {"model": LONG, "weight": 0.5}])
    adult, mild = (comfy.row(index).get_by_test_id("row-thumbnail") for index in (0, 1))
    expect(adult.locator("img")).to_be_visible()
    expect(mild.locator("img")).to_be_visible()
    assert "blur" in adult.evaluate(FILTER)
    assert mild.evaluate(FILTER) == "none"
    expect(adult).to_have_accessible_name("Show the blurred image of Adult art")
    comfy.screenshot("blurred")
    adult.click()
    assert adult.evaluate(FILTER) == "none"
    expect(comfy.page.get_by_role("dialog")).to_have_count(0)
    adult.click()
    expect(comfy.page.get_by_role("dialog")).to_be_visible()
    close_dialogs(comfy)
    comfy.choose(0, "Duplicate")
    expect(mild.locator("img")).to_be_visible()
    assert mild.evaluate(FILTER) == "none", "its duplicate shows what was revealed"


def test_a_version_with_films_alone_has_a_sign(comfy: ComfyPage) -> None:
    comfy.load([{"model": FILMS, "weight": 0.5}])
    expect(comfy.row(0).get_by_test_id("row-name")).to_have_text("Moving pictures")
    thumb = comfy.row(0).get_by_test_id("row-thumbnail")
    expect(thumb).to_have_attribute("title", "No image available. The model page has only videos.")
    expect(thumb).to_be_disabled()
    comfy.screenshot("only-films")


def test_the_search_blurs_too_and_a_click_on_the_picture_adds_nothing(comfy: ComfyPage) -> None:
    comfy.load([])
    comfy.page.get_by_test_id("add").click()
    card = comfy.page.get_by_test_id("found").filter(has_text="Adult art")
    picture = card.locator(".air-lora-card-picture")
    expect(picture.locator("img")).to_be_visible()
    assert "blur" in picture.evaluate(FILTER)
    comfy.screenshot("search-blurred")
    picture.click()
    assert picture.evaluate(FILTER) == "none"
    assert comfy.array == []
    card.click(position={"x": 200, "y": 10})
    assert [entry["model"] for entry in comfy.array] == [ADULT]


def test_the_level_is_chosen_in_the_settings(comfy: ComfyPage) -> None:
    comfy.load([{"model": ADULT, "weight": 0.5}])
    thumb = comfy.row(0).get_by_test_id("row-thumbnail")
    expect(thumb.locator("img")).to_be_visible()
    assert "blur" in thumb.evaluate(FILTER)
    dialog = open_settings(comfy)
    choice = dialog.get_by_test_id("setting-pictures-input")
    expect(choice).to_have_value("PG")
    choice.scroll_into_view_if_needed()
    choice.select_option("X")
    comfy.screenshot("settings-pictures")
    close_dialogs(comfy)
    expect(thumb).not_to_have_class("air-lora-thumb air-lora-blurred")
    assert thumb.evaluate(FILTER) == "none"
