"""AirLoraSave on the running ComfyUI: the file gives the same picture as the array, and is in an allowed folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lora_resolver import read_header
from tests.integration.conftest import TOKEN, Studio, air, tiny
from tests.integration.test_apply import with_core_loaders
from tools.comfy_client import Failed, Rejected

if TYPE_CHECKING:
    from pathlib import Path

    from tools.comfy_client import Workflow

pytestmark = pytest.mark.integration

A, B, C = air(101), air(102), air(103)
STACK = [
    {"model": A, "weight": 0.7, "clip_weight": 0.3},
    {"model": B, "weight": 0.5},
    {"model": C, "weight": -0.4},
]


def saving(lora: list[dict[str, Any]], **changes: Any) -> Workflow:
    inputs = {
        "model": ["checkpoint", 0],
        "clip": ["checkpoint", 1],
        "lora": json.dumps(lora),
        "file_name": "merged/mix",
        "rank": 0,
        "precision": "fp16",
        "if_exists": "keep both",
        **changes,
    }
    return {
        "checkpoint": {
            "class_type": "CheckpointLoaderSimple",
            "inputs": {"ckpt_name": tiny("sd15", []).checkpoint},
        },
        "merge": {"class_type": "AirLoraSave", "inputs": inputs},
        "name": {"class_type": "PreviewAny", "inputs": {"source": ["merge", 0]}},
        "array": {"class_type": "PreviewAny", "inputs": {"source": ["merge", 1]}},
        "report": {"class_type": "PreviewAny", "inputs": {"source": ["merge", 2]}},
    }


def loras_folder(studio: Studio) -> Path:
    return studio.process.base / "models" / "loras"


def furthest(studio: Studio, one: Any, other: Any) -> int:
    pictures = [np.asarray(studio.picture(each), dtype=np.int16) for each in (one, other)]
    return int(np.abs(pictures[0] - pictures[1]).max())


def test_core_s_loader_gives_the_array_s_picture(studio: Studio) -> None:
    result = studio.run(saving(STACK))
    report = studio.report(result)
    assert (report["exact"], report["error"], report["full_differences"]) == (True, 0, 0)
    assert report["rank"] == 12
    name = result.outputs["name"]["text"][0]
    graph = tiny("sd15", STACK)
    by_array = studio.run(graph.workflow())
    by_core = studio.run(with_core_loaders(graph.workflow(), [(name, 1.0)]))
    without = studio.run(tiny("sd15", []).workflow())
    assert furthest(studio, by_core, by_array) <= 2, "fp16 rounding may move a pixel by a level or two"
    assert furthest(studio, without, by_array) > 20, "the LoRAs must be seen, or the comparison says nothing"
    again = studio.run(tiny("sd15", result.outputs["array"]["text"][0]).workflow())
    assert furthest(studio, again, by_array) <= 2


def test_its_metadata_names_the_sources(studio: Studio) -> None:
    report = studio.report(studio.run(saving(STACK, file_name="merged/named")))
    header = read_header(loras_folder(studio) / report["file"])
    sources = json.loads(header.metadata["air_lora.sources"])
    served = {entry.model_id: entry.sha256 for entry in studio.civitai.catalogue}
    assert [(each["model"], each["sha256"], each["weight"], each["clip_weight"]) for each in sources] == [
        (A, served[101], 0.7, 0.3),
        (B, served[102], 0.5, 0.5),
        (C, served[103], -0.4, -0.4),
    ]
    assert header.metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert header.metadata["modelspec.title"] == "named"
    assert "word 101" in header.metadata["modelspec.trigger_phrase"]
    everything = json.dumps(dict(header.metadata))
    assert TOKEN not in everything
    assert str(studio.process.base) not in everything


def test_a_smaller_rank_is_a_smaller_file_with_an_error(studio: Studio) -> None:
    whole = studio.report(studio.run(saving(STACK, file_name="merged/whole")))
    small = studio.report(studio.run(saving(STACK, file_name="merged/small", rank=4)))
    assert small["rank"] == 4
    assert small["size"] < whole["size"] / 2
    assert 0.1 < small["error"] < 1


def test_without_a_clip_the_text_encoder_s_part_is_left_out(studio: Studio) -> None:
    workflow = saving(STACK, file_name="merged/no-clip")
    del workflow["merge"]["inputs"]["clip"]
    header = read_header(loras_folder(studio) / studio.report(studio.run(workflow))["file"])
    assert not any(name.startswith("lora_te") for name in header.tensors)


def test_a_file_that_is_there_is_numbered_kept_or_replaced_as_one_says(studio: Studio) -> None:
    def files() -> list[str]:
        return sorted(path.name for path in (loras_folder(studio) / "there").iterdir())

    studio.run(saving([STACK[0]], file_name="there/one"))
    first = (loras_folder(studio) / "there" / "one.safetensors").read_bytes()
    second = studio.report(studio.run(saving([STACK[1]], file_name="there/one")))
    assert second["file"] == "there/one-2.safetensors"
    with pytest.raises(Failed, match=r"there/one\.safetensors already exists"):
        studio.run(saving([STACK[2]], file_name="there/one", if_exists="stop"))
    assert (loras_folder(studio) / "there" / "one.safetensors").read_bytes() == first
    studio.run(saving([STACK[2]], file_name="there/one", if_exists="replace"))
    assert (loras_folder(studio) / "there" / "one.safetensors").read_bytes() != first
    assert files() == ["one-2.safetensors", "one.safetensors"], "and nothing half written"


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/outside",
        "a/../../outside",
        "C:\\outside",
        "a//b",
        "",
        "con",
        "a\nb",
        "..\\up",
        "a:b",
    ],
)
def test_names_that_lead_elsewhere_are_refused(name: str, studio: Studio) -> None:
    with pytest.raises(Rejected, match="file_name"):
        studio.run(saving(STACK, file_name=name))


def test_a_link_out_of_the_folder_is_not_followed(studio: Studio, tmp_path: Path) -> None:
    (loras_folder(studio) / "elsewhere").symlink_to(tmp_path)
    with pytest.raises(Failed, match="is outside the loras folder"):
        studio.run(saving(STACK, file_name="elsewhere/x"))
    assert list(tmp_path.iterdir()) == []
    (loras_folder(studio) / "elsewhere").unlink()


def test_an_array_that_does_nothing_is_not_saved(studio: Studio) -> None:
    with pytest.raises(Failed, match="nothing to save"):
        studio.run(saving([{"model": A, "weight": 0}], file_name="merged/nothing"))
    assert not (loras_folder(studio) / "merged" / "nothing.safetensors").exists()
