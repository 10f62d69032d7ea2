"""Misuse of the pack's routes in the running ComfyUI: what is rejected, and that nothing is disclosed."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.conftest import ROOT
from tests.integration.conftest import TOKEN, Studio, air

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.integration.route_client import Routes

pytestmark = pytest.mark.integration

LOCAL = "local:mine/local.safetensors"
ARRAY = [{"model": "civitai:1@2"}]

READING: list[tuple[str, Any]] = [
    ("parse", {"text": "civitai:1@2"}),
    ("info", {"models": [LOCAL]}),
    ("search", {"query": "x", "source": "local"}),
    ("versions", {"model": LOCAL}),
    ("newer", {"models": [LOCAL]}),
    ("details", {"model": LOCAL}),
]
CHANGING: list[tuple[str, Any]] = [
    ("prefetch", {"models": [LOCAL]}),
    ("prefetch/cancel", {"job": "x"}),
    ("settings", {"key": "AIR_LORA_OFFLINE", "value": "1"}),
    ("token", {"service": "huggingface", "token": "stolen-or-planted"}),
    ("presets", {"name": "planted", "lora": ARRAY}),
    ("presets/delete", {"name": "planted"}),
]
SHOWING = ["library", "settings", "presets", "failures?prompt_id=x", f"thumbnail?model={quote(LOCAL)}"]
A_FILE = "dropped?name=x.png&size=1"
BYTES = {"Content-Type": "application/octet-stream"}


def headers_of_a_page(routes: Routes, origin: str, host: str = "") -> Mapping[str, str]:
    return {"Content-Type": "application/json", "Origin": origin, "Host": host or routes.address.netloc}


FOREIGN = [
    "http://evil.example",
    "null",
    "http://127.0.0.1:1",
    "http://localhost.evil.example",
    "file://",
    "garbage",
]


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize(("path", "document"), [*READING, *CHANGING], ids=lambda value: str(value)[:15])
def test_pages_of_other_sites_are_refused(routes: Routes, path: str, document: Any, origin: str) -> None:
    body = json.dumps(document).encode()
    answer = routes.ask("POST", f"/air_lora/{path}", body, headers_of_a_page(routes, origin))
    assert answer.status == 403


@pytest.mark.parametrize("path", SHOWING)
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_sites_cannot_even_embed(routes: Routes, path: str, site: str) -> None:
    assert routes.ask("GET", f"/air_lora/{path}", None, {"Sec-Fetch-Site": site}).status == 403


@pytest.mark.parametrize("origin", FOREIGN)
def test_pages_of_other_sites_see_and_drop_nothing(routes: Routes, origin: str) -> None:
    foreign = {"Origin": origin}
    assert {routes.ask("GET", f"/air_lora/{path}", None, foreign).status for path in SHOWING} == {403}
    assert routes.ask("POST", f"/air_lora/{A_FILE}", b"x", {**BYTES, **foreign}).status == 403


def test_no_answer_lets_another_site_read_it(routes: Routes) -> None:
    answers = [routes.get(path) for path in SHOWING] + [routes.post(*each) for each in READING]
    assert all("access-control-allow-origin" not in answer.headers for answer in answers)
    assert all(answer.headers["x-content-type-options"] == "nosniff" for answer in answers)


def test_these_are_all_the_routes() -> None:
    """A new route without tests of its misuse fails here."""
    source = (ROOT / "nodes" / "server" / "routes" / "__init__.py").read_text(encoding="utf-8")
    table = {(method, path) for method, path in re.findall(r'\("(GET|POST)", "/air_lora/([^"]+)"', source)}
    asked = {("POST", path.partition("?")[0]) for path, _ in (*READING, *CHANGING, (A_FILE, None))}
    assert table == asked | {("GET", path.partition("?")[0]) for path in SHOWING}
    posts = {path for method, path in table if method == "POST"} - {"dropped"}
    for misuse in (WRONG, OVERSIZE, UNSPEAKABLE):
        assert {path for path, _ in misuse} == posts


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_the_own_page_is_served(routes: Routes, prefix: str) -> None:
    origin = f"http://{routes.address.netloc}"
    headers = {**headers_of_a_page(routes, origin), "Sec-Fetch-Site": "same-origin"}
    answer = routes.ask("POST", f"{prefix}/air_lora/parse", b'{"text": ""}', headers)
    assert (answer.status, answer.json) == (200, {"entries": [], "errors": []})


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(("path", "document"), CHANGING, ids=lambda value: str(value)[:15])
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example:8188", "Origin": "http://rebound.example:8188"},
        {"Host": "192.168.1.7:8188"},
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
    ],
    ids=["rebinding", "by another address", "through a proxy", "through another proxy"],
)
def test_changes_come_from_this_computer_alone(
    routes: Routes, path: str, document: Any, headers: Mapping[str, str]
) -> None:
    body = json.dumps(document).encode()
    answer = routes.ask("POST", f"/air_lora/{path}", body, {"Content-Type": "application/json", **headers})
    assert (answer.status, answer.code) == (403, "notFromHere")


def test_who_sets_it_so_takes_changes_from_elsewhere(routes: Routes) -> None:
    far = {"Host": "192.168.1.7:8188"}
    routes.found("settings", {"key": "AIR_LORA_ALLOW_REMOTE", "value": "1"})
    try:
        assert routes.post("presets/delete", {"name": "nobody"}, **far).code == "notFound"
    finally:
        routes.found("settings", {"key": "AIR_LORA_ALLOW_REMOTE", "value": None})
    assert routes.post("presets/delete", {"name": "nobody"}, **far).code == "notFromHere"


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(("path", "document"), [*READING, *CHANGING], ids=lambda value: str(value)[:15])
def test_a_form_of_another_site_is_no_json(routes: Routes, path: str, document: Any) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        body = json.dumps(document).encode()
        answer = routes.ask("POST", f"/air_lora/{path}", body, {"Content-Type": kind})
        assert (answer.status, answer.code) == (415, "notJson")


def test_changes_are_no_matter_of_get(routes: Routes) -> None:
    for path in ("prefetch?models=civitai:1@2", "token?token=x", "presets/delete?name=x"):
        assert routes.get(path).status in (404, 405)


WRONG: list[tuple[str, bytes]] = [
    (path, body)
    for path in (
        "parse",
        "info",
        "search",
        "versions",
        "newer",
        "details",
        "prefetch",
        "prefetch/cancel",
        "settings",
        "token",
        "presets",
        "presets/delete",
    )
    for body in (
        b"",
        b"[]",
        b"3",
        b"null",
        b"{",
        b"[" * 60_000,
        b"\xff\xfe",
        b"{}",
        b'{"text": [], "models": "x"}',
    )
]
WRONG += [
    ("info", b'{"models": [1]}'),
    ("info", b'{"models": [], "checkpoint": "x"}'),
    ("info", b'{"models": [], "checkpoint": {"folder": 1, "name": "x"}}'),
    ("search", b'{"query": "x", "source": "https://evil.example"}'),
    ("search", b'{"query": "x", "source": "civitai", "cursor": "&token=x"}'),
    ("search", b'{"query": null, "source": "civitai"}'),
    ("search", b'{"query": "x", "source": "civitai", "sort": "cheapest"}'),
    ("versions", b'{"model": "https://evil.example/x"}'),
    ("prefetch", b'{"models": ["https://evil.example/x.safetensors"]}'),
    ("prefetch", b'{"models": ["/etc/passwd"]}'),
    ("prefetch", b'{"models": []}'),
    ("settings", b'{"key": "AIR_LORA_OFFLINE", "value": true}'),
    ("token", b'{"service": "evil", "token": "x"}'),
    ("token", b'{"service": "huggingface", "token": 5}'),
    ("presets", b'{"name": "x", "lora": {"model": "civitai:1@2"}}'),
    ("presets", b'{"name": {"a": 1}, "lora": []}'),
    ("presets/delete", b'{"name": ["planted"]}'),
    ("prefetch/cancel", b'{"job": {"$ne": null}}'),
]


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(("path", "body"), WRONG, ids=lambda value: str(value)[:40])
def test_values_of_another_type(routes: Routes, path: str, body: bytes) -> None:
    answer = routes.ask("POST", f"/air_lora/{path}", body, {"Content-Type": "application/json"})
    assert answer.status == 400, answer.body
    assert answer.code


TRAVERSALS = [
    "../../user/__air_lora/settings.json",
    "..\\..\\x",
    "/etc/passwd",
    "C:\\x.ckpt",
    "a/../../b",
    "a\0b",
]


@pytest.mark.parametrize("name", TRAVERSALS)
def test_no_way_out_of_a_folder(routes: Routes, name: str) -> None:
    answer = routes.post("info", {"models": [], "checkpoint": {"folder": "checkpoints", "name": name}})
    assert (answer.status, answer.code) == (400, "invalidValue")
    (item,) = routes.found("info", {"models": [f"local:{name}"]})["items"]
    assert item["state"] in ("error", "not_found")
    assert routes.get(f"thumbnail?model=local:{quote(name)}").status in (400, 404)
    assert routes.post("versions", {"model": f"local:{name}"}).status == 400
    assert routes.post("prefetch", {"models": [f"local:{name}"]}).status == 400
    assert routes.post("presets", {"name": "x", "lora": [{"model": f"local:{name}"}]}).status == 400
    assert routes.found("parse", {"text": f"local:{name}"})["entries"] == []
    assert dropped(routes, b"(8 bytes){", size=10, name=f"{name}.safetensors").json["entries"] == []


@pytest.mark.parametrize("folder", ["custom_nodes", "loras", "../user", "", "configs"])
def test_no_folder_but_those_of_models(routes: Routes, folder: str) -> None:
    answer = routes.post("info", {"models": [], "checkpoint": {"folder": folder, "name": "x"}})
    assert (answer.status, answer.code) == (400, "invalidValue")


@pytest.mark.parametrize(
    "query", ["", "?model=", "?model=x", "?model=civitai:1@2&size=4096", "?model=civitai:1@2&size="]
)
def test_thumbnails_that_make_no_sense(routes: Routes, query: str) -> None:
    assert routes.get(f"thumbnail{query}").status == 400


@pytest.mark.parametrize(
    "query", ["offset=-1", "limit=1e9", "limit=201", "offset=٣", "limit=", f"offset={'9' * 40}"]
)
def test_pages_that_make_no_sense(routes: Routes, query: str) -> None:
    assert routes.get(f"library?{quote(query, safe='=')}").status == 400


OVERSIZE: list[tuple[str, Any]] = [
    ("parse", {"text": "x" * 9_000_000}),
    ("info", {"models": ["civitai:1@2"] * 201}),
    ("info", {"models": ["x" * 5000]}),
    ("info", {"models": ["x" * 4000] * 300}),
    ("search", {"query": "x" * 201, "source": "local"}),
    ("versions", {"model": "x" * 4097}),
    ("versions", {"model": "x" * 70_000}),
    ("newer", {"models": ["civitai:1@2"] * 201}),
    ("newer", {"models": ["x" * 5000]}),
    ("details", {"model": "x" * 4097}),
    ("prefetch", {"models": ["civitai:1@2"] * 201}),
    ("token", {"service": "huggingface", "token": "x" * 501}),
    ("settings", {"key": "AIR_LORA_OFFLINE", "value": "1" * 201}),
    ("presets", {"name": "x" * 201, "lora": []}),
    ("presets", {"name": "x", "lora": ARRAY * 201}),
    ("presets", {"name": "x", "lora": "x" * 600_000}),
    ("presets/delete", {"name": "x" * 201}),
    ("prefetch/cancel", {"job": "x" * 101}),
    ("prefetch/cancel", {"job": "x" * 70_000}),
]


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(("path", "document"), OVERSIZE, ids=lambda value: str(value)[:30])
def test_too_much_of_anything(routes: Routes, path: str, document: Any) -> None:
    answer = routes.post(path, document)
    assert answer.status in (400, 413)
    assert len(answer.body) < 2000


def test_a_body_without_an_announced_end_is_cut_off(routes: Routes) -> None:
    """Chunked, so that the size isn't known in advance."""
    with socket.create_connection(
        (routes.address.hostname or "", routes.address.port or 0), timeout=240
    ) as connection:
        connection.sendall(
            b"POST /air_lora/token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        sent = 0
        try:
            for _ in range(100):
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                sent += 65536
        except OSError:
            pass  # a closed connection is just as good
        assert b" 413 " in connection.recv(100) or sent < 6_000_000


def test_more_than_a_file_may_have_is_refused_before_it_is_sent(routes: Routes) -> None:
    with socket.create_connection(
        (routes.address.hostname or "", routes.address.port or 0), timeout=240
    ) as connection:
        connection.sendall(
            f"POST /air_lora/{A_FILE} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Length: {65 * 1024**2}\r\n\r\n".encode()
        )
        assert b" 413 " in connection.recv(100)


@pytest.mark.parametrize("name", ["x" * 1001, ""])
def test_names_of_dropped_files_have_a_length(routes: Routes, name: str) -> None:
    assert dropped(routes, b"x", size=1, name=name).status == 400


def test_a_long_address_is_no_thumbnail(routes: Routes) -> None:
    assert routes.get(f"thumbnail?model=local:{'x' * 4100}").status == 400


HALF = "\ud800"  # valid in JSON, but not in UTF-8
UNSPEAKABLE: list[tuple[str, Any]] = [
    ("parse", {"text": f"local:{HALF}.safetensors\n<lora:{HALF}:1>"}),
    ("info", {"models": [HALF, f"local:{HALF}.safetensors", f"huggingface:a/b@main/{HALF}.safetensors"]}),
    ("search", {"query": HALF, "source": "local"}),
    ("search", {"query": HALF, "source": "civitai"}),
    ("versions", {"model": f"local:{HALF}.safetensors"}),
    ("newer", {"models": [HALF, f"local:{HALF}.safetensors"]}),
    ("details", {"model": f"local:{HALF}.safetensors"}),
    ("prefetch", {"models": [f"civitai:{HALF}"]}),
    ("prefetch/cancel", {"job": HALF}),
    ("settings", {"key": "AIR_LORA_CONNECTIONS", "value": HALF}),
    ("token", {"service": "huggingface", "token": HALF}),
    ("presets", {"name": HALF, "lora": []}),
    ("presets", {"name": "x", "lora": HALF}),
    ("presets/delete", {"name": HALF}),
]


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(("path", "document"), UNSPEAKABLE, ids=lambda value: str(value)[:15])
def test_text_that_is_none_breaks_nothing(routes: Routes, path: str, document: Any) -> None:
    answer = routes.post(path, document)
    assert answer.status in (200, 400, 404), answer.body
    answer.body.decode("utf-8")


def dropped(routes: Routes, content: bytes, *, size: int, name: str = "x.safetensors", kind: str = "") -> Any:
    return routes.ask(
        "POST",
        f"/air_lora/dropped?name={quote(name)}&size={size}",
        content,
        {"Content-Type": kind or "application/octet-stream"},
    )


HOSTILE_FILES = [
    b"",
    b"\xff" * 7 + b"\x7f{",
    (100).to_bytes(8, "little") + b"{" + b"[" * 99,
    (10**6).to_bytes(8, "little") + b"{" + b" " * 10**6,
    b"\x89PNG\r\n\x1a\n" + b"\xff" * 1000,
    b"RIFF\xff\xff\xff\xffWEBPEXIF\xff\xff\xff\x7f",
    b"\0\0\0\x20ftyp" + b"\0" * 100,
    b"fLaC" + b"\xff" * 100,
    b"\x80\x04cos\nsystem\n.",
    b"[" * 100_000,
]


@pytest.mark.parametrize("name", ["x.safetensors", "x.png", "../../x"])
@pytest.mark.parametrize("content", HOSTILE_FILES, ids=range(len(HOSTILE_FILES)))
def test_hostile_files_bring_nothing(routes: Routes, content: bytes, name: str) -> None:
    answer = dropped(routes, content, size=len(content), name=name)
    assert answer.status == 200
    assert answer.json["entries"] == []


def test_dropped_files_that_make_no_sense(routes: Routes) -> None:
    assert dropped(routes, b"12345678{", size=3).status == 400
    assert dropped(routes, b"x", size=10, name="half.png").status == 400
    assert dropped(routes, b"x", size=1, kind="application/json").status == 415
    assert (
        routes.ask("POST", "/air_lora/dropped", b"x", {"Content-Type": "application/octet-stream"}).status
        == 400
    )


def test_a_few_bytes_do_not_find_a_file(routes: Routes, studio: Studio) -> None:
    content = (studio.process.base / "models/loras/mine/local.safetensors").read_bytes()
    answer = dropped(routes, content[:9], size=len(content), name="local.safetensors").json
    assert (answer["entries"], answer["errors"][0]["code"]) == ([], "notInFolder")


def test_answers_hold_no_place_and_no_token(routes: Routes, studio: Studio) -> None:
    answers = [routes.post(path, document) for path, document in READING]
    answers += [routes.get(path) for path in SHOWING]
    answers.append(
        routes.post("info", {"models": [LOCAL, "local:no.safetensors", air(101), air(401), f"x{TOKEN}"]})
    )
    answers.append(routes.post("prefetch", {"models": [f"local:{studio.process.base}/x.safetensors"]}))
    answers.append(dropped(routes, (2).to_bytes(8, "little") + b"{}", size=10))
    for name in ("presets.json", "settings.json"):
        file = studio.process.base / "user" / "__air_lora" / name
        before = file.read_bytes() if file.exists() else b"{}" if name == "settings.json" else b"[]"
        file.write_text("{")
        broken = [routes.get("presets"), routes.get("settings"), routes.post("info", {"models": [LOCAL]})]
        file.write_bytes(before)
        assert 400 in [answer.status for answer in broken]
        answers += broken
    for answer in answers:
        for secret in (str(studio.process.base), str(Path.home()), TOKEN):
            assert secret.encode() not in answer.body


def test_what_the_log_shows(studio: Studio) -> None:
    log = studio.process.log.read_text(encoding="utf-8")
    assert TOKEN not in log
    assert "stolen-or-planted" not in log
    assert "[AIR LoRA] /air_lora" not in log  # the start of the traceback of a failed handler
