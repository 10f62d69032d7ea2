"""The pack's routes in the running ComfyUI: the page's requests."""

from __future__ import annotations

import io
import json
import struct
import time
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests import lora_files
from tests.conftest import connect
from tests.integration.conftest import Studio, air
from tools.civitai_server import CatalogueEntry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.route_client import Routes

pytestmark = pytest.mark.integration

SD15 = {"folder": "checkpoints", "name": "tiny_sd15.ckpt"}
SDXL = {"folder": "checkpoints", "name": "tiny_sdxl.ckpt"}
LOCAL = "local:mine/local.safetensors"
MEGABYTE_OF_TEXT = "long " * 200_000
EVIL = '<img src=x onerror="alert(1)">\u202egnp.exe\u0000\x1b[31m\u061c\u206e\U000e0041'


@pytest.fixture(scope="module")
def pictured(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CatalogueEntry]:
    """A LoRA with a large preview, from a malicious author."""
    folder = tmp_path_factory.mktemp("pictured")
    with_text = PngInfo()
    with_text.add_text("prompt", "private")
    Image.new("RGB", (1600, 900), (200, 30, 30)).save(folder / "preview.png", pnginfo=with_text)
    entry = CatalogueEntry(
        model_id=601,
        version_id=1601,
        name=EVIL + MEGABYTE_OF_TEXT,
        version_name=EVIL,
        file=lora_files.sd15_lora(folder / "evil.safetensors", seed=11),
        base_model="SD 1.5",
        trigger_words=(EVIL, MEGABYTE_OF_TEXT, "good word"),
        preview=folder / "preview.png",
    )
    before = studio.civitai.catalogue
    studio.civitai.catalogue = (*before, entry)
    yield entry
    studio.civitai.catalogue = before


