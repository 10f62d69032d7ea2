"""`make pictures`: makes docs/pictures/ again, with the real ComfyUI and its real page, on the showcase.

strip.png                no LoRA, one style, another, both, one at half its weight
workflow.png             the page that `make serve` opens, after one press of Run
rows.png                 the row editor
search.png               the panel that adds LoRAs
progress.png             a download in progress
wrong-architecture.png   a run with a LoRA of another architecture
settings.png             the settings

It also makes the pictures of the example workflows (see thumbnails); `ARGS=thumbnails` makes only those.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

from PIL import Image
from playwright.sync_api import expect, sync_playwright

from tools.browser import ARGUMENTS, FRONT_ENDS, ensure_front_end, installed_browser
from tools.comfy_client import ComfyClient
from tools.comfy_process import ComfyProcess
from tools.contact_sheet import Panel, contact_sheet
from tools.demo import Shot, take
from tools.holding_server import HoldingCivitai
from tools.runtime import ROOT, RUNTIME, SetupError, comfyui_in_use, end_well_when_terminated, say
from tools.stage import WORKFLOW, ShowcaseStage, showcase_picture
from tools.thumbnails import example_loras, make_thumbnails, place_models

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from playwright.sync_api import Locator, Page

    from tools.civitai_server import CatalogueEntry

    Entry = dict[str, Any]

OUTPUT = ROOT / "docs" / "pictures"
MOST_BYTES = 300_000
VIEWPORT = {"width": 1280, "height": 700}
SHARPNESS = 1.5
RUN_MILLISECONDS = 180_000
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Locale": "en",
    "Comfy.Workflow.Persist": False,
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.NodeBadge.NodeSourceBadgeMode": "None",
}
PICTURE_IS_SHOWN = """() => {
  const node = app.graph.nodes.find((each) => each.type === "SaveImage");
  return Boolean(node?.imgs?.some((each) => each.naturalWidth > 0));
}"""
# In the page: the position on the screen of the node with the rows.
NODE_ON_SCREEN = """() => {
  const node = app.graph.nodes.find((each) => each.type === "AirLoraApply");
  const [x, y, width, height] = node.getBounding();
  const { scale, offset } = app.canvas.ds;
  const canvas = app.canvas.canvas.getBoundingClientRect();
  return {
    x: (x + offset[0]) * scale + canvas.x, y: (y + offset[1]) * scale + canvas.y,
    width: width * scale, height: height * scale,
  };
}"""


class PicturesStage(ShowcaseStage):
    """The showcase, with downloads that can be paused halfway."""

    _server: HoldingCivitai

    def __init__(self, base: Path) -> None:
        super().__init__(base, HoldingCivitai)

    def _catalogue(self) -> list[CatalogueEntry]:
        return [*super()._catalogue(), *example_loras(self.base / "served")]

    def hold_downloads(self) -> None:
        self._server.go_on.clear()

    def let_downloads_go_on(self) -> None:
        self._server.go_on.set()


def main() -> int:
    """Makes all pictures."""
    end_well_when_terminated()
    base = RUNTIME / "pictures"
    shutil.rmtree(base, ignore_errors=True)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    try:
        front_end = ("--front-end-root", str(ensure_front_end(FRONT_ENDS[-1])))
        with PicturesStage(base) as stage:
            (base / "user" / "default" / "comfy.settings.json").write_text(json.dumps(SETTINGS))
            place_models(base / "models")
            with ComfyProcess(
                comfyui_in_use(), base, environment=stage.environment, arguments=front_end
            ) as process:
                if sys.argv[1:] != ["thumbnails"]:
                    photograph(process.url, stage)
                    make_strip(ComfyClient(process.url), stage)
                make_thumbnails(process.url, stage)
    except SetupError as error:
        say(f"\n{error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def make_strip(client: ComfyClient, stage: ShowcaseStage) -> None:
    air = {style.file_stem: style.air for style in stage.styles}
    sticker, blueprint = air["tiny_sticker"], air["tiny_blueprint"]
    shots = [
        Shot("no LoRA", []),
        Shot("sticker 1.0", [{"model": sticker, "weight": 1.0}]),
        Shot("blueprint 1.0", [{"model": blueprint, "weight": 1.0}]),
        Shot("both at 0.6", [{"model": sticker, "weight": 0.6}, {"model": blueprint, "weight": 0.6}]),
        Shot("half: sticker 0.5", [{"model": sticker, "weight": 0.5}]),
    ]
    graph = showcase_picture()
    panels = [Panel(taken.picture, taken.shot.label) for taken in take(client, graph, shots)]
    title = f"{graph.prompt}, seed {graph.seed} (48 x 48 pixels)"
    sheet = contact_sheet(title, panels, columns=len(panels), cell=240, grain=8)
    unused = 22  # the height of the notes below the labels; these panels have none
    save("strip", sheet.crop((0, 0, sheet.width, sheet.height - unused)))


def photograph(url: str, stage: PicturesStage) -> None:
    """Makes the pictures of the page."""
    with sync_playwright() as playwright:
        playwright.selectors.set_test_id_attribute("data-air-lora")
        browser = playwright.chromium.launch(executable_path=installed_browser(), args=ARGUMENTS)
        page = browser.new_page(viewport=VIEWPORT, device_scale_factor=SHARPNESS, color_scheme="dark")
        page.set_default_timeout(60_000)
        page.goto(url + stage.page)
        expect(rows(page)).to_have_count(3, timeout=60_000)
        expect(badge(page, 0)).to_have_attribute("data-fits", "yes")
        photograph_download(page, stage)
        photograph_workflow(page, url + stage.page)
        photograph_rows(page, stage)
        photograph_search(page)
        photograph_settings(page)
        photograph_error(page)
        browser.close()


def photograph_download(page: Page, stage: PicturesStage) -> None:
    sticker, *_, blueprint = stage.styles
    load(page, [{"model": sticker.air, "weight": 0.8}, {"model": blueprint.air, "weight": 0.6}])
    for number in range(2):
        expect(badge(page, number)).to_have_attribute("data-fits", "yes")
    thumbnails_are_shown(page, 2)
    stage.hold_downloads()
    for number in range(2):
        rows(page).nth(number).get_by_test_id("row-menu").click()
        page.get_by_role("menuitem", name="Download now", exact=True).click()
        expect(rows(page).nth(number).get_by_test_id("row-progress")).to_be_visible()
    save_node(page, "progress")
    stage.let_downloads_go_on()
    for number in range(2):
        expect(rows(page).nth(number).get_by_test_id("row-state")).to_have_text("on disk")


def photograph_workflow(page: Page, address: str) -> None:
    page.goto(address)
    expect(badge(page, 2)).to_have_attribute("data-fits", "no", timeout=60_000)
    run(page)
    page.wait_for_function(PICTURE_IS_SHOWN, timeout=RUN_MILLISECONDS)
    page.wait_for_timeout(1500)  # until the progress and its notification have disappeared
    save("workflow", screenshot(page))


def photograph_rows(page: Page, stage: ShowcaseStage) -> None:
    air = {style.file_stem: style.air for style in stage.styles}
    load(
        page,
        [
            {"model": air["tiny_sticker"], "weight": 0.6},
            {"model": air["tiny_blueprint"], "weight": 0.6, "clip_weight": 0.3},
            {"model": air["tiny_neon"], "weight": 0.4, "enabled": False},
            {"model": stage.foreign_air, "weight": 0.75},
            {"model": "runware:100@1", "weight": 0.5},
        ],
    )
    expect(badge(page, 3)).to_have_attribute("data-fits", "no")
    expect(rows(page).nth(4).get_by_test_id("row-state")).to_have_text("hosted only")
    thumbnails_are_shown(page, 3)
    save_node(page, "rows")


def photograph_search(page: Page) -> None:
    page.get_by_test_id("add").click()
    expect(page.get_by_test_id("found-civitai").get_by_test_id("found")).to_have_count(3)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.air-lora-card img')].filter((each) => each.naturalWidth).length >= 5"
    )
    save("search", of(page.get_by_role("dialog").last))
    page.get_by_test_id("dialog-close").click()


def photograph_settings(page: Page) -> None:
    page.evaluate("() => app.extensionManager.command.execute('Comfy.ShowSettingsDialog')")
    dialog = page.get_by_role("dialog").last
    dialog.get_by_text("AIR LoRA", exact=True).first.click()
    dialog.get_by_test_id("setting-civitai").wait_for()
    page.wait_for_timeout(500)  # the dialog's animation
    save("settings", of(dialog))
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def photograph_error(page: Page) -> None:
    page.evaluate("(workflow) => app.loadGraphData(workflow)", json.loads(WORKFLOW.read_bytes()))
    show_node(page, 90, 140)
    rows(page).nth(2).get_by_test_id("row-toggle").click()
    expect(rows(page).nth(2).get_by_test_id("row-state")).to_have_text("incompatible")
    run(page)
    expect(rows(page).nth(2)).to_have_class("air-lora-row air-lora-failed", timeout=RUN_MILLISECONDS)
    page.wait_for_timeout(1000)  # until the slide-in animation has ended
    save("wrong-architecture", screenshot(page, clip={"x": 62, "y": 42, "width": 1218, "height": 470}))


def rows(page: Page) -> Locator:
    return page.get_by_test_id("row")


def badge(page: Page, index: int) -> Locator:
    return rows(page).nth(index).get_by_test_id("row-badge")


def run(page: Page) -> None:
    page.get_by_role("button", name="Run", exact=True).first.click()


def thumbnails_are_shown(page: Page, count: int) -> None:
    page.wait_for_function(
        "(count) => [...document.querySelectorAll('.air-lora-thumb img')].filter((each) => each.naturalWidth)"
        ".length === count",
        arg=count,
    )


def load(page: Page, entries: Sequence[Entry]) -> None:
    """Loads a workflow with the showcase's checkpoint and a node with these rows."""
    workflow = json.loads(WORKFLOW.read_bytes())
    loader, node = (each for each in workflow["nodes"] if each["id"] in (1, 2))
    kept = [link for link in workflow["links"] if (link[1], link[3]) == (loader["id"], node["id"])]
    for output in (*loader["outputs"], *node["outputs"]):
        output["links"] = [link[0] for link in kept if link[0] in output["links"]]
    node["widgets_values"][0] = json.dumps(entries)
    node["size"] = [460, 194 + 51 * len(entries)]
    page.evaluate(
        "(workflow) => app.loadGraphData(workflow)", {**workflow, "nodes": [loader, node], "links": kept}
    )
    expect(rows(page)).to_have_count(len(entries))
    show_node(page)


