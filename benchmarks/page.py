"""The rows in the page: a keystroke among fifty rows, and the add panel, in both renderers of the newest front end.

Measured in the page, including the layout: from the event to the moment when it could be painted.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

from benchmarks.results import BenchmarkResult, lower_is_better
from tests.browser.comfy_page import ComfyPage
from tools.browser import ARGUMENTS, FRONT_ENDS, ensure_browser, ensure_front_end, installed_browser
from tools.comfy_client import ComfyClient
from tools.comfy_process import ComfyProcess
from tools.runtime import RUNTIME, Comfyui
from tools.stage import ShowcaseStage

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROWS = 50
RUNS = 30
KEY_LIMIT_MS = 16
PANEL_LIMIT_MS = 100

KEYS = """(runs) => {
  const fields = document.querySelectorAll("[data-air-lora=row-weight]");
  const widget = document.querySelector("[data-air-lora=widget]");
  return Array.from({ length: runs }, (_, run) => {
    const field = fields[run % fields.length];
    field.focus();
    const start = performance.now();
    field.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowUp", bubbles: true, cancelable: true }));
    widget.getBoundingClientRect();
    return performance.now() - start;
  });
}"""
PANELS = """async (runs) => {
  const times = [];
  for (let run = 0; run < runs; run += 1) {
    const start = performance.now();
    document.querySelector("[data-air-lora=add]").click();
    const dialog = document.querySelector("dialog.air-lora-dialog[open]");
    dialog.getBoundingClientRect();
    times.push(performance.now() - start);
    dialog.close();
    await new Promise((done) => setTimeout(done, 100));
  }
  return times;
}"""


def run() -> list[BenchmarkResult]:
    """Returns two rows for each renderer."""
    ensure_browser()
    newest = FRONT_ENDS[-1]
    results = []
    with tempfile.TemporaryDirectory() as name, ShowcaseStage(Path(name)) as stage:
        comfyui = Comfyui(
            Path(os.environ["AIR_LORA_DEV_COMFYUI"]), Path(os.environ["AIR_LORA_DEV_PYTHON"]), own=True
        )
        arguments = ("--front-end-root", str(ensure_front_end(newest)))
        with (
            ComfyProcess(comfyui, stage.base, environment=stage.environment, arguments=arguments) as process,
            sync_playwright() as playwright,
        ):
            playwright.selectors.set_test_id_attribute("data-air-lora")
            browser = playwright.chromium.launch(executable_path=installed_browser(), args=ARGUMENTS)
            for renderer, is_vue in (("canvas", False), ("Nodes 2.0", True)):
                settings: dict[str, Any] = {"Comfy.TutorialCompleted": True, "Comfy.VueNodes.Enabled": is_vue}
                ComfyClient(process.url).post("/settings", settings)
                page = browser.new_page(viewport={"width": 1500, "height": 900})
                keys, panels = _measure(page, process.url)
                page.close()
                what = f"page, front end {newest}, {renderer}"
                results += [
                    lower_is_better(
                        f"{what}: a key among {ROWS} rows", keys, [KEY_LIMIT_MS] * RUNS, "limit", "ms"
                    ),
                    lower_is_better(
                        f"{what}: the add panel opens", panels, [PANEL_LIMIT_MS] * RUNS, "limit", "ms"
                    ),
                ]
            browser.close()
    return results


def _measure(page: Page, url: str) -> tuple[list[float], list[float]]:
    comfy = ComfyPage(page, url, RUNTIME / "screenshots" / "benchmark")
    comfy.open()
    comfy.load(
        json.dumps([{"model": f"civitai:{number}@{number}", "weight": 0.5} for number in range(1, ROWS + 1)])
    )
    page.wait_for_timeout(3000)  # until the rows are filled in
    return page.evaluate(KEYS, RUNS), page.evaluate(PANELS, RUNS)
