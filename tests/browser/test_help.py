"""The help of a node, as the page opens it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Locator

    from tests.browser.comfy_page import ComfyPage

pytestmark = [pytest.mark.integration, pytest.mark.browser]


def open_help(comfy: ComfyPage) -> Locator:
    """The help of Apply LoRA Array, which must be in the graph."""
    comfy.page.evaluate("() => app.canvas.selectNode(app.graph.nodes.find((n) => n.type === 'AirLoraApply'))")
    button = comfy.page.locator("[data-testid=info-button]")
    button.evaluate("(button) => button.click()")  # it may lie below the bar above
    return comfy.page.locator(".node-help-content")


def close_help(comfy: ComfyPage) -> None:
    """In any language: the newer page's panel has a setting, the older one's bar a button that is marked."""
    comfy.page.evaluate(
        """async () => {
          const { setting } = app.extensionManager;
          if (setting.get("Comfy.RightSidePanel.IsOpen")) await setting.set("Comfy.RightSidePanel.IsOpen", false);
          else document.querySelectorAll(".side-bar-button-selected").forEach((button) => button.click());
        }"""
    )
    expect(comfy.page.locator(".node-help-content")).to_have_count(0)


def test_the_help_of_a_node_is_ours(comfy: ComfyPage) -> None:
    comfy.load("[]")
    page = open_help(comfy)
    expect(page.get_by_role("heading", name="Apply LoRA Array")).to_be_visible()
    expect(page.get_by_role("heading", name="The rows")).to_be_attached()
    expect(page.get_by_role("cell", name="on_mismatch", exact=True)).to_be_attached()
    comfy.screenshot("help")
    # The page looks for one in its own language first, which there is none of in English.
    assert all("404" in error for error in comfy.errors)
    comfy.errors.clear()


@pytest.fixture(autouse=True)
def as_before(comfy: ComfyPage) -> Iterator[None]:
    yield
    close_help(comfy)
