"""The header task of a run: one test."""

from typing import Any
from uuid import UUID

from celery.exceptions import Reject, Retry
from celery.utils.log import get_task_logger
from celery.utils.time import get_exponential_backoff_interval

from rhesis.backend.domain.results import failure
from rhesis.backend.domain.task_names import EXECUTE_SINGLE_TEST
from rhesis.backend.errors import UnexpectedFailure
from rhesis.backend.tasks.base import FINAL_ERRORS, BaseTask, without_text
from rhesis.backend.tasks.execution.single_test import SingleTestOutcome, record_failure, run_single_test
from rhesis.backend.worker import app

logger = get_task_logger(__name__)


@app.task(
    base=BaseTask,
    bind=True,
    name=EXECUTE_SINGLE_TEST,
    autoretry_for=(),
    can_be_withdrawn=False,
)
def execute_single_test(self: BaseTask, test_config_id: str, test_run_id: str, test_id: str) -> dict[str, Any]:  # noqa: ARG001
    """Run one test of a run and store its result; return ids, status and seconds, never prompt or answer.

    A dict comes back whatever happens: a raised exception would keep the chord's callback from running. What the
    endpoint does wrong is a result with status Error. What the database or a bug does wrong is tried again three
    times, and is an Error after that.
    """
    run_id, member_id = UUID(test_run_id), UUID(test_id)
    try:
        outcome = run_single_test(self.context, run_id=run_id, test_id=member_id)
    except FINAL_ERRORS as error:
        logger.warning("test refused run=%s test=%s: %s", test_run_id, test_id, error)
        return failure(test_id, str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, the chord must go on
        unforeseen = without_text(error)
    else:
        return _returned(outcome)
    # Outside of the handler: Celery stores an attempt's error with all that it came from.
    return _try_again(self, run_id, member_id, unforeseen)


def _try_again(task: BaseTask, run_id: UUID, test_id: UUID, error: UnexpectedFailure) -> dict[str, Any]:
    if task.request.retries < (task.max_retries or 0) and not task.request.is_eager:
        pause = get_exponential_backoff_interval(1, task.request.retries, int(task.retry_backoff_max), full_jitter=True)
        try:
            raise task.retry(exc=error, countdown=max(1, pause))
        except Retry:
            raise
        except Reject:
            # The broker did not take the message either; the reaper accounts for this test at the deadline.
            logger.warning("test could not be retried run=%s test=%s", run_id, test_id)
    reason = f"{error} after {task.request.retries + 1} attempts"
    record_failure(task.context, run_id=run_id, test_id=test_id, reason=reason)
    return failure(str(test_id), reason)


def _returned(outcome: SingleTestOutcome) -> dict[str, Any]:
    returned: dict[str, Any] = {
        "test_id": str(outcome.test_id),
        "status": outcome.status,
        "execution_time": outcome.execution_time_ms,
        "metrics": outcome.metrics,
    }
    return returned
