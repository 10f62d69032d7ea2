"""Pictures of the example workflows for ComfyUI's template browser: example_workflows/<name>.jpg.

`make pictures ARGS=thumbnails` makes only these. Most show the pack's nodes on the page when the workflow is opened.
Some show the result of their workflow on the showcase.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright
from safetensors.numpy import save_file

from tools.browser import ARGUMENTS, installed_browser
from tools.civitai_server import CatalogueEntry
from tools.comfy_client import ComfyClient
from tools.foreign_lora import write_sdxl_lora
from tools.runtime import ROOT, say
from tools.stage import showcase_picture

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from playwright.sync_api import Page

    from tools.stage import ShowcaseStage

EXAMPLES = ROOT / "example_workflows"
SIZE = (640, 400)
QUALITY = 85
VIEWPORT = {"width": 1500, "height": 1000}
SHARPNESS = 1.5
PAPER = (255, 255, 255)
# In the page: puts the upper part of the example's main node in the middle of the screen, as large as the width allows,
# because cards of the template browser are small. Returns the area to capture.
FRAME = """([width, height, room]) => {
  const ours = app.graph.nodes.filter((each) => each.type.startsWith("AirLora"));
  const node = ours.find((each) => each.type === "AirLoraRequest") ?? ours.find((each) => each.type === "AirLoraArray")
    ?? ours.find((each) => each.type === "AirLoraApply") ?? ours[0];
  const [left, upper, wide] = node.getBounding();
  const top = node.type === "AirLoraRequest" ? upper + node.widgets[0].y : upper; // what it reads
  const scale = width / (wide + 2 * room);
  const canvas = app.canvas.canvas.getBoundingClientRect();
  const corner = { x: (canvas.width - width) / 2, y: (canvas.height - height) / 2 };
  Object.assign(app.canvas.ds, { scale, offset: [corner.x / scale - left + room, corner.y / scale - top + room] });
  app.canvas.setDirty(true, true);
  return { x: canvas.x + corner.x, y: canvas.y + corner.y, width, height };
}"""
CLIP = (640, 400)
ROOM = 20
MODEL_FOLDERS = {
    "ckpt_name": "checkpoints",
    "unet_name": "diffusion_models",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "vae_name": "vae",
}

# The files that the examples name, on the local CivitAI: model, version, name, base model.
NAMED = (
    (120096, 135931, "Pixel Art XL", "SDXL 1.0"),
    (245889, 277389, "Second style", "SDXL 1.0"),
    (58390, 62833, "Detail Tweaker LoRA", "SD 1.5"),
    (652699, 993999, "Amateur Photography", "Flux.1 D"),
)
_MODULES = {
    "SD 1.5": ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 768, 320),
    "Flux.1 D": ("lora_unet_double_blocks_0_img_attn_qkv", 3072, 9216),
}


def example_loras(folder: Path) -> list[CatalogueEntry]:
    """Small LoRA files of the right families for the identifiers in the examples' arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for model, version, name, base_model in NAMED:
        file = folder / f"{model}.safetensors"
        if base_model in _MODULES:
            _write_lora(file, *_MODULES[base_model])
        else:
            write_sdxl_lora(file)
        entries.append(CatalogueEntry(model, version, name, file, base_model=base_model))
    return entries


def place_models(models: Path) -> None:
    """Creates files with the names in the examples' loaders, so that the page doesn't report missing models."""
    for file in (EXAMPLES / "api").glob("*.json"):
        for node in json.loads(file.read_bytes()).values():
            for name, folder in MODEL_FOLDERS.items():
                value = node["inputs"].get(name)
                if isinstance(value, str):
                    path = models / folder / value
                    path.parent.mkdir(parents=True, exist_ok=True)
                    save_file({"nothing": np.zeros(1, np.float16)}, path)


def _write_lora(path: Path, module: str, width_in: int, width_out: int) -> None:
    tensors = {
        f"{module}.lora_down.weight": np.full((4, width_in), 0.01, np.float16),
        f"{module}.lora_up.weight": np.full((width_out, 4), 0.01, np.float16),
        f"{module}.alpha": np.array(4, np.float16),
    }
    save_file(tensors, path)


def make_thumbnails(url: str, stage: ShowcaseStage) -> None:
    """Makes all pictures, with the ComfyUI at `url`."""
    results = results_on_the_showcase(ComfyClient(url), stage)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=installed_browser(), args=ARGUMENTS)
        page = browser.new_page(viewport=VIEWPORT, device_scale_factor=SHARPNESS, color_scheme="dark")
        page.set_default_timeout(60_000)
        page.goto(url)
        page.wait_for_function("() => window.app?.graph && app.extensionManager")
        page.wait_for_timeout(2000)
        for file in sorted(EXAMPLES.glob("*.json")):
            save(file.stem, results.get(file.stem) or photograph(page, json.loads(file.read_bytes())))
        browser.close()


