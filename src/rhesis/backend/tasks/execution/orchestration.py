"""Dispatch a run: as a chord of single tests, or as one task that goes through them in order."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from celery import chord
from celery.utils.log import get_task_logger

from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.models import TestRun
from rhesis.backend.app.repositories import runs
from rhesis.backend.app.services.runs import create_run
from rhesis.backend.domain.actor import Actor
from rhesis.backend.domain.closing import failed, member_task_id
from rhesis.backend.domain.task_names import EXECUTE_TESTS_IN_ORDER
from rhesis.backend.errors import TenantMismatch
from rhesis.backend.tasks.base import BaseTask
from rhesis.backend.tasks.context import TaskContext
from rhesis.backend.tasks.execution.patience import patiently
from rhesis.backend.tasks.execution.results import close_collected, close_failed_run, collect_results
from rhesis.backend.tasks.execution.single_test import record_failure, run_single_test
from rhesis.backend.tasks.execution.test import execute_single_test
from rhesis.backend.worker import app

logger = get_task_logger(__name__)

SEQUENTIAL = "Sequential"


@dataclass(frozen=True)
class Dispatch:
    """A run that has begun: what is still owed, and how it is to be done."""

    run_id: UUID
    configuration_id: UUID
    body_task_id: str
    sequential: bool
    owed: tuple[UUID, ...]
    is_open: bool


def execute_run(task: BaseTask, configuration_id: UUID) -> dict[str, Any]:
    """Begin the run of this task and publish what it still owes. Safe to repeat: members have fixed ids."""
    dispatch = patiently(lambda: _begin(task, configuration_id), what=f"begin the run of task {task.request.id}")
    if dispatch.is_open:
        headers = task.context.headers()
        publish = _publish_in_order if dispatch.sequential else _publish_chord
        patiently(lambda: publish(dispatch, headers), what=f"dispatch run {dispatch.run_id}")
        logger.info(
            "run dispatched",
            extra={"action": "run_dispatched", "test_run_id": str(dispatch.run_id), "tests": len(dispatch.owed)},
        )
    return {"test_run_id": str(dispatch.run_id), "test_config_id": str(configuration_id), "tests": len(dispatch.owed)}


class DispatchTask(BaseTask):
    """The task that dispatches a run. Failing for good it closes the run, which else would wait for its deadline."""

    abstract = True

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Log the failure and close the run."""
        super().on_failure(exc, task_id, args, kwargs, einfo)
        reason = f"the run could not be dispatched: task {task_id} failed with {type(exc).__name__}"
        try:
            organization_id, user_id = require_tenant(self.context)
            with tenant_session(organization_id, user_id) as db:
                run = runs.find_run_by_task(db, organization_id, task_id)
                if run is not None:
                    runs.close(db, organization_id, run.id, failed(reason))
        except Exception as error:  # noqa: BLE001 - the reaper closes the run at its deadline
            logger.warning("the run of task %s could not be closed: %s", task_id, type(error).__name__)


def _begin(task: BaseTask, configuration_id: UUID) -> Dispatch:
    organization_id, user_id = require_tenant(task.context)
    task_id = str(task.request.id)
    with task.get_db_session() as db:
        run = runs.find_run_by_task(db, organization_id, task_id)
        if run is None:
            run = _own_run(task, db, Actor(user_id, organization_id), configuration_id)
        is_open = runs.begin(db, organization_id, run.id)
        owed = tuple(runs.tests_owed(db, organization_id, run.id)) if is_open else ()
        return Dispatch(run.id, configuration_id, run.body_task_id, run.execution_mode == SEQUENTIAL, owed, is_open)


def _own_run(task: BaseTask, db: Any, actor: Actor, configuration_id: UUID) -> TestRun:
    """Make the run of a task that was launched without one, and commit it: workers must find it."""
    run = create_run(db, actor, configuration_id, task_id=task.request.id)
    db.commit()
    return run


def require_tenant(context: TaskContext) -> tuple[UUID, UUID]:
    """Return organization and user of a task that cannot do without; raise `TenantMismatch`."""
    if context.organization_id is None or context.user_id is None:
        raise TenantMismatch("tenant mismatch: the message names no organization and user; launch it for a user")
    return UUID(context.organization_id), UUID(context.user_id)


def _publish_chord(dispatch: Dispatch, headers: dict[str, str]) -> None:
    started_at = datetime.now(UTC).isoformat()
    identity = {"config_id": str(dispatch.configuration_id), "run_id": str(dispatch.run_id)}
    # An errback inherits nothing, so it is given the tenant by itself.
    errback = close_failed_run.s(run_id=str(dispatch.run_id)).set(headers=headers)
    body = collect_results.s(start_time=started_at, **identity).set(task_id=dispatch.body_task_id, headers=headers)
    body.on_error(errback)
    if not dispatch.owed:
        # Every test had ended before a first attempt of this task could publish the chord.
        body.clone(args=([],)).apply_async()
        return
    members = [_member(dispatch, test_id) for test_id in dispatch.owed]
    chord(members, body).apply_async(headers=headers)


def _member(dispatch: Dispatch, test_id: UUID) -> Any:
    return execute_single_test.s(
        test_config_id=str(dispatch.configuration_id), test_run_id=str(dispatch.run_id), test_id=str(test_id)
    ).set(task_id=member_task_id(dispatch.run_id, test_id))


def _publish_in_order(dispatch: Dispatch, headers: dict[str, str]) -> None:
    errback = close_failed_run.s(run_id=str(dispatch.run_id)).set(headers=headers)
    execute_tests_in_order.apply_async(
        kwargs={"test_config_id": str(dispatch.configuration_id), "test_run_id": str(dispatch.run_id)},
        task_id=dispatch.body_task_id,
        headers=headers,
        link_error=errback,
    )


@app.task(
    base=BaseTask,
    bind=True,
    name=EXECUTE_TESTS_IN_ORDER,
    can_be_withdrawn=False,
)
def execute_tests_in_order(self: BaseTask, test_config_id: str, test_run_id: str) -> dict[str, Any]:
    """Run a run's tests one after the other and close it; the result has the shape of `collect_results`."""
    organization_id, _ = require_tenant(self.context)
    with self.get_db_session() as db:
        owed = runs.tests_owed(db, organization_id, UUID(test_run_id))
    last = self.request.retries >= (self.max_retries or 0)
    for test_id in owed:
        try:
            outcome = run_single_test(self.context, run_id=UUID(test_run_id), test_id=test_id)
        except Exception as error:
            if not last:
                raise
            # As beside each other: what fails in every attempt is this test's error, and the others still run.
            reason = f"{type(error).__name__} after {self.request.retries + 1} attempts"
            record_failure(self.context, run_id=UUID(test_run_id), test_id=test_id, reason=reason)
            continue
        if outcome.run_ended:
            break
    return close_collected(self.context, UUID(test_run_id), UUID(test_config_id))
