"""What may be done with a run: create, repeat, cancel, look how far it is. Nothing here commits or publishes."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import func
from sqlalchemy.orm import Session

from rhesis.backend.app.models import TaskRecord, TestConfiguration, TestRun
from rhesis.backend.app.repositories import runs, tasks
from rhesis.backend.domain.actor import Actor
from rhesis.backend.domain.closing import cancelled
from rhesis.backend.domain.progress import RunCounts
from rhesis.backend.domain.task_names import COLLECT_RESULTS, EXECUTE_TEST_CONFIGURATION, EXECUTE_TESTS_IN_ORDER
from rhesis.backend.errors import Conflict, InputProblem, InvalidInput, NotFound
from rhesis.backend.settings import MAX_DEADLINE_SECONDS, get_settings

EXECUTION_MODES = ("Parallel", "Sequential")
_NAMED_IDS = 10


def create_run(
    db: Session,
    actor: Actor,
    configuration_id: UUID,
    *,
    deadline_seconds: int | None = None,
    task_id: str | None = None,
) -> TestRun:
    """Add a Queued run of a configuration's whole test set, and the ledger rows of its two tasks.

    The caller commits before anything is published, or a worker would not find the run. Raises `NotFound`,
    `Forbidden`, or `InvalidInput` with code `empty_test_set`, `no_metric`, `execution_mode` or `deadline`.
    """
    configuration = _configuration(db, actor, configuration_id)
    actor.require_change(configuration.user_id, what="test configuration", subject_id=configuration.id)
    test_set = runs.find_test_set(db, actor.organization_id, configuration.test_set_id)
    if test_set is None:
        raise NotFound(f"test set {configuration.test_set_id} is not there", subject_id=str(configuration.test_set_id))
    test_ids = runs.tests_in_order(db, actor.organization_id, test_set.id)
    if not test_ids:
        raise InvalidInput(
            f"test set {test_set.id} has no tests: add some before executing it",
            code="empty_test_set",
            subject_id=str(test_set.id),
        )
    if not configuration.metrics and not test_set.metrics:
        _require_metrics(db, actor, test_set.id)
    return _add_run(db, actor, configuration, test_ids, deadline_seconds=deadline_seconds, task_id=task_id)


def create_rerun(db: Session, actor: Actor, run_id: UUID, *, deadline_seconds: int | None = None) -> TestRun:
    """Add a Queued run of only those tests of an ended run that did not pass, linked to it by `rerun_of`."""
    run = get_run(db, actor, run_id)
    actor.require_change(run.user_id, what="test run", subject_id=run.id)
    if run.status in runs.OPEN:
        raise Conflict(
            f"test run {run.id} is {run.status}: wait for its end or cancel it",
            code="still_open",
            subject_id=str(run.id),
        )
    test_ids = runs.tests_to_repeat(db, actor.organization_id, run.id)
    if not test_ids:
        raise Conflict(
            f"test run {run.id} has no failed test that still exists: nothing to repeat",
            code="nothing_to_repeat",
            subject_id=str(run.id),
        )
    configuration = _configuration(db, actor, run.test_configuration_id)
    repeated = _add_run(db, actor, configuration, test_ids, deadline_seconds=deadline_seconds, task_id=None)
    repeated.rerun_of = run.id
    db.flush()
    return repeated


def cancel_run(db: Session, actor: Actor, run_id: UUID, *, reason: str | None = None) -> TestRun:
    """Close an open run as Cancelled, at once; tests that are queued return without calling the endpoint."""
    run = get_run(db, actor, run_id)
    actor.require_change(run.user_id, what="test run", subject_id=run.id)
    sentence = f"cancelled by user {actor.id}" + (f": {reason}" if reason else "")
    if runs.close(db, actor.organization_id, run.id, cancelled(sentence)) is None:
        db.refresh(run)
        raise Conflict(
            f"test run {run.id} is {run.status}: only a queued or running one can be cancelled",
            code="not_open",
            subject_id=str(run.id),
        )
    db.refresh(run)
    return run


def get_run(db: Session, actor: Actor, run_id: UUID) -> TestRun:
    """Return a run of the actor's organization; raise `NotFound`."""
    run = runs.find_run(db, actor.organization_id, run_id)
    if run is None:
        raise NotFound(f"test run {run_id} is not there", subject_id=str(run_id))
    return run


def progress_of(db: Session, actor: Actor, run_id: UUID) -> RunCounts:
    """Return how far a run is; raise `NotFound`."""
    found = runs.counts(db, actor.organization_id, run_id)
    if found is None:
        raise NotFound(f"test run {run_id} is not there", subject_id=str(run_id))
    return found


def _configuration(db: Session, actor: Actor, configuration_id: UUID) -> TestConfiguration:
    configuration = runs.find_configuration(db, actor.organization_id, configuration_id)
    if configuration is None:
        raise NotFound(f"test configuration {configuration_id} is not there", subject_id=str(configuration_id))
    return configuration


def _require_metrics(db: Session, actor: Actor, test_set_id: UUID) -> None:
    bare = runs.tests_without_metrics(db, actor.organization_id, test_set_id, limit=_NAMED_IDS)
    if bare:
        raise InvalidInput(
            "some tests have no metric, and neither the test set nor the configuration gives one: they could only "
            "end in an error",
            code="no_metric",
            problems=tuple(InputProblem(f"test {test_id}", "has no metric") for test_id in bare),
            subject_id=str(test_set_id),
        )


def _add_run(
    db: Session,
    actor: Actor,
    configuration: TestConfiguration,
    test_ids: Sequence[UUID],
    *,
    deadline_seconds: int | None,
    task_id: str | None,
) -> TestRun:
    mode = configuration.attributes.get("execution_mode", EXECUTION_MODES[0])
    if mode not in EXECUTION_MODES:
        raise InvalidInput(f"execution_mode must be one of {', '.join(EXECUTION_MODES)}", code="execution_mode")
    run = TestRun(
        organization_id=actor.organization_id,
        user_id=actor.id,
        test_configuration_id=configuration.id,
        name=configuration.name,
        task_id=task_id or str(uuid4()),
        body_task_id=str(uuid4()),
        execution_mode=mode,
        deadline=func.now() + timedelta(seconds=_checked_deadline(deadline_seconds)),
        test_ids=list(test_ids),
        total_tests=len(test_ids),
    )
    db.add(run)
    db.flush()
    _note_tasks(db, actor, run)
    return run


def _note_tasks(db: Session, actor: Actor, run: TestRun) -> None:
    """Put a run's two tasks into the ledger; the first is there already if it was launched before its run was made."""
    body = EXECUTE_TESTS_IN_ORDER if run.execution_mode == EXECUTION_MODES[1] else COLLECT_RESULTS
    for identifier, name in ((run.task_id, EXECUTE_TEST_CONFIGURATION), (run.body_task_id, body)):
        record = tasks.find_task(db, actor.organization_id, identifier)
        if record is None:
            record = TaskRecord(organization_id=actor.organization_id, user_id=actor.id, task_id=identifier, name=name)
            db.add(record)
        record.test_run_id = run.id
    db.flush()


def _checked_deadline(seconds: int | None) -> int:
    value = get_settings().run_deadline_seconds if seconds is None else seconds
    if not 1 <= value <= MAX_DEADLINE_SECONDS:
        raise InvalidInput(f"deadline_seconds must lie between 1 and {MAX_DEADLINE_SECONDS}", code="deadline")
    return value
