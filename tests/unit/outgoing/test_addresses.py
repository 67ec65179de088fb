"""Which addresses and URLs are refused, in every spelling."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhesis.backend.errors import InvalidInput
from rhesis.backend.outgoing.addresses import AddressNotAllowed, AddressPolicy, check_url

CLOSED = AddressPolicy()
EVERYTHING = AddressPolicy(allowed_networks=(ip_network("0.0.0.0/0"), ip_network("::/0")), allow_low_ports=True)
LOOPBACK = AddressPolicy(allowed_networks=(ip_network("127.0.0.0/8"),))

PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "198.18.0.1",
    "240.0.0.1",
    "::1",
    "fd00::1",
    "fec0::1",
    "::127.0.0.1",
    "2001::1",
    "2001:db8::1",
]
CARRIED = ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::", "64:ff9b:1::808:808"]
NEVER = [
    "0.0.0.0",
    "::",
    "169.254.169.254",
    "169.254.1.1",
    "fe80::1",
    "fe80::1%eth0",
    "168.63.129.16",
    "192.0.0.192",
    "100.100.100.200",
    "fd00:ec2::254",
    "fd20:ce::254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "224.0.0.1",
    "255.255.255.255",
    "ff0e::1",
]


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2001:4860:4860::8888", "64:ff9b::808:808", "::ffff:8.8.8.8"]
)
def test_a_public_address_is_allowed(address: str) -> None:
    CLOSED.check(address)


@pytest.mark.parametrize("address", PRIVATE + CARRIED + NEVER)
def test_nothing_but_the_public_internet_is_open_by_default(address: str) -> None:
    with pytest.raises(AddressNotAllowed, match=r"^address not allowed$"):
        CLOSED.check(address)


@pytest.mark.parametrize("address", NEVER)
def test_link_local_and_metadata_addresses_stay_closed_whatever_is_allowed(address: str) -> None:
    with pytest.raises(AddressNotAllowed):
        EVERYTHING.check(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_an_opened_network_is_open_in_every_spelling(address: str) -> None:
    LOOPBACK.check(address)


def test_opening_one_network_opens_no_other() -> None:
    with pytest.raises(AddressNotAllowed):
        LOOPBACK.check("10.0.0.1")


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_is_judged_alike_bare_and_inside_an_ipv6_one(number: int) -> None:
    bare = IPv4Address(number)
    carriers = [
        IPv6Address(f"::ffff:{bare}"),
        IPv6Address(f"64:ff9b::{bare}"),
        IPv6Address((0x2002 << 112) | number << 80),
    ]
    assert {_is_open(address) for address in carriers} == {_is_open(bare)}


def _is_open(address: IPv4Address | IPv6Address) -> bool:
    try:
        CLOSED.check(address)
    except AddressNotAllowed:
        return False
    return True


@pytest.mark.parametrize(
    "url",
    [
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.1/",
        "http://127.1/",
        "http://0/",
        "http://127.0.0.1./",
        "http://127。0。0。1/",
        "http://[::1]:8080/",
        "http://[::ffff:7f00:1]/",
        "https://169.254.169.254/latest/meta-data/",
    ],
)
def test_an_address_in_a_url_is_refused_early_in_any_form(url: str) -> None:
    with pytest.raises(AddressNotAllowed):
        check_url(url, CLOSED)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://example.com/", "invalid_url"),
        ("file:///etc/passwd", "invalid_url"),
        ("javascript:alert(1)", "invalid_url"),
        ("//example.com/", "invalid_url"),
        ("http:///path", "invalid_url"),
        ("http://user:secret@example.com/", "invalid_url"),
        ("http://user@example.com/", "invalid_url"),
        ("http://example.com\\@internal/", "invalid_url"),
        ("http://%31%32%37.0.0.1/", "invalid_url"),
        ("http://exam ple.com\n/", "invalid_url"),
        ("http://example.com:22/", "port_not_allowed"),
        ("http://example.com:0/", "port_not_allowed"),
        ("http://example.com:65536/", "port_not_allowed"),
        ("http://example.com/" + "a" * 2_000, "invalid_input"),
    ],
)
def test_a_url_that_cannot_be_called_is_refused_with_its_reason(url: str, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_url(url, CLOSED)
    assert refused.value.code == code
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    ["http://example.com", "https://example.com:443/a?b=c", "http://example.com:8080/", "https://bücher.example/"],
)
def test_an_ordinary_url_is_accepted_without_resolving_it(url: str) -> None:
    assert check_url(url, CLOSED).host


def test_low_ports_are_open_only_when_the_installation_says_so() -> None:
    with pytest.raises(InvalidInput, match="port 25 is not allowed"):
        CLOSED.check_port(25)
    AddressPolicy(allow_low_ports=True).check_port(25)
