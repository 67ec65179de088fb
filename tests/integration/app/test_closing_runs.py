"""A run is closed once, by whoever comes first, and owes a result for every test."""

import threading
from uuid import UUID, uuid4

import psycopg
import pytest

from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.repositories import results, runs
from rhesis.backend.app.services.reaping import queue_transaction, reap
from rhesis.backend.app.services.runs import cancel_run, create_rerun, create_run, progress_of
from rhesis.backend.domain.actor import Actor
from rhesis.backend.domain.closing import COLLECTED, cancelled, past_deadline
from rhesis.backend.domain.run_status import ResultStatus
from rhesis.backend.errors import Conflict, Forbidden, InvalidInput, NotFound
from support.database import Tenant, TestDatabase
from support.world import World, add_world, result_rows, run_row


@pytest.fixture
def world(database: TestDatabase, tenant: Tenant) -> World:
    return add_world(database, tenant, prompts=["one", "two", "three"])


def actor_of(tenant: Tenant, *, superuser: bool = False) -> Actor:
    return Actor(tenant.user_id, tenant.organization_id, superuser)


def new_run(world: World, **options) -> UUID:
    with tenant_session(world.tenant.organization_id, world.tenant.user_id) as db:
        return create_run(db, actor_of(world.tenant), world.configuration_id, **options).id


def add_result(world: World, run_id: UUID, test_id: UUID, status: ResultStatus = ResultStatus.PASS) -> bool:
    outcome = results.Outcome(test_id, status, None, 10.0, {"output": "x"}, {"execution_time": 10, "metrics": {}})
    with tenant_session(world.tenant.organization_id, world.tenant.user_id) as db:
        return results.add(db, world.tenant.organization_id, run_id, outcome)


def close(world: World, run_id: UUID, closing=COLLECTED):
    with tenant_session(world.tenant.organization_id, world.tenant.user_id) as db:
        return runs.close(db, world.tenant.organization_id, run_id, closing)


def test_a_run_with_every_result_is_completed_whatever_the_metrics_said(database, world):
    run_id = new_run(world)
    for test_id in world.test_ids:
        assert add_result(world, run_id, test_id, ResultStatus.FAIL)
    assert close(world, run_id) == "Completed"
    row = run_row(database, run_id)
    assert (row["status"], row["failed_tasks"], row["completed_tests"], row["error"]) == ("Completed", 0, 3, None)
    assert row["mean_execution_time_ms"] == 10


def test_a_test_without_a_result_gets_an_error_row_when_its_run_is_closed(database, world):
    run_id = new_run(world)
    add_result(world, run_id, world.test_ids[0])
    assert close(world, run_id) == "Partial"
    rows = {row["test_id"]: row for row in result_rows(database, run_id)}
    assert set(rows) == {str(test_id) for test_id in world.test_ids}
    assert rows[str(world.test_ids[1])]["error_type"] == "not_run"
    assert run_row(database, run_id)["error"] == "2 tests without a result"


def test_a_run_without_any_result_is_failed(database, world):
    run_id = new_run(world)
    assert close(world, run_id) == "Failed"
    assert run_row(database, run_id)["failed_tasks"] == 3


def test_a_closed_run_is_not_closed_again(database, world):
    run_id = new_run(world)
    assert close(world, run_id, cancelled("by hand")) == "Cancelled"
    before = run_row(database, run_id)
    assert close(world, run_id) is None
    assert run_row(database, run_id) == before


def test_the_database_itself_keeps_a_terminal_status(database, world):
    run_id = new_run(world)
    close(world, run_id)
    with pytest.raises(psycopg.errors.CheckViolation, match="final"):
        database.fetch("UPDATE rhesis.test_run SET status = 'Progress' WHERE id = %s", run_id)


def test_a_result_that_comes_after_the_end_is_not_stored(database, world):
    run_id = new_run(world)
    close(world, run_id, cancelled("by hand"))
    assert not add_result(world, run_id, world.test_ids[0])
    assert {row["error_type"] for row in result_rows(database, run_id)} == {"not_run"}


