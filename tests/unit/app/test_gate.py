"""The gate answers strangers and oversized bodies itself, from the head of the request."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI, Request
from sqlalchemy.exc import OperationalError

from rhesis.backend.app.attempts import ALLOWED_FAILURES, TokenAttempts
from rhesis.backend.app.dependencies import ACTOR_KEY
from rhesis.backend.app.gate import Gate, GateRules
from rhesis.backend.app.problems import install_problem_handlers
from rhesis.backend.domain.actor import Actor
from rhesis.backend.errors import DatabaseUnavailable
from rhesis.backend.security.tokens import digest_of, mint_token

GOOD = mint_token()
ACTOR = Actor(uuid4(), uuid4())
RULES = GateRules(max_body_bytes=100, import_max_bytes=1000)


@dataclass
class Exchange:
    """What one request came to."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    parts_read: int = 0
    reached: list[Any] = field(default_factory=list)

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json"
        found: dict[str, Any] = json.loads(self.body)
        return found


def find_actor(digest: str) -> Actor | None:
    return ACTOR if digest == GOOD.digest else None


def request(
    method: str = "GET",
    path: str = "/things",
    *,
    token: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
    parts: Iterable[bytes] = (b"",),
    app: Any = None,
    finder: Any = find_actor,
    attempts: TokenAttempts | None = None,
    client: tuple[str, int] | None = ("192.0.2.1", 5000),
    query: bytes = b"",
) -> Exchange:
    """Send one request through a gate."""
    exchange = Exchange()
    given = [("authorization", f"Bearer {token}")] if token else []
    waiting = [
        {"type": "http.request", "body": part, "more_body": number < len(list(parts))}
        for number, part in enumerate(parts, 1)
    ]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [(name.lower().encode(), value.encode()) for name, value in [*given, *headers]],
        "client": client,
        "asgi": {"version": "3.0"},
    }

    async def receive() -> dict[str, Any]:
        exchange.parts_read += 1
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert exchange.status == 0, "two answers"
            exchange.status = message["status"]
            exchange.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        exchange.body += message.get("body", b"")

    async def reading_app(scope: Any, receive: Any, send: Any) -> None:
        exchange.reached.append(scope[ACTOR_KEY])
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    gate = Gate(app or reading_app, RULES, finder, attempts=attempts or TokenAttempts())
    asyncio.run(gate(scope, receive, send))
    return exchange


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
@pytest.mark.parametrize("path", ["/things", "/nowhere", "/health/", "//health", "/docs/x", "/", "/../health"])
def test_a_stranger_is_refused_whatever_he_asks_and_nothing_is_read(method: str, path: str):
    found = request(method, path, headers=[("content-length", "50000000")])
    assert (found.status, found.parts_read, found.reached) == (401, 0, [])
    assert found.headers["www-authenticate"] == "Bearer"
    assert found.problem["code"] == "unauthenticated"


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS"])
def test_a_public_route_is_public_for_get_alone(method: str):
    assert request(method, "/health").status == 401


@pytest.mark.parametrize("path", ["/health", "/openapi.json", "/docs"])
def test_public_routes_are_reached_without_a_token(path: str):
    assert request("GET", path).reached == [None]


def test_a_good_token_brings_its_actor():
    assert request(token=GOOD.plain).reached == [ACTOR]


@pytest.mark.parametrize("written", ["bearer {}", "BEARER {}", "Bearer  {}", "Bearer {} "])
def test_the_scheme_is_read_without_regard_to_case_and_spaces(written: str):
    assert request(headers=[("authorization", written.format(GOOD.plain))]).reached == [ACTOR]


@pytest.mark.parametrize("written", ["{}", "Basic {}", "Bearer", "Bearer {0} {0}", "Token {}", "Bearer{}"])
def test_anything_but_one_bearer_token_is_no_token(written: str):
    assert request(headers=[("authorization", written.format(GOOD.plain))]).status == 401


def test_two_authorization_headers_are_no_token():
    twice = [("authorization", f"Bearer {GOOD.plain}")] * 2
    assert request(headers=twice).status == 401