def show_node(page: Page, x: float = 400, y: float = 150) -> None:
    page.evaluate(
        "([x, y]) => { const { pos } = app.graph.nodes.find((each) => each.type === 'AirLoraApply');"
        "Object.assign(app.canvas.ds, { scale: 1, offset: [x - pos[0], y - pos[1]] });"
        "app.canvas.setDirty(true, true) }",
        [x, y],
    )
    page.wait_for_timeout(500)  # one or two frames of the canvas


def save_node(page: Page, name: str) -> None:
    around = 12
    box = page.evaluate(NODE_ON_SCREEN)
    clip = {
        "x": box["x"] - around,
        "y": box["y"] - around,
        "width": box["width"] + 2 * around,
        "height": box["height"] + 2 * around,
    }
    save(name, screenshot(page, clip=clip))


def screenshot(page: Page, **options: Any) -> Image.Image:
    put_pointer_away(page)
    return Image.open(io.BytesIO(page.screenshot(**options)))


def of(element: Locator) -> Image.Image:
    put_pointer_away(element.page)
    return Image.open(io.BytesIO(element.screenshot()))


def put_pointer_away(page: Page) -> None:
    page.mouse.move(640, VIEWPORT["height"] - 5)
    page.wait_for_timeout(300)  # until hover effects have ended


def save(name: str, picture: Image.Image) -> None:
    """Saves a PNG, with fewer colours if it would be too large for the repository."""
    path = OUTPUT / f"{name}.png"
    picture = picture.convert("RGB")
    picture.save(path, optimize=True)
    if path.stat().st_size > MOST_BYTES:
        picture.quantize(255, dither=Image.Dither.NONE).save(path, optimize=True)
    say(f"  {path.relative_to(ROOT)}  {picture.width} × {picture.height}, {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    raise SystemExit(main())
