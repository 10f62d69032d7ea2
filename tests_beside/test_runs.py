"""API clients' prompts with other packs' nodes: the same result with and without our pack, and a correct record."""

from __future__ import annotations

import io
import json
import re
import time
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tools.comfy_client import Failed, Rejected
from tools.graphs import TextToImage
from tools.stage import CHECKPOINT

if TYPE_CHECKING:
    from tests_beside.conftest import Beside
    from tools.comfy_client import Workflow

FIRST = [{"model": "civitai:9000001@9100001", "weight": 0.7}]
SECOND = [{"model": "civitai:9000003@9100003", "weight": 0.5}]


def picture(lora: str = "[]", seed: int = 3) -> Workflow:
    graph = TextToImage(
        CHECKPOINT,
        prompt="red supercar, city, sunset",
        lora=lora,
        width=256,
        height=256,
        steps=2,
        cfg=2.0,
        seed=seed,
        scheduler="simple",
        latent="EmptySD3LatentImage",
    ).workflow()
    graph.pop("report", None)
    return graph


def stock(seed: int) -> Workflow:
    """A workflow without our nodes."""
    graph = picture(seed=seed)
    del graph["apply"]
    graph["sampler"]["inputs"]["model"] = ["checkpoint", 0]
    for name in ("positive", "negative"):
        graph[name]["inputs"]["clip"] = ["checkpoint", 1]
    return graph


def needs(beside: Beside, *classes: str) -> None:
    there = beside.client.get("/object_info")
    missing = [name for name in classes if name not in there]
    if missing:
        pytest.skip(f"no pack in PACKS has the node {missing[0]}")


def outcome(
    beside: Beside, graph: Workflow, extra: dict[str, Any] | None = None
) -> tuple[str, Any, list[str]]:
    """How a run ends, its outputs, and the log during the run, without times."""
    start = len(beside.log)
    try:
        result = beside.client.run(graph, extra_data=extra)
        ended: tuple[str, Any] = ("ran", {name: sorted(output) for name, output in result.outputs.items()})
    except (Failed, Rejected) as error:
        ended = ("failed", str(error))
    lines = [re.sub(r"[\d.]+", "#", line) for line in beside.log[start:].splitlines()]
    said = [line for line in lines if re.search(r"warn|error|exception|traceback", line, re.IGNORECASE)]
    return (*ended, said)


def with_switch(seed: int) -> Workflow:
    graph = stock(seed)
    graph["switch"] = {
        "class_type": "ImpactSwitch",
        "inputs": {"select": 1, "sel_mode": False, "input1": ["checkpoint", 0]},
    }
    graph["sampler"]["inputs"]["model"] = ["switch", 0]
    return graph


def with_their_saver(seed: int) -> Workflow:
    graph = stock(seed)
    graph["save"] = {
        "class_type": "Save Image (LoraManager)",
        "inputs": {
            "images": ["decode", 0],
            "filename_prefix": "beside",
            "file_format": "png",
            "lossless_webp": False,
            "quality": 90,
            "embed_workflow": True,
            "save_with_metadata": True,
            "add_counter_to_filename": True,
        },
    }
    return graph


@pytest.mark.parametrize(
    ("graph", "node"),
    [(stock, "KSampler"), (with_switch, "ImpactSwitch"), (with_their_saver, "Save Image (LoraManager)")],
    ids=["stock", "impact-switch", "lora-manager-save"],
)
@pytest.mark.parametrize(
    "extra", [None, {"extra_pnginfo": {"workflow": {"nodes": [], "links": []}}}], ids=["api", "page"]
)
def test_a_run_ends_as_it_does_without_us(
    graph: Any, node: str, extra: dict[str, Any] | None, with_ours: Beside, without: Beside
) -> None:
    needs(with_ours, node)
    seed = 100 if extra is None else 200
    assert outcome(with_ours, graph(seed), extra) == outcome(without, graph(seed), extra)


def test_lora_manager_saves_its_file(with_ours: Beside) -> None:
    needs(with_ours, "Save Image (LoraManager)")
    before = set((with_ours.process.base / "output").rglob("beside*.png"))
    graph = picture(json.dumps(FIRST), seed=301)
    graph["save"] = with_their_saver(1)["save"]
    with_ours.client.run(graph)
    (made,) = set((with_ours.process.base / "output").rglob("beside*.png")) - before
    print("\nLora Manager's picture has:", sorted(Image.open(made).text))


def test_a_chosen_array_is_the_one_that_is_recorded(with_ours: Beside) -> None:
    """Impact's *select on prompt* rewrites the prompt before it runs."""
    needs(with_ours, "ImpactSwitch", "StringConstantMultiline")
    graph = picture(seed=401)
    for name, array in (("first", FIRST), ("second", SECOND)):
        graph[name] = {
            "class_type": "StringConstantMultiline",
            "inputs": {"string": json.dumps(array), "strip_newlines": False},
        }
    graph["switch"] = {
        "class_type": "ImpactSwitch",
        "inputs": {"select": 1, "sel_mode": True, "input1": ["first", 0], "input2": ["second", 0]},
    }
    graph["apply"]["inputs"]["lora"] = ["switch", 0]
    slots = [{"name": "input1", "label": "x"}, {"name": "input2", "label": "y"}]
    extra = {"extra_pnginfo": {"workflow": {"nodes": [{"id": "switch", "inputs": slots}], "links": []}}}
    for number, (select, expected) in enumerate([(1, FIRST), (2, SECOND), (1, FIRST)]):
        graph["switch"]["inputs"]["select"] = select
        graph["sampler"]["inputs"]["seed"] = 402 + number
        result = with_ours.client.run(graph, extra_data=extra)
        texts = Image.open(io.BytesIO(with_ours.client.image(result.image_references()[0]))).text
        (rows,) = json.loads(texts["air_lora"])["nodes"]["apply"]
        assert [(row["model"], row["weight"]) for row in rows] == [
            (entry["model"], entry["weight"]) for entry in expected
        ]
        assert json.loads(texts["Lora hashes"])


def test_what_queueing_a_prompt_costs(with_ours: Beside, without: Beside) -> None:
    """Only printed, because a limit would fail on a busy machine."""
    times: dict[str, list[float]] = {"with": [], "without": []}
    for number in range(41):
        for name, beside in (("with", with_ours), ("without", without)):
            graph = stock(500 + number)
            start = time.perf_counter()
            answer = beside.client.post("/prompt", {"prompt": graph})
            times[name].append(time.perf_counter() - start)
            beside.client.post("/queue", {"delete": [answer["prompt_id"]]})
    ours, theirs = median(times["with"]), median(times["without"])
    print(
        f"\nPOST /prompt: {ours * 1000:.1f} ms with us, {theirs * 1000:.1f} ms without ({ours / theirs:.2f})"
    )