def photograph(page: Page, workflow: Mapping[str, Any]) -> Image.Image:
    """A picture of our nodes in a workflow, as the page shows them."""
    page.evaluate("(workflow) => app.loadGraphData(workflow)", workflow)
    page.wait_for_timeout(1000)
    for dialog in page.get_by_role("dialog").all():
        if dialog.is_visible():
            page.keyboard.press("Escape")
    clip = page.evaluate(FRAME, [*CLIP, ROOM])
    page.wait_for_timeout(4000)  # until the rows are filled in
    return Image.open(io.BytesIO(page.screenshot(clip=clip)))


def results_on_the_showcase(client: ComfyClient, stage: ShowcaseStage) -> dict[str, Image.Image]:
    """The results of the sweep, the analysis, and the regions there: a sheet, a chart of strengths, and a picture."""
    air = {style.file_stem: style.air for style in stage.styles}
    array = json.dumps(
        [{"model": air["tiny_sticker"], "weight": 0.6}, {"model": air["tiny_neon"], "weight": 0.4}]
    )
    sweep = showcase_picture().workflow()
    del sweep["report"]
    sweep["values"] = {
        "class_type": "AirLoraSweep",
        "inputs": {
            "lora": json.dumps([{"model": air["tiny_sticker"]}]),
            "entry": 1,
            "values": "0, 0.4, 0.7, 1",
        },
    }
    sweep["apply"]["inputs"]["lora"] = ["values", 0]
    sweep["sheet"] = {
        "class_type": "AirLoraGrid",
        "inputs": {"images": ["decode", 0], "columns": 2, "labels": ["values", 1]},
    }
    sweep["save"]["inputs"]["images"] = ["sheet", 0]
    analysis = {
        "checkpoint": sweep["checkpoint"],
        "analyze": {
            "class_type": "AirLoraAnalyze",
            "inputs": {
                "model": ["checkpoint", 0],
                "clip": ["checkpoint", 1],
                "lora": array,
                "expert": "both",
            },
        },
        "save": {
            "class_type": "SaveImage",
            "inputs": {"images": ["analyze", 0], "filename_prefix": "analysis"},
        },
    }
    here = {
        "resolve": {"class_type": "AirLoraResolve", "inputs": {"identifier": air["tiny_sticker"]}},
        "show": {"class_type": "PreviewAny", "inputs": {"source": ["resolve", 0]}},
    }
    client.run(here)  # downloads the LoRA first, because labels use the name of a LoRA on the disk
    return {
        name: Image.open(io.BytesIO(client.image(client.run(workflow).image_references()[0])))
        for name, workflow in (
            ("weight-sweep", sweep),
            ("analyze-and-merge", analysis),
            ("two-regions", _two_regions(air["tiny_sticker"], air["tiny_neon"])),
        )
    }


def _two_regions(left: str, right: str) -> dict[str, Any]:
    """One style for each half, with the example's nodes, masks, and links."""
    workflow = showcase_picture().workflow()
    del workflow["report"]
    del workflow["apply"]
    (sampler,) = (node for node in workflow.values() if node["class_type"] == "KSampler")
    regions: dict[str, Any] = json.loads((EXAMPLES / "api" / "two-regions.json").read_bytes())
    kinds = {
        "AirLoraHooks",
        "SolidMask",
        "MaskComposite",
        "PairConditioningSetProperties",
        "PairConditioningCombine",
    }
    regions = {number: node for number, node in regions.items() if node["class_type"] in kinds}
    arrays = iter((left, right))
    for number, node in regions.items():
        inputs = node["inputs"]
        if node["class_type"] == "AirLoraHooks":
            inputs |= {"model": ["checkpoint", 0], "clip": ["checkpoint", 1]}
            inputs["lora"] = json.dumps([{"model": next(arrays)}])
        elif node["class_type"] == "PairConditioningSetProperties":
            inputs |= {
                "positive_NEW": sampler["inputs"]["positive"],
                "negative_NEW": sampler["inputs"]["negative"],
            }
        elif node["class_type"] == "PairConditioningCombine":
            sampler["inputs"] |= {"positive": [number, 0], "negative": [number, 1]}
    sampler["inputs"]["model"] = ["checkpoint", 0]
    for node in workflow.values():
        if node["class_type"] == "CLIPTextEncode":
            node["inputs"]["clip"] = ["checkpoint", 1]
    return {**workflow, **regions}


def save(name: str, picture: Image.Image) -> None:
    """Saves a JPEG of a fixed size, with white margins if the picture has another shape."""
    path = EXAMPLES / f"{name}.jpg"
    picture = picture.convert("RGB")
    picture.thumbnail(SIZE, Image.Resampling.LANCZOS)
    card = Image.new("RGB", SIZE, PAPER)
    card.paste(picture, ((SIZE[0] - picture.width) // 2, (SIZE[1] - picture.height) // 2))
    card.save(path, quality=QUALITY, optimize=True)
    say(f"  {path.relative_to(ROOT)}  {path.stat().st_size // 1000} kB")
