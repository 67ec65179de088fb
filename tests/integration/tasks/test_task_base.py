"""What every task of the service can rely on: a session of its tenant, retries, and a log that says whose it was."""

import logging
import threading
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import chord
from celery.app import autoretry
from sqlalchemy import select
from sqlalchemy.orm import Session

from rhesis.backend import tasks
from rhesis.backend.app.database import engine, tenant_of, tenant_session
from rhesis.backend.app.models import TaskRecord, TestSet
from rhesis.backend.errors import NotFound, RhesisError
from rhesis.backend.tasks.base import FINAL_ERRORS, BaseTask, with_tenant_context
from rhesis.backend.worker import app
from support.database import Tenant, TestDatabase
from support.waiting import eventually

SECRET = "what the prompt said"


@pytest.fixture
def headers(tenant: Tenant) -> dict[str, str]:
    return {"organization_id": str(tenant.organization_id), "user_id": str(tenant.user_id)}


def new_set(headers: dict[str, str], name: str) -> TestSet:
    owner = {key: UUID(value) for key, value in headers.items()}
    return TestSet(name=name, slug=name, **owner)


def stored_sets(database: TestDatabase) -> set[str]:
    return {name for (name,) in database.fetch("SELECT name FROM rhesis.test_set")}


# --- sessions --------------------------------------------------------------------------------------------------------


def test_the_sessions_of_a_task_belong_to_its_tenant_and_are_committed(database, define_task, headers):
    def store(self, name):
        with self.get_db_session() as db:
            db.add(new_set(headers, name))
            return list(tenant_of(db))

    assert define_task(store, bind=True).apply(("kept",), headers=headers).get() == list(headers.values())
    assert stored_sets(database) == {"kept"}
    assert engine().pool.checkedout() == 0


def test_a_session_of_a_task_is_undone_and_closed_when_the_task_raises(database, define_task, headers):
    opened: list[Session] = []

    def fail(self):
        with self.get_db_session() as db:
            opened.append(db)
            db.add(new_set(headers, "undone"))
            db.flush()
            raise NotFound("gone")

    with pytest.raises(NotFound):
        define_task(fail, bind=True).apply(headers=headers).get()
    assert stored_sets(database) == set()
    assert not opened[0].in_transaction()
    assert engine().pool.checkedout() == 0


def bound_with_self(self, name, db):
    return [self.name, name, tenant_of(db)]


def bound_without_self(name, db):
    return [None, name, tenant_of(db)]


def keyword_with_self(self, *, name, db):
    return [self.name, name, tenant_of(db)]


@pytest.mark.parametrize("bind", [True, False])
@pytest.mark.parametrize("function", [bound_with_self, bound_without_self, keyword_with_self])
def test_the_decorator_injects_a_session_into_every_documented_shape(define_task, headers, function, bind):
    task = define_task(with_tenant_context(function), bind=bind)
    name = task.name if "self" in function.__code__.co_varnames else None
    expected = [name, "x", tuple(headers.values())]
    assert task.apply(kwargs={"name": "x"}, headers=headers).get() == expected
    if function is not keyword_with_self:
        assert task.apply(("x",), headers=headers).get() == expected


@pytest.mark.parametrize("bind", [True, False])
def test_the_decorators_session_is_committed_on_success_and_undone_on_an_exception(
    database, define_task, headers, bind
):
    opened: list[Session] = []

    def store(name, db, error=None):
        opened.append(db)
        db.add(new_set(headers, name))
        db.flush()
        if error:
            raise NotFound(error)

    task = define_task(with_tenant_context(store), bind=bind)
    task.apply(("kept",), headers=headers).get()
    with pytest.raises(NotFound):
        task.apply(("undone",), {"error": "gone"}, headers=headers).get()
    assert stored_sets(database) == {"kept"}
    assert not any(db.in_transaction() for db in opened)
    assert engine().pool.checkedout() == 0


def test_a_decorated_task_can_be_published_with_its_own_arguments(memory_broker, working, define_task, headers):
    """Celery compares a call with the signature it sees, which knows nothing of the injected session."""
    task = define_task(with_tenant_context(bound_with_self), bind=True)
    with working():
        assert task.apply_async(("x",), headers=headers).get(timeout=20)[:2] == [task.name, "x"]
        assert task.delay("x").get(timeout=20) == [task.name, "x", ["", ""]]


