"""The database goes away in the middle of a run and comes back: the run ends, and no result is lost or doubled."""

from pathlib import Path

import pytest

from rhesis.backend import provision, runtime
from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.services.runs import create_run
from rhesis.backend.domain.actor import Actor
from rhesis.backend.tasks import launch_run
from support.database import SECRET_KEY, TestDatabase, environment
from support.http_endpoint import serve_endpoint
from support.processes import celery_worker
from support.waiting import eventually
from support.world import add_world, result_rows, run_row


@pytest.fixture
def own_server(tmp_path: Path):
    """Return a database on an embedded server of its own, which may be stopped."""
    with environment(
        DATABASE_URL=None,
        RHESIS_HOME=str(tmp_path / ".rhesis"),
        RHESIS_SECRET_KEYS=SECRET_KEY,
        RHESIS_ALLOWED_NETWORKS="127.0.0.0/8",
    ):
        provision.prepare(create=True)
        server = runtime.embedded_server()
        yield server, TestDatabase(server.url("superuser"))
        server.erase()


def test_a_run_survives_a_restart_of_the_database(own_server, tmp_path):
    """The answers come while the server is down; they are stored when it is back."""
    server, database = own_server
    tenant = database.add_tenant()
    with serve_endpoint() as endpoint:
        world = add_world(database, tenant, prompts=[f"hold {n}" for n in range(6)], url=endpoint.url)
        actor = Actor(tenant.user_id, tenant.organization_id)
        with celery_worker(database, tmp_path, "-P", "threads", "-c", "6") as worker:
            with tenant_session(actor.organization_id, actor.id) as db:
                run = create_run(db, actor, world.configuration_id, deadline_seconds=45)
            launch_run(run, actor)
            eventually(lambda: sum(endpoint.calls.values()) == 6, within=30, what="all six wait at the endpoint")
            server.stop()
            assert not server.is_running()
            endpoint.release.set()
            eventually(
                lambda: "waiting to store the result" in worker.log.read_text(), within=20, what="answers to be stored"
            )
            server.ensure(create=False)
            row = eventually(
                lambda: (found := run_row(database, run.id))["status"] not in {"Queued", "Progress"} and found,
                within=75,
                what=f"the end of the run; {worker.log}",
            )
    assert row["status"] == "Completed"
    assert len(result_rows(database, run.id)) == 6
