"""ComfyUI's page with our node, with one method for each user action."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import ConsoleMessage, Locator, Page

    Entry = dict[str, Any]

OURS = "/extensions/air-lora/"

# In the page: ends when four frames in a row have shown the canvas, nodes, and rows in the same places.
STILL = """async () => {
  const places = () => JSON.stringify([
    [...app.canvas.ds.offset, app.canvas.ds.scale],
    app.graph.nodes.map((node) => [...node.pos, ...node.size]),
    [...document.querySelectorAll(".air-lora")].map((each) => each.getBoundingClientRect()),
  ]);
  const end = performance.now() + 20_000;
  let [before, same] = ["", 0];
  while (same < 4 && performance.now() < end) {
    await new Promise(requestAnimationFrame);
    const now = places();
    [before, same] = [now, now === before ? same + 1 : 0];
  }
}"""
# In the page: notes when ComfyUI has gone to another step, because it loads that step's graph asynchronously.
WATCH_STEP = """() => {
  const tracker = app.extensionManager.workflow.activeWorkflow.changeTracker;
  window.isStepLoaded = false;
  tracker.updateState = async (...queues) => {
    delete tracker.updateState;
    await tracker.updateState(...queues);
    window.isStepLoaded = true;
  };
}"""


class ComfyPage:
    """One page in one browser. `errors` contains the console errors from our files since `start_over`."""

    def __init__(self, page: Page, url: str, screenshots: Path) -> None:
        self.page = page
        self.errors: list[str] = []
        self.url = url
        self._screenshots = screenshots
        screenshots.mkdir(parents=True, exist_ok=True)
        page.on("console", self._on_console)
        page.on("pageerror", self._on_page_error)

    def open(self, path: str = "") -> None:
        """Loads or reloads the page, and waits for the graph."""
        self.page.goto(self.url + path)
        self.page.wait_for_function(
            "() => Boolean(window.app?.graph && LiteGraph.registered_node_types.AirLoraApply)"
        )
        self.page.wait_for_function(
            "() => document.querySelector('.p-blockui-mask, #splash-loader') === null"
        )

    def start_over(self) -> None:
        self.page.keyboard.press("Escape")
        self.page.evaluate("() => app.graph.clear()")
        self.errors.clear()

    def load(self, entries: list[Entry] | str) -> None:
        """Loads a graph of a checkpoint and the node, with this array."""
        text = entries if isinstance(entries, str) else json.dumps(entries)
        self.page.evaluate("(workflow) => app.loadGraphData(workflow)", workflow_with(text))
        self.page.get_by_test_id("widget").wait_for()
        self.show()

    def show(self, zoom: float = 1) -> None:
        """Moves the canvas so that the whole node is visible."""
        self.page.evaluate(
            "(zoom) => { const [x, y] = [0, 1].map((axis) => Math.min(...app.graph.nodes.map((n) => n.pos[axis])));"
            "Object.assign(app.canvas.ds, { scale: zoom, offset: [60 - x, 120 - y] });"
            "app.canvas.setDirty(true, true) }",
            zoom,
        )
        self.wait_until_still()

    def wait_until_still(self) -> None:
        """Waits until the page has drawn what changed. Counts frames, which a busy machine makes slowly."""
        self.page.evaluate(STILL)

    def undo(self) -> None:
        """Presses Control+Z, and waits until the graph of the step before is loaded."""
        self._go_to_step("Control+z")

    def redo(self) -> None:
        """Presses Control+Y, and waits until the graph of the step after is loaded."""
        self._go_to_step("Control+y")

    def _go_to_step(self, key: str) -> None:
        self.page.evaluate(WATCH_STEP)
        self.page.keyboard.press(key)
        self.page.wait_for_function("() => window.isStepLoaded")
        self.wait_until_still()

    @property
    def rows(self) -> Locator:
        return self.page.get_by_test_id("row")

    def row(self, index: int) -> Locator:
        return self.rows.nth(index)

    def weight(self, index: int) -> Locator:
        return self.row(index).get_by_test_id("row-weight")

    def choose(self, index: int, item: str) -> None:
        """Chooses an item of a row's menu by its text."""
        self.row(index).get_by_test_id("row-menu").click()
        self.page.get_by_role("menuitem", name=item, exact=True).click()

    def paste(self, text: str) -> None:
        """Pastes into the add panel."""
        self.page.get_by_test_id("add").click()
        self.page.evaluate("(text) => navigator.clipboard.writeText(text)", text)
        self.page.get_by_test_id("add-input").press("Control+v")

    @property
    def array(self) -> list[Entry]:
        """The array in a saved workflow."""
        entries: list[Entry] = json.loads(
            self.page.evaluate(
                "() => app.graph.serialize().nodes.find((node) => node.type === 'AirLoraApply').widgets_values[0]"
            )
        )
        return entries

    @property
    def exported(self) -> list[Entry]:
        """The array in the API export."""
        entries: list[Entry] = json.loads(
            self.page.evaluate(
                "async () => Object.values((await app.graphToPrompt()).output)"
                ".find((node) => node.class_type === 'AirLoraApply').inputs.lora"
            )
        )
        return entries

    def screenshot(self, name: str) -> None:
        """Saves a screenshot to .runtime/screenshots, if AIR_LORA_DEV_SCREENSHOTS=1."""
        if os.environ.get("AIR_LORA_DEV_SCREENSHOTS"):
            self.page.screenshot(path=self._screenshots / f"{name}.png")

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and (OURS in message.location.get("url", "") or OURS in message.text):
            self.errors.append(message.text)

    def _on_page_error(self, error: Any) -> None:
        if OURS in (error.stack or ""):
            self.errors.append(error.stack)


def workflow_with(lora: str) -> dict[str, Any]:
    """A workflow in the page's own format: Load Checkpoint → Apply LoRA Array."""
    outputs = [("MODEL", "MODEL", [1]), ("CLIP", "CLIP", [2]), ("VAE", "VAE", [])]
    return {
        "last_node_id": 2,
        "last_link_id": 2,
        "nodes": [
            {
                "id": 1,
                "type": "CheckpointLoaderSimple",
                "pos": [0, 0],
                "size": [330, 100],
                "flags": {},
                "order": 0,
                "mode": 0,
                "inputs": [],
                "properties": {},
                "outputs": [{"name": name, "type": kind, "links": links} for name, kind, links in outputs],
                "widgets_values": ["tiny-showcase-all.ckpt"],
            },
            {
                "id": 2,
                "type": "AirLoraApply",
                "pos": [400, 0],
                "size": [500, 420],
                "flags": {},
                "order": 1,
                "mode": 0,
                "outputs": [],
                "properties": {},
                "inputs": [
                    {"name": "model", "type": "MODEL", "link": 1},
                    {"name": "clip", "type": "CLIP", "link": 2},
                ],
                "widgets_values": [lora, "error", "both"],
            },
        ],
        "links": [[1, 1, 0, 2, 0, "MODEL"], [2, 1, 1, 2, 1, "CLIP"]],
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }
