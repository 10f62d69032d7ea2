"""AirLoraApply on the running ComfyUI: its outputs, and what it rejects."""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests import lora_files
from tests.integration.conftest import TOKEN, Studio, air, tiny
from tests.integration.route_client import Routes
from tests.integration.stalling_server import STALLED_VERSION
from tools.comfy_client import Failed, Rejected, Result, Workflow

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.integration

A, B, C = air(101), air(102), air(103)
STACK = [{"model": A, "weight": 0.7}, {"model": B, "weight": 0.5}, {"model": C, "weight": -0.4}]


def test_the_node_is_there_with_its_inputs_and_outputs(studio: Studio) -> None:
    info = studio.client.get("/object_info/AirLoraApply")["AirLoraApply"]
    assert info["display_name"] == "Apply LoRA Array"
    assert info["category"] == "loaders/AIR LoRA"
    assert list(info["input"]["required"]) == ["model", "lora"]
    assert list(info["input"]["optional"]) == [
        "clip",
        "on_mismatch",
        "expert",
        "lora_stack",
        "apply_as",
        "model_low",
    ]
    assert info["output"] == ["MODEL", "CLIP", "STRING", "STRING", "MODEL"]
    assert info["output_name"] == ["MODEL", "CLIP", "trigger_words", "report", "MODEL_LOW"]


def test_every_order_of_an_array_gives_the_same_picture_bit_for_bit(studio: Studio) -> None:
    pictures = {studio.pixels(tiny("sd15", list(order))) for order in itertools.permutations(STACK)}
    assert len(pictures) == 1


def test_a_lora_changes_the_picture_and_weight_zero_does_not(studio: Studio) -> None:
    base = studio.pixels(tiny("sd15", []))
    assert studio.pixels(tiny("sd15", [{"model": A, "weight": 1}])) != base
    assert studio.pixels(tiny("sd15", [{"model": A, "weight": 0}])) == base
    assert studio.pixels(tiny("sd15", [{"model": A, "weight": 1, "enabled": False}])) == base
    assert studio.pixels(tiny("sd15", "")) == base


def test_the_picture_without_a_lora_is_the_one_of_a_graph_without_this_node(studio: Studio) -> None:
    graph = tiny("sd15", [{"model": A, "weight": 0}])
    workflow = without_the_node(graph.workflow())
    assert studio.pixels_of(studio.run(workflow)) == studio.pixels(graph)


def without_the_node(workflow: Workflow) -> Workflow:
    del workflow["apply"], workflow["report"]
    for node in workflow.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list) and value[0] == "apply":
                node["inputs"][name] = ["checkpoint", value[1]]
    return workflow


def with_core_loaders(workflow: Workflow, loras: list[tuple[str, float]]) -> Workflow:
    """The same graph with a chain of ComfyUI's own LoraLoader nodes."""
    without_the_node(workflow)
    last = "checkpoint"
    for number, (name, strength) in enumerate(loras):
        inputs = {
            "model": [last, 0],
            "clip": [last, 1],
            "lora_name": name,
            "strength_model": strength,
            "strength_clip": strength,
        }
        last = f"lora_{number}"
        workflow[last] = {"class_type": "LoraLoader", "inputs": inputs}
    workflow["sampler"]["inputs"]["model"] = [last, 0]
    for prompt in ("positive", "negative"):
        workflow[prompt]["inputs"]["clip"] = [last, 1]
    return workflow


def test_it_is_what_chained_core_loaders_give_within_rounding(studio: Studio) -> None:
    graph = tiny("sd15", STACK)
    result = studio.run(graph.workflow())
    report = studio.report(result)
    files = [(entry["file"], entry["weight"]) for entry in report["entries"]]
    listed = studio.client.get("/models/loras")
    assert {name for name, _ in files} <= {name.replace("\\", "/") for name in listed}
    chained = studio.run(with_core_loaders(graph.workflow(), files))
    ours = np.asarray(studio.picture(result), dtype=np.int16)
    core = np.asarray(studio.picture(chained), dtype=np.int16)
    base = np.asarray(studio.picture(studio.run(tiny("sd15", []).workflow())), dtype=np.int16)
    assert np.abs(ours - core).max() <= 2, "fp16 rounding may move a pixel by a level or two"
    assert np.abs(ours - base).max() > 20, "the LoRAs must be seen, or the comparison says nothing"


