"""The help page of a node, as ComfyUI's page opens it."""

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
    """Opens the help of Apply LoRA Array, which must be in the graph."""
    comfy.page.evaluate("() => app.canvas.selectNode(app.graph.nodes.find((n) => n.type === 'AirLoraApply'))")
    button = comfy.page.locator("[data-testid=info-button]")
    button.evaluate("(button) => button.click()")  # it can be covered by the bar above
    return comfy.page.locator(".node-help-content")


def close_help(comfy: ComfyPage) -> None:
    """Works in any language: the newer page's panel has a setting, and the older page's sidebar button has a class."""
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
    # The page first requests the page for its own language, which doesn't exist for English.
    assert all("404" in error for error in comfy.errors)
    comfy.errors.clear()


@pytest.fixture(autouse=True)
def as_before(comfy: ComfyPage) -> Iterator[None]:
    yield
    close_help(comfy)
