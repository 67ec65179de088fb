"""A request's session: bound to the caller's organization, committed before the answer leaves."""

import threading
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import text

from rhesis.backend.app import main
from rhesis.backend.app.database import tenant_of
from rhesis.backend.app.dependencies import CurrentActor, DatabaseSession, after_commit
from rhesis.backend.app.main import create_app
from rhesis.backend.app.models import TestSet
from rhesis.backend.domain.actor import Actor
from rhesis.backend.errors import Conflict
from support.api import bearer, problem_of
from support.database import Tenant, TestDatabase

ROWS = "SELECT slug FROM rhesis.test_set ORDER BY slug"
# Passes every statement and refuses the commit.
FAIL_AT_COMMIT = """
CREATE FUNCTION rhesis.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'canary refused'; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON rhesis.test_set DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION rhesis.refuse()
"""


def add_set(db: DatabaseSession, actor: CurrentActor, slug: str) -> None:
    db.add(TestSet(organization_id=actor.organization_id, user_id=actor.id, name=slug, slug=slug))
    db.flush()


def probe_app(events: list[str]) -> FastAPI:
    """Return the application with routes that use a session as routes do."""
    app = create_app()

    @app.post("/probe")
    def probe(db: DatabaseSession, actor: CurrentActor) -> dict[str, str]:
        add_set(db, actor, "probe")
        after_commit(db, lambda: events.append("message"))
        return {"tenant": tenant_of(db)[0]}

    @app.post("/refused")
    def refused(db: DatabaseSession, actor: CurrentActor) -> None:
        add_set(db, actor, "refused")
        after_commit(db, lambda: events.append("message"))
        raise Conflict("no")

    @app.post("/undispatched")
    def undispatched(db: DatabaseSession, actor: CurrentActor) -> None:
        def dispatch() -> None:
            raise Conflict("not dispatched", code="undispatched")

        add_set(db, actor, "undispatched")
        after_commit(db, dispatch)

    return app


def watched(app: FastAPI, database: TestDatabase, events: list[str]) -> Any:
    """Return the application with a note of what is committed when its answer begins."""

    async def wrapper(scope: Any, receive: Any, send: Any) -> None:
        async def noting(message: Any) -> None:
            if message["type"] == "http.response.start":
                events.append(f"answer {message['status']} with {len(database.fetch(ROWS))} rows")
            await send(message)

        await app(scope, receive, noting)

    return wrapper


def test_the_answer_leaves_after_the_commit_and_after_the_message(database: TestDatabase, tenant: Tenant):
    events: list[str] = []
    client = TestClient(watched(probe_app(events), database, events))
    answer = client.post("/probe", headers=bearer(database, tenant))
    assert events == ["message", "answer 200 with 1 rows"]
    assert answer.json() == {"tenant": str(tenant.organization_id)}


def test_a_commit_that_fails_is_an_error_and_no_message_leaves(database: TestDatabase, tenant: Tenant):
    database.fetch(FAIL_AT_COMMIT)
    events: list[str] = []
    client = TestClient(watched(probe_app(events), database, events))
    problem = problem_of(client.post("/probe", headers=bearer(database, tenant)), 500, "internal")
    assert events == ["answer 500 with 0 rows"]
    assert "canary" not in str(problem)


def test_an_error_of_the_route_rolls_back_and_no_message_leaves(database: TestDatabase, tenant: Tenant):
    events: list[str] = []
    client = TestClient(watched(probe_app(events), database, events))
    problem_of(client.post("/refused", headers=bearer(database, tenant)), 409, "conflict")
    assert events == ["answer 409 with 0 rows"]


def test_what_fails_after_the_commit_is_the_answer_and_the_commit_stands(database: TestDatabase, tenant: Tenant):
    client = TestClient(probe_app([]))
    problem_of(client.post("/undispatched", headers=bearer(database, tenant)), 409, "undispatched")
    assert database.fetch(ROWS) == [("undispatched",)]


def test_many_requests_at_once_never_wait_for_each_others_connections(
    database: TestDatabase, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
):
    # Without lookups, which slow them down, all requests reach the route at the same time.
    actor = Actor(tenant.user_id, tenant.organization_id)
    monkeypatch.setattr(main, "find_actor", lambda _: actor)
    app = create_app()

    @app.get("/slow")
    def slow(db: DatabaseSession) -> dict[str, int]:
        return {"pid": db.scalar(text("SELECT pg_backend_pid() FROM pg_sleep(0.2)")) or 0}

    authenticated = bearer(database, tenant)
    statuses: list[int] = []

    with TestClient(app_without_lifespan(app)) as client:

        def call() -> None:
            statuses.append(client.get("/slow", headers=authenticated).status_code)

        threads = [threading.Thread(target=call) for _ in range(80)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(25)
    assert statuses == [200] * 80


def app_without_lifespan(app: FastAPI) -> Any:
    """Return the application for one event loop, so that its requests share one set of threads."""

    async def wrapper(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})

    return wrapper