def test_the_same_file_named_twice_counts_once_with_the_summed_weight(studio: Studio) -> None:
    once = studio.pixels(tiny("sd15", [{"model": A, "weight": 0.75}]))
    urn = f"urn:air:sd1:lora:{A}"
    assert studio.pixels(tiny("sd15", [{"model": A, "weight": 0.5}, {"model": urn, "weight": 0.25}])) == once


def test_model_alone_works_and_counts_the_text_encoder_s_keys(studio: Studio) -> None:
    workflow = tiny("sd15", [{"model": A, "weight": 1}]).workflow()
    del workflow["apply"]["inputs"]["clip"]
    for prompt in ("positive", "negative"):
        workflow[prompt]["inputs"]["clip"] = ["checkpoint", 1]
    entry = studio.report(studio.run(workflow))["entries"][0]
    assert entry["status"] == "applied"
    assert entry["text_encoder_keys_without_clip"] > 0
    assert entry["keys_unmatched"] == 0


def test_the_report_says_what_was_applied(studio: Studio) -> None:
    array = [{"model": A, "weight": 0.7}, {"model": B, "weight": 0}]
    result = studio.run(tiny("sd15", array).workflow())
    report = studio.report(result)
    assert report["checkpoint"] == ["sd1"]
    first, second = report["entries"]
    served = next(entry for entry in studio.civitai.catalogue if entry.model_id == 101)
    assert first["model"] == A
    assert first["name"] == "Style A for SD 1.5"
    assert first["sha256"] == served.sha256
    assert first["file"] == f"air/civitai/101@1101/{served.file.name}"
    assert first["architecture"] == ["sd1"]
    assert first["keys_matched"] > 100
    assert first["keys_unmatched"] == 0
    assert (first["kind"], first["rank"]) == ("lora", 4)
    assert first["weights"] == report["weights"] > 30
    assert first["share"] == 1.0
    assert 0 < report["peak_extra_bytes"] < 100 * 1024**2
    assert second["status"] == "off"


def test_the_share_of_the_weights_is_each_entry_s_own(studio: Studio) -> None:
    without_text_encoder = air(103)
    array = [{"model": A, "weight": 0.7}, {"model": without_text_encoder, "weight": 0.5}]
    report = studio.report(studio.run(tiny("sd15", array).workflow()))
    whole, part = report["entries"]
    assert whole["share"] == 1.0
    assert 0 < part["share"] < 1
    assert part["weights"] == round(part["share"] * report["weights"])


def test_the_page_hears_what_ran(studio: Studio) -> None:
    array = [{"model": A, "weight": 0.62}]
    result = studio.run(tiny("sd15", array).workflow())
    (ran,) = result.outputs["apply"]["air_lora"]
    assert json.loads(ran["lora"]) == array
    assert ran["report"] == studio.report(result)


def test_trigger_words_come_once_each_in_the_array_s_order(studio: Studio) -> None:
    workflow = tiny("sd15", [{"model": B, "weight": 0.5}, {"model": A, "weight": 0.5}]).workflow()
    workflow["words"] = {"class_type": "PreviewAny", "inputs": {"source": ["apply", 2]}}
    assert studio.run(workflow).outputs["words"]["text"] == ["word 102, shared word, word 101"]


def test_what_is_off_is_not_looked_up_and_a_second_run_touches_no_network(studio: Studio) -> None:
    missing = "civitai:5@6"
    graph = tiny("sd15", [{"model": missing, "weight": 0}, {"model": A, "weight": 0.31}])
    studio.run(graph.workflow())
    studio.forget()
    before = len(studio.civitai.requests)
    studio.run(tiny("sd15", [{"model": missing, "weight": 0}, {"model": A, "weight": 0.32}]).workflow())
    assert studio.civitai.requests[before:] == []