def info(routes: Routes, *models: str, checkpoint: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """The items, once all sources have answered. A response doesn't wait for a busy machine."""
    until = time.monotonic() + 240
    while True:
        items: list[dict[str, Any]] = routes.found(
            "info", {"models": list(models), "checkpoint": checkpoint}
        )["items"]
        if not any(item["pending"] for item in items) or time.monotonic() > until:
            return items


def picture(answer_body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(answer_body))


# parse


def test_pasted_text_becomes_entries(routes: Routes) -> None:
    answer = routes.found(
        "parse", {"text": "civitai:1@2 0.5\n<b>\nhttps://civitai.com/models/3?modelVersionId=4"}
    )
    assert [(entry["model"], entry["weight"], entry["weight_given"]) for entry in answer["entries"]] == [
        ("civitai:1@2", 0.5, True),
        ("civitai:3@4", 0.75, False),
    ]
    assert [error["parameter"] for error in answer["errors"]] == ["line 2"]


def test_a_prompt_finds_the_local_file(routes: Routes) -> None:
    answer = routes.found("parse", {"text": "a house <lora:Local:0.6>"})
    assert answer == {
        "entries": [
            {
                "model": LOCAL,
                "weight": 0.6,
                "clip_weight": 0.6,
                "enabled": True,
                "transformer": "both",
                "weight_given": True,
            }
        ],
        "errors": [],
    }


# info


def test_a_local_file_without_the_network(routes: Routes, studio: Studio) -> None:
    asked = len(studio.civitai.requests)
    (item,) = info(routes, LOCAL, checkpoint=SD15)
    assert len(studio.civitai.requests) == asked
    file = studio.process.base / "models/loras/mine/local.safetensors"
    assert item | {"sha256": None} == {
        "model": LOCAL,
        "state": "on_disk",
        "title": "local",
        "version": "",
        "file_name": "local.safetensors",
        "local_name": "mine/local.safetensors",
        "size": file.stat().st_size,
        "sha256": None,
        "families": ["sd1"],
        "family_names": ["SD 1.x"],
        "families_from": "file",
        "base_model": "",
        "creator": "",
        "kind": "lora",
        "rank": 4,
        "trigger_words": [],
        "suggested_weight": None,
        "page": None,
        "thumbnail": None,
        "thumbnail_hidden": False,
        "only_films": False,
        "error": None,
        "pending": False,
        "fits": "yes",
        "reason": None,
    }


def test_a_remote_file_is_known_by_its_header_before_it_is_downloaded(routes: Routes) -> None:
    answer = routes.found("info", {"models": [air(611), air(612)], "checkpoint": SD15})
    assert answer["checkpoint"] == {
        "families": ["sd1"],
        "family_names": ["SD 1.x"],
        "blocks": [["input_blocks", [0, 1]], ["middle_block", [0, 1, 2]], ["output_blocks", [0, 1]]],
    }
    first, wrongly_declared = answer["items"]
    assert (first["state"], first["title"], first["version"]) == ("available", "Route style for SDXL", "v1.0")
    assert first["trigger_words"] == ["word 611", "shared word"]
    assert first["page"] == "https://civitai.com/models/611?modelVersionId=1611"
    assert (first["fits"], first["reason"]) == (
        "no",
        "It was trained for SDXL, but the checkpoint is SD 1.x.",
    )
    assert (wrongly_declared["base_model"], wrongly_declared["families"]) == ("SD 1.5", ["sdxl"])
    assert [item["fits"] for item in info(routes, air(611), air(612), checkpoint=SDXL)] == ["yes", "yes"]


def test_what_cannot_be_had_says_why(routes: Routes) -> None:
    items = info(
        routes, "civitai:7@8", "runware:5@1", "local:no.safetensors", "what?", "civitai:101", air(403)
    )
    assert [(item["state"], (item["error"] or {}).get("code")) for item in items] == [
        ("not_found", "notFound"),
        ("hosted_only", "hostedOnly"),
        ("not_found", "notFound"),
        ("error", "missingSource"),
        ("not_found", "versionMissing"),
        ("available", None),
    ]
    assert (items[-1]["fits"], items[-1]["reason"]) == (
        "no",
        "This file isn't a LoRA for a diffusion model.",
    )


def test_without_a_checkpoint_nothing_is_said_of_fitting(routes: Routes) -> None:
    missing = {"folder": "checkpoints", "name": "not-there.safetensors"}
    for checkpoint in (None, missing):
        answer = routes.found("info", {"models": [LOCAL], "checkpoint": checkpoint})
        assert (answer["checkpoint"], answer["items"][0]["fits"]) == (None, "unknown")


def test_a_diffusion_model_of_its_own(routes: Routes) -> None:
    wan = {"folder": "diffusion_models", "name": "tiny_wan.safetensors"}
    assert [item["fits"] for item in info(routes, air(616), LOCAL, checkpoint=wan)] == ["yes", "no"]


def test_a_source_that_is_slow_is_pending_and_known_later(routes: Routes, studio: Studio) -> None:
    with studio.civitai.version_documents_stalled():
        (item,) = routes.found("info", {"models": [air(614)]})["items"]
        assert (item["state"], item["pending"], item["error"]["code"]) == ("error", True, "stillLooking")
    until = time.monotonic() + 240
    while (item["error"] or {}).get("code") in ("stillLooking", "timedOut") and time.monotonic() < until:
        time.sleep(0.1)  # a busy machine may give a look-up up, and begins another one
        (item,) = info(routes, air(614))
    assert (item["state"], item["title"]) == ("available", "Route slow")


@pytest.mark.usefixtures("pictured")
def test_text_of_strangers_is_cut_and_plain(routes: Routes) -> None:
    (item,) = info(routes, "civitai:601@1601")
    assert item["title"].startswith('<img src=x onerror="alert(1)">gnp.exe[31mlong long')
    assert len(item["title"]) == 200
    assert item["version"] == '<img src=x onerror="alert(1)">gnp.exe[31m'
    assert [len(word) for word in item["trigger_words"]] == [41, 500, 9]
    assert len(json.dumps(item)) < 5000


# search, versions, library


def test_search_of_the_service_gives_what_fits(routes: Routes) -> None:
    everything = routes.found("search", {"query": "route style", "source": "civitai"})
    assert {item["model"] for item in everything["items"]} >= {air(611), air(612)}
    fitting = routes.found("search", {"query": "route style", "source": "civitai", "checkpoint": SDXL})
    # 612 is declared for SD 1.5, and a search only knows what is declared.
    assert [item["model"] for item in fitting["items"]] == [air(611)]
    assert fitting["next"] is None
    assert fitting["items"][0]["families_from"] == "page"


def test_search_goes_on_where_it_stopped(routes: Routes, studio: Studio) -> None:
    some = studio.civitai.catalogue[0]
    many = [
        CatalogueEntry(
            model_id=7000 + number, version_id=8000 + number, name=f"Many {number}", file=some.file
        )
        for number in range(30)
    ]
    before = studio.civitai.catalogue
    studio.civitai.catalogue = (*before, *many)
    try:
        first = routes.found("search", {"query": "many", "source": "civitai"})
        second = routes.found("search", {"query": "many", "source": "civitai", "cursor": first["next"]})
    finally:
        studio.civitai.catalogue = before
    assert len({item["model"] for item in (*first["items"], *second["items"])}) == 30
    assert second["next"] is None


def test_search_of_the_own_files(routes: Routes) -> None:
    found = routes.found("search", {"query": "LOCAL mine", "source": "local", "checkpoint": SD15})
    assert [item["model"] for item in found["items"]] == [LOCAL]
    assert routes.found("search", {"query": "local", "source": "local", "checkpoint": SDXL})["items"] == []


def test_versions_of_a_model(routes: Routes) -> None:
    versions = routes.found("versions", {"model": "civitai:101"})["versions"]
    assert [(item["model"], item["title"]) for item in versions] == [(air(101), "Style A for SD 1.5")]
    assert routes.found("versions", {"model": "civitai:@1101"})["versions"] == versions
    (local,) = routes.found("versions", {"model": LOCAL})["versions"]
    assert local["model"] == LOCAL
    assert routes.post("versions", {"model": "civitai:9999"}).code == "notFound"


def test_the_library_page_by_page(routes: Routes) -> None:
    whole = routes.get("library?limit=200").json
    assert whole["total"] == len(whole["items"])
    assert LOCAL in [item["model"] for item in whole["items"]]
    assert routes.get(f"library?offset={whole['total'] - 1}&limit=5").json["items"] == whole["items"][-1:]
    assert routes.get("library?offset=10000").json["items"] == []


# thumbnails


@pytest.mark.usefixtures("pictured")
@pytest.mark.parametrize(("size", "expected"), [(96, (96, 54)), (512, (512, 288))])
def test_a_preview_is_made_anew(routes: Routes, studio: Studio, size: int, expected: tuple[int, int]) -> None:
    (item,) = info(routes, "civitai:601@1601")
    path = item["thumbnail"].removeprefix("/air_lora/")
    answer = routes.get(f"{path}&size={size}")
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["x-content-type-options"] == "nosniff"
    made = picture(answer.body)
    assert (made.format, made.size) == ("WEBP", expected)
    assert b"private" not in answer.body
    asked = len(studio.civitai.requests)
    assert routes.get(f"{path}&size={size}").body == answer.body
    assert len(studio.civitai.requests) == asked


def test_a_preview_beside_the_file(routes: Routes, studio: Studio) -> None:
    beside = studio.process.base / "models/loras/mine/local.preview.png"
    Image.new("RGBA", (40, 20), (0, 90, 200, 128)).save(beside)
    try:
        (item,) = info(routes, LOCAL)
        assert item["thumbnail"] == f"/air_lora/thumbnail?model={quote(LOCAL, safe='')}&level=1"
        made = picture(routes.get(f"thumbnail?model={quote(LOCAL)}").body)
        assert (made.format, made.size, made.mode) == ("WEBP", (40, 20), "RGBA")
    finally:
        beside.unlink()


def no_picture(path: Path) -> None:
    path.write_text("<script>alert(1)</script>")


def bomb(path: Path) -> None:
    """A picture of 900 megapixels in a few kilobytes."""
    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + head + b"\0\0\0\0")


