"""A broker that does not take a run's task: the caller is told, and the run does not stay queued."""

import pytest
from support.database import Tenant, TestDatabase, environment
from support.world import add_world, run_row

from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.services.runs import create_run
from rhesis.backend.domain.actor import Actor
from rhesis.backend.tasks import DispatchFailed, launch_run

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
