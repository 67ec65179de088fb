"""Launch tasks for an authenticated user, and look after them by id.

The tenant comes from the user object alone; what a request's body says never becomes a keyword argument, a header or
an option of a message.
"""

from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID, uuid4

from celery.result import AsyncResult
from kombu.exceptions import OperationalError
from sqlalchemy.exc import SQLAlchemyError

from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.models import TaskRecord, TestRun
from rhesis.backend.app.repositories import runs
from rhesis.backend.domain.closing import failed
from rhesis.backend.errors import InvalidInput, RhesisError
from rhesis.backend.tasks.context import ORGANIZATION, USER, TaskContext
from rhesis.backend.worker import app

_NOT_FOR_CALLERS = frozenset({ORGANIZATION, USER, "headers", "countdown", "eta", "queue", "link", "link_error"})


class DispatchFailed(RhesisError):
    """The broker did not take the task."""

    code = "dispatch_failed"


class LaunchingUser(Protocol):
    """What a task's tenant is read from: an authenticated user."""

    @property
    def id(self) -> UUID:
        """The user."""

    @property
    def organization_id(self) -> UUID:
        """His organization."""


@dataclass(frozen=True)
class TaskState:
    """What Celery knows about a task: a state word, a result that is an id, a count or a status, or one error line."""

    task_id: str
    status: str
    result: Any
    error: str | None


def task_launcher(task: Any, *args: Any, current_user: LaunchingUser | None = None, **kwargs: Any) -> AsyncResult[Any]:
    """Publish `task` for `current_user` and note in the ledger whose it is.

    Raises `InvalidInput` when `kwargs` name a tenant or an option of the message, `DispatchFailed` when the broker is
    out of reach.
    """
    refused = sorted(_NOT_FOR_CALLERS & kwargs.keys())
    if refused:
        raise InvalidInput(f"a task cannot be launched with {', '.join(refused)}: the user decides the tenant")
    task_id = str(uuid4())
    context = TaskContext()
    if current_user is not None:
        context = TaskContext(str(current_user.organization_id), str(current_user.id))
        with tenant_session(current_user.organization_id, current_user.id) as db:
            db.add(
                TaskRecord(
                    organization_id=current_user.organization_id,
                    user_id=current_user.id,
                    task_id=task_id,
                    name=task.name,
                )
            )
    return _publish(task, args, kwargs, task_id=task_id, context=context)


def launch_run(run: TestRun, user: LaunchingUser) -> None:
    """Publish the task of a run that has been committed; when that fails, close the run and raise.

    Raises `DispatchFailed` when the broker is out of reach, and whatever else kept the task from being published.
    """
    from rhesis.backend.tasks.test_configuration import execute_test_configuration  # noqa: PLC0415 - see __init__

    context = TaskContext(str(user.organization_id), str(user.id))
    arguments = (str(run.test_configuration_id),)
    try:
        _publish(execute_test_configuration, arguments, {}, task_id=run.task_id, context=context)
    except Exception as error:
        reason = str(error) if isinstance(error, DispatchFailed) else type(error).__name__
        with tenant_session(user.organization_id, user.id) as db:
            runs.close(db, user.organization_id, run.id, failed(f"the run could not be dispatched: {reason}"))
        raise


def task_state(task_id: str) -> TaskState:
    """Return what the result backend says; ask only after the ledger said that the caller may know."""
    result = app.AsyncResult(task_id)
    status, value = result.status, result.result
    if isinstance(value, BaseException):
        return TaskState(task_id, status, None, f"{type(value).__name__}: {value}")
    return TaskState(task_id, status, value if result.ready() else None, None)


def revoke_task(task_id: str) -> None:
    """Tell workers to drop a task, and mark it revoked unless it has ended.

    On a broker without fanout nobody hears the broadcast; the ledger's `withdrawn_at` is what a worker looks at before
    it starts the task.
    """
    app.control.revoke(task_id)
    if not app.AsyncResult(task_id).ready():
        app.backend.mark_as_revoked(task_id, reason="withdrawn by its owner", store_result=True)


def _publish(
    task: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, task_id: str, context: TaskContext
) -> AsyncResult[Any]:
    try:
        result: AsyncResult[Any] = task.apply_async(args, kwargs, task_id=task_id, headers=context.headers())
    # RuntimeError: Celery's Redis result backend, when it gives up reconnecting.
    except (OperationalError, SQLAlchemyError, OSError, RuntimeError) as error:
        raise DispatchFailed(
            f"the broker did not take task {task_id} ({type(error).__name__}): try again later", subject_id=task_id
        ) from error
    return result
