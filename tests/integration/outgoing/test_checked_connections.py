"""A connection goes to an address that was checked, whatever a name resolves to, and TLS keeps the name."""

import datetime as dt
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rhesis.backend.outgoing import AddressPolicy, Answer, CallError, CallLimits, ErrorType
from rhesis.backend.outgoing.client import NetworkLimits

NAME = "endpoint.example"


def _good(connection: Any, _: Any) -> None:
    connection.reply(b'{"output": "hi"}')


class Names:
    """A resolver that gives its answers one after the other and counts how often it was asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def _resolving(limits: CallLimits, names: Callable[..., Sequence[str]], **fields: Any) -> CallLimits:
    return replace(limits, network=replace(limits.network, resolver=names, **fields))


def test_a_name_is_resolved_once_and_the_checked_address_is_used(serve: Any, ask: Any, limits: Any) -> None:
    server = serve(_good)
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    answer = ask(f"http://{NAME}:{server.port}", limits=_resolving(limits, names))
    assert isinstance(answer, Answer)
    assert names.asked == 1
    assert server.requests[0].header("host") == f"{NAME}:{server.port}"


def test_a_name_that_turns_to_a_closed_address_is_refused_at_the_next_connection(
    serve: Any, ask: Any, limits: Any
) -> None:
    server = serve(lambda connection, _: connection.reply(b'{"output": "hi"}', headers={"Connection": "close"}))
    rebinding = _resolving(limits, Names(["127.0.0.1"], ["10.0.0.1"]))
    url = f"http://{NAME}:{server.port}"
    assert isinstance(ask(url, limits=rebinding), Answer)
    error = ask(url, limits=rebinding)
    assert isinstance(error, CallError)
    assert error.message == "address not allowed"


@pytest.mark.parametrize(
    "addresses",
    [
        ["10.0.0.1"],
        ["127.0.0.1", "10.0.0.1"],
        ["10.0.0.1", "127.0.0.1"],
        ["127.0.0.1"] * 9 + ["169.254.169.254"],
        ["::ffff:10.0.0.1"],
        ["64:ff9b::a9fe:a9fe"],
        ["fe80::1%lo"],
    ],
)
def test_one_address_that_is_not_allowed_refuses_them_all(
    serve: Any, ask: Any, limits: Any, addresses: list[str]
) -> None:
    server = serve(_good)
    error = ask(f"http://{NAME}:{server.port}", limits=_resolving(limits, Names(addresses)))
    assert isinstance(error, CallError)
    assert (error.error_type, error.message, error.attempts) == (ErrorType.NETWORK, "address not allowed", 1)
    assert server.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0", "[::1]", "[::ffff:127.0.0.1]"])
def test_loopback_is_closed_by_default_in_every_spelling(serve: Any, ask: Any, host: str) -> None:
    server = serve(_good)
    error = ask(f"http://{host}:{server.port}", limits=CallLimits(total_seconds=20))
    assert isinstance(error, CallError)
    assert error.message == "address not allowed"
    assert server.connections == 0


def test_the_second_address_is_tried_when_the_first_does_not_answer(serve: Any, ask: Any, limits: Any) -> None:
    server = serve(_good)
    both = _resolving(limits, Names(["127.0.0.99", "127.0.0.1"]))
    assert isinstance(ask(f"http://{NAME}:{server.port}", limits=both), Answer)


def _unknown(host: str, port: int) -> Sequence[str]:
    raise socket.gaierror(socket.EAI_NONAME, "unknown")


def _not_now(host: str, port: int) -> Sequence[str]:
    raise socket.gaierror(socket.EAI_AGAIN, "try again")


@pytest.mark.parametrize(("resolver", "attempts"), [(_unknown, 1), (_not_now, 4), (Names([]), 1)])
def test_a_name_that_does_not_resolve_is_an_error_that_says_so(
    ask: Any, limits: Any, fake_time: Any, resolver: Any, attempts: int
) -> None:
    error = ask(f"http://{NAME}/", limits=_resolving(limits, resolver), pacing=fake_time.pacing())
    assert isinstance(error, CallError)
    assert (error.error_type, error.attempts) == (ErrorType.NETWORK, attempts)
    assert "the host name" in error.message


def test_a_resolver_that_hangs_does_not_outlast_the_time_limit(ask: Any, limits: Any) -> None:
    over = threading.Event()

    def hang(host: str, port: int) -> Sequence[str]:
        over.wait(60)
        return []

    begun = time.monotonic()
    error = ask(f"http://{NAME}/", limits=replace(_resolving(limits, hang), total_seconds=0.3))
    over.set()
    assert time.monotonic() - begun < 5
    assert isinstance(error, CallError)
    assert error.message == "no complete answer within 0.3 seconds"


def test_a_low_port_is_refused_when_connecting_as_well(ask: Any) -> None:
    error = ask("http://127.0.0.1:22/", limits=CallLimits(total_seconds=5, network=NetworkLimits(AddressPolicy())))
    assert isinstance(error, CallError)
    assert error.message.startswith("port 22 is not allowed")


@dataclass(frozen=True)
class TlsEndpoint:
    """A TLS server whose certificate is for `NAME` alone, and the authority that signed it."""

    port: int
    ca_file: str
    asked_names: list[str | None]


@pytest.fixture
def tls_endpoint(tmp_path: Path) -> Iterator[TlsEndpoint]:
    """Return a TLS server on loopback that notes the name each client asks for."""
    certificate = _certificate(tmp_path)
    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_serve_tls, args=(listener, context), daemon=True)
    thread.start()
    yield TlsEndpoint(listener.getsockname()[1], str(certificate), asked)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


def _serve_tls(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            accepted, _ = listener.accept()
        except OSError:
            return
        try:
            with accepted, context.wrap_socket(accepted, server_side=True) as secured:
                received = b""
                # Closing with a part of the request unread would reset the connection under the answer.
                while not received.endswith(b'{"input":"hello"}'):
                    received += secured.recv(65_536)
                secured.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\nConnection: close\r\n\r\n{"output": "hi"}')
        except OSError:
            continue


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(NAME), x509.IPAddress(ipaddress.ip_address("127.0.0.9"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "endpoint.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def test_tls_asks_for_and_verifies_the_name_not_the_address(tls_endpoint: TlsEndpoint, ask: Any, limits: Any) -> None:
    trusting = _resolving(limits, Names(["127.0.0.1"]), ca_file=tls_endpoint.ca_file)
    assert isinstance(ask(f"https://{NAME}:{tls_endpoint.port}", limits=trusting), Answer)
    assert tls_endpoint.asked_names == [NAME]


@pytest.mark.parametrize("name", [NAME, "other.example"])
def test_a_certificate_for_another_name_or_of_a_stranger_is_refused_once(
    tls_endpoint: TlsEndpoint, ask: Any, limits: Any, name: str
) -> None:
    chosen = _resolving(limits, Names(["127.0.0.1"]), ca_file=None if name == NAME else tls_endpoint.ca_file)
    error = ask(f"https://{name}:{tls_endpoint.port}", limits=chosen)
    assert isinstance(error, CallError)
    assert (error.error_type, error.attempts) == (ErrorType.NETWORK, 1)
    assert "TLS handshake failed" in error.message
