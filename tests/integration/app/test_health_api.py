"""The health route: a word for everybody, figures for superusers, never a name."""

import threading
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import make_url

from rhesis.backend import provision
from rhesis.backend.app.database import engine
from rhesis.backend.app.main import create_app
from rhesis.backend.app.services import health as service
from rhesis.backend.app.services.health import CheckStatus, HealthChecker
from rhesis.backend.security.tokens import mint_token
from support.api import bearer, make_client
from support.database import Tenant, TestDatabase, environment

GOOD = {"status": "ok", "checks": {"database": {"status": "ok"}, "queue": {"status": "ok"}}}


def test_a_healthy_service_says_so_and_nothing_else(client: TestClient):
    answer = client.get("/health")
    assert (answer.status_code, answer.json()) == (200, GOOD)


def test_a_user_who_is_no_superuser_sees_what_everybody_sees(
    client: TestClient, database: TestDatabase, tenant: Tenant
):
    assert client.get("/health", headers=bearer(database, tenant)).json() == GOOD


def test_a_superuser_sees_figures(client: TestClient, database: TestDatabase, superuser: Tenant):
    database.fetch(
        "INSERT INTO rhesis.worker_heartbeat (name, host, process_id, queues) VALUES ('w', 'h', 1, '{celery}')"
    )
    details = client.get("/health", headers=bearer(database, superuser)).json()["details"]
    assert details["revision"] == provision.head_revision()
    assert 0 < details["connections_used"] <= details["connections_allowed"]
    assert details["newest_worker_beat_at"].endswith("Z")
    assert details.get("oldest_open_run_at") is None


def stranger_url(database: TestDatabase) -> str:
    """Return the database's URL with a login that the server does not have."""
    url = make_url(database.url).set(username="canary", password="canary")
    return url.render_as_string(hide_password=False)


def assert_failed_without_names(answer: Any, classes: set[str]) -> None:
    assert (answer.status_code, answer.json()["status"]) == (503, "failed")
    for check in answer.json()["checks"].values():
        assert check["status"] == "failed"
        assert check["class"] in classes
    assert "canary" not in answer.text
    assert "127.0.0.1" not in answer.text


def test_a_server_that_does_not_answer_is_unreachable():
    with environment(DATABASE_URL="postgresql://canary:canary@127.0.0.1:1/canary"):
        answer = TestClient(create_app()).get("/health", headers={"Authorization": "Bearer rh_junk"})
    assert_failed_without_names(answer, {"unreachable"})


def test_a_login_that_is_refused_is_told_apart_from_a_server_that_does_not_answer(database: TestDatabase):
    # Which of the two depends on whether the server asks for the password before it looks for the role.
    with environment(DATABASE_URL=stranger_url(database)):
        answer = TestClient(create_app()).get("/health", headers={"Authorization": f"Bearer {mint_token().plain}"})
    assert_failed_without_names(answer, {"credentials", "role"})


def test_an_old_schema_is_of_class_schema(client: TestClient, database: TestDatabase):
    database.fetch("UPDATE rhesis.alembic_version SET version_num = '0000'")
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["checks"]["database"]) == (503, {"status": "failed", "class": "schema"})


def test_a_missing_schema_is_of_class_schema(empty_database_url: str):
    with environment(DATABASE_URL=empty_database_url):
        answer = TestClient(create_app()).get("/health")
    assert answer.json()["checks"]["database"] == {"status": "failed", "class": "schema"}


def test_a_broker_that_is_out_of_reach_is_unreachable(database: TestDatabase):
    with environment(DATABASE_URL=database.url, BROKER_URL="amqp://canary:canary@127.0.0.1:1//"):
        answer = TestClient(create_app()).get("/health")
    assert answer.json()["checks"] == {
        "database": {"status": "ok"},
        "queue": {"status": "failed", "class": "unreachable"},
    }
    assert "canary" not in answer.text


def test_a_database_broker_that_refuses_the_login_is_told_apart(database: TestDatabase):
    with environment(DATABASE_URL=database.url, BROKER_URL=f"sqla+{stranger_url(database)}"):
        checks = TestClient(create_app()).get("/health").json()["checks"]
    assert checks["database"] == {"status": "ok"}
    assert checks["queue"]["class"] in {"credentials", "role"}


def test_a_check_that_hangs_is_unreachable_after_its_time(monkeypatch: pytest.MonkeyPatch):
    released = threading.Event()
    monkeypatch.setattr(service, "_check_queue", released.wait)
    monkeypatch.setattr(service, "_check_database", lambda _: None)
    monkeypatch.setattr(service, "CHECK_SECONDS", 0.2)
    checker = HealthChecker(lambda: "revision")
    found = checker.check()
    released.set()
    checker.close()
    assert (found.status, found.checks["queue"].failure) == (CheckStatus.FAILED, "unreachable")
    assert found.checks["database"].status is CheckStatus.OK


def test_an_answer_is_kept_for_two_seconds(monkeypatch: pytest.MonkeyPatch):
    times = iter([0.0, 1.9, 2.0, 2.0])
    checked: list[str] = []
    monkeypatch.setattr(service, "_check_database", checked.append)
    monkeypatch.setattr(service, "_check_queue", lambda: None)
    checker = HealthChecker(lambda: "revision", clock=lambda: next(times))
    for expected in (1, 1, 2):
        checker.check()
        assert len(checked) == expected
    checker.close()


def test_the_route_answers_while_every_connection_of_the_pool_is_taken(client: TestClient, database: TestDatabase):
    taken = [engine().connect() for _ in range(10)]
    try:
        assert make_client(database).get("/health").status_code == 200
    finally:
        for connection in taken:
            connection.close()