def test_a_second_result_of_the_same_test_changes_nothing(database, world):
    run_id = new_run(world)
    assert add_result(world, run_id, world.test_ids[0], ResultStatus.PASS)
    assert not add_result(world, run_id, world.test_ids[0], ResultStatus.FAIL)
    assert [row["status"] for row in result_rows(database, run_id)] == ["Pass"]


def test_of_many_that_close_a_run_at_once_exactly_one_does(database, world):
    run_id = new_run(world)
    barrier, closed = threading.Barrier(6), []

    def one(closing) -> None:
        barrier.wait(10)
        closed.append(close(world, run_id, closing))

    threads = [threading.Thread(target=one, args=(c,)) for c in [COLLECTED, cancelled("x"), past_deadline()] * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(closed) == 6
    assert sum(status is not None for status in closed) == 1
    assert len(result_rows(database, run_id)) == 3


def test_the_reaper_closes_runs_past_their_deadline_and_no_other(database, world, other_tenant):
    late, fresh = new_run(world), new_run(world)
    foreign = add_world(database, other_tenant, prompts=["other"])
    foreign_late = new_run(foreign)
    database.fetch(
        "UPDATE rhesis.test_run SET deadline = now() - interval '1 second' WHERE id IN (%s, %s)", late, foreign_late
    )
    add_result(world, late, world.test_ids[0])
    assert set(reap().closed) == {str(late), str(foreign_late)}
    row = run_row(database, late)
    assert row["status"] == "Partial"
    assert row["error"] == "the deadline passed before the run had ended; 2 tests without a result"
    assert run_row(database, foreign_late)["status"] == "Failed"
    assert run_row(database, fresh)["status"] == "Queued"


def test_a_run_that_cannot_be_closed_does_not_keep_the_others_open(database, world):
    """One is refused by the database, one is held by a session that somebody left open; both are tried again."""
    broken, held, fine = new_run(world), new_run(world), new_run(world)
    database.fetch("""
        CREATE FUNCTION rhesis.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'broken on purpose';
        END $$
    """)
    database.fetch(
        f"CREATE TRIGGER refuse BEFORE UPDATE OF status ON rhesis.test_run FOR EACH ROW WHEN (OLD.id = '{broken}')"
        " EXECUTE FUNCTION rhesis.refuse()"
    )
    for age, run_id in enumerate((fine, held, broken), start=1):
        database.fetch(
            "UPDATE rhesis.test_run SET deadline = now() - make_interval(secs => %s) WHERE id = %s", age, run_id
        )
    with database.admin() as forgotten, forgotten.transaction():
        # A reaper that waits is to fail the test, not to hang it.
        forgotten.execute("SET idle_in_transaction_session_timeout = '20s'")
        forgotten.execute("SELECT FROM rhesis.test_run WHERE id = %s FOR SHARE", (held,))
        report = reap()
    assert report.closed == (str(fine),)
    assert report.refused == ((str(broken), "RaiseException"), (str(held), "LockNotAvailable"))
    assert reap().closed == (str(held),)


def test_of_two_reapers_one_works(database, world):
    with queue_transaction() as connection:
        from rhesis.backend.app.repositories import overdue

        assert overdue.try_lock(connection)
        assert not reap().led
    assert reap().led


def test_cancelling_closes_at_once_and_names_who_and_why(database, world):
    run_id = new_run(world)
    with tenant_session(world.tenant.organization_id, world.tenant.user_id) as db:
        run = cancel_run(db, actor_of(world.tenant), run_id, reason="wrong endpoint")
    assert run.status == "Cancelled"
    assert run.error.startswith(f"cancelled by user {world.tenant.user_id}: wrong endpoint")


def test_an_ended_run_cannot_be_cancelled(world):
    run_id = new_run(world)
    close(world, run_id)
    with tenant_session(world.tenant.organization_id, world.tenant.user_id) as db:
        with pytest.raises(Conflict, match="Failed") as caught:
            cancel_run(db, actor_of(world.tenant), run_id)
    assert caught.value.code == "not_open"


def test_only_the_owner_or_a_superuser_may_execute_and_cancel(database, world):
    colleague = uuid4()
    database.add_user(world.tenant.organization_id, user_id=colleague, email="colleague@example.org")
    run_id = new_run(world)
    somebody = Actor(colleague, world.tenant.organization_id)
    with tenant_session(world.tenant.organization_id, colleague) as db:
        with pytest.raises(Forbidden):
            create_run(db, somebody, world.configuration_id)
        with pytest.raises(Forbidden):
            cancel_run(db, somebody, run_id)
        superuser = Actor(colleague, world.tenant.organization_id, is_superuser=True)
        assert cancel_run(db, superuser, run_id).status == "Cancelled"


def test_another_organizations_configuration_is_not_there(database, world, other_tenant):
    with tenant_session(other_tenant.organization_id, other_tenant.user_id) as db, pytest.raises(NotFound):
        create_run(db, actor_of(other_tenant, superuser=True), world.configuration_id)


def test_an_empty_test_set_is_refused(database, tenant):
    world = add_world(database, tenant, prompts=[])
    with pytest.raises(InvalidInput) as caught:
        new_run(world)
    assert caught.value.code == "empty_test_set"


def test_tests_without_any_metric_are_refused_by_name(database, tenant):
    world = add_world(database, tenant, prompts=["one", "two"], metrics=[])
    with pytest.raises(InvalidInput) as caught:
        new_run(world)
    assert caught.value.code == "no_metric"
    assert {problem.where for problem in caught.value.problems} == {f"test {test_id}" for test_id in world.test_ids}


def test_a_run_owes_the_tests_of_its_dispatch_whatever_becomes_of_the_set(database, world):
    run_id = new_run(world)
    database.fetch("DELETE FROM rhesis.test WHERE id = %s", world.test_ids[0])
    assert close(world, run_id) == "Failed"
    assert len(result_rows(database, run_id)) == 3


def test_a_rerun_holds_only_what_did_not_pass_and_names_the_old_run(database, world):
    run_id = new_run(world)
    add_result(world, run_id, world.test_ids[0], ResultStatus.PASS)
    add_result(world, run_id, world.test_ids[1], ResultStatus.FAIL)
    close(world, run_id)
    with tenant_session(world.tenant.organization_id, world.tenant.user_id) as db:
        repeated = create_rerun(db, actor_of(world.tenant), run_id).id
    row = run_row(database, repeated)
    assert row["rerun_of"] == str(run_id)
    assert set(row["test_ids"]) == {str(world.test_ids[1]), str(world.test_ids[2])}


def test_an_open_run_and_one_that_passed_are_not_repeated(world):
    run_id = new_run(world)
    with tenant_session(world.tenant.organization_id, world.tenant.user_id) as db:
        with pytest.raises(Conflict) as caught:
            create_rerun(db, actor_of(world.tenant), run_id)
    assert caught.value.code == "still_open"
    for test_id in world.test_ids:
        add_result(world, run_id, test_id)
    close(world, run_id)
    with tenant_session(world.tenant.organization_id, world.tenant.user_id) as db:
        with pytest.raises(Conflict) as caught:
            create_rerun(db, actor_of(world.tenant), run_id)
    assert caught.value.code == "nothing_to_repeat"


@pytest.mark.parametrize("seconds", [0, -1, 86_401])
def test_a_deadline_out_of_range_is_refused(world, seconds):
    with pytest.raises(InvalidInput):
        new_run(world, deadline_seconds=seconds)


def test_progress_counts_results_and_says_when_a_run_is_late(database, world):
    run_id = new_run(world)
    add_result(world, run_id, world.test_ids[0], ResultStatus.FAIL)
    database.fetch(
        "UPDATE rhesis.test_run SET deadline = now() - interval '1 s', started_at = now() WHERE id = %s", run_id
    )
    with tenant_session(world.tenant.organization_id, world.tenant.user_id) as db:
        progress = progress_of(db, actor_of(world.tenant), run_id)
    assert (progress.total, progress.completed, progress.failed, progress.percent) == (3, 1, 1, 33.3)
    assert progress.late
