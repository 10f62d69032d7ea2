"""A sweep with two axes in the real page: its node shows the progress, and the sheet is a table."""

from __future__ import annotations

import io
import itertools
import json
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from playwright.sync_api import expect

from tools.graphs import TextToImage

if TYPE_CHECKING:
    from tests.browser.comfy_page import ComfyPage
    from tests.browser.many_states import BrowserStage

pytestmark = [pytest.mark.integration, pytest.mark.browser]

_WATCH = """() => {
  window.sweepSaid = [];
  app.api.addEventListener("progress_state", ({ detail }) => {
    const node = Object.values(detail.nodes).find((each) => String(each.node_id) === "20");
    if (node) window.sweepSaid.push([node.value, node.max, node.state]);
  });
  app.api.addEventListener("progress_text", ({ detail }) => {
    if (String(detail.nodeId ?? detail.node_id) === "20") window.sweepSaid.push(detail.text);
  });
}"""


_SEEDS = itertools.count(500)


def table_workflow(stage: BrowserStage) -> dict[str, Any]:
    """A workflow in API format, with numeric IDs as in the page. None of it is in ComfyUI's cache."""
    names = {"checkpoint": "1", "apply": "2", "positive": "3", "negative": "4", "latent": "5"}
    names |= {"sampler": "6", "decode": "7", "save": "8", "report": "9"}
    graph = TextToImage(
        checkpoint="tiny-showcase-all.ckpt",
        prompt="a house",
        width=192,
        height=192,
        steps=2,
        seed=next(_SEEDS),
    )
    workflow = {
        names.get(key, key): {
            **node,
            "inputs": {
                name: [names.get(value[0], value[0]), value[1]] if isinstance(value, list) else value
                for name, value in node["inputs"].items()
            },
        }
        for key, node in graph.workflow().items()
    }
    entries = [{"model": style.air, "weight": 0.7} for style in stage.styles[:2]]
    workflow["20"] = {
        "class_type": "AirLoraSweep",
        "inputs": {
            "lora": json.dumps(entries),
            "entry": 1,
            "values": "0.3, 0.6, 1",
            "axis": "weight",
            "axis_2": "entries",
            "entry_2": 1,
            "values_2": "none, 1+2",
        },
    }
    workflow["2"]["inputs"]["lora"] = ["20", 0]
    workflow["21"] = {
        "class_type": "AirLoraGrid",
        "inputs": {"images": ["7", 0], "columns": 0, "labels": ["20", 1]},
    }
    workflow["22"] = {"class_type": "PreviewImage", "inputs": {"images": ["21", 0]}}
    return workflow


def test_a_sweep_says_how_far_it_is_and_ends_in_a_table(comfy: ComfyPage, stage: BrowserStage) -> None:
    comfy.page.evaluate("(workflow) => app.loadApiJson(workflow, 'table')", table_workflow(stage))
    comfy.page.evaluate(_WATCH)
    comfy.page.evaluate("() => { app.ui.autoQueueMode = 'disabled'; return app.queuePrompt(0) }")
    comfy.page.wait_for_function(
        "() => window.sweepSaid.some((each) => typeof each === 'string' && each.startsWith('Image 4 of 6: '))",
        timeout=60_000,
    )
    comfy.show(0.6)
    comfy.screenshot("sweep-under-way")
    comfy.page.wait_for_function("() => Boolean(app.nodeOutputs['22']?.images?.length)", timeout=60_000)
    said = comfy.page.evaluate("() => window.sweepSaid")
    texts = list(dict.fromkeys(each for each in said if isinstance(each, str)))
    name = stage.styles[0].name
    assert texts[:3] == [
        f"Image {number} of 6: {name} {weight} none" for number, weight in ((1, "0.3"), (2, "0.6"), (3, "1"))
    ]
    assert texts[6:] == ["6 images"]
    assert [3, 6, "running"] in said
    (image,) = comfy.page.evaluate("() => app.nodeOutputs['22'].images")
    query = f"filename={image['filename']}&subfolder={image['subfolder']}&type={image['type']}"
    with urllib.request.urlopen(f"{comfy.url}/view?{query}", timeout=30) as answer:
        sheet = Image.open(io.BytesIO(answer.read()))
    assert sheet.width > 3 * 192
    assert sheet.height < 3 * 192
    comfy.show(0.6)
    comfy.screenshot("sweep-table")
    expect(comfy.page.get_by_test_id("widget").first).to_be_visible()
