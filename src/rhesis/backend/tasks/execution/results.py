"""Close a run: by its chord's callback, or by its errback."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from celery.result import AsyncResult
from celery.utils.log import get_task_logger

from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.models import TestRun
from rhesis.backend.app.repositories import runs
from rhesis.backend.domain.closing import COLLECTED, failed
from rhesis.backend.domain.results import failed_members, parse_start
from rhesis.backend.domain.task_names import CLOSE_FAILED_RUN, COLLECT_RESULTS
from rhesis.backend.errors import TenantMismatch
from rhesis.backend.tasks.base import BaseTask
from rhesis.backend.tasks.context import TaskContext
from rhesis.backend.worker import app

logger = get_task_logger(__name__)


@app.task(
    base=BaseTask,
    bind=True,
    name=COLLECT_RESULTS,
    retry_backoff_max=60,
    can_be_withdrawn=False,
)
def collect_results(
    self: BaseTask, results: Iterable[Any] | None, start_time: str, config_id: str, run_id: str
) -> dict[str, Any]:
    """Close a run and return its counts, which come from its result rows alone.

    `results`, what the members returned, is only used to log how many members failed: a redelivered message may carry
    less than the rows say. `start_time` is ISO 8601; without a zone it is UTC. Safe to repeat.
    """
    started_at = parse_start(start_time)
    reported = failed_members(results)
    summary = close_collected(self.context, UUID(run_id), UUID(config_id))
    logger.info(
        "run collected",
        extra={
            "action": "run_collected",
            "test_run_id": run_id,
            "dispatched_at": started_at.isoformat() if started_at else None,
            "members_reporting_failure": reported,
            "failed_tasks": summary["failed_tasks"],
        },
    )
    return summary


def close_collected(context: TaskContext, run_id: UUID, config_id: UUID) -> dict[str, Any]:
    """Close a run whose tests have ended and return its counts; return them as well when it was closed before."""
    organization_id = _organization(context)
    with tenant_session(organization_id, context.user_id) as db:
        runs.close(db, organization_id, run_id, COLLECTED)
        run = runs.find_run(db, organization_id, run_id)
        if run is None:
            raise TenantMismatch(f"tenant mismatch: run {run_id} is not organization {organization_id}'s")
        return summary_of(run, config_id)


def summary_of(run: TestRun, config_id: UUID) -> dict[str, Any]:
    """Return the counts of a closed run, as the callback's result."""
    return {
        "test_run_id": str(run.id),
        "test_config_id": str(config_id),
        "status": run.status,
        "total_tests": run.total_tests,
        "completed_tests": run.completed_tests,
        "failed_tasks": run.failed_tasks,
        "mean_execution_time_ms": run.mean_execution_time_ms,
    }


@app.task(
    base=BaseTask,
    bind=True,
    name=CLOSE_FAILED_RUN,
    can_be_withdrawn=False,
)
def close_failed_run(self: BaseTask, failed_task_id: str, run_id: str) -> str | None:
    """Close a run whose chord failed, and say why; return its status, or None when it had ended already."""
    organization_id = _organization(self.context)
    reason = f"task {failed_task_id} failed{_cause(failed_task_id)}"
    with self.get_db_session() as db:
        status = runs.close(db, organization_id, UUID(run_id), failed(reason))
    logger.error(
        "run closed after a failed task run=%s task=%s",
        run_id,
        failed_task_id,
        extra={"action": "run_failed", "test_run_id": run_id, "failed_task_id": failed_task_id},
    )
    return status.value if status else None


def _cause(task_id: str) -> str:
    """Return the type of the exception a task ended with; its text may quote a prompt and stays out of the run."""
    value = AsyncResult(task_id, app=app).result
    return f" with {type(value).__name__}" if isinstance(value, BaseException) else ""


def _organization(context: TaskContext) -> UUID:
    if context.organization_id is None:
        raise TenantMismatch("tenant mismatch: the message names no organization; launch it for a user")
    return UUID(context.organization_id)
