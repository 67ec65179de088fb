"""Tasks by id: their owner's, and a superuser's of the same organization."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient

from rhesis.backend.app.routers import tasks as router
from rhesis.backend.domain.actor import Actor
from rhesis.backend.tasks import TaskState, echo, task_launcher
from support.api import bearer, problem_of
from support.database import Tenant, TestDatabase

TASK = "SELECT withdrawn_at IS NOT NULL FROM rhesis.task WHERE task_id = %s"


@pytest.fixture
def celery(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Return what is asked of Celery, in place of a broker."""
    asked: list[tuple[str, str]] = []

    def state(task_id: str) -> TaskState:
        asked.append(("state", task_id))
        return TaskState(task_id, "FAILURE", None, "ValueError: no")

    monkeypatch.setattr(router, "task_state", state)
    monkeypatch.setattr(router, "revoke_task", lambda task_id: asked.append(("revoke", task_id)))
    return asked


def add_task(database: TestDatabase, tenant: Tenant, *, run_id: UUID | None = None) -> str:
    task_id = str(uuid4())
    database.fetch(
        "INSERT INTO rhesis.task (organization_id, user_id, task_id, name, test_run_id) VALUES (%s, %s, %s, 'echo', %s)",
        tenant.organization_id,
        tenant.user_id,
        task_id,
        run_id,
    )
    return task_id


def add_run(database: TestDatabase, tenant: Tenant, status: str) -> UUID:
    """Insert a run with what it needs and return its id."""
    ids = {name: uuid4() for name in ("endpoint", "set", "configuration", "run")}
    owner = (tenant.organization_id, tenant.user_id)
    insert = "INSERT INTO rhesis.{} (id, organization_id, user_id, {}) VALUES (%s, %s, %s, {})"
    database.fetch(insert.format("endpoint", "name, url", "'e', 'http://x'"), ids["endpoint"], *owner)
    database.fetch(insert.format("test_set", "name, slug", "'s', 's'"), ids["set"], *owner)
    database.fetch(
        insert.format("test_configuration", "endpoint_id, test_set_id", "%s, %s"),
        ids["configuration"], *owner, ids["endpoint"], ids["set"],
    )  # fmt: skip
    database.fetch(
        insert.format(
            "test_run",
            "test_configuration_id, status, task_id, body_task_id, deadline, test_ids, total_tests",
            "%s, %s, 'task', 'body', now() + interval '1 hour', ARRAY[gen_random_uuid()], 1",
        ),
        ids["run"], *owner, ids["configuration"], status,
    )  # fmt: skip
    return ids["run"]


def test_the_owner_sees_state_result_and_error(
    client: TestClient, database: TestDatabase, tenant: Tenant, celery: list[Any]
):
    task_id = add_task(database, tenant)
    answer = client.get(f"/tasks/{task_id}", headers=bearer(database, tenant))
    assert answer.json() == {"task_id": task_id, "status": "FAILURE", "result": None, "error": "ValueError: no"}


def test_nobody_else_learns_that_a_task_exists(
    client: TestClient, database: TestDatabase, tenant: Tenant, other_tenant: Tenant, celery: list[Any]
):
    task_id = add_task(database, tenant)
    colleague = Tenant(tenant.organization_id, uuid4(), "colleague@example.org")
    database.add_user(colleague.organization_id, user_id=colleague.user_id, email=colleague.email)
    foreign_superuser = database.add_tenant("foreign", superuser=True)
    for stranger in (colleague, other_tenant, foreign_superuser):
        for method in ("GET", "DELETE"):
            known = client.request(method, f"/tasks/{task_id}", headers=bearer(database, stranger))
            unknown = client.request(method, f"/tasks/{uuid4()}", headers=bearer(database, stranger))
            assert problem_of(known, 404, "not_found").keys() == problem_of(unknown, 404, "not_found").keys()
    assert celery == []
    assert database.fetch(TASK, task_id) == [(False,)]


def test_a_superuser_of_the_organization_may_ask_and_withdraw(
    client: TestClient, database: TestDatabase, tenant: Tenant, celery: list[Any]
):
    task_id = add_task(database, tenant)
    superuser = Tenant(tenant.organization_id, uuid4(), "root@example.org")
    database.add_user(superuser.organization_id, user_id=superuser.user_id, email=superuser.email, superuser=True)
    assert client.get(f"/tasks/{task_id}", headers=bearer(database, superuser)).status_code == 200
    assert client.delete(f"/tasks/{task_id}", headers=bearer(database, superuser)).status_code == 204


def test_a_withdrawn_task_is_noted_and_revoked_after_the_commit(
    client: TestClient, database: TestDatabase, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
):
    task_id = add_task(database, tenant)
    seen: list[Any] = []
    monkeypatch.setattr(router, "revoke_task", lambda given: seen.append((given, database.fetch(TASK, given))))
    for _ in range(2):
        assert client.delete(f"/tasks/{task_id}", headers=bearer(database, tenant)).status_code == 204
    assert seen == [(task_id, [(True,)])] * 2


@pytest.mark.parametrize("status", ["Queued", "Progress"])
def test_withdrawing_the_task_of_an_open_run_cancels_the_run(
    client: TestClient, database: TestDatabase, tenant: Tenant, celery: list[Any], status: str
):
    run_id = add_run(database, tenant, status)
    task_id = add_task(database, tenant, run_id=run_id)
    assert client.delete(f"/tasks/{task_id}", headers=bearer(database, tenant)).status_code == 204
    assert database.fetch("SELECT status FROM rhesis.test_run") == [("Cancelled",)]
    assert celery == []


def test_withdrawing_the_task_of_an_ended_run_leaves_the_run(
    client: TestClient, database: TestDatabase, tenant: Tenant, celery: list[Any]
):
    run_id = add_run(database, tenant, "Completed")
    task_id = add_task(database, tenant, run_id=run_id)
    assert client.delete(f"/tasks/{task_id}", headers=bearer(database, tenant)).status_code == 204
    assert database.fetch("SELECT status FROM rhesis.test_run") == [("Completed",)]
    assert celery == [("revoke", task_id)]


@pytest.mark.parametrize("task_id", ["x", "%00", "a%2Fb", "x" * 255, "%F0%9F%92%A9", "' OR 1=1 --"])
def test_an_id_that_never_was_is_404_or_422(client: TestClient, database: TestDatabase, tenant: Tenant, task_id: str):
    answer = client.get(f"/tasks/{task_id}", headers=bearer(database, tenant))
    assert answer.status_code in (404, 422)


def test_a_launched_task_is_pending_and_once_withdrawn_revoked(
    client: TestClient, database: TestDatabase, tenant: Tenant
):
    user = Actor(tenant.user_id, tenant.organization_id)
    address = f"/tasks/{task_launcher(echo, 'hello', current_user=user).id}"
    authenticated = bearer(database, tenant)
    waiting = client.get(address, headers=authenticated).json()
    assert (waiting["status"], waiting["result"], waiting["error"]) == ("PENDING", None, None)
    assert client.delete(address, headers=authenticated).status_code == 204
    withdrawn = client.get(address, headers=authenticated).json()
    assert (withdrawn["status"], withdrawn["result"]) == ("REVOKED", None)
    assert withdrawn["error"].startswith("TaskRevokedError: ")
    assert "Traceback" not in withdrawn["error"]
