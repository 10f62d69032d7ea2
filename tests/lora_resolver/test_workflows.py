"""Finding LoRAs in arrays, requests, workflows in both formats, and the files that ComfyUI saves them in."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.numpy import save

from lora_resolver.errors import InvalidInput
from lora_resolver.workflows.named_loras import NamedLoras, loras_in
from lora_resolver.workflows.other_loaders import loaders_of_others
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

ARRAY = '[{"model": "civitai:1@2"}, {"model": "civitai:3@4", "weight": 0}]'
WORKFLOWS = sorted((ROOT / "example_workflows").glob("*.json"))


def told(found: NamedLoras) -> list[str]:
    """`civitai:1@2 at node 4, lora[0].model`, with a leading minus if it isn't needed."""
    return [f"{'' if each.needed else '-'}{each.identifier} at {each.place}" for each in found.loras]


def loras(content: object) -> list[str]:
    found = loras_in(content if isinstance(content, (str, bytes)) else json.dumps(content))
    assert [str(error) for error in found.errors] == []
    return told(found)


def names(content: object) -> list[str]:
    return [line.split(" at ")[0] for line in loras(content)]


def api(*nodes: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {str(key): {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in enumerate(nodes, 1)}


def node(key: int, kind: str, values: object = (), inputs: list[dict[str, Any]] = [], **more: Any) -> Any:  # noqa: B006 - read only
    return {
        "id": key,
        "type": kind,
        "mode": 0,
        "inputs": inputs,
        "widgets_values": list(values) if isinstance(values, tuple) else values,
        **more,
    }


def linked(name: str, link: int, kind: str = "STRING") -> dict[str, Any]:
    return {"name": name, "type": kind, "link": link}


def canvas(*nodes: dict[str, Any], links: object = (), subgraphs: object = ()) -> dict[str, Any]:
    return {"nodes": list(nodes), "links": list(links), "definitions": {"subgraphs": list(subgraphs)}}


def subgraph(key: str, *nodes: dict[str, Any], links: object = (), inputs: object = ()) -> dict[str, Any]:
    named = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
    return {
        "id": key,
        "nodes": list(nodes),
        "links": [dict(zip(named, link)) for link in links],
        "inputs": [{"name": name} for name in inputs],
    }


@pytest.mark.parametrize(
    "text",
    [
        "civitai:1@2",
        " urn:air:sdxl:lora:civitai:1@2 ",
        '{"model": "civitai:1@2"}',
        '[{"model": "civitai:1@2",},] // mine',
        '[{"taskType": "imageInference", "positivePrompt": "x", "lora": [{"model": "civitai:1@2"}]}]',
        '[{"model": "civitai:1@2"}]'.encode("utf-16"),
        b"\xef\xbb\xbfcivitai:1@2",
    ],
)
def test_texts(text: str | bytes) -> None:
    assert names(text) == ["civitai:1@2"]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_an_example_names_the_same_in_both_formats(file: Any) -> None:
    saved = told(loras_in(file.read_bytes()))
    assert saved == told(loras_in((file.parent / "api" / file.name).read_bytes()))
    assert saved


def test_places_name_the_file_the_node_and_the_entry() -> None:
    found = loras_in(json.dumps(api(("AirLoraApply", {"lora": ARRAY}))), "pixel.json")
    assert told(found) == [
        "civitai:1@2 at pixel.json node 1, lora[0].model",
        "-civitai:3@4 at pixel.json node 1, lora[1].model",
    ]
    assert told(loras_in(ARRAY, "a.json"))[0] == "civitai:1@2 at a.json, lora[0].model"
    assert told(loras_in("civitai:1@2"))[0] == "civitai:1@2 at "


@pytest.mark.parametrize("body", [{"prompt": "API", "client_id": "x"}, {"workflow": "API"}])
def test_the_body_of_a_request_to_comfyui(body: dict[str, Any]) -> None:
    workflow = api(("AirLoraApply", {"lora": '[{"model": "civitai:1@2"}]'}))
    assert names({key: workflow if value == "API" else value for key, value in body.items()}) == [
        "civitai:1@2"
    ]


@pytest.mark.parametrize(
    "source",
    [
        ("PrimitiveStringMultiline", {"value": '[{"model": "civitai:1@2"}]'}),
        ("SomeText", {"separator": ", ", "text": '// mine\n[{"model": "civitai:1@2"}]'}),
    ],
)
def test_a_text_that_is_linked_in(source: tuple[str, dict[str, Any]]) -> None:
    reroute = ("SomeReroute", {"any": ["1", 0]})
    assert loras(api(source, reroute, ("AirLoraApply", {"lora": ["2", 0]}))) == [
        "civitai:1@2 at node 3, lora[0].model"
    ]


def test_arrays_of_our_nodes_are_read_once_where_they_stand() -> None:
    array = ("AirLoraArray", {"lora": '[{"model": "civitai:1@2"}]'})
    more = ("AirLoraArray", {"lora": '[{"model": "civitai:3@4"}]', "more": ["1", 0]})
    assert loras(api(array, more, ("AirLoraApply", {"lora": ["2", 0]}))) == [
        "civitai:1@2 at node 1, lora[0].model",
        "civitai:3@4 at node 2, lora[0].model",
    ]


def test_the_other_nodes_of_ours() -> None:
    request = '{"positivePrompt": "x", "lora": [{"model": "civitai:3@4"}]}'
    nodes = api(("AirLoraResolve", {"identifier": "civitai:1@2"}), ("AirLoraRequest", {"request": request}))
    assert loras(nodes) == ["civitai:1@2 at node 1, identifier", "civitai:3@4 at node 2, lora[0].model"]


def test_of_a_request_the_chosen_task_counts() -> None:
    tasks = [
        {"taskType": "imageInference", "lora": [{"model": f"civitai:{number}@{number}"}]} for number in (1, 2)
    ]
    inputs = {"request": json.dumps(tasks), "task": 2}
    assert loras(api(("AirLoraRequest", inputs))) == ["civitai:2@2 at node 1, lora[0].model"]
    values = (json.dumps(tasks), 2, 0, "fixed", "from the request", "as written")
    canvas = {"nodes": [node(1, "AirLoraRequest", values)], "links": []}
    assert loras(canvas) == ["civitai:2@2 at node 1, lora[0].model"]


def test_a_prompt_names_none() -> None:
    assert loras(api(("AirLoraPrompt", {"prompt": "[a house]", "trigger_words": ["2", 2]}))) == []
    canvas = {"nodes": [node(1, "AirLoraPrompt", ("a house, civitai:1@2", True))], "links": []}
    assert loras(canvas) == []


@pytest.mark.parametrize(
    ("kind", "inputs", "expected"),
    [
        ("LoraLoader", {"lora_name": "a\\b.safetensors", "strength_model": 1}, "local:a/b.safetensors"),
        (
            "LoraLoader",
            {"lora_name": "a.safetensors", "strength_model": 0, "strength_clip": 0},
            "-local:a.safetensors",
        ),
        (
            "LoraLoader",
            {"lora_name": "a.safetensors", "strength_model": 0, "strength_clip": ["9", 0]},
            "local:a.safetensors",
        ),
        (
            "LoraLoaderModelOnly",
            {"lora_name": "a.safetensors", "strength_model": 0.0},
            "-local:a.safetensors",
        ),
        (
            "Power Lora Loader (rgthree)",
            {"lora_1": {"on": True, "lora": "a.safetensors", "strength": 1}},
            "local:a.safetensors",
        ),
        (
            "Power Lora Loader (rgthree)",
            {"lora_1": {"on": False, "lora": "a.safetensors", "strength": 1}},
            "-local:a.safetensors",
        ),
    ],
)
def test_loaders_of_others(kind: str, inputs: dict[str, Any], expected: str) -> None:
    assert names(api((kind, inputs))) == [expected]
    values = [*inputs.values()]
    if not any(isinstance(value, list) for value in values):
        assert names(canvas(node(1, kind, values))) == [expected]


TAKING_PART = {
    "by its own name": ({"1": ("LoraLoader", {"lora_name": "a.safetensors", "strength_model": 1.0})}, ["1"]),
    "at strength 0": ({"1": ("LoraLoaderModelOnly", {"lora_name": "a.safetensors", "strength_model": 0})}, []),
    "by a name over a wire": (
        {"1": ("LoraLoader", {"lora_name": ["2", 0]}), "2": ("easy loraNames", {"lora_name": "a"})},
        ["1"],
    ),
    "by a tag over a wire": (
        {
            "1": ("LoRA Text Loader (LoraManager)", {"lora_syntax": ["2", 0]}),
            "2": ("StringConstantMultiline", {"string": "<lora:a:1>"}),
        },
        ["1"],
    ),
    "by a text that is made in the run": (
        {
            "1": ("LoRA Text Loader (LoraManager)", {"lora_syntax": ["2", 0]}),
            "2": ("StringConcatenate", {"string_a": "<lora:a", "string_b": ":1>", "delimiter": ""}),
        },
        ["1"],
    ),
    "by a text without a tag": (
        {"1": ("Power Prompt (rgthree)", {"prompt": ["2", 0]}), "2": ("PrimitiveString", {"value": "a house"})},
        [],
    ),
    "by our own node": (
        {"1": ("Power Prompt (rgthree)", {"prompt": ["2", 0]}), "2": ("AirLoraTriggerWords", {"prompt": "a house"})},
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "expected"), TAKING_PART.values(), ids=TAKING_PART)
def test_loaders_that_take_part(nodes: dict[str, Any], expected: list[str]) -> None:
    prompt = {key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in nodes.items()}
    assert [found["node"] for found in loaders_of_others(prompt)] == expected


def test_what_is_wrong_in_one_node_does_not_hide_the_others() -> None:
    nodes = api(
        ("AirLoraApply", {"lora": '[{"model": "civitai:1@2", "weight": 7}]'}),
        ("AirLoraApply", {"lora": '[{"model": "civitai:1@2"}]'}),
        ("AirLoraApply", {"lora": ["5", 0]}),
        ("LoraLoader", {"lora_name": "old.pt"}),
        ("StringConcatenate", {"string_a": ARRAY, "string_b": ARRAY, "delimiter": ""}),
    )
    found = loras_in(json.dumps(nodes), "x.json")
    assert told(found) == ["civitai:1@2 at x.json node 2, lora[0].model"]
    assert [(error.parameter, error.code, isinstance(error, InvalidInput)) for error in found.errors] == [
        ("x.json node 1, lora[0].weight", "valueOutOfRange", True),
        ("x.json node 3, lora", "computedText", False),
        ("x.json node 4, lora_name", "unsupportedFormat", False),
    ]


# The canvas


@pytest.mark.parametrize(
    "values", [('[{"model": "civitai:1@2"}]', "error"), {"lora": '[{"model": "civitai:1@2"}]'}]
)
def test_values_as_list_and_as_object(values: object) -> None:
    assert names(canvas(node(1, "AirLoraApply", values))) == ["civitai:1@2"]


@pytest.mark.parametrize("mode", [2, 4])
def test_muted_and_bypassed_nodes_do_not_run(mode: int) -> None:
    assert names(canvas(node(1, "AirLoraApply", (ARRAY,), mode=mode))) == []


@pytest.mark.parametrize("as_objects", [False, True])
@pytest.mark.parametrize(
    "between",
    [
        node(5, "Reroute", inputs=[linked("", 1, "*")], outputs=[{"type": "*"}]),
        node(5, "AnyText", ("[]",), inputs=[linked("text", 1)], outputs=[{"type": "STRING"}], mode=4),
    ],
    ids=["reroute", "bypassed"],
)
def test_links_on_the_canvas(between: dict[str, Any], as_objects: bool) -> None:
    links: list[Any] = [[1, 4, 0, 5, 0, "STRING"], [2, 5, 0, 6, 0, "STRING"]]
    if as_objects:
        keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        links = [dict(zip(keys, link)) for link in links]
    nodes = [
        node(4, "PrimitiveNode", ('[{"model": "civitai:1@2"}]', "fixed")),
        between,
        node(6, "AirLoraApply", ('[{"model": "civitai:9@9"}]',), [linked("lora", 2)]),
    ]
    assert loras(canvas(*nodes, links=links)) == ["civitai:1@2 at node 6, lora[0].model"]


def test_subgraphs_inside_subgraphs() -> None:
    inner = subgraph("inner", node(7, "AirLoraApply", ('[{"model": "civitai:1@2"}]',)))
    outer = subgraph("outer", node(3, "inner"), node(4, "inner", mode=4))
    unused = subgraph("unused", node(1, "AirLoraApply", ('[{"model": "civitai:9@9"}]',)))
    assert loras(canvas(node(12, "outer"), subgraphs=[inner, outer, unused])) == [
        "civitai:1@2 at node 12:3:7, lora[0].model"
    ]


def test_a_text_from_outside_a_subgraph() -> None:
    inner = node(7, "AirLoraApply", ('[{"model": "civitai:9@9"}]',), [linked("lora", 1)])
    definition = subgraph("sub", inner, links=[(1, -10, 0, 7, 0)], inputs=["styles"])
    text = node(2, "PrimitiveString", ('[{"model": "civitai:1@2"}]',))
    wired = node(12, "sub", inputs=[linked("styles", 5)])
    assert loras(canvas(text, wired, links=[[5, 2, 0, 12, 0, "STRING"]], subgraphs=[definition])) == [
        "civitai:1@2 at node 12:7, lora[0].model"
    ]
    # Not connected: the subgraph node shows the widget, and each of these nodes has its own value.
    shown = [{"name": "styles", "link": None, "widget": {"name": "styles"}}]
    one = node(12, "sub", ('[{"model": "civitai:1@2"}]',), shown)
    properties = {"proxyWidgets": [["7", "on_mismatch"], ["-1", "styles"]]}
    two = node(13, "sub", ("skip", '[{"model": "civitai:3@4"}]'), shown, properties=properties)
    neither = node(14, "sub")
    assert loras(canvas(one, two, neither, subgraphs=[definition])) == [
        "civitai:9@9 at node 14:7, lora[0].model",
        "civitai:3@4 at node 13:7, lora[0].model",
        "civitai:1@2 at node 12:7, lora[0].model",
    ]


def test_a_text_from_inside_a_subgraph() -> None:
    text = node(7, "PrimitiveString", ('[{"model": "civitai:1@2"}]',))
    definition = subgraph("sub", text, links=[(1, 7, 0, -20, 0)])
    apply = node(3, "AirLoraApply", inputs=[linked("lora", 5)])
    links = [[5, 12, 0, 3, 0, "STRING"]]
    assert loras(canvas(node(12, "sub"), apply, links=links, subgraphs=[definition])) == [
        "civitai:1@2 at node 3, lora[0].model"
    ]


def test_a_small_file_cannot_stand_for_billions_of_nodes() -> None:
    itself = subgraph("a", node(1, "a"))
    bomb = [subgraph(str(level), *(node(n, str(level + 1)) for n in range(10))) for level in range(20)]
    for document in (canvas(node(1, "a"), subgraphs=[itself]), canvas(node(1, "0"), subgraphs=bomb)):
        (error,) = loras_in(json.dumps(document)).errors
        assert error.code == "workflowTooLarge"


def test_links_in_a_circle_end() -> None:
    nodes = [
        node(1, "Reroute", inputs=[linked("", 1, "*")]),
        node(2, "AirLoraApply", inputs=[linked("lora", 1)]),
    ]
    assert names(canvas(*nodes, links=[[1, 1, 0, 1, 0, "*"]])) == []
    found = loras_in(json.dumps(api(("AirLoraApply", {"lora": ["2", 0]}), ("X", {"x": ["2", 0]}))))
    assert [error.code for error in found.errors] == ["computedText"]


# Files that ComfyUI saves

API = api(("AirLoraApply", {"lora": '[{"model": "civitai:1@2"}]'}))
CANVAS = canvas(node(5, "AirLoraApply", ('[{"model": "civitai:3@4"}]',)))


def png(add: Callable[[PngInfo, str, str], None]) -> bytes:
    info, file = PngInfo(), io.BytesIO()
    add(info, "prompt", json.dumps(API))
    add(info, "workflow", json.dumps(CANVAS))
    Image.new("RGB", (64, 64)).save(file, "png", pnginfo=info)
    return file.getvalue()


def webp() -> bytes:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0110] = f"prompt:{json.dumps(API)}"
    exif[0x010F] = f"workflow:{json.dumps(CANVAS)}"
    Image.new("RGB", (65, 65)).save(file, "webp", exif=exif)
    return file.getvalue()


def latent() -> bytes:
    texts = {"prompt": json.dumps(API), "workflow": json.dumps(CANVAS)}
    return save({"latent_tensor": np.zeros((1, 4, 2, 2), np.float32)}, metadata=texts)


def film() -> bytes:
    """As written by comfy_extras/nodes_video.py and comfy_api's VideoFromComponents."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", options={"movflags": "use_metadata_tags"}) as output:
        output.metadata["workflow"] = json.dumps(CANVAS)
        output.metadata["prompt"] = json.dumps(API)
        stream = output.add_stream("mpeg4", rate=Fraction(8))
        stream.width = stream.height = 64
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    return file.getvalue()


def sound() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="flac") as output:
        output.metadata["prompt"] = json.dumps(API)
        stream = output.add_stream("flac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    return file.getvalue()


SAVED = {
    "PNG": png(lambda info, name, text: info.add_text(name, text)),
    "PNG zTXt": png(lambda info, name, text: info.add_text(name, text, zip=True)),
    "PNG iTXt": png(lambda info, name, text: info.add_itxt(name, text)),
    "PNG iTXt compressed": png(lambda info, name, text: info.add_itxt(name, text, zip=True)),
    "animated PNG": png(
        lambda info, name, text: info.add(b"comf", f"{name}\0{text}".encode(), after_idat=True)
    ),
    "WebP": webp(),
    "latent": latent(),
    "MP4": film(),
    "FLAC": sound(),
}


@pytest.mark.parametrize("content", SAVED.values(), ids=SAVED)
def test_what_ran_is_read_from_a_saved_file(content: bytes) -> None:
    assert loras(content) == ["civitai:1@2 at node 1, lora[0].model"]


def test_the_canvas_is_read_where_what_ran_is_missing_or_broken() -> None:
    def broken(info: PngInfo, name: str, text: str) -> None:
        info.add_text(name, "{" if name == "prompt" else text)

    def alone(info: PngInfo, name: str, text: str) -> None:
        if name == "workflow":
            info.add_text(name, text)

    for add in (broken, alone):
        assert loras(png(add)) == ["civitai:3@4 at node 5, lora[0].model"]


def test_a_picture_without_a_workflow_says_so() -> None:
    (error,) = loras_in(png(lambda *_: None), "cat.png").errors
    assert (error.code, error.parameter) == ("noWorkflow", "cat.png")


def test_a_text_that_unpacks_to_gigabytes_is_passed_over() -> None:
    bomb = png(lambda info, name, _: info.add_text(name, "0" * 20_000_000, zip=True))
    assert len(bomb) < 100_000
    assert [error.code for error in loras_in(bomb).errors] == ["noWorkflow"]


@pytest.mark.parametrize("content", SAVED.values(), ids=SAVED)
def test_a_file_that_is_cut_off_anywhere_is_an_error_in_words(content: bytes) -> None:
    for end in [*range(0, len(content), max(1, len(content) // 60)), len(content) - 1]:
        found = loras_in(content[:end])
        assert bool(found.loras) != bool(found.errors) or end == 0


@given(st.sampled_from(sorted(SAVED)), st.binary(max_size=8), st.integers(min_value=0))
def test_a_damaged_file_never_raises(kind: str, damage: bytes, place: int) -> None:
    content = SAVED[kind]
    place %= len(content)
    loras_in(content[:place] + damage + content[place + len(damage) :])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-20, 20) | st.text(max_size=4) | st.just("sub"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                "nodes links id type mode inputs link name widgets_values definitions subgraphs class_type lora".split()
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(JSON, JSON, JSON)
def test_any_json_is_read_or_refused_in_words(nodes: object, links: object, subgraphs: object) -> None:
    document = {
        "nodes": [{"id": 1, "type": "sub", "inputs": nodes}, nodes],
        "links": links,
        "definitions": {"subgraphs": [{"id": "sub", "nodes": [nodes], "links": links}, subgraphs]},
    }
    loras_in(json.dumps(document))
    loras_in(json.dumps(nodes))
