"""Which requests can change things: by the caller's address, the requested host name, and a proxy's headers."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from air_lora_pack.nodes.server.routes.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


async def changed(_: web.Request) -> dict[str, Any]:
    return {"changed": "yes"}


async def odd(_: web.Request) -> dict[str, Any]:
    return {"name": "a\udcff\U0001f600b"}


@contextmanager
def serving(listening: socket.socket) -> Iterator[int]:
    """A server with guarded routes on this socket. Yields its port."""
    loop, up = asyncio.new_event_loop(), threading.Event()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/change", guarded(changed, changes=True))
        app.router.add_get("/odd", guarded(odd))
        app.router.add_get("/own", guarded(changed, private=True))
        runner = web.AppRunner(app)
        await runner.setup()
        await web.SockSite(runner, listening).start()
        return runner

    def run() -> None:
        runner = loop.run_until_complete(start())
        up.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert up.wait(120)
    try:
        yield listening.getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a server that also receives IPv4, as `::ffff:…`, if this computer has IPv6."""
    if socket.has_dualstack_ipv6():
        listening = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    else:
        listening = socket.create_server(("", 0))
    with serving(listening) as port:
        yield port


def ask(port: int, headers: Mapping[str, str], address: str = "127.0.0.1") -> tuple[int, Any]:
    connection = http.client.HTTPConnection(address, port, timeout=120)
    try:
        connection.putrequest("POST", "/change", skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def addresses_of_this_computer() -> list[str]:
    """This computer's addresses in its network; empty if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # doesn't send anything
        except OSError:
            return []
        return [probe.getsockname()[0]]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8188",
        "localhost",
        "LocalHost:8188",
        "[::1]:8188",
        "127.8.9.10",
        "[::ffff:127.0.0.1]:1",
    ],
)
def test_this_computer_by_any_of_its_own_names(port: int, host: str) -> None:
    assert ask(port, {"Host": host}) == (200, {"changed": "yes"})


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this computer has no IPv6")
def test_this_computer_over_ipv6(port: int) -> None:
    assert ask(port, {}, "::1") == (200, {"changed": "yes"})


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",  # DNS rebinding
        "127.0.0.1.evil.example",
        "localhost.evil.example:8188",
        "evil.example#127.0.0.1",
        "me@127.0.0.1",
        "0.0.0.0:8188",
        "[::]",
        "[::ffff:192.168.1.7]",
        "[2001:db8::1]:8188",
        "2130706433",
        "127.1",
        "192.168.1.7",
        "[::1",
        "",
    ],
)
def test_another_name_that_leads_here_is_refused(port: int, host: str) -> None:
    status, answer = ask(port, {"Host": host})
    assert (status, answer["error"]["code"]) == (403, "notFromHere")


@pytest.mark.parametrize(
    "header",
    [
        "Forwarded",
        "Via",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "x-forwarded-proto",
        "X-Original-Forwarded-For",
        "X-Real-IP",
        "X-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
    ],
)
def test_whoever_comes_through_a_proxy_is_refused(port: int, header: str) -> None:
    status, answer = ask(port, {header: "127.0.0.1"})
    assert (status, answer["error"]["code"]) == (403, "notFromHere")


@pytest.mark.parametrize("host", ["", "127.0.0.1"])
@pytest.mark.parametrize("address", addresses_of_this_computer())
def test_whoever_comes_from_another_address_is_refused(port: int, address: str, host: str) -> None:
    """Even if its host header is 127.0.0.1."""
    status, answer = ask(port, {"Host": host} if host else {}, address)
    assert (status, answer["error"]["code"]) == (403, "notFromHere")


@pytest.mark.parametrize(
    "origin", ["http://[evil", "http://a:b:c", "http://", "null", "", "127.0.0.1", "//x", "http://\xff"]
)
@pytest.mark.parametrize("host", ["127.0.0.1", "192.168.1.7", ""])
def test_an_origin_that_is_none_is_a_foreign_one(port: int, origin: str, host: str) -> None:
    status, answer = ask(port, {"Origin": origin, "Host": host})
    assert (status, answer["error"]["code"]) == (403, "foreignOrigin")


def test_a_text_that_utf_8_cannot_have_still_is_json(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", "/odd")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    assert json.loads(answer.read()) == {"name": "a\udcff\U0001f600b"}
    connection.close()


def raw(port: int, request: str) -> int:
    """Sends a request that no client library would write. Returns the response's status."""
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        connection.sendall(request.encode())
        return int(connection.recv(1000).split()[1])


@pytest.mark.parametrize(
    ("host", "status"), [("", 403), ("Host: evil.example\r\n", 403), ("Host: 127.0.0.1\r\n", 200)]
)
def test_http_1_0_has_to_say_the_host_as_well(port: int, host: str, status: int) -> None:
    assert raw(port, f"POST /change HTTP/1.0\r\n{host}Content-Length: 0\r\n\r\n") == status


@pytest.mark.parametrize(
    ("host", "status"),
    [("evil.example:8188", 403), ("127.0.0.1", 200), ("localhost:8188", 200), ("[::1]", 200)],
)
def test_what_is_the_users_own_is_not_shown_under_a_rebound_name(port: int, host: str, status: int) -> None:
    assert raw(port, f"GET /own HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n") == status