def test_a_task_of_nobody_sees_nothing(database, tenant, headers, define_task):
    with tenant_session(tenant.organization_id, tenant.user_id) as db:
        db.add(new_set(headers, "somebodys"))

    def names(db):
        return list(db.scalars(select(TestSet.name)))

    task = define_task(with_tenant_context(names))
    assert task.apply().get() == []
    assert task.apply(headers=headers).get() == ["somebodys"]


# --- retries and the log ---------------------------------------------------------------------------------------------


@pytest.fixture
def pauses(monkeypatch) -> list[dict[str, Any]]:
    """Return how Celery asked for its back-off, which then is no pause at all."""
    asked: list[dict[str, Any]] = []

    def no_pause(**arguments: Any) -> int:
        asked.append(arguments)
        return 0

    monkeypatch.setattr(autoretry, "get_exponential_backoff_interval", no_pause)
    return asked


def test_the_documented_retry_policy_is_that_of_every_task():
    app.loader.import_default_modules()
    policy = (BaseTask.autoretry_for, BaseTask.max_retries, BaseTask.retry_backoff, BaseTask.retry_backoff_max)
    assert policy == ((Exception,), 3, True, 600)
    assert BaseTask.track_started
    ours = [task for name, task in app.tasks.items() if name.startswith("rhesis.")]
    assert {(task.max_retries, task.retry_backoff, task.track_started) for task in ours} == {(3, True, True)}


def of_action(records: list[logging.LogRecord], action: str) -> list[logging.LogRecord]:
    return [record for record in records if record.action == f"task_{action}"]


def test_a_task_is_tried_four_times_and_fails_once(memory_broker, working, define_task, headers, pauses, task_log):
    seen: list[tuple[str, int]] = []

    def fail(self):
        seen.append((self.context.organization_id, self.request.retries))
        raise ValueError(SECRET)

    task = define_task(fail, bind=True)
    with working():
        result = task.apply_async(headers=headers)
        with pytest.raises(Exception, match="ValueError") as raised:
            result.get(timeout=30)
    # What an error says may quote a prompt, and results are stored outside row-level security.
    assert SECRET not in f"{raised.value!r} {result.traceback}"
    assert seen == [(headers["organization_id"], attempt) for attempt in range(4)]
    assert [(pause["factor"], pause["retries"], pause["maximum"]) for pause in pauses[:3]] == [
        (1, 0, 600), (1, 1, 600), (1, 2, 600),
    ]  # fmt: skip
    assert all(pause["full_jitter"] for pause in pauses)
    assert [record.levelname for record in of_action(task_log, "retry")] == ["WARNING"] * 3
    assert [record.levelname for record in of_action(task_log, "failed")] == ["ERROR"]
    for record in task_log:
        assert (record.organization_id, record.user_id) == tuple(headers.values())
        assert (record.task, record.celery_task_id) == (task.name, result.id)
        assert record.execution_seconds >= 0
        assert headers["organization_id"] in record.getMessage()
        assert "ValueError" in record.getMessage()
        assert SECRET not in record.getMessage()


def test_a_task_that_succeeds_in_the_end_says_so_with_its_tenant_and_duration(
    memory_broker, working, define_task, headers, pauses, task_log
):
    def recover(self):
        if self.request.retries < 2:
            raise ConnectionError(SECRET)
        return self.context.organization_id

    task = define_task(recover, bind=True)
    with working():
        assert task.apply_async(headers=headers).get(timeout=30) == headers["organization_id"]
    assert [record.action for record in task_log] == ["task_retry", "task_retry", "task_succeeded"]
    done = task_log[-1]
    assert (done.organization_id, done.user_id) == tuple(headers.values())
    assert isinstance(done.execution_seconds, float)
    assert f"organization={headers['organization_id']}" in done.getMessage()


def test_a_task_of_nobody_is_logged_as_unknown(memory_broker, working, task_log):
    with working():
        tasks.echo.delay("x").get(timeout=20)
    assert "organization=unknown user=unknown" in task_log[-1].getMessage()


def test_what_another_attempt_cannot_change_is_not_tried_again(
    memory_broker, working, define_task, headers, pauses, task_log
):
    attempts: list[str] = []
    errors = {error.__name__: error for error in FINAL_ERRORS}

    def refuse(name):
        attempts.append(name)
        raise errors[name]("refused")

    task = define_task(refuse)
    with working():
        for name in errors:
            with pytest.raises(RhesisError, match="refused"):
                task.apply_async((name,), headers=headers).get(timeout=20)
    assert (attempts, pauses) == (list(errors), [])
    assert [record.action for record in task_log] == ["task_failed"] * len(errors)


