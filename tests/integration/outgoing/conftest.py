"""Real servers on real sockets, each behaving in one way, and the limits to call them with."""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any
from uuid import UUID

import pytest

from rhesis.backend.outgoing import (
    AddressPolicy,
    Answer,
    CallError,
    CallLimits,
    EndpointSpec,
    NetworkLimits,
    Pacing,
    call_endpoint,
    close_shared_clients,
)

LOOPBACK = AddressPolicy(allowed_networks=(ip_network("127.0.0.0/8"),))
LIMITS = CallLimits(total_seconds=20.0, network=NetworkLimits(policy=LOOPBACK))


@dataclass(frozen=True)
class Request:
    """A request as it came over the wire."""

    head: bytes
    body: bytes

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode()

    def header(self, name: str) -> str | None:
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.decode("latin-1").partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None


class Connection:
    """One accepted connection, as a behaviour sees it."""

    def __init__(self, accepted: socket.socket, closing: threading.Event) -> None:
        self.socket = accepted
        self.closing = closing

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reply(self, body: bytes, *, status: str = "200 OK", headers: Mapping[str, str] | None = None) -> None:
        """Send a complete answer that keeps the connection open."""
        lines = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.send(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)

    def hang(self) -> None:
        """Say nothing more until the test is over."""
        self.closing.wait(60)


Behaviour = Callable[[Connection, Request], None]


class ScriptedServer:
    """Answers each request with the next behaviour; the last one is repeated."""

    def __init__(self, *behaviours: Behaviour) -> None:
        self._behaviours = list(behaviours)
        self.requests: list[Request] = []
        self.connections = 0
        self._closing = threading.Event()
        self._accepted: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._closing.set()
        for opened in (self._listener, *self._accepted):
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()
        for thread in self._threads:
            thread.join(10)

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                self.connections += 1
                self._accepted.append(accepted)
                self._start(self._serve, accepted)

    def _serve(self, accepted: socket.socket) -> None:
        with suppress(OSError, ValueError), accepted:
            while (request := _read_request(accepted)) is not None:
                self.requests.append(request)
                behaviour = self._behaviours.pop(0) if len(self._behaviours) > 1 else self._behaviours[0]
                behaviour(Connection(accepted, self._closing), request)


def _read_request(accepted: socket.socket) -> Request | None:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = accepted.recv(65_536)
        if not piece:
            return None
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(Request(head, b"").header("content-length") or 0)
    while len(body) < length:
        body += accepted.recv(65_536)
    return Request(head, body)


class FakeTime:
    """A clock for the waits between attempts that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.sleeps: list[float] = []

    def clock(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.seconds += seconds

    def pacing(self, **fields: Any) -> Pacing:
        return Pacing(clock=self.clock, sleep=self.sleep, jitter=lambda low, _: low, **fields)


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    """Return what starts a server with the given behaviours; all are closed in the end."""
    servers: list[ScriptedServer] = []

    def start(*behaviours: Behaviour) -> ScriptedServer:
        servers.append(ScriptedServer(*behaviours))
        return servers[-1]

    yield start
    close_shared_clients()
    for server in servers:
        server.close()


@pytest.fixture
def ask() -> Callable[..., Answer | CallError]:
    """Return what puts `prompt` to a URL with few words: fields of the spec, `limits` and `pacing` by keyword."""

    def call(
        url: str,
        prompt: str = "hello",
        *,
        limits: CallLimits = LIMITS,
        pacing: Pacing | None = None,
        **fields: Any,
    ) -> Answer | CallError:
        spec = replace(EndpointSpec(UUID(int=1), UUID(int=2), "chat", "REST", url), **fields)
        return call_endpoint(spec, prompt=prompt, test={"n": 1}, limits=limits, pacing=pacing)

    return call


@pytest.fixture
def fake_time() -> FakeTime:
    """Return a clock that nobody waits for."""
    return FakeTime()


@pytest.fixture
def limits() -> CallLimits:
    """Return limits that open loopback, to be varied with `dataclasses.replace`."""
    return LIMITS
