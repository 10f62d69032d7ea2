"""Pings to the endpoints of this computer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleet.ping import status_of_ping
from tools.comfy_process import free_port
from tools.local_server import LocalServer

if TYPE_CHECKING:
    import pytest


def test_a_proxy_for_the_internet_is_not_asked_for_this_computer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with LocalServer() as server:
        assert status_of_ping(server.url, 120) == 501  # its own status: it supports only GET
    assert status_of_ping(f"http://127.0.0.1:{free_port()}", 5) is None
