"""A picture that ComfyUI saved restores its rows when it is dropped on the canvas, or on another node's rows."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import expect

from tests.browser.many_states import LOCAL
from tools.graphs import TextToImage

if TYPE_CHECKING:
    from playwright.sync_api import JSHandle

    from tests.browser.comfy_page import ComfyPage
    from tests.browser.many_states import BrowserStage

pytestmark = [pytest.mark.integration, pytest.mark.browser]


@pytest.fixture
def entries(stage: BrowserStage) -> list[dict[str, Any]]:
    return [
        {"model": LOCAL, "weight": 0.6, "clip_weight": 0.25},
        {"model": stage.styles[0].air, "weight": 0.4, "enabled": False},
    ]


def saved_picture(comfy: ComfyPage) -> bytes:
    """The file that Save Image writes when the page runs a whole graph with the displayed rows."""
    graph = TextToImage(
        checkpoint="tiny-showcase-all.ckpt", prompt="a red house", lora="[]", width=64, height=64, steps=1
    ).workflow()
    rest = {name: node for name, node in graph.items() if name not in ("checkpoint", "apply", "report")}
    before = comfy.page.evaluate("async () => Object.keys(await (await fetch('/history')).json())")
    comfy.page.evaluate(
        """async (rest) => {
          const made = { checkpoint: "CheckpointLoaderSimple", apply: "AirLoraApply" };
          for (const [name, type] of Object.entries(made)) {
            made[name] = app.graph.nodes.find((node) => node.type === type);
          }
          for (const [name, { class_type }] of Object.entries(rest)) {
            made[name] = LiteGraph.createNode(class_type);
            app.graph.add(made[name]);
            made[name].pos = [1000, 200 * Object.keys(made).length];
          }
          for (const [name, { inputs }] of Object.entries(rest)) {
            for (const [key, value] of Object.entries(inputs)) {
              if (Array.isArray(value)) {
                made[value[0]].connect(value[1], made[name], made[name].inputs.findIndex((each) => each.name === key));
              } else {
                made[name].widgets.find((widget) => widget.name === key).value = value;
              }
            }
          }
          await app.queuePrompt(0, 1);
        }""",
        rest,
    )
    image = comfy.page.evaluate(
        """async ([before, tries]) => {
          for (let each = 0; each < tries; each += 1) {
            const runs = Object.entries(await (await fetch("/history")).json()).filter(([id]) => !before.includes(id));
            const outputs = runs.flatMap(([, run]) => Object.values(run.outputs));
            const image = outputs.flatMap((output) => output.images ?? [])[0];
            if (image) {
              return image;
            }
            if (runs.some(([, run]) => run.status?.completed === false)) {
              throw new Error(JSON.stringify(runs));
            }
            await new Promise((done) => setTimeout(done, 200));
          }
          throw new Error("no picture was saved");
        }""",
        [before, 600],
    )
    content = comfy.page.evaluate(
        """async (image) => {
          const bytes = new Uint8Array(await (await fetch("/view?" + new URLSearchParams(image))).arrayBuffer());
          return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
        }""",
        image,
    )
    return base64.b64decode(content)


def carried(comfy: ComfyPage, content: bytes) -> JSHandle:
    """The file in the form of a drag-and-drop transfer."""
    return comfy.page.evaluate_handle(
        "(content) => { const carried = new DataTransfer();"
        "const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));"
        "carried.items.add(new File([bytes], 'picture.png', { type: 'image/png' })); return carried }",
        base64.b64encode(content).decode(),
    )


def test_a_saved_picture_brings_its_rows_back(comfy: ComfyPage, entries: list[dict[str, Any]]) -> None:
    comfy.load(entries)
    expect(comfy.rows).to_have_count(2)
    content = saved_picture(comfy)

    comfy.start_over()
    expect(comfy.rows).to_have_count(0)
    picture = carried(comfy, content)
    comfy.page.locator("#graph-canvas").dispatch_event("drop", {"dataTransfer": picture})
    expect(comfy.rows).to_have_count(2)
    assert comfy.array == comfy.exported == entries
    assert comfy.page.evaluate("() => app.graph.nodes.some((node) => node.type === 'KSampler')")
    comfy.show()
    expect(comfy.weight(0)).to_have_value("0.60")
    expect(comfy.row(1).get_by_test_id("row-toggle")).not_to_be_checked()
    comfy.screenshot("dragged-picture")

    comfy.load("[]")
    expect(comfy.rows).to_have_count(0)
    widget = comfy.page.get_by_test_id("widget")
    widget.dispatch_event("dragover", {"dataTransfer": picture})
    widget.dispatch_event("drop", {"dataTransfer": picture})
    expect(comfy.rows).to_have_count(2)
    assert comfy.array == entries


def test_a_picture_of_a_program_adds_no_nodes_that_only_name_loras_for_a_site(
    comfy: ComfyPage, entries: list[dict[str, Any]]
) -> None:
    """It has no workflow, so the page makes a graph from its prompt."""
    comfy.load(entries)
    content = saved_picture(comfy)
    image = Image.open(io.BytesIO(content))
    prompt = json.loads(image.text["prompt"])
    assert any(node["class_type"] == "LoraLoader" for node in prompt.values())
    only = PngInfo()
    only.add_text("prompt", json.dumps(prompt))
    image.save(file := io.BytesIO(), "PNG", pnginfo=only)

    comfy.start_over()
    picture = carried(comfy, file.getvalue())
    comfy.page.locator("#graph-canvas").dispatch_event("drop", {"dataTransfer": picture})
    expect(comfy.rows).to_have_count(2)
    assert (
        comfy.page.evaluate("() => app.graph.nodes.filter((node) => node.type === 'LoraLoader').length") == 0
    )
