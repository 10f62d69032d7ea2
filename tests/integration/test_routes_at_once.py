"""Many simultaneous requests to the pack's routes."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import air
from tests.integration.test_routes_misused import ARRAY, LOCAL, SHOWING, dropped

if TYPE_CHECKING:
    from tests.integration.conftest import Studio
    from tests.integration.route_client import Routes

pytestmark = pytest.mark.integration


def test_two_hundred_at_once(routes: Routes, studio: Studio) -> None:
    asked: list[tuple[str, Any]] = [
        ("info", {"models": [LOCAL, air(101), air(102), air(201), "civitai:7@8"]}),
        ("parse", {"text": "civitai:1@2\n<lora:local:0.4>" * 50}),
        ("search", {"query": "style", "source": "civitai"}),
        ("search", {"query": "local", "source": "local"}),
    ]
    # What a source hasn't returned yet is "pending" in one response and known in the next.
    while any(item["pending"] for item in routes.found(*asked[0])["items"]):
        pass
    with ThreadPoolExecutor(200) as pool:
        posts = [pool.submit(routes.post, *asked[number % 4]) for number in range(160)]
        gets = [pool.submit(routes.get, SHOWING[number % 4]) for number in range(40)]
        assert {each.result().status for each in posts} == {200}
        assert {each.result().status for each in gets} <= {200, 404}
        answers = [each.result().body for each in posts]
    for index in range(4):
        # A file's SHA-256 is computed during other requests, and included as soon as it is known. A list of files is
        # not current while the folders are scanned again, which a busy machine does several times meanwhile.
        changing = rb'"sha256": (null|"\w+")|"current": (true|false)'
        same = {re.sub(changing, b"", body) for body in answers[index::4]}
        assert len(same) == 1, [body[:3000] for body in same]
    # Meanwhile, the rest of ComfyUI still responds.
    assert studio.client.get("/queue") == {"queue_running": [], "queue_pending": []}


@pytest.mark.usefixtures("unchanged")
def test_two_hundred_changes_at_once(routes: Routes, studio: Studio) -> None:
    """Each change is complete, in some order, and no file is left half-written."""
    names = [f"at once {number}" for number in range(50)]
    with ThreadPoolExecutor(200) as pool:
        saved = [pool.submit(routes.post, "presets", {"name": name, "lora": ARRAY}) for name in names]
        posts: list[tuple[str, Any]] = [
            ("settings", {"key": "AIR_LORA_CONNECTIONS", "value": "5"}),
            ("token", {"service": "huggingface", "token": "hf_at_once_and_gone"}),
            ("prefetch", {"models": [LOCAL]}),
        ]
        changes = [pool.submit(routes.post, *posts[number % 3]) for number in range(150)]
        assert {each.result().status for each in (*saved, *changes)} == {200}
    assert {preset["name"] for preset in routes.get("presets").json["presets"]} >= set(names)
    shown = routes.get("settings").json
    assert (shown["values"]["AIR_LORA_CONNECTIONS"], shown["tokens"]["huggingface"]) == ("5", True)
    with ThreadPoolExecutor(200) as pool:
        gone = [pool.submit(routes.post, "presets/delete", {"name": name}) for name in names * 2]
        back = [
            pool.submit(routes.post, "settings", {"key": "AIR_LORA_CONNECTIONS", "value": None}),
            pool.submit(routes.post, "token", {"service": "huggingface", "token": None}),
        ]
        others = [pool.submit(routes.post, "prefetch/cancel", {"job": "nobody"}) for _ in range(49)]
        others += [pool.submit(routes.post, "versions", {"model": air(101)}) for _ in range(49)]
        statuses = sorted(each.result().status for each in gone)
        assert statuses == [200] * 50 + [404] * 50
        assert {each.result().status for each in back} == {200}
        assert {each.result().status for each in others} == {404, 200}
    folder = studio.process.base / "user" / "__air_lora"
    assert not [path.name for path in folder.iterdir() if "part" in path.name or "tmp" in path.name]


def test_two_hundred_dropped_at_once(routes: Routes, studio: Studio) -> None:
    content = (studio.process.base / "models/loras/mine/local.safetensors").read_bytes()
    with ThreadPoolExecutor(200) as pool:
        answers = list(
            pool.map(
                lambda _: dropped(routes, content, size=len(content), name="local.safetensors"), range(200)
            )
        )
    assert {answer.status for answer in answers} == {200}
    assert {answer.json["entries"][0]["model"] for answer in answers} == {LOCAL}


def test_one_source_is_asked_once_for_what_many_ask(routes: Routes, studio: Studio) -> None:
    before = len(studio.civitai.requests)
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda _: routes.post("info", {"models": ["civitai:4711@4712"]}), range(50)))
    about = [each for each in studio.civitai.requests[before:] if "4712" in each.path]
    assert len(about) <= 2  # one for the peek, and one for the name of what could not be peeked at
