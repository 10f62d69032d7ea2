"""Which addresses a download may connect to, after a host name was resolved."""

from __future__ import annotations

import pytest

from lora_resolver import LoraResolverError
from lora_resolver.transfer.address_rules import check_peer


@pytest.mark.parametrize("peer", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "1.1.1.1"])
def test_a_public_address_of_any_host_is_fine(peer: str) -> None:
    check_peer("delivery.example", peer, [])


@pytest.mark.parametrize(
    "peer",
    [
        *("10.0.0.1", "127.0.0.1", "192.168.1.9", "169.254.169.254", "::1", "::ffff:10.0.0.1"),
        # IPv6 addresses that lead to an IPv4 address: NAT64, NAT64 for local use, 6to4, Teredo, compatible ones.
        *("64:ff9b::10.0.0.1", "64:ff9b:1::192.168.1.9", "2002:a00:1::1", "2002:7f00:1::", "::10.0.0.1"),
        "2001:0:5ef5:79fb::f5ff:fffe",
    ],
)
def test_one_inside_the_own_network_is_not(peer: str) -> None:
    with pytest.raises(LoraResolverError):
        check_peer("delivery.example", peer, [])