@pytest.mark.parametrize("name", ["token", "access_token", "Authorization"])
def test_a_token_in_the_address_changes_nothing(name: str):
    found = request(query=f"{name}={GOOD.plain}".encode())
    assert (found.status, found.body) == (401, request().body)


def test_a_token_in_a_cookie_or_another_header_changes_nothing():
    assert request(headers=[("cookie", f"token={GOOD.plain}"), ("x-api-key", GOOD.plain)]).status == 401


def test_unknown_malformed_and_missing_tokens_get_the_same_answer():
    answers = [request(token=token) for token in (mint_token().plain, "rh_junk", GOOD.plain[:-1], None, "x" * 5000)]
    assert {(found.status, found.body, found.headers["www-authenticate"]) for found in answers} == {
        (401, answers[0].body, "Bearer")
    }


def test_a_malformed_token_does_not_reach_the_database():
    def unexpected(digest: str) -> Actor | None:
        raise AssertionError(digest)

    assert request(token="rh_" + "0" * 49, finder=unexpected).status == 401


def test_a_wrong_token_on_a_public_route_is_treated_as_none_but_counted():
    attempts = TokenAttempts()
    for _ in range(ALLOWED_FAILURES):
        assert request("GET", "/health", token=mint_token().plain, attempts=attempts).reached == [None]
    assert request("GET", "/things", token=mint_token().plain, attempts=attempts).status == 429
    assert request("GET", "/health", token=mint_token().plain, attempts=attempts).reached == [None]


def test_the_eleventh_wrong_token_from_an_address_has_to_wait():
    attempts = TokenAttempts()
    wrong = [request(token=mint_token().plain, attempts=attempts).status for _ in range(ALLOWED_FAILURES)]
    assert wrong == [401] * ALLOWED_FAILURES
    found = request(token=mint_token().plain, attempts=attempts)
    assert (found.status, found.problem["code"]) == (429, "too_many_failed_tokens")
    assert 0 < int(found.headers["retry-after"]) <= 60
    assert request(token=mint_token().plain, attempts=attempts, client=("192.0.2.2", 1)).status == 401


def test_a_blocked_address_is_refused_without_a_lookup():
    attempts = TokenAttempts()
    for _ in range(ALLOWED_FAILURES):
        request(token="rh_junk", attempts=attempts)
    asked: list[str] = []
    request(token=GOOD.plain, attempts=attempts, finder=asked.append)
    assert asked == []


def test_requests_without_a_token_are_not_counted_as_wrong_ones():
    attempts = TokenAttempts()
    for _ in range(ALLOWED_FAILURES + 1):
        assert request(attempts=attempts).status == 401
    assert request(token=GOOD.plain, attempts=attempts).status == 200


def test_a_client_without_an_address_is_served():
    assert request(token=GOOD.plain, client=None).status == 200
    assert request(token="rh_junk", client=None).status == 401


@pytest.mark.parametrize("length", ["101", "1000", "9" * 5000])
def test_a_body_declared_too_large_is_refused_unread(length: str):
    found = request("POST", token=GOOD.plain, headers=[("content-length", length)])
    assert (found.status, found.problem["code"], found.parts_read, found.reached) == (413, "body_too_large", 0, [])


def test_a_body_of_exactly_the_limit_passes():
    assert request("POST", token=GOOD.plain, headers=[("content-length", "100")], parts=[b"x" * 100]).status == 200
    assert request("POST", token=GOOD.plain, parts=[b"x" * 50, b"x" * 50]).status == 200


def test_an_undeclared_body_is_counted_while_it_is_read():
    found = request("POST", token=GOOD.plain, parts=[b"x" * 60, b"x" * 60, b"x" * 60])
    assert (found.status, found.problem["code"], found.parts_read) == (413, "body_too_large", 2)


def test_an_understated_length_does_not_help():
    found = request("POST", token=GOOD.plain, headers=[("content-length", "10")], parts=[b"x" * 101])
    assert found.status == 413


