"""Which addresses a token may be sent to, and which addresses a server may send us to."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import TransferFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Service", "check_address", "check_name", "check_peer", "token_for"]

_DEFAULT_PORTS = {"http": 80, "https": 443}

# RFC 2544 reserves this network for tests, but VPN programs (Clash, sing-box) resolve every name to an address in it.
_VPN_FAKE_ADDRESSES = ipaddress.ip_network("198.18.0.0/15")

_Origin = tuple[str, str, int]


@dataclass(frozen=True)
class Service:
    """A service that the user configured: its addresses, and the token that only this service receives."""

    name: str
    base_url: str
    sister_hosts: frozenset[str] = frozenset()
    """Other hosts of the same owner, reached by https on the default port."""
    token: str | None = field(default=None, repr=False)

    def owns(self, url: str) -> bool:
        """Whether the address belongs to this service: same scheme, host, and port."""
        origin = _origin(url)
        return origin == _origin(self.base_url) or (
            origin[0] == "https" and origin[1] in self.sister_hosts and origin[2] == 443
        )

    @property
    def host(self) -> str:
        return _origin(self.base_url)[1]


def token_for(url: str, services: Sequence[Service]) -> str | None:
    """The token that may be sent to this address, if any."""
    for service in services:
        if service.token and service.owns(url):
            return service.token
    return None


def check_address(url: str, services: Sequence[Service]) -> None:
    """Raises TransferFailed for an address from a server that must not be followed.

    Addresses that the user configured may be plain http and loopback. Addresses from a server must be https and
    public, unless they are on a configured host.
    """
    scheme, host, _ = _origin(url)
    if scheme not in _DEFAULT_PORTS or not host:
        raise _refused(url, "isn't a web address")
    if _trusted(host, services):
        return
    if scheme != "https":
        raise _refused(url, "isn't encrypted (http)")
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        raise _refused(url, "is on the local network")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return  # a host name; `check_peer` checks the address that it resolves to
    if _internal(address):
        raise _refused(url, "is on the local network")


def check_peer(host: str, peer: str, services: Sequence[Service]) -> None:
    """Checks the address that a name resolved to, before anything is sent. Raises TransferFailed."""
    if not _trusted(host, services) and _internal(ipaddress.ip_address(peer.partition("%")[0])):
        raise _refused(f"{host} ({peer})", "is on the local network")


def check_name(url: str) -> None:
    """Checks every address that the name resolves to, before a connection is made. Raises TransferFailed.

    `check_peer` checks the connected address again, because the name may resolve differently by then.
    """
    _, host, port = _origin(url)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return  # the connection attempt reports the reason
    for *_, place in found:
        check_peer(host, str(place[0]), ())


def _trusted(host: str, services: Sequence[Service]) -> bool:
    return any(host == service.host or host in service.sister_hosts for service in services)


def _internal(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = _inner_v4(address)
        if inner is not None:
            return _internal(inner)
    if isinstance(address, ipaddress.IPv4Address) and address in _VPN_FAKE_ADDRESSES:
        return False
    return not address.is_global


# IPv6 networks whose addresses contain an IPv4 address: network → number of bits after that address.
_LEADING_TO_V4 = (
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64 (RFC 6052)
    (ipaddress.IPv6Network("64:ff9b:1::/48"), 0),  # NAT64 for local use (RFC 8215)
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4 (RFC 3056)
    (ipaddress.IPv6Network("::/96"), 0),  # IPv4-compatible addresses (deprecated)
)


def _inner_v4(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that packets to this address reach, if it contains one."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.teredo is not None:
        return address.teredo[1]
    if address.is_loopback or address.is_unspecified:
        return None
    for network, behind in _LEADING_TO_V4:
        if address in network:
            return ipaddress.IPv4Address(int(address) >> behind & 0xFFFFFFFF)
    return None


def _origin(url: str) -> _Origin:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "", "", 0
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").rstrip("."), port or _DEFAULT_PORTS.get(scheme, 0)


def _refused(address: str, why: str) -> TransferFailed:
    shown = address.partition("?")[0]  # the query may contain a signature
    return TransferFailed(
        f"Blocked a request to {shown}, because it {why}",
        code="redirectRefused",
        remedy="If this is your own mirror, set AIR_LORA_CIVITAI_URL or HF_ENDPOINT to its address. Otherwise, report "
        "this to the service.",
    )
