"""The proxy that the tests of broken connections use."""

from __future__ import annotations

import socket
import time

import pytest

from tools.cutting_proxy import CuttingProxy


def test_after_its_end_it_takes_no_more_connections() -> None:
    """A client that reconnects at that moment would leave two open sockets in a test that has ended."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        with CuttingProxy(f"127.0.0.1:{server.getsockname()[1]}") as proxy:
            host, port = proxy.address.split(":")
            time.sleep(0.05)  # until it waits for a connection
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=10)
