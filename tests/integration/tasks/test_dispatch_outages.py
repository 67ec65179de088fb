"""A dispatch bears a database or a broker that is away for a moment; one that fails for good closes its run."""

from typing import Any
from uuid import uuid4

import pytest
from kombu.exceptions import OperationalError as BrokerUnavailable
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoFreeConnection

from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.models import TaskRecord, TestRun
from rhesis.backend.app.services.runs import create_run
from rhesis.backend.domain.actor import Actor
from rhesis.backend.tasks import base
from rhesis.backend.tasks.execution import orchestration
from rhesis.backend.worker import app
from support.database import Tenant, TestDatabase
from support.world import World, add_world, result_rows, run_row


@pytest.fixture
def world(database: TestDatabase, tenant: Tenant) -> World:
    return add_world(database, tenant, prompts=["a", "b"])


@pytest.fixture
def run(world: World) -> TestRun:
    actor = Actor(world.tenant.user_id, world.tenant.organization_id)
    with tenant_session(actor.organization_id, actor.id) as db:
        return create_run(db, actor, world.configuration_id)


class Away:
    """Stands for something that is away `times` times and works after that."""

    def __init__(self, works: Any, error: Exception, times: int) -> None:
        self.works, self.error, self.left = works, error, times

    def __call__(self, *args: Any, **options: Any) -> Any:
        if self.left:
            self.left -= 1
            raise self.error
        return self.works(*args, **options)


def dispatch(world: World, run: TestRun) -> Any:
    """Work on the run's message here and now, without Celery's own retries."""
    headers = {"organization_id": str(world.tenant.organization_id), "user_id": str(world.tenant.user_id)}
    # Celery binds a task when it is first looked at, which needs the configuration.
    from rhesis.backend.tasks import execute_test_configuration

    app.finalize()
    arguments = (str(world.configuration_id),)
    return execute_test_configuration.apply(arguments, task_id=run.task_id, headers=headers, retries=3)


def test_a_dispatch_that_fails_for_good_closes_its_run_with_the_reason(
    database: TestDatabase, world: World, run: TestRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orchestration, "chord", Away(None, ValueError("secret"), times=99))
    assert dispatch(world, run).state == "FAILURE"
    row = run_row(database, run.id)
    assert row["status"] == "Failed"
    assert str(row["error"]).startswith(f"the run could not be dispatched: task {run.task_id} failed with ")
    assert "secret" not in str(row["error"])
    assert len(result_rows(database, run.id)) == 2


@pytest.mark.parametrize(
    ("module", "name", "error"),
    [
        (orchestration, "chord", BrokerUnavailable("away")),
        (orchestration.runs, "begin", NoFreeConnection("none")),
        (base, "SessionLocal", OperationalError("", None, Exception("away"))),
    ],
    ids=["the broker", "the pool", "the database before the task's function"],
)
def test_an_outage_of_a_moment_does_not_fail_a_dispatch(
    database: TestDatabase, world: World, run: TestRun, module: Any, name: str, error: Exception,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    away = Away(getattr(module, name), error, times=2)
    monkeypatch.setattr(module, name, away)
    assert dispatch(world, run).state == "SUCCESS"
    assert away.left == 0
    messages = database.fetch("SELECT count(*) FROM rhesis_queue.kombu_message WHERE visible")
    assert messages == [(3,)], "two tests and what waits for them"


@pytest.mark.parametrize("known", [True, False], ids=["by the launcher", "by Celery alone"])
def test_a_task_that_is_launched_without_a_run_makes_its_own(database: TestDatabase, world: World, known: bool) -> None:
    """The launcher notes the task in the ledger before there is a run for it."""
    tenant, task_id = world.tenant, str(uuid4())
    if known:
        with tenant_session(tenant.organization_id, tenant.user_id) as db:
            record = TaskRecord(
                organization_id=tenant.organization_id, user_id=tenant.user_id, task_id=task_id, name="x"
            )
            db.add(record)
    dispatched = dispatch(world, TestRun(task_id=task_id))
    assert dispatched.state == "SUCCESS"
    run_id = dispatched.result["test_run_id"]
    assert run_row(database, run_id)["task_id"] == task_id
    ledger = database.fetch("SELECT test_run_id::text FROM rhesis.task WHERE task_id = %s", task_id)
    assert ledger == [(run_id,)], "whoever asks for the task finds its run"
