"""A run that fails because of a LoRA: a toast names the row, and the row is marked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.browser.comfy_page import ComfyPage
    from tools.stage import ShowcaseStage

pytestmark = [pytest.mark.integration, pytest.mark.browser]

MISSING = "local:no-file-of-this-name.safetensors"

TOAST = ".p-toast-message, li[role=alert]"
"""As drawn by the older and the newer front end."""


def run(comfy: ComfyPage) -> None:
    """Queues the graph with an output node connected to our node."""
    comfy.page.evaluate(
        """() => {
          const apply = app.graph.nodes.find((node) => node.type === "AirLoraApply");
          const preview = LiteGraph.createNode("PreviewAny");
          preview.pos = [1000, 0];
          app.graph.add(preview);
          apply.connect(3, preview, 0);
        }"""
    )
    comfy.page.evaluate("() => app.queuePrompt(0, 1)")


def close_what_failed(comfy: ComfyPage) -> None:
    """Closes ComfyUI's own dialog about the run, and the toasts."""
    dialogs = comfy.page.get_by_role("dialog")
    while dialogs.count():
        comfy.page.keyboard.press("Escape")
        try:
            expect(dialogs).to_have_count(0, timeout=3_000)
        except AssertionError:
            comfy.screenshot("dialog-that-stays")
    comfy.page.evaluate("() => app.extensionManager.toast.dismissAll?.()")
    toasts = comfy.page.locator(TOAST)
    # Clicked in the page, because a toast may go by itself, or with another one, before the mouse is there.
    toasts.get_by_role("button", name="Close").evaluate_all("(all) => all.forEach((each) => each.click())")
    expect(toasts).to_have_count(0)


@pytest.fixture(autouse=True)
def as_before(comfy: ComfyPage) -> Iterator[None]:
    yield
    close_what_failed(comfy)


def test_a_lora_of_another_architecture_is_named(comfy: ComfyPage, stage: ShowcaseStage) -> None:
    comfy.load([{"model": stage.styles[0].air, "weight": 0.5}, {"model": stage.foreign_air, "weight": 0.5}])
    expect(comfy.row(1).get_by_test_id("row-name")).to_contain_text("Watercolour for SDXL")
    run(comfy)
    toast = comfy.page.locator(TOAST, has_text="LoRA 2 (lora[1]): Watercolour for SDXL")
    expect(toast).to_be_visible(timeout=60_000)
    expect(toast).to_contain_text("was trained for SDXL, but the loaded checkpoint is SD 3")
    comfy.screenshot("toast-wrong-architecture")
    expect(comfy.page.locator(TOAST, has_text="LoRA 1")).to_have_count(0)
    expect(comfy.row(1)).to_have_class("air-lora-row air-lora-failed")
    expect(comfy.row(0)).to_have_class("air-lora-row")


def test_a_lora_that_is_nowhere_is_named_and_the_mark_goes_with_the_next_run(comfy: ComfyPage) -> None:
    comfy.load([{"model": MISSING, "weight": 0.5}])
    run(comfy)
    toast = comfy.page.locator(TOAST, has_text="LoRA 1 (lora[0]): no-file-of-this-name")
    expect(toast).to_be_visible(timeout=60_000)
    comfy.screenshot("toast-not-found")
    expect(comfy.row(0)).to_have_class("air-lora-row air-lora-failed")
    expect(comfy.row(0).get_by_test_id("row-state")).to_have_attribute("data-state", "fault")
    close_what_failed(comfy)

    comfy.row(0).get_by_test_id("row-toggle").click()
    comfy.page.evaluate("() => app.queuePrompt(0, 1)")
    expect(comfy.row(0)).not_to_have_class(re.compile("air-lora-failed"), timeout=60_000)


def test_what_is_rejected_before_the_run_is_named_too(comfy: ComfyPage) -> None:
    """ComfyUI's own message says only that an input is invalid."""
    comfy.load('[{"model": "local:a.safetensors", "weight": 9}]')
    run(comfy)
    toast = comfy.page.locator(TOAST, has_text="LoRA 1 (lora[0])")
    expect(toast).to_be_visible(timeout=60_000)
    expect(toast).to_contain_text("9 is out of range")
    comfy.screenshot("toast-rejected")
    # ComfyUI reports the same error in the console. It goes through our function, which passes it on.
    comfy.errors[:] = [each for each in comfy.errors if "PromptExecutionError" not in each]
