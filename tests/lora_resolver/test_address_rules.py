"""Which addresses a download may be sent to, once a name has turned out to have one."""

from __future__ import annotations

import pytest

from lora_resolver import LoraResolverError
from lora_resolver.transfer.address_rules import check_peer


@pytest.mark.parametrize("peer", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "1.1.1.1"])
def test_a_public_address_of_any_host_is_fine(peer: str) -> None:
    check_peer("delivery.example", peer, [])


@pytest.mark.parametrize(
    "peer", ["10.0.0.1", "127.0.0.1", "192.168.1.9", "169.254.169.254", "::1", "::ffff:10.0.0.1"]
)
def test_one_inside_the_own_network_is_not(peer: str) -> None:
    with pytest.raises(LoraResolverError):
        check_peer("delivery.example", peer, [])