@pytest.mark.parametrize("make", [no_picture, bomb])
def test_what_is_no_picture_is_not_shown(routes: Routes, studio: Studio, make: Any) -> None:
    name = f"{make.__name__}.safetensors"
    file = lora_files.sd15_lora(studio.process.base / "models" / "loras" / name, seed=30)
    make(file.with_suffix(".preview.png"))
    try:
        assert routes.get(f"thumbnail?model=local:{name}").status == 404
    finally:
        file.unlink()
        file.with_suffix(".preview.png").unlink()


def test_no_preview_is_not_found(routes: Routes) -> None:
    for model in (air(101), "runware:5@1", "local:no.safetensors", "civitai:77@78"):
        answer = routes.get(f"thumbnail?model={quote(model)}")
        assert (answer.status, answer.code) == (404, "notFound")


# prefetch


def events_of(
    studio: Studio, routes: Routes, document: object, *, cancel: bool = False
) -> list[dict[str, Any]]:
    """All events of one job."""
    address = studio.client.url.replace("http://", "ws://") + f"/ws?clientId={uuid.uuid4().hex}"
    with connect(address, max_size=None) as socket:
        job = routes.found("prefetch", document)["job"]
        if cancel:
            assert routes.found("prefetch/cancel", {"job": job}) == {"job": job}
        events: list[dict[str, Any]] = []
        ended = 0
        while ended < len(document["models"]):  # type: ignore[index]  # no document here lacks them
            message = socket.recv(timeout=240)
            if isinstance(message, bytes):
                continue
            event = json.loads(message)
            if event["type"] == "air_lora.progress" and event["data"]["job"] == job:
                events.append(event["data"])
                ended += "state" in event["data"]
        return events


