"""The one HTTP client through which the service talks to addresses that users chose.

It follows no redirect, knows no proxy, keeps no cookie, reads no environment, holds a request to one deadline from the
look-up of the name to the last byte, and keeps at most a given number of bytes, counted after decompression. Making a
client costs tens of milliseconds for the TLS context alone, so the threads of a process share one.
"""

import http.cookiejar
import logging
import os
import ssl
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import httpcore2
import httpx2

from rhesis.backend.outgoing.addresses import AddressPolicy
from rhesis.backend.outgoing.connections import (
    CheckedBackend,
    ConnectionFailed,
    ConnectionRefusedForGood,
    OutgoingError,
    Resolver,
    TimedOut,
    remaining_seconds,
    resolve,
    set_deadline,
)

_PIECE_BYTES: Final = 65_536
EXCERPT_BYTES: Final = 8_192
_GZIP_WINDOW: Final = zlib.MAX_WBITS | 16
_UNENCODED: Final = frozenset({"", "identity"})
_HANDSHAKE_FAILED: Final = "the TLS handshake failed: the certificate is not valid for this host, or it is not TLS"

# At INFO these log every URL with its query, which may hold a credential.
for _name in ("httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class AnswerTooLarge(OutgoingError):
    """The answer has more bytes than are kept."""


class AnswerNotDecodable(OutgoingError):
    """The answer's compression is broken or was not asked for."""


class RequestNotWritable(OutgoingError):
    """The request cannot be written as HTTP: check the names and values of its headers."""


@dataclass(frozen=True)
class NetworkLimits:
    """How a process may use the network. Equal limits share one client, so build this once per process.

    `connect_seconds` bounds opening a connection, within the request's own deadline. `ca_file` names a PEM file with
    the authorities to trust instead of the system's.
    """

    policy: AddressPolicy = field(default_factory=AddressPolicy)
    max_connections: int = 100
    max_idle_connections: int = 20
    idle_seconds: float = 15.0
    connect_seconds: float = 10.0
    ca_file: str | None = None
    resolver: Resolver = resolve


@dataclass(frozen=True)
class OutgoingRequest:
    """A request as it is sent. `headers` and `content` hold credentials: never log them."""

    method: str
    url: httpx2.URL
    headers: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    content: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Reply:
    """What came back. `body` is whole for a 2xx and an excerpt of the first bytes for any other status."""

    status_code: int
    body: bytes = field(repr=False)
    charset: str | None = None
    retry_after: str | None = None

    @property
    def is_success(self) -> bool:
        """Whether the status is a 2xx."""
        return self.status_code // 100 == 2  # noqa: PLR2004 - the class of the status

    @property
    def is_excerpt(self) -> bool:
        """Whether the body was longer than what was kept of it."""
        return not self.is_success and len(self.body) >= EXCERPT_BYTES


class OutgoingClient:
    """Sends requests within the limits it was made with; safe to share between threads, not between processes."""

    def __init__(self, limits: NetworkLimits) -> None:
        backend = CheckedBackend(limits.policy, connect_seconds=limits.connect_seconds, resolver=limits.resolver)
        pool = httpcore2.ConnectionPool(
            ssl_context=_tls_context(limits.ca_file),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_idle_connections,
            keepalive_expiry=limits.idle_seconds,
            network_backend=backend,
        )
        # A shared cookie jar would carry one tenant's session into another tenant's request.
        no_cookies = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        self._client = httpx2.Client(
            transport=_PoolTransport(pool),
            trust_env=False,
            follow_redirects=False,
            cookies=no_cookies,
            headers={"accept-encoding": "gzip", "user-agent": "rhesis"},
        )

    def send(self, request: OutgoingRequest, *, seconds: float, max_bytes: int) -> Reply:
        """Return the endpoint's reply, of whatever status, if it is complete within `seconds`.

        Raise `AddressNotAllowed`, or an `OutgoingError` whose text holds nothing that the endpoint sent.
        """
        set_deadline(seconds)
        try:
            return self._exchange(request, max_bytes)
        except (httpcore2.TimeoutException, TimedOut) as error:
            raise TimedOut(f"no complete answer within {seconds:.3g} seconds") from error
        except httpcore2.ConnectError as error:
            raise _connect_failure(error) from error
        except httpcore2.LocalProtocolError as error:
            raise RequestNotWritable from error
        except httpcore2.RemoteProtocolError as error:
            raise ConnectionFailed("the endpoint closed the connection or did not answer in HTTP") from error
        except httpcore2.NetworkError as error:
            raise ConnectionFailed("the connection broke before the answer was complete") from error

    def close(self) -> None:
        """Close every idle connection."""
        self._client.close()

    def _exchange(self, request: OutgoingRequest, max_bytes: int) -> Reply:
        # Only waiting for a free connection is timed by the pool; the backend times the rest.
        timeout = httpx2.Timeout(None, pool=remaining_seconds())
        with self._client.stream(
            request.method, request.url, headers=list(request.headers), content=request.content, timeout=timeout
        ) as response:
            return Reply(
                status_code=response.status_code,
                body=_body(response, max_bytes) if response.is_success else _excerpt(response),
                charset=response.charset_encoding,
                retry_after=response.headers.get("retry-after"),
            )


class _PoolTransport(httpx2.BaseTransport):
    """Joins httpx to a connection pool of our own making, which `httpx2.HTTPTransport` has no parameter for."""

    def __init__(self, pool: httpcore2.ConnectionPool) -> None:
        self._pool = pool

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        raw = request.url
        response = self._pool.handle_request(
            httpcore2.Request(
                method=request.method,
                url=httpcore2.URL(scheme=raw.raw_scheme, host=raw.raw_host, port=raw.port, target=raw.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx2.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_PoolStream(response),
            extensions=response.extensions,
        )

    def close(self) -> None:
        self._pool.close()


class _PoolStream(httpx2.SyncByteStream):
    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        return self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    if ca_file is None:
        return httpcore2.default_ssl_context(_trust_env=False)
    return ssl.create_default_context(cafile=ca_file)


def _connect_failure(error: httpcore2.ConnectError) -> OutgoingError:
    causes = (error, error.__cause__, error.__context__)
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return ConnectionRefusedForGood(_HANDSHAKE_FAILED)
    return ConnectionFailed("the connection could not be opened: nothing answers at the endpoint's host and port")


def _body(response: httpx2.Response, max_bytes: int) -> bytes:
    encoding = response.headers.get("content-encoding", "").strip().lower()
    raw = _at_most(response.iter_raw(), max_bytes)
    if encoding in _UNENCODED:
        return b"".join(raw)
    if encoding != "gzip":
        raise AnswerNotDecodable("the answer is compressed in a way that was not asked for: only gzip is")
    return b"".join(_at_most(_unzipped(raw), max_bytes))


def _excerpt(response: httpx2.Response) -> bytes:
    if response.headers.get("content-encoding", "").strip().lower() not in _UNENCODED:
        return b""
    kept = bytearray()
    # The status is the news: a body that breaks off or hangs must not hide it.
    with suppress(httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError, TimedOut):
        for piece in response.iter_raw():
            kept += piece
            if len(kept) >= EXCERPT_BYTES:
                break
    return bytes(kept[:EXCERPT_BYTES])


def _at_most(pieces: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > max_bytes:
            raise AnswerTooLarge(f"the answer has more than {max_bytes} bytes")
        remaining_seconds()
        yield piece


def _unzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress in small steps, so that no input, however small, becomes more than one step before it is counted."""
    decompressor = zlib.decompressobj(_GZIP_WINDOW)
    try:
        for piece in pieces:
            pending = piece
            while pending:
                if decompressor.eof:
                    decompressor = zlib.decompressobj(_GZIP_WINDOW)
                yield decompressor.decompress(pending, _PIECE_BYTES)
                pending = decompressor.unused_data if decompressor.eof else decompressor.unconsumed_tail
        while rest := decompressor.decompress(b"", _PIECE_BYTES):
            yield rest
    except zlib.error as error:
        raise AnswerNotDecodable("the answer's compression is broken") from error
    if not decompressor.eof:
        raise AnswerNotDecodable("the compressed answer is incomplete")


class _SharedClients:
    """The clients of this process, one per set of limits."""

    def __init__(self) -> None:
        self._inherited: list[dict[NetworkLimits, OutgoingClient]] = []
        self._clients: dict[NetworkLimits, OutgoingClient] = {}
        self._lock = threading.Lock()

    def get(self, limits: NetworkLimits) -> OutgoingClient:
        with self._lock:
            if limits not in self._clients:
                self._clients[limits] = OutgoingClient(limits)
            return self._clients[limits]

    def close(self) -> None:
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def begin_after_fork(self) -> None:
        # The parent's connections stay open and unused: reading from one would take the parent's answer away.
        self._inherited.append(self._clients)
        self._clients = {}
        self._lock = threading.Lock()


_shared = _SharedClients()
os.register_at_fork(after_in_child=_shared.begin_after_fork)


def shared_client(limits: NetworkLimits) -> OutgoingClient:
    """Return this process's client for `limits`, made at the first call and again after a fork."""
    return _shared.get(limits)


def close_shared_clients() -> None:
    """Close the idle connections of this process; a later call makes new ones."""
    _shared.close()
