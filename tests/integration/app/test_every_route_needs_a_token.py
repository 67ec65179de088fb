"""No route answers a stranger, except those listed as public, and every route describes its errors."""

import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from rhesis.backend.app.gate import PUBLIC_ROUTES
from rhesis.backend.app.main import create_app
from support.api import PROBLEM, live_server, make_client, problem_of
from support.database import TestDatabase, environment

BROKEN_JSON = b'{"broken": '
LARGE = 50 * 1024 * 1024


def all_routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Yield method and path of each route, those of included routers too."""
    for route in app.routes:
        nested = getattr(route, "original_router", None)
        for found in nested.routes if nested is not None else [route]:
            for method in found.methods or ():
                yield method, found.path


def concrete(path: str) -> str:
    return re.sub(r"\{[^}]+\}", "00000000-0000-0000-0000-000000000001", path)


def test_every_route_but_the_public_ones_is_401_to_a_stranger_with_a_broken_body(database: TestDatabase):
    client = make_client(database)
    routes = sorted(set(all_routes(client.app)) - PUBLIC_ROUTES)
    assert ("POST", "/tokens") in routes
    assert ("DELETE", "/tasks/{task_id}") in routes
    for method, path in routes:
        for address in (concrete(path), path.replace("{", "").replace("}", "")):
            answer = client.request(method, address, content=BROKEN_JSON, headers={"Content-Type": "application/json"})
            assert answer.status_code == 401, (method, address)
            assert answer.headers["content-type"] == PROBLEM
            assert answer.headers["www-authenticate"] == "Bearer"
            assert method == "HEAD" or answer.json()["code"] == "unauthenticated"


def test_the_description_and_the_routes_know_the_same_addresses(client: TestClient):
    described = {
        (method.upper(), path) for path, methods in client.app.openapi()["paths"].items() for method in methods
    }
    served = {(method, path) for method, path in all_routes(client.app) if method != "HEAD"}
    assert described == served - {("GET", "/openapi.json"), ("GET", "/docs")}


def test_public_routes_answer_a_stranger(client: TestClient):
    for _, path in sorted(PUBLIC_ROUTES):
        assert client.get(path).status_code == 200, path


def test_the_docs_can_be_switched_off(database: TestDatabase):
    with environment(DATABASE_URL=database.url, RHESIS_DOCS="0"):
        client = TestClient(create_app())
        problem_of(client.get("/docs"), 401, "unauthenticated")
        assert client.get("/openapi.json").status_code == 200


def test_every_described_error_is_a_problem_and_every_private_route_needs_the_bearer(client: TestClient):
    described = client.get("/openapi.json").json()
    assert described["security"] == [{"bearer": []}]
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            if (method.upper(), path) in PUBLIC_ROUTES:
                assert {} in operation["security"]
                continue
            assert "security" not in operation
            errors = {code: answer for code, answer in operation["responses"].items() if int(code) >= 400}
            assert {"401", "404", "422", "503"} <= errors.keys(), (method, path)
            assert all(list(answer["content"]) == [PROBLEM] for answer in errors.values()), (method, path)
    assert "Problem" in described["components"]["schemas"]


def test_a_public_answer_says_nothing_of_the_installation(client: TestClient, database: TestDatabase):
    text = client.get("/openapi.json").text + client.get("/docs").text
    assert not re.search(r"127\.0\.0\.1|postgres(ql)?://", text)


def exchange(port: int, head: str, body: Iterator[bytes]) -> tuple[bytes, int]:
    """Send a request piece by piece until the server hangs up; return what it said and how much it took."""
    sent = 0
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head.encode())
        try:
            for part in body:
                connection.sendall(part)
                sent += len(part)
        except OSError:
            pass
        try:
            while part := connection.recv(65_536):
                answer += part
        except OSError:
            pass
    return answer, sent


@pytest.mark.parametrize("framing", [f"Content-Length: {LARGE}", "Transfer-Encoding: chunked"])
def test_fifty_megabytes_of_a_stranger_are_refused_without_being_read(database: TestDatabase, framing: str):
    piece = b"x" * 65_536
    chunk = b"10000\r\n" + piece + b"\r\n" if "chunked" in framing else piece
    kind = "Content-Type: multipart/form-data; boundary=b"
    head = f"POST /test_sets/import HTTP/1.1\r\nHost: api\r\n{kind}\r\n{framing}\r\n\r\n"
    read = 0
    app = create_app()

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        async def counted() -> Any:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            return message

        await app(scope, counted, send)

    with live_server(counting) as server:
        answer, sent = exchange(server.port, head, (chunk for _ in range(LARGE // len(piece))))
    assert read == 0
    assert sent < LARGE
    status, _, rest = answer.partition(b"\r\n")
    assert status == b"HTTP/1.1 401 Unauthorized"
    assert json.loads(rest.partition(b"\r\n\r\n")[2])["code"] == "unauthenticated"
