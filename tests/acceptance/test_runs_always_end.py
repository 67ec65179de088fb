"""Whatever happens to workers, endpoint, callback and database: a run ends, once, and says why.

Real worker processes, real kills. What is waited for is an event in the database or at the endpoint, with a bound.
"""

from uuid import UUID

import pytest

from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.services.runs import cancel_run, create_rerun, create_run
from rhesis.backend.domain.actor import Actor
from rhesis.backend.tasks import launch_run
from support.database import TestDatabase
from support.http_endpoint import serve_endpoint
from support.processes import celery_worker
from support.waiting import eventually
from support.world import World, add_world, result_rows, run_row

TERMINAL = {"Completed", "Partial", "Failed", "Cancelled"}
THREADS = ("-Q", "celery,execution", "-P", "threads", "-c", "8")


@pytest.fixture
def endpoint():
    with serve_endpoint() as served:
        yield served


def start_run(world: World, **options) -> UUID:
    actor = Actor(world.tenant.user_id, world.tenant.organization_id)
    with tenant_session(actor.organization_id, actor.id) as db:
        run = create_run(db, actor, world.configuration_id, **options)
    launch_run(run, actor)
    return run.id


def wait_for_end(database: TestDatabase, run_id: UUID, *, within: float = 40) -> dict:
    return eventually(
        lambda: (row := run_row(database, run_id))["status"] in TERMINAL and row, within=within, what=f"end of {run_id}"
    )


def statuses(database: TestDatabase, run_id: UUID) -> list[str]:
    return sorted(row["status"] for row in result_rows(database, run_id))


def test_one_documented_worker_completes_a_run(database, tenant, endpoint, tmp_path):
    """A worker started without -Q and with the default pool consumes both queues."""
    world = add_world(database, tenant, prompts=["a", "wrong b", "error c"], url=endpoint.url)
    with celery_worker(database, tmp_path, "-c", "2", RHESIS_TEST_TIMEOUT_SECONDS="20") as worker:
        run_id = start_run(world)
        row = wait_for_end(database, run_id)
        assert worker.stop() == 0
    assert row["status"] == "Partial"
    assert statuses(database, run_id) == ["Error", "Fail", "Pass"]
    assert (row["total_tests"], row["completed_tests"], row["failed_tasks"]) == (3, 2, 1)
    assert database.fetch("SELECT name FROM rhesis.worker_heartbeat") == [], (
        "a worker that stopped in order is not a lost one"
    )


def test_a_sequential_run_gives_the_same_results_in_order(database, tenant, endpoint, tmp_path):
    world = add_world(
        database, tenant, prompts=["a", "b", "c"], url=endpoint.url, attributes={"execution_mode": "Sequential"}
    )
    with celery_worker(database, tmp_path, *THREADS):
        run_id = start_run(world)
        row = wait_for_end(database, run_id)
    assert row["status"] == "Completed"
    order = database.fetch("SELECT test_id FROM rhesis.test_result WHERE test_run_id = %s ORDER BY created_at", run_id)
    assert [test_id for (test_id,) in order] == list(world.test_ids)


def test_a_killed_worker_leaves_a_run_that_ends_by_its_deadline(database, tenant, endpoint, tmp_path):
    """The stock broker never delivers the dead worker's messages again, so only the deadline can end the run."""
    world = add_world(database, tenant, prompts=[f"hold {n}" for n in range(4)], url=endpoint.url)
    with celery_worker(database, tmp_path, *THREADS, name="victim") as victim:
        run_id = start_run(world, deadline_seconds=12)
        assert endpoint.reached.wait(20)
        victim.kill()
    with celery_worker(database, tmp_path, *THREADS, name="survivor"):
        row = wait_for_end(database, run_id)
    assert row["status"] == "Failed"
    assert row["error"] == "the deadline passed before the run had ended; 4 tests without a result"
    assert {result["error_type"] for result in result_rows(database, run_id)} == {"not_run"}


def test_a_test_that_kills_its_process_each_time_ends_as_an_error(database, tenant, endpoint, tmp_path):
    """Its message is delivered four times and not for ever; then the chord has failed, and its errback closes the run."""
    world = add_world(database, tenant, prompts=["hold", "fine"], url=endpoint.url)
    with celery_worker(database, tmp_path, "-c", "1") as worker:
        run_id = start_run(world, deadline_seconds=300)
        for attempt in range(1, 5):
            eventually(lambda: endpoint.calls["hold"] == attempt, within=40, what=f"attempt {attempt}")  # noqa: B023
            worker.kill_children()
        row = wait_for_end(database, run_id)
    assert endpoint.calls["hold"] == 4
    assert (row["status"], statuses(database, run_id)) == ("Partial", ["Error", "Pass"])
    assert row["error"] == f"task {row['body_task_id']} failed with ChordError; 1 test without a result"


def test_an_endpoint_that_never_answers_gives_errors_and_not_a_hanging_run(database, tenant, endpoint, tmp_path):
    world = add_world(database, tenant, prompts=["hang 1", "hang 2", "fine"], url=endpoint.url)
    with celery_worker(database, tmp_path, *THREADS, RHESIS_TEST_TIMEOUT_SECONDS="2"):
        run_id = start_run(world)
        row = wait_for_end(database, run_id)
    assert row["status"] == "Partial"
    assert statuses(database, run_id) == ["Error", "Error", "Pass"]