def test_a_local_name_as_core_s_loaders_list_it(studio: Studio) -> None:
    name = next(name for name in studio.client.get("/models/loras") if name.endswith("local.safetensors"))
    entry = studio.report(studio.run(tiny("sd15", [{"model": f"local:{name}"}]).workflow()))["entries"][0]
    assert entry["status"] == "applied"
    assert entry["file"] == "mine/local.safetensors"


MALFORMED = {
    '[{"model": "civitai:1@2", "weight": 7}]': "LoRA 1 (lora[0].weight): 7 is out of range",
    '[{"model": "civitai:1@2", "wieght": 1}]': 'LoRA 1 (lora[0]): Unknown key "wieght". Did you mean "weight"?',
    '[{"model": "civitai:1@2"': "line 1",
    '[{"weight": 1}]': "lora[0]",
}


@pytest.mark.parametrize(("text", "says"), MALFORMED.items(), ids=range(len(MALFORMED)))
def test_a_malformed_array_is_refused_when_the_prompt_is_queued(studio: Studio, text: str, says: str) -> None:
    with pytest.raises(Rejected) as rejected:
        studio.client.queue(tiny("sd15", text).workflow())
    details = rejected.value.answer["node_errors"]["apply"]["errors"][0]["details"]
    assert says in details


def test_a_text_over_a_wire_is_checked_in_the_run(studio: Studio) -> None:
    workflow = tiny("sd15", "").workflow()
    workflow["text"] = {"class_type": "PrimitiveString", "inputs": {"value": '[{"model": 3}]'}}
    workflow["apply"]["inputs"]["lora"] = ["text", 0]
    with pytest.raises(Failed) as failed:
        studio.run(workflow)
    assert str(failed.value).startswith("LoRA 1 (lora[0].model): ")


REFUSED: list[tuple[str, int, list[str]]] = [
    (
        "sd15",
        201,
        [
            "LoRA 2 (lora[1]): civitai:201@1201 (Style for SDXL) was trained for SDXL",
            "the loaded checkpoint is SD 1.x",
        ],
    ),
    (
        "sdxl",
        101,
        [
            "LoRA 2 (lora[1]): civitai:101@1101 (Style A for SD 1.5) was trained for SD 1.x",
            "checkpoint is SDXL",
        ],
    ),
    ("sd15", 301, ["LoRA 2 (lora[1]): civitai:301@1301 (Motion for Wan)", "SD 1.x"]),
    (
        "sd15",
        402,
        [
            "LoRA 2 (lora[1]): civitai:402@1402 (Another size) doesn't match the loaded checkpoint",
            "in the file",
        ],
    ),
    (
        "sd15",
        401,
        ["LoRA 2 (lora[1]): civitai:401@1401 (Nobody's keys) has no key that matches the loaded checkpoint"],
    ),
    (
        "sd15",
        403,
        ["LoRA 2 (lora[1]): civitai:403@1403 (A language model's) isn't a LoRA for a diffusion model"],
    ),
]


@pytest.mark.parametrize(("checkpoint", "model_id", "says"), REFUSED, ids=lambda value: str(value)[:20])
def test_a_lora_that_does_not_fit_is_an_error_and_nothing_is_applied(
    studio: Studio, checkpoint: str, model_id: int, says: list[str]
) -> None:
    fitting = A if checkpoint == "sd15" else air(201)
    array = [{"model": fitting, "weight": 0.5}, {"model": air(model_id), "weight": 0.5}]
    with pytest.raises(Failed) as failed:
        studio.run(tiny(checkpoint, array).workflow())
    assert failed.value.facts["node_type"] == "AirLoraApply"
    for part in says:
        assert part in str(failed.value)
    assert "on_mismatch" in str(failed.value), "the remedy"


