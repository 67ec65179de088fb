"""Open connections to checked addresses only, and let nothing on them outlast the request's deadline.

A name is resolved once, every address it has must be allowed, and the connection goes to one of those very addresses:
there is no second look-up whose answer could differ. TLS still verifies the name. Timeouts of HTTP libraries count per
read, so an endpoint that sends a byte a second never trips them; here every operation gets what is left of the whole.
"""

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from ipaddress import ip_address
from typing import Any, Final

import httpcore2

from rhesis.backend.errors import RhesisError
from rhesis.backend.outgoing.addresses import Address, AddressPolicy, literal_address

Resolver = Callable[[str, int], Sequence[str]]

_MOST_ADDRESSES_TRIED: Final = 4
_ended_at: ContextVar[float] = ContextVar("outgoing_deadline")


class OutgoingError(RhesisError):
    """The call left no usable answer. `may_retry` says whether another attempt can help."""

    code = "outgoing"
    may_retry = False


class ConnectionFailed(OutgoingError):
    """The connection could not be opened, or it broke before the answer was complete."""

    may_retry = True


class ConnectionRefusedForGood(OutgoingError):
    """The other side cannot be talked to: an unknown name, an invalid certificate, an answer that is not HTTP."""


class TimedOut(OutgoingError):
    """The endpoint did not answer completely within the time limit."""


def set_deadline(seconds: float) -> None:
    """Give everything that this thread does on connections from now on `seconds` seconds in all."""
    _ended_at.set(time.monotonic() + seconds)


def remaining_seconds() -> float:
    """Return what is left until the deadline of this thread's request; raise `TimedOut` when nothing is."""
    remaining = _ended_at.get() - time.monotonic()
    if remaining <= 0:
        raise TimedOut
    return remaining


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses the operating system knows for `host`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(address[4][0]) for address in found))


class CheckedBackend(httpcore2.NetworkBackend):
    """Connects for httpcore: resolves once, checks every address, connects to a checked one."""

    def __init__(self, policy: AddressPolicy, *, connect_seconds: float, resolver: Resolver = resolve) -> None:
        self._policy = policy
        self._connect_seconds = connect_seconds
        self._resolver = resolver
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the request's deadline counts
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Return a connection to `host`, or raise `AddressNotAllowed` if any of its addresses is not open to us."""
        self._policy.check_port(port)
        addresses = self._checked_addresses(host, port)
        until = time.monotonic() + min(self._connect_seconds, remaining_seconds())
        for index, address in enumerate(addresses):
            share = max(0.001, (until - time.monotonic()) / (len(addresses) - index))
            try:
                stream = self._sockets.connect_tcp(str(address), port, share, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if index + 1 == len(addresses):
                    raise
            else:
                return _TimedStream(stream)
        raise ConnectionRefusedForGood("the host name has no address")

    def _checked_addresses(self, host: str, port: int) -> list[Address]:
        literal = literal_address(host)
        addresses = [literal] if literal is not None else [ip_address(text) for text in self._resolved(host, port)]
        for address in addresses:
            self._policy.check(address)
        return addresses[:_MOST_ADDRESSES_TRIED]

    def _resolved(self, host: str, port: int) -> Sequence[str]:
        """Resolve in a thread of its own: the system's resolver takes no timeout and may need half a minute."""
        outcome: queue.SimpleQueue[Sequence[str] | OSError | UnicodeError] = queue.SimpleQueue()

        def look_up() -> None:
            try:
                outcome.put(self._resolver(host, port))
            except (OSError, UnicodeError) as error:
                outcome.put(error)

        threading.Thread(target=look_up, name="resolve", daemon=True).start()
        try:
            found = outcome.get(timeout=remaining_seconds())
        except queue.Empty as error:
            raise TimedOut from error
        if isinstance(found, socket.gaierror) and found.errno == socket.EAI_AGAIN:
            raise ConnectionFailed("the host name could not be resolved just now") from found
        if isinstance(found, OSError | UnicodeError):
            raise ConnectionRefusedForGood("the host name could not be resolved") from found
        return found


class _TimedStream(httpcore2.NetworkStream):
    """A connection whose every operation is given what is left until the deadline of the current request."""

    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._inner.read(max_bytes, remaining_seconds())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        connected = self._inner.get_extra_info("socket")
        unsent = memoryview(buffer)
        try:
            while unsent:
                connected.settimeout(remaining_seconds())
                unsent = unsent[connected.send(unsent) :]
        except TimeoutError as error:
            raise httpcore2.WriteTimeout from error
        except OSError as error:
            raise httpcore2.WriteError from error

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: Any,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore2.NetworkStream:
        try:
            seconds = remaining_seconds()
        except TimedOut:
            self.close()
            raise
        return _TimedStream(self._inner.start_tls(ssl_context, server_hostname, seconds))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
