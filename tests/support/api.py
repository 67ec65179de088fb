"""Call the API as a client does."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from rhesis.backend.app.main import create_app
from rhesis.backend.security.tokens import mint_token
from support.database import Tenant, TestDatabase

PROBLEM = "application/problem+json"


def make_client(database: TestDatabase, app: FastAPI | None = None) -> TestClient:
    """Return a client of an application on `database`. The lifespan does not run: the database is ready as it is."""
    assert database.url
    return TestClient(app or create_app())


def add_token(database: TestDatabase, tenant: Tenant, *, days: int = 1, user_id: UUID | None = None) -> str:
    """Insert a token of the tenant's user and return it."""
    minted = mint_token()
    database.fetch(
        "INSERT INTO rhesis.token (organization_id, user_id, digest, prefix, expires_at) "
        "VALUES (%s, %s, %s, %s, now() + make_interval(days => %s))",
        tenant.organization_id,
        user_id or tenant.user_id,
        minted.digest,
        minted.prefix,
        days,
    )
    return minted.plain


def bearer(database: TestDatabase, tenant: Tenant) -> dict[str, str]:
    """Return headers that authenticate as the tenant's user."""
    return {"Authorization": f"Bearer {add_token(database, tenant)}"}


def problem_of(response: Any, status: int, code: str) -> dict[str, Any]:
    """Check that a response is the problem it should be, and return its body."""
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM), response.text
    body: dict[str, Any] = response.json()
    assert (body["status"], body["code"]) == (status, code), body
    return body


@dataclass
class LiveServer:
    """A server of the application on a port of its own."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


@contextlib.contextmanager
def live_server(app: Any) -> Iterator[LiveServer]:
    """Serve `app` with uvicorn on a free port, without its lifespan."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        # The socket listens already, so a connection waits until the server takes it.
        yield LiveServer("127.0.0.1", listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
