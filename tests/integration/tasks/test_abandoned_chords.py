"""What the reaper does to Celery's results of runs that have ended: only where they never ended, and only its own."""

import pytest
from sqlalchemy.engine import make_url

from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.models import TestRun
from rhesis.backend.app.services.runs import cancel_run, create_run
from rhesis.backend.domain.actor import Actor
from rhesis.backend.tasks.execution.liveness import reap_once
from rhesis.backend.worker import app
from support.database import Tenant, TestDatabase, environment
from support.world import add_world


def ended_run(database: TestDatabase, tenant: Tenant) -> TestRun:
    """Return a run that ended two minutes ago."""
    world = add_world(database, tenant, prompts=["a", "b"])
    actor = Actor(tenant.user_id, tenant.organization_id)
    with tenant_session(actor.organization_id, actor.id) as db:
        run = create_run(db, actor, world.configuration_id)
        cancel_run(db, actor, run.id)
    database.fetch("UPDATE rhesis.test_run SET completed_at = now() - interval '2 minutes' WHERE id = %s", run.id)
    return run


def test_a_callback_without_an_outcome_is_failed_with_its_members(database: TestDatabase, tenant: Tenant) -> None:
    run = ended_run(database, tenant)
    reap_once()
    assert app.AsyncResult(run.body_task_id).state == "FAILURE"
    assert database.fetch("SELECT status, count(*) FROM rhesis_queue.celery_taskmeta GROUP BY 1") == [("FAILURE", 3)]


@pytest.mark.parametrize("place", ["our table", "another schema"])
def test_the_outcome_of_a_callback_is_left_alone(
    database: TestDatabase, tenant: Tenant, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A result backend named by its URL may keep its table elsewhere; the service's own then says nothing of it."""
    run = ended_run(database, tenant)
    bare = make_url(database.url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    elsewhere = {} if place == "our table" else {"CELERY_RESULT_BACKEND": f"db+{bare}"}
    with environment(DATABASE_URL=database.url, **elsewhere):
        app.backend.store_result(run.body_task_id, {"status": "Cancelled"}, "SUCCESS")
        reap_once()
        assert app.AsyncResult(run.body_task_id).state == "SUCCESS"
    assert "chord stuck" not in caplog.text
    expected = [("SUCCESS",)] if place == "our table" else []
    assert database.fetch("SELECT status FROM rhesis_queue.celery_taskmeta") == expected