def test_several_misfits_are_told_at_once(studio: Studio) -> None:
    with pytest.raises(Failed) as failed:
        studio.run(tiny("sd15", [{"model": air(201)}, {"model": A}, {"model": air(401)}]).workflow())
    lines = str(failed.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["LoRA 1 (lora[0])", "LoRA 3 (lora[2])"]
    assert [error["parameter"] for error in failures(studio, failed.value)["errors"]] == [
        "lora[0]",
        "lora[2]",
    ]


def failures(studio: Studio, failed: Failed) -> Any:
    """The errors of a failed run, as programs read them."""
    return Routes(studio.client.url).get(f"failures?prompt_id={failed.facts['prompt_id']}").json


def test_a_program_reads_the_facts_of_a_misfit(studio: Studio) -> None:
    with pytest.raises(Failed) as failed:
        studio.run(tiny("sd15", [{"model": A}, {"model": air(402)}]).workflow())
    assert failed.value.facts["exception_type"].endswith("Mismatch")
    failure = failures(studio, failed.value)
    (error,) = failure["errors"]
    facts = error["facts"]
    assert failure["node"] == "apply"
    assert (error["code"], error["parameter"], facts["verdict"]) == ("shapeClash", "lora[1]", "shape clash")
    assert error["remedy"]
    assert facts["lora"] == "civitai:402@1402 (Another size)"
    assert facts["loaded"] == ["sd1"]
    assert facts["shape_clashes"] >= 1
    assert facts["example"]["in_file"] != facts["example"]["here"]
    assert facts["example"]["key"].startswith("diffusion_model.")


def test_on_mismatch_skip_leaves_the_misfit_out_and_says_so(studio: Studio) -> None:
    array = [{"model": air(201), "weight": 0.5}, {"model": A, "weight": 0.5}]
    graph = tiny("sd15", array, on_mismatch="skip")
    workflow = graph.workflow()
    workflow["words"] = {"class_type": "PreviewAny", "inputs": {"source": ["apply", 2]}}
    result = studio.run(workflow)
    first, second = studio.report(result)["entries"]
    assert result.outputs["words"]["text"] == ["word 101, shared word"]  # none from the skipped LoRA
    assert first["status"] == "skipped"
    assert first["error"]["code"] == "wrongArchitecture"
    assert second["status"] == "applied"
    assert studio.pixels_of(result) == studio.pixels(tiny("sd15", array[1:]))


def test_a_misfit_costs_a_look_at_its_header_and_is_not_downloaded(studio: Studio) -> None:
    with pytest.raises(Failed) as failed:
        studio.run(tiny("sd15", [{"model": air(202)}, {"model": A}]).workflow())
    assert "LoRA 1 (lora[0]): civitai:202@1202 (Large style for SDXL) was trained for SDXL" in str(
        failed.value
    )
    delivered = [
        request for request in studio.civitai.requests if request.path.startswith("/delivery/12021/")
    ]
    assert 1 <= len(delivered) <= 2
    asked = [request.headers["range"].removeprefix("bytes=").split("-") for request in delivered]
    assert sum(int(end) - int(start) + 1 for start, end in asked) <= 512 * 1024
    skipped = studio.report(studio.run(tiny("sd15", [{"model": air(202)}], on_mismatch="skip").workflow()))
    assert skipped["entries"][0]["status"] == "skipped"
    assert skipped["entries"][0]["downloaded"] is False


MISFITS = {
    "before it, not on this disk": lambda fitting: [{"model": air(202)}, fitting],
    "behind it, not on this disk": lambda fitting: [fitting, {"model": air(202)}],
    "behind it, on this disk": lambda fitting: [fitting, {"model": "local:mine/for-sdxl.safetensors"}],
}


@pytest.mark.parametrize("array", MISFITS.values(), ids=MISFITS)
def test_one_misfit_and_nothing_at_all_is_downloaded(
    studio: Studio, array: Callable[[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    folder = studio.process.base / "models" / "loras" / "mine"
    lora_files.sdxl_lora(folder / "for-sdxl.safetensors", seed=4)
    (folder / "for-sdxl.civitai.info").write_text(
        json.dumps({"id": 1, "trainedWords": ["word of the misfit"]})
    )
    fitting = {"model": air(105), "weight": 0.5}
    studio.without_downloads(air(105))
    graph = tiny("sd15", array(fitting))
    with pytest.raises(Failed, match="was trained for SDXL"):
        studio.run(graph.workflow())
    assert not (studio.process.base / "models/loras/air/civitai/105@1105").exists()
    graph = tiny("sd15", array(fitting), on_mismatch="skip")
    found = [entry["status"] for entry in studio.report(studio.run(graph.workflow()))["entries"]]
    assert sorted(found) == ["applied", "skipped"]


def test_what_is_skipped_gives_no_trigger_words(studio: Studio) -> None:
    """Both are on this disk, so nothing is checked before a download, and the mismatch is found when it is applied."""
    folder = studio.process.base / "models" / "loras" / "mine"
    lora_files.sdxl_lora(folder / "misfit.safetensors", seed=4)
    lora_files.sd15_lora(folder / "fits.safetensors", seed=5)
    for name in ("misfit", "fits"):
        (folder / f"{name}.json").write_text(json.dumps({"activation text": f"word of what {name}"}))
    array = [{"model": f"local:mine/{name}.safetensors"} for name in ("misfit", "fits")]
    workflow = tiny("sd15", array, on_mismatch="skip").workflow()
    workflow["words"] = {"class_type": "PreviewAny", "inputs": {"source": ["apply", 2]}}
    assert studio.run(workflow).outputs["words"]["text"] == ["word of what fits"]


def test_a_misfit_and_a_name_that_nobody_has_are_told_together(studio: Studio) -> None:
    studio.without_downloads(air(105))
    with pytest.raises(Failed) as failed:
        studio.run(
            tiny("sd15", [{"model": air(105)}, {"model": air(202)}, {"model": "civitai:7@8"}]).workflow()
        )
    assert "LoRA 2 (lora[1]): " in str(failed.value)
    assert "LoRA 3 (lora[2].model): " in str(failed.value)
    assert not (studio.process.base / "models/loras/air/civitai/105@1105").exists()


def wan(array: list[dict[str, Any]], expert: str) -> Workflow:
    return {
        "unet": {
            "class_type": "UNETLoader",
            "inputs": {"unet_name": "tiny_wan.safetensors", "weight_dtype": "default"},
        },
        "apply": {
            "class_type": "AirLoraApply",
            "inputs": {"model": ["unet", 0], "lora": json.dumps(array), "expert": expert},
        },
        "report": {"class_type": "PreviewAny", "inputs": {"source": ["apply", 3]}},
    }


def test_transformer_chooses_the_expert_of_a_video_model(studio: Studio) -> None:
    array = [{"model": air(301), "weight": 0.8, "transformer": "high"}]
    high = studio.report(studio.run(wan(array, "high")))["entries"][0]
    low = studio.report(studio.run(wan(array, "low")))["entries"][0]
    both = studio.report(studio.run(wan(array, "both")))["entries"][0]
    assert [entry["status"] for entry in (high, low, both)] == [
        "applied",
        "not for the low expert",
        "applied",
    ]


def test_two_arrays_on_the_two_experts_of_one_prompt(studio: Studio) -> None:
    array = [
        {"model": air(301), "weight": 0.8, "transformer": "high"},
        {"model": air(616), "weight": 0.4},
    ]
    both: Workflow = {}
    for expert in ("high", "low"):
        for node, values in wan(array, expert).items():
            renamed = {
                key: [f"{expert}_{value[0]}", value[1]] if isinstance(value, list) else value
                for key, value in values["inputs"].items()
            }
            both[f"{expert}_{node}"] = {"class_type": values["class_type"], "inputs": renamed}
    result = studio.run(both)
    statuses = {
        expert: [entry["status"] for entry in studio.report(result, f"{expert}_report")["entries"]]
        for expert in ("high", "low")
    }
    assert statuses == {"high": ["applied", "applied"], "low": ["not for the low expert", "applied"]}


def test_what_is_not_at_civitai_is_an_error_that_names_it(studio: Studio) -> None:
    with pytest.raises(Failed) as failed:
        studio.run(tiny("sd15", [{"model": A}, {"model": "civitai:999999@888888"}]).workflow())
    assert str(failed.value).startswith("LoRA 2 (lora[1].model): ")
    assert "888888" in str(failed.value)


def test_cancel_stops_a_download_and_the_next_run_ends_well(studio: Studio) -> None:
    array = [{"model": f"civitai:{STALLED_VERSION - 1000}@{STALLED_VERSION}"}]
    prompt = studio.client.queue(tiny("sd15", array).workflow())
    assert studio.civitai.stalled.wait(120)
    studio.client.post("/interrupt", {})
    cancelled = time.time()
    with pytest.raises(Failed) as failed:  # the server is still stalled when the run ends
        studio.client.wait(prompt, seconds=280)
    ended = failed.value.facts["timestamp"] / 1000  # by ComfyUI; its answer may come late
    assert ended - cancelled < 20, "of the 30 s after which a silent server is given up"
    assert failed.value.facts["node_type"] == "AirLoraApply"
    finished = studio.process.base / f"models/loras/air/civitai/{STALLED_VERSION - 1000}@{STALLED_VERSION}"
    assert not list(finished.rglob("*.safetensors"))
    studio.civitai.go_on.set()
    entry = studio.report(studio.run(tiny("sd15", array).workflow()))["entries"][0]
    assert entry["downloaded"] is True


def test_the_token_goes_to_civitai_alone_and_is_found_nowhere_else(studio: Studio) -> None:
    studio.run(tiny("sd15", [{"model": B, "weight": 0.11}]).workflow())
    asked = [request for request in studio.civitai.requests if request.path.startswith("/api/")]
    assert asked
    assert all(request.headers.get("authorization") == f"Bearer {TOKEN}" for request in asked)
    assert TOKEN not in json.dumps(studio.client.get("/history"))
    for file in studio.process.base.rglob("*"):
        if file.is_file() and "custom_nodes" not in file.parts and file.stat().st_size < 50_000_000:
            assert TOKEN.encode() not in file.read_bytes(), file


def test_tags_of_a_prompt_over_a_wire_are_an_array(studio: Studio) -> None:
    workflow = tiny("sd15", []).workflow()
    text = {"value": "a red house <lora:Local:0.7:0.3> at night"}
    workflow["text"] = {"class_type": "PrimitiveStringMultiline", "inputs": text}
    workflow["apply"]["inputs"]["lora"] = ["text", 0]
    (entry,) = studio.report(studio.run(workflow))["entries"]
    assert (entry["model"], entry["weight"], entry["clip_weight"]) == (
        "local:mine/local.safetensors",
        0.7,
        0.3,
    )
    assert entry["status"] == "applied"


def test_beside_the_layers_it_is_the_same_picture_and_the_report_says_how(studio: Studio) -> None:
    array = [{"model": A, "weight": 0.6}, {"model": B, "weight": -0.4}]

    def run(how: str) -> Result:
        workflow = tiny("sd15", array).workflow()
        workflow["apply"]["inputs"]["apply_as"] = how
        return studio.run(workflow)

    beside = run("bypass")
    report = studio.report(beside)
    assert report["apply_as"] == "bypass"
    assert report["bypass_bytes"] > 0
    assert [row["patched"] for row in report["entries"]] == [{}, {}]
    assert [row["bypassed"] for row in report["entries"]] == [row["weights"] for row in report["entries"]]
    patched, ours = (np.asarray(studio.picture(each)).astype(int) for each in (run("patch"), beside))
    assert np.abs(patched - ours).max() <= 3
    assert studio.report(run("auto"))["apply_as"] == "patch"  # an ordinary model, which stays in memory
