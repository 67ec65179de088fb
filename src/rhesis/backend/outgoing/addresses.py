"""Which addresses the service may open a connection to.

Whoever may save an endpoint chooses where this machine connects to, so everything that is not the public internet is
refused unless the installation opened it: loopback, private networks, and above all the metadata services of the
clouds, which hand credentials to anyone who asks from inside. Some of those lie in ranges that Python calls global,
and an IPv4 address can hide inside an IPv6 one.
"""

import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import httpx2

from rhesis.backend.errors import InvalidInput

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NAT64: Final = IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_CLOSED_FOR_EVER: Final = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/32",  # "this host": Linux connects it to loopback
        "224.0.0.0/4",  # multicast
        "255.255.255.255/32",
        "169.254.0.0/16",  # link-local, metadata of most clouds
        "168.63.129.16/32",  # metadata of Azure
        "192.0.0.192/32",  # metadata of Oracle
        "100.100.100.200/32",  # metadata of Alibaba
        "::/128",
        "ff00::/8",  # multicast
        "fe80::/10",  # link-local
        "fd00:ec2::/64",  # metadata of Amazon
        "fd20:ce::254/128",  # metadata of Google
        "fd00:c1::a9fe:a9fe/128",  # metadata of Oracle
    )
)
_WEB_PORTS: Final = frozenset({80, 443})
_FIRST_FREE_PORT: Final = 1024
_LAST_PORT: Final = 65_535
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")
MAX_URL_LENGTH: Final = 2_000


class AddressNotAllowed(InvalidInput):
    """The address is not one that this installation connects to.

    The text is always the same: it must not help anybody to map the network behind the service.
    """

    code = "address_not_allowed"

    def __init__(self) -> None:
        super().__init__("address not allowed")


@dataclass(frozen=True)
class AddressPolicy:
    """What an installation opens beyond the public internet; by default nothing.

    `allowed_networks` never opens link-local addresses or a cloud's metadata service. `allow_low_ports` opens ports
    below 1024 other than 80 and 443.
    """

    allowed_networks: tuple[Network, ...] = ()
    allow_low_ports: bool = False

    def check(self, address: Address | str) -> None:
        """Raise `AddressNotAllowed` unless a connection to `address` may be opened."""
        parsed = _parsed(address)
        carried = _carried(parsed)
        if any(item in network for item in (parsed, carried) for network in _CLOSED_FOR_EVER):
            raise AddressNotAllowed
        if not _is_public(carried) and not self._is_opened(carried):
            raise AddressNotAllowed

    def check_port(self, port: int) -> None:
        """Raise `InvalidInput` for a port on which other services than web servers listen."""
        if not 1 <= port <= _LAST_PORT or (
            port < _FIRST_FREE_PORT and port not in _WEB_PORTS and not self.allow_low_ports
        ):
            raise InvalidInput(
                f"port {port} is not allowed: use 80, 443 or {_FIRST_FREE_PORT} to {_LAST_PORT}",
                code="port_not_allowed",
            )

    def _is_opened(self, address: Address) -> bool:
        # A name like localhost has both loopback addresses: who opened one opened the other.
        alike = (address, IPv4Address("127.0.0.1")) if address == IPv6Address("::1") else (address,)
        return any(item in network for item in alike for network in self.allowed_networks)


def _parsed(address: Address | str) -> Address:
    if not isinstance(address, str):
        return address
    try:
        return ip_address(address)
    except ValueError as error:
        raise AddressNotAllowed from error


def _carried(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_public(address: Address) -> bool:
    # Python calls some of IPv6 outside the assigned unicast range global, such as ::127.0.0.1.
    return address.is_global and (isinstance(address, IPv4Address) or address in _GLOBAL_UNICAST)


def literal_address(host: str) -> Address | None:
    """Return the address that `host` spells, in any form a resolver takes (`0x7f.1`, `2130706433`); None for a name."""
    bare = host.strip("[]").removesuffix(".")
    with suppress(ValueError):
        return ip_address(bare)
    with suppress(OSError, UnicodeEncodeError):
        return IPv4Address(socket.inet_aton(bare))
    return None


def check_url(url: str, policy: AddressPolicy) -> httpx2.URL:
    """Return the parsed URL, or raise `InvalidInput` when it could never be called.

    This is the early error at save. A name is not resolved here: what it resolves to may change, so the check that
    counts is made when the connection is opened.
    """
    if len(url) > MAX_URL_LENGTH:
        raise InvalidInput(f"the URL has {len(url)} characters, at most {MAX_URL_LENGTH} are accepted")
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError) as error:
        raise InvalidInput("the URL cannot be read", code="invalid_url") from error
    if parsed.scheme not in _DEFAULT_PORTS or not _HOST.fullmatch(parsed.raw_host.decode()):
        raise InvalidInput("the URL must start with http:// or https:// and name a host", code="invalid_url")
    if parsed.userinfo:
        raise InvalidInput("the URL holds a user name or password: use auth_token or a header", code="invalid_url")
    policy.check_port(_DEFAULT_PORTS[parsed.scheme] if parsed.port is None else parsed.port)
    literal = literal_address(parsed.host)
    if literal is not None:
        policy.check(literal)
    return parsed