def test_a_download_tells_how_far_it_is(routes: Routes, studio: Studio) -> None:
    events = events_of(studio, routes, {"models": [air(615), "civitai:7@8"]})
    by_model = {event["model"]: event for event in events if "state" in event}
    assert by_model[air(615)]["state"] == "done"
    assert by_model[air(615)]["done"] == by_model[air(615)]["total"] > 0
    failed = by_model["civitai:7@8"]
    assert (failed["state"], failed["error"]["code"]) == ("failed", "notFound")
    assert {event["node"] for event in events} == {None}
    (item,) = info(routes, air(615))
    assert (item["state"], item["local_name"]) == ("on_disk", "air/civitai/615@1615/model-615.safetensors")
    found = routes.found("search", {"query": "to fetch", "source": "local"})["items"]
    assert [each["model"] for each in found] == [air(615)]


def test_a_download_can_be_cancelled(routes: Routes, studio: Studio) -> None:
    with studio.civitai.version_documents_stalled():
        events = events_of(studio, routes, {"models": [air(618)]}, cancel=True)
    assert (events[-1]["state"], events[-1]["error"]["code"]) == ("failed", "cancelled")
    assert routes.post("prefetch/cancel", {"job": "nobody"}).code == "notFound"


def test_a_run_tells_the_same_at_its_node(studio: Studio) -> None:
    from tests.integration.conftest import tiny

    address = studio.client.url.replace("http://", "ws://") + f"/ws?clientId={uuid.uuid4().hex}"
    with connect(address, max_size=None, max_queue=None) as socket:
        prompt = studio.client.queue(tiny("sd15", [{"model": air(617), "weight": 0.5}]).workflow())
        while True:
            message = socket.recv(timeout=240)
            event = {} if isinstance(message, bytes) else json.loads(message)
            if event.get("type") == "air_lora.progress" and event["data"].get("state"):
                break
        studio.client.wait(prompt)
    assert event["data"] | {"done": 0, "total": 0} == {
        "job": None,
        "node": "apply",
        "model": air(617),
        "phase": "done",
        "done": 0,
        "total": 0,
        "bytes_per_second": None,
        "seconds_left": None,
        "file_name": "model-617.safetensors",
        "state": "done",
    }


# dropped files


def drop(routes: Routes, name: str, content: bytes, size: int | None = None) -> Any:
    path = f"/air_lora/dropped?name={quote(name)}&size={len(content) if size is None else size}"
    answer = routes.ask("POST", path, content, {"Content-Type": "application/octet-stream"})
    assert answer.status == 200, answer.body
    return answer.json


def test_a_dropped_picture_brings_its_loras(routes: Routes) -> None:
    graph = {
        "4": {"class_type": "AirLoraApply", "inputs": {"lora": '[{"model": "civitai:1@2", "weight": 0.9}]'}}
    }
    saved = PngInfo()
    saved.add_text("prompt", json.dumps(graph))
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=saved)
    answer = drop(routes, "picture.png", file.getvalue())
    assert [(entry["model"], entry["weight"]) for entry in answer["entries"]] == [("civitai:1@2", 0.9)]


def test_a_dropped_lora_is_found_where_it_lies(routes: Routes, studio: Studio) -> None:
    content = (studio.process.base / "models/loras/mine/local.safetensors").read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    for name, sent in (("C:\\x\\local.safetensors", header), ("renamed.safetensors", header + 4096)):
        answer = drop(routes, name, content[:sent], len(content))
        assert [(entry["model"], entry["weight_given"]) for entry in answer["entries"]] == [(LOCAL, False)]
        assert answer["items"][0]["state"] == "on_disk"
    # Other LoRAs can have the same header.
    assert drop(routes, "renamed.safetensors", content[:header], len(content))["entries"] == []


def test_a_dropped_lora_from_elsewhere_says_where_it_belongs(routes: Routes, tmp_path: Path) -> None:
    content = lora_files.sdxl_lora(tmp_path / "else.safetensors", seed=77).read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    (error,) = drop(routes, "C:\\Users\\me\\else.safetensors", content[:end], len(content))["errors"]
    assert error["code"] == "notInFolder"
    assert error["message"].startswith("else.safetensors isn't in any of ComfyUI's loras folders (")


def test_other_files_say_that_they_hold_nothing(routes: Routes) -> None:
    assert drop(routes, "a.png", b"\x89PNG\r\n\x1a\n")["errors"][0]["code"] == "noWorkflow"
    assert drop(routes, "notes.txt", b"civitai:5@6")["entries"][0]["model"] == "civitai:5@6"
