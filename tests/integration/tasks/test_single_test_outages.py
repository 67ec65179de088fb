"""What one test's trouble does to the others of its run, and a database's to a call that waits."""

from uuid import UUID

import pytest
from sqlalchemy.exc import OperationalError

from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.models import TestRun
from rhesis.backend.app.services.runs import create_run
from rhesis.backend.domain.actor import Actor
from rhesis.backend.settings import get_settings
from rhesis.backend.tasks.execution import single_test
from rhesis.backend.worker import app
from support.database import Tenant, TestDatabase
from support.http_endpoint import serve_endpoint
from support.world import World, add_world, result_rows, run_row


def new_run(world: World) -> TestRun:
    actor = Actor(world.tenant.user_id, world.tenant.organization_id)
    with tenant_session(actor.organization_id, actor.id) as db:
        return create_run(db, actor, world.configuration_id)


def test_a_test_that_cannot_be_run_in_order_does_not_keep_the_others_from_running(
    database: TestDatabase, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rhesis.backend.tasks.execution.orchestration import execute_tests_in_order

    app.finalize()
    tried: list[UUID] = []
    execute = single_test._execute

    def fail_the_first(found: single_test._Plan, **options: object) -> object:
        tried.append(found.test.id)
        if found.test.prompt == "broken":
            raise ValueError(found.test.prompt)
        return execute(found, **options)

    monkeypatch.setattr(single_test, "_execute", fail_the_first)
    with serve_endpoint() as endpoint:
        world = add_world(
            database,
            tenant,
            prompts=["broken", "b", "c"],
            url=endpoint.url,
            attributes={"execution_mode": "Sequential"},
        )
        run = new_run(world)
        headers = {"organization_id": str(tenant.organization_id), "user_id": str(tenant.user_id)}
        arguments = {"test_config_id": str(world.configuration_id), "test_run_id": str(run.id)}
        done = execute_tests_in_order.apply(kwargs=arguments, task_id=run.body_task_id, headers=headers)
    assert done.state == "SUCCESS"
    assert tried == [*[world.test_ids[0]] * 4, *world.test_ids[1:]], "four attempts, then the others"
    assert run_row(database, run.id)["status"] == "Partial"
    rows = {row["test_id"]: row for row in result_rows(database, run.id)}
    assert [rows[str(test_id)]["status"] for test_id in world.test_ids] == ["Error", "Pass", "Pass"]
    assert rows[str(world.test_ids[0])]["test_output"]["message"] == "ValueError after 4 attempts"


def test_a_database_that_does_not_answer_does_not_stop_a_call(
    database: TestDatabase, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(add_world(database, tenant, prompts=["a"]))
    ended = single_test._run_watch(tenant.organization_id, str(tenant.user_id), run.id)
    monkeypatch.setattr(single_test, "_RUN_CHECK_SECONDS", 0.0)
    assert not ended()
    with monkeypatch.context() as outage:

        def away(*_: object) -> None:
            raise OperationalError("", None, Exception("away"))

        outage.setattr(single_test, "tenant_session", away)
        assert not ended()
    database.fetch("UPDATE rhesis.test_run SET status = 'Cancelled' WHERE id = %s", run.id)
    assert ended()


def test_a_worker_may_have_more_threads_than_the_setting_says(database: TestDatabase) -> None:
    limits = single_test._call_limits(get_settings())
    assert limits.network.max_connections > 1000, (
        "with fewer, threads beyond that would time out waiting for their turn"
    )