def test_a_framework_that_swallows_the_limit_does_not_answer_in_its_place():
    app = FastAPI()

    @app.post("/things")
    def things(given: dict[str, int]) -> dict[str, int]:
        return given

    json_body = [("content-type", "application/json")]
    found = request("POST", token=GOOD.plain, headers=json_body, parts=[b'{"a": ' + b"1" * 120], app=app)
    assert (found.status, found.problem["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("method", "path", "limit"),
    [
        ("POST", "/test_sets/import", 1000),
        ("POST", "/test_sets/9/import", 1000),
        ("POST", "/test_sets/import/", 1000),
        ("PUT", "/test_sets/import", 100),
        ("POST", "/important", 100),
        ("POST", "/import/test_sets", 100),
    ],
)
def test_only_imports_may_be_larger(method: str, path: str, limit: int):
    assert RULES.body_limit(method, path) == limit
    assert request(method, path, token=GOOD.plain, headers=[("content-length", str(limit + 1))]).status == 413


@pytest.mark.parametrize(
    "error",
    [DatabaseUnavailable("secret-host", kind="unreachable"), OperationalError("secret", {}, Exception("secret"))],
)
def test_a_lookup_without_a_database_is_503_on_private_and_nothing_on_public_routes(error: Exception):
    def finder(_: str) -> Actor | None:
        raise error

    found = request(token=GOOD.plain, finder=finder)
    assert (found.status, found.problem["code"]) == (503, "database_unavailable")
    assert "secret" not in found.body.decode()
    assert int(found.headers["retry-after"]) > 0
    assert request("GET", "/health", token=GOOD.plain, finder=finder).reached == [None]


def test_an_unexpected_error_is_500_with_the_request_id_and_without_its_message():
    async def broken(*_: Any) -> None:
        raise ValueError("canary")

    found = request(token=GOOD.plain, app=broken)
    assert (found.status, found.problem["code"]) == (500, "internal")
    assert found.headers["x-request-id"] in found.problem["detail"]
    assert b"canary" not in found.body


def test_an_error_in_the_middle_of_an_answer_breaks_it_off():
    async def broken(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("canary")

    with pytest.raises(ValueError, match="canary"):
        request(token=GOOD.plain, app=broken)


def test_every_answer_has_a_request_id_and_is_not_stored():
    for found in (request(), request(token=GOOD.plain), request("GET", "/health")):
        assert len(found.headers["x-request-id"]) == 32
        assert found.headers["cache-control"] == "no-store"
        assert found.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("header", [("content-length", "50000000"), ("transfer-encoding", "chunked")])
def test_a_refusal_ends_the_connection_when_much_would_be_left_to_read(header: tuple[str, str]):
    assert request("POST", headers=[header]).headers["connection"] == "close"


def test_a_refusal_keeps_the_connection_when_little_is_left_to_read():
    assert "connection" not in request("POST", headers=[("content-length", "10")]).headers
    assert "connection" not in request().headers


def test_web_sockets_are_refused():
    sent = []

    async def send(message: Any) -> None:
        sent.append(message)

    gate = Gate(None, RULES, find_actor, attempts=TokenAttempts())  # type: ignore[arg-type]
    asyncio.run(gate({"type": "websocket"}, None, send))  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_the_digest_is_what_is_looked_up():
    asked: list[str] = []
    request(token=GOOD.plain, finder=asked.append)
    assert asked == [digest_of(GOOD.plain)]


def test_a_request_reaches_routes_with_their_own_problem_answers():
    app = FastAPI()
    install_problem_handlers(app)

    @app.get("/things")
    def things(request: Request) -> str:
        return str(request.scope[ACTOR_KEY].id)

    assert json.loads(request(token=GOOD.plain, app=app).body) == str(ACTOR.id)
    assert request("POST", token=GOOD.plain, app=app).problem["code"] == "method_not_allowed"
    assert request(path="/nowhere", token=GOOD.plain, app=app).problem["code"] == "not_found"
