"""A broker that does not take a run's task: the caller is told, and the run does not stay queued."""

import pytest

from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.services.runs import create_run
from rhesis.backend.domain.actor import Actor
from rhesis.backend.tasks import DispatchFailed, launch_run, launching
from support.database import Tenant, TestDatabase, environment
from support.world import add_world, run_row

# Nothing listens on port 9 of this machine.
NOBODY = {
    "PostgreSQL": {"BROKER_URL": "sqla+postgresql+psycopg://nobody@127.0.0.1:9/none"},
    "RabbitMQ": {"BROKER_URL": "amqp://guest@127.0.0.1:9//"},
    "Redis": {"BROKER_URL": "redis://127.0.0.1:9/0", "CELERY_RESULT_BACKEND": "redis://127.0.0.1:9/0"},
}


@pytest.mark.parametrize("broker", sorted(NOBODY))
def test_a_run_that_cannot_be_dispatched_is_failed_with_the_reason(
    database: TestDatabase, tenant: Tenant, broker: str
) -> None:
    world = add_world(database, tenant, prompts=["a", "b"])
    actor = Actor(tenant.user_id, tenant.organization_id)
    with environment(DATABASE_URL=database.url, **NOBODY[broker]):
        with tenant_session(actor.organization_id, actor.id) as db:
            run = create_run(db, actor, world.configuration_id)
        with pytest.raises(DispatchFailed, match="try again"):
            launch_run(run, actor)
    row = run_row(database, run.id)
    assert row["status"] == "Failed"
    assert str(row["error"]).startswith("the run could not be dispatched")
    assert row["failed_tasks"] == 2


def test_a_run_does_not_stay_queued_whatever_keeps_its_task_from_being_published(
    database: TestDatabase, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelt broker URL, for one, is an error of kombu's own that says nothing of a broker out of reach."""

    def refuse(*_: object, **__: object) -> None:
        raise KeyError("no such transport: secret")

    world = add_world(database, tenant, prompts=["a"])
    actor = Actor(tenant.user_id, tenant.organization_id)
    with tenant_session(actor.organization_id, actor.id) as db:
        run = create_run(db, actor, world.configuration_id)
    monkeypatch.setattr(launching, "_publish", refuse)
    with pytest.raises(KeyError):
        launch_run(run, actor)
    row = run_row(database, run.id)
    assert row["status"] == "Failed"
    assert row["error"] == "the run could not be dispatched: KeyError; 1 test without a result"