def test_a_callback_that_raises_does_not_keep_its_run_open(database, tenant, endpoint, tmp_path):
    """The callback and the errback cannot write; the reaper, another role, closes the run at its deadline."""
    world = add_world(database, tenant, prompts=["a", "b"], url=endpoint.url)
    database.fetch("""
        CREATE FUNCTION rhesis.break_callback() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF current_user = 'rhesis_app' AND NEW.completed_at IS NOT NULL THEN RAISE EXCEPTION 'broken on purpose'; END IF;
            RETURN NEW;
        END $$
    """)
    database.fetch(
        "CREATE TRIGGER break_callback BEFORE UPDATE ON rhesis.test_run FOR EACH ROW EXECUTE FUNCTION rhesis.break_callback()"
    )
    with celery_worker(database, tmp_path, *THREADS):
        run_id = start_run(world, deadline_seconds=8)
        row = wait_for_end(database, run_id)
    assert row["status"] == "Completed", "both tests were executed"
    assert row["error"] == "the deadline passed before the run had ended"


def test_cancelling_takes_effect_on_queued_tests_at_once(database, tenant, endpoint, tmp_path):
    """Sixteen tests, eight threads: eight wait at the endpoint, eight in the queue, and those never call it."""
    world = add_world(database, tenant, prompts=[f"hold {n}" for n in range(16)], url=endpoint.url)
    actor = Actor(tenant.user_id, tenant.organization_id)
    with celery_worker(database, tmp_path, *THREADS, "--prefetch-multiplier", "1"):
        run_id = start_run(world)
        eventually(lambda: sum(endpoint.calls.values()) >= 7, within=20, what="the threads are busy")
        with tenant_session(actor.organization_id, actor.id) as db:
            assert cancel_run(db, actor, run_id, reason="enough").status == "Cancelled"
        endpoint.release.set()
        body = run_row(database, run_id)["body_task_id"]
        outcome = "SELECT 1 FROM rhesis_queue.celery_taskmeta WHERE task_id = %s AND status = 'SUCCESS'"
        eventually(lambda: database.fetch(outcome, body), within=40, what="every test's task has ended")
    assert sum(endpoint.calls.values()) <= 8, "only the tests that the eight threads had begun"
    assert {result["error_type"] for result in result_rows(database, run_id)} == {"not_run"}
    assert run_row(database, run_id)["status"] == "Cancelled"


def test_a_rerun_calls_only_what_had_failed(database, tenant, endpoint, tmp_path):
    world = add_world(database, tenant, prompts=["a", "wrong b", "c"], url=endpoint.url)
    actor = Actor(tenant.user_id, tenant.organization_id)
    with celery_worker(database, tmp_path, *THREADS):
        wait_for_end(database, first := start_run(world))
        with tenant_session(actor.organization_id, actor.id) as db:
            repeated = create_rerun(db, actor, first)
        launch_run(repeated, actor)
        row = wait_for_end(database, repeated.id)
    assert row["total_tests"] == 1
    assert endpoint.calls == {"a": 1, "wrong b": 2, "c": 1}


def test_a_repeated_dispatch_makes_no_second_run_and_no_second_call(database, tenant, endpoint, tmp_path):
    world = add_world(database, tenant, prompts=["a", "b"], url=endpoint.url)
    actor = Actor(tenant.user_id, tenant.organization_id)
    with celery_worker(database, tmp_path, *THREADS):
        run_id = start_run(world)
        wait_for_end(database, run_id)
        with tenant_session(actor.organization_id, actor.id) as db:
            from rhesis.backend.app.repositories import runs

            run = runs.find_run(db, actor.organization_id, run_id)
        launch_run(run, actor)
        eventually(lambda: _messages(database) == 0, within=20, what="the second message is worked off")
    assert database.fetch("SELECT count(*) FROM rhesis.test_run") == [(1,)]
    assert endpoint.calls == {"a": 1, "b": 1}


def test_the_poller_of_a_lost_chord_is_ended_after_its_run(database, tenant, endpoint, tmp_path, monkeypatch):
    """Members that died with their worker never report; the stock poller would ask for them every second, for ever."""
    from rhesis.backend.tasks.execution import abandoned
    from rhesis.backend.tasks.execution.liveness import reap_once

    world = add_world(database, tenant, prompts=["hold 1", "hold 2"], url=endpoint.url)
    with celery_worker(database, tmp_path, *THREADS, name="victim") as victim:
        run_id = start_run(world, deadline_seconds=3)
        assert endpoint.reached.wait(20)
        victim.kill()
    monkeypatch.setattr(abandoned, "GRACE_SECONDS", 0.0)
    eventually(
        lambda: run_id.hex and reap_once().led and run_row(database, run_id)["status"] == "Failed", within=15, what="x"
    )
    reap_once()
    members = database.fetch("SELECT status FROM rhesis_queue.celery_taskmeta WHERE status = 'FAILURE'")
    assert len(members) == 3, "two members and the callback"
    with celery_worker(database, tmp_path, *THREADS, name="survivor"):
        eventually(lambda: _messages(database) == 0, within=30, what="the poller has ended")


def _messages(database: TestDatabase) -> int:
    return database.fetch("SELECT count(*) FROM rhesis_queue.kombu_message WHERE visible")[0][0]
