"""The page at the address that `make serve` prints: the first run makes a picture, and the rows change it."""

from __future__ import annotations

import hashlib
import io
import json
import re
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.test_toasts import close_what_failed
from tools.stage import WORKFLOW

if TYPE_CHECKING:
    from tests.browser.comfy_page import ComfyPage
    from tests.browser.many_states import BrowserStage

pytestmark = [pytest.mark.integration, pytest.mark.browser]

RUN_MILLISECONDS = 180_000
STICKER, BLUEPRINT, FOREIGN, ADDED = range(4)
# In the page: the file of the last picture by Save Image, as soon as its node shows it.
SHOWN = """() => {
  const node = app.graph.nodes.find((each) => each.type === "SaveImage");
  const shown = [...(node?.imgs ?? []), ...document.querySelectorAll(`[data-node-id="${node?.id}"] img`)];
  const source = shown.find((each) => each.naturalWidth === 384)?.src;
  return source ? new URL(source).searchParams.get("filename") : null;
}"""


class Runs:
    """Runs the workflow and examines the resulting picture."""

    def __init__(self, comfy: ComfyPage) -> None:
        self.comfy = comfy

    def press(self) -> None:
        self.comfy.page.get_by_role("button", name="Run", exact=True).first.click()

    def picture(self) -> str:
        """SHA-256 of the pixels of the picture that is new after this run."""
        page = self.comfy.page
        before = page.evaluate(SHOWN)
        self.press()
        page.wait_for_function(
            f"(before) => {{ const now = ({SHOWN})(); return now !== null && now !== before }}",
            arg=before,
            timeout=RUN_MILLISECONDS,
        )
        answer = page.request.get(f"{self.comfy.url}/view?type=output&filename={page.evaluate(SHOWN)}")
        return hashlib.sha256(Image.open(io.BytesIO(answer.body())).convert("RGB").tobytes()).hexdigest()


def test_the_printed_address_opens_a_workflow_that_runs(comfy: ComfyPage, stage: BrowserStage) -> None:
    comfy.open(stage.page)
    expect(comfy.rows).to_have_count(3)
    expect(comfy.row(STICKER).get_by_test_id("row-name")).to_have_text("Sticker")
    expect(comfy.row(STICKER).get_by_test_id("row-badge")).to_have_attribute("data-fits", "yes")
    comfy.screenshot("first-minute")
    few_steps(comfy)
    runs = Runs(comfy)
    sticker = runs.picture()
    comfy.screenshot("first-picture")

    comfy.weight(STICKER).click()
    comfy.page.keyboard.type("0.3")
    comfy.page.keyboard.press("Enter")
    weaker = runs.picture()
    comfy.row(STICKER).get_by_test_id("row-toggle").click()
    none = runs.picture()
    assert len({sticker, weaker, none}) == 3


def test_a_style_that_is_found_is_fetched_and_runs(comfy: ComfyPage) -> None:
    load_showcase(comfy)
    comfy.page.get_by_test_id("add").click()
    comfy.page.get_by_test_id("add-input").fill("neon")
    # At CivitAI, or on this disk if an earlier run has downloaded it.
    found = comfy.page.get_by_test_id("found").filter(has_text="Neon")
    expect(found).to_have_count(1)
    found.click()
    comfy.page.get_by_test_id("dialog-close").click()
    expect(comfy.row(ADDED).get_by_test_id("row-name")).to_have_text("Neon")
    comfy.row(STICKER).get_by_test_id("row-toggle").click()
    comfy.show()
    few_steps(comfy)
    assert Runs(comfy).picture()
    expect(comfy.row(ADDED).get_by_test_id("row-state")).to_have_text("on disk")


def test_a_style_of_another_architecture_is_red_and_then_an_error(comfy: ComfyPage) -> None:
    load_showcase(comfy)
    badge = comfy.row(FOREIGN).get_by_test_id("row-badge")
    expect(badge).to_have_attribute("data-fits", "no")
    expect(badge).to_have_attribute(
        "title", "Incompatible: It was trained for SDXL, but the checkpoint is SD 3."
    )
    comfy.row(FOREIGN).get_by_test_id("row-toggle").click()
    expect(comfy.row(FOREIGN).get_by_test_id("row-state")).to_have_text("incompatible")
    Runs(comfy).press()
    expect(comfy.row(FOREIGN)).to_have_class("air-lora-row air-lora-failed", timeout=RUN_MILLISECONDS)
    expect(comfy.row(FOREIGN).get_by_test_id("row-state")).to_have_attribute(
        "title", re.compile("trained for SDXL")
    )
    expect(comfy.row(FOREIGN).get_by_test_id("row-progress")).to_be_hidden()
    comfy.screenshot("first-error")
    close_what_failed(comfy)


def load_showcase(comfy: ComfyPage) -> None:
    comfy.page.evaluate("(workflow) => app.loadGraphData(workflow)", json.loads(WORKFLOW.read_bytes()))
    comfy.page.get_by_test_id("widget").wait_for()
    comfy.show()


def few_steps(comfy: ComfyPage) -> None:
    """Two steps are enough to see whether a picture changes."""
    comfy.page.evaluate(
        "() => { app.graph.nodes.find((node) => node.type === 'KSampler')"
        ".widgets.find((widget) => widget.name === 'steps').value = 2 }"
    )