def test_the_seconds_of_an_attempt_are_its_own(define_task):
    seconds: list[float] = []

    def measure(self):
        seconds.append(self.execution_seconds())
        threading.Event().wait(0.05)
        seconds.append(self.execution_seconds())

    task = define_task(measure, bind=True)
    assert task.execution_seconds() is None
    task.apply()
    task.apply()
    assert seconds[1] - seconds[0] >= 0.04
    assert seconds[2] < seconds[1]


# --- withdrawn tasks -------------------------------------------------------------------------------------------------


def withdraw(tenant: Tenant, task_id: str) -> None:
    with tenant_session(tenant.organization_id, tenant.user_id) as db:
        owner = {"organization_id": tenant.organization_id, "user_id": tenant.user_id}
        record = TaskRecord(task_id=task_id, name="any", **owner)
        db.add(record)
        db.flush()
        record.withdrawn_at = record.created_at


def test_a_task_that_was_withdrawn_while_it_waited_does_not_run(
    memory_broker, working, define_task, tenant, headers, task_log
):
    ran: list[str] = []

    def run(self):
        ran.append(self.request.id)

    task = define_task(run, bind=True)
    withdrawn, other = str(uuid4()), str(uuid4())
    withdraw(tenant, withdrawn)
    with working():
        for task_id in (withdrawn, other):
            task.apply_async(headers=headers, task_id=task_id)
        eventually(lambda: len(task_log) == 2, within=20, what="both tasks were looked at")
    assert ran == [other]
    assert [record.celery_task_id for record in of_action(task_log, "withdrawn")] == [withdrawn]


def test_only_its_own_organization_can_withdraw_a_task_and_never_a_member_of_a_run(
    memory_broker, working, define_task, tenant, other_tenant, headers
):
    """A member follows its run, whose status says whether it is still wanted."""

    def run():
        return "ran"

    task, member = define_task(run), define_task(run, can_be_withdrawn=False)
    foreign, own = str(uuid4()), str(uuid4())
    withdraw(other_tenant, foreign)
    withdraw(tenant, own)
    with working():
        assert task.apply_async(headers=headers, task_id=foreign).get(timeout=20) == "ran"
        assert member.apply_async(headers=headers, task_id=own).get(timeout=20) == "ran"


# --- chords on the stock broker --------------------------------------------------------------------------------------


@pytest.fixture
def noted() -> list[tuple[str, str | None, str | None]]:
    """Return what tasks saw of their tenant: a word, the organization, the user."""
    return []


@pytest.fixture
def note(define_task, noted):
    """Return three tasks that note their tenant: a member, a body and an errback."""

    def remember(self: BaseTask, word: str) -> None:
        noted.append((word, self.context.organization_id, self.context.user_id))

    def member(self, fails=False):
        remember(self, "member")
        if fails:
            raise NotFound("refused")

    def body(self, results):
        remember(self, "body")
        return len(results)

    def errback(self, failed_task_id):
        remember(self, "errback")

    return [define_task(function, bind=True) for function in (member, body, errback)]


def test_members_and_body_of_a_chord_see_the_tenant(database, working, note, noted, headers):
    member, body, _ = note
    with working():
        result = chord([member.s(), member.s()], body.s()).apply_async(headers=headers)
        assert result.get(timeout=30) == 2
    tenant = tuple(headers.values())
    assert noted == [("member", *tenant), ("member", *tenant), ("body", *tenant)]


def test_the_errback_of_a_chord_sees_the_tenant_it_was_given(database, working, note, noted, headers):
    """An errback inherits nothing, so its signature carries the headers by itself."""
    member, body, errback = note
    signature = body.s().on_error(errback.s().set(headers=headers))
    with working():
        chord([member.s(), member.s(fails=True)], signature).apply_async(headers=headers)
        eventually(lambda: "errback" in [word for word, *_ in noted], within=30, what="the errback ran")
    assert set(noted) == {(word, *headers.values()) for word in ("member", "errback")}


def test_a_chord_that_a_task_publishes_has_the_tasks_tenant(database, working, note, noted, headers, define_task):
    member, body, _ = note

    def dispatch(self):
        chord([member.s(), member.s()], body.s().set(headers=self.context.headers())).apply_async()

    task = define_task(dispatch, bind=True)
    with working():
        task.apply_async(headers=headers)
        eventually(lambda: "body" in [word for word, *_ in noted], within=30, what="the body ran")
    assert {tuple(tenant) for _, *tenant in noted} == {tuple(headers.values())}
