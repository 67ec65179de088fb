"""What every request passes before FastAPI sees it: who is calling, and how much he may send.

FastAPI parses a body before it runs a dependency. So that nobody without a token can make the service parse, spool or
even read anything, both questions are answered here, from the head of the request alone.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from uuid import uuid4

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi.responses import Response
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rhesis.backend.app.attempts import TokenAttempts
from rhesis.backend.app.dependencies import ACTOR_KEY
from rhesis.backend.app.problems import (
    database_problem,
    internal_error,
    problem_of,
    problem_response,
    unauthenticated,
)
from rhesis.backend.domain.actor import Actor
from rhesis.backend.errors import RhesisError, Unauthenticated
from rhesis.backend.security.tokens import digest_of

PUBLIC_ROUTES = frozenset({("GET", "/health"), ("GET", "/openapi.json"), ("GET", "/docs")})
"""The only routes that answer a caller without a token."""

DOCS_ROUTE = ("GET", "/docs")
_IMPORTS = re.compile(r"/import/?$")
_BEARER = re.compile(r"bearer +(\S+) *", re.IGNORECASE)
_LOOKUPS_AT_ONCE = 4
# A server reads this much ahead by itself; only for more is it worth ending the connection.
_READ_AHEAD_BYTES = 65_536
# Digits of a Content-Length that are read; more than these is more than any limit.
_LENGTH_DIGITS = 18

FindActor = Callable[[str], Actor | None]


@dataclass(frozen=True)
class GateRules:
    """Sizes in bytes, and which routes are public."""

    max_body_bytes: int
    import_max_bytes: int
    public_routes: frozenset[tuple[str, str]] = PUBLIC_ROUTES

    def body_limit(self, method: str, path: str) -> int:
        """Return how many bytes the body of such a request may have."""
        return self.import_max_bytes if method == "POST" and _IMPORTS.search(path) else self.max_body_bytes


class BodyTooLarge(Exception):
    """The body is larger than the route allows."""


class Gate:
    """ASGI layer that lets a request through with its actor, or answers 401, 413, 429 or 503 itself.

    Nothing is cached: a revoked token is refused with the next request.
    """

    def __init__(self, app: ASGIApp, rules: GateRules, find_actor: FindActor, *, attempts: TokenAttempts) -> None:
        self._app = app
        self._rules = rules
        self._find_actor = find_actor
        self._attempts = attempts
        self._lookups: CapacityLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            # There are no web sockets here, so there is nothing to be let through to.
            await send({"type": "websocket.close", "code": 1008})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = uuid4().hex
        limit = self._rules.body_limit(scope["method"], scope["path"])
        exchange = _Exchange(scope, receive, send, request_id=request_id, limit=limit)
        try:
            with structlog.contextvars.bound_contextvars(request_id=request_id):
                refusal = await self._refusal(scope, limit)
                if refusal is None:
                    await self._pass_on(scope, exchange)
                else:
                    await exchange.answer(refusal)
        except Exception as error:
            answer = internal_error(error, request_id)
            if exchange.started:
                raise
            await exchange.answer(answer)

    async def _pass_on(self, scope: Scope, exchange: "_Exchange") -> None:
        actor: Actor | None = scope[ACTOR_KEY]
        tenant = {"organization_id": str(actor.organization_id), "user_id": str(actor.id)} if actor else {}
        try:
            with structlog.contextvars.bound_contextvars(**tenant):
                await self._app(scope, exchange.receive, exchange.send)
        except BodyTooLarge:
            if exchange.started:
                raise
        if exchange.too_large:
            await exchange.answer(_too_large(exchange.limit))

    async def _refusal(self, scope: Scope, limit: int) -> Response | None:
        """Put the actor into the scope and return None, or return the answer to a request that is not let through."""
        headers = Headers(scope=scope)
        public = (scope["method"], scope["path"]) in self._rules.public_routes
        scope[ACTOR_KEY] = None
        refusal = await self._identify(scope, headers)
        if refusal is not None and not public:
            return refusal
        return _too_large(limit) if _declared_length(headers) > limit else None

    async def _identify(self, scope: Scope, headers: Headers) -> Response | None:
        token = _token_of(headers)
        if token is None:
            return unauthenticated()
        digest = _digest_of(token)
        address = scope["client"][0] if scope.get("client") else ""
        wait = self._attempts.seconds_blocked(address, digest)
        if wait > 0:
            return _too_many(wait)
        try:
            actor = await self._look_up(digest) if digest else None
        except RhesisError as error:
            return problem_of(error)
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            return database_problem(error)
        if actor is None or digest is None:
            self._attempts.note_failure(address, digest)
            return unauthenticated()
        self._attempts.note_success(digest)
        scope[ACTOR_KEY] = actor
        return None

    async def _look_up(self, digest: str) -> Actor | None:
        # Threads of its own: requests that wait for a thread must not keep others from being recognized.
        if self._lookups is None:
            self._lookups = CapacityLimiter(_LOOKUPS_AT_ONCE)
        return await to_thread.run_sync(self._find_actor, digest, limiter=self._lookups)


class _Exchange:
    """One request's body, counted while it is read, and its answer, with the headers that every answer has."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, request_id: str, limit: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request_id = request_id
        self._read = 0
        self.limit = limit
        self.started = False
        self.too_large = False

    async def receive(self) -> Message:
        """Return the next part of the body; raise `BodyTooLarge` at the first byte too many."""
        message = await self._receive()
        self._read += len(message.get("body", b""))
        if self._read > self.limit:
            self.too_large = True
            raise BodyTooLarge("the body is too large")
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the application's answer, unless the gate will answer in its place."""
        if self.too_large and not self.started:
            return
        await self._send_out(message)

    async def answer(self, response: Response) -> None:
        """Send the gate's own answer; end the connection when a body is left that nobody will read."""
        if _leaves_body(Headers(scope=self._scope)):
            response.headers["Connection"] = "close"
        await response(self._scope, self._receive, self._send_out)

    async def _send_out(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self._request_id
            headers.setdefault("X-Content-Type-Options", "nosniff")
            # Answers are one tenant's, and one of them shows a token.
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)


def _token_of(headers: Headers) -> str | None:
    """Return the bearer token of the Authorization header; a URL never carries one."""
    given = headers.getlist("authorization")
    found = _BEARER.fullmatch(given[0]) if len(given) == 1 else None
    return found.group(1) if found else None


def _digest_of(token: str) -> str | None:
    try:
        return digest_of(token)
    except Unauthenticated:
        return None


def _declared_length(headers: Headers) -> int:
    text = headers.get("content-length", "")[:_LENGTH_DIGITS]
    return int(text) if text.isascii() and text.isdigit() else 0


def _leaves_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or _declared_length(headers) > _READ_AHEAD_BYTES


def _too_large(limit: int) -> Response:
    return problem_response(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", f"The body may have at most {limit} bytes here."
    )


def _too_many(wait_seconds: float) -> Response:
    return problem_response(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too_many_failed_tokens",
        "Too many wrong tokens came from this address: wait, then send a valid one.",
        headers={"Retry-After": str(ceil(wait_seconds))},
    )
