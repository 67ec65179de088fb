"""What every task of the service shares: tenant, retries, sessions, and a log that names the tenant."""

import inspect
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

from celery import Celery, Task, current_task
from celery.exceptions import Ignore, TaskPredicate
from celery.utils.log import get_task_logger
from sqlalchemy import select
from sqlalchemy.orm import Session

from rhesis.backend.app.database import SessionLocal, set_tenant
from rhesis.backend.app.models import TaskRecord
from rhesis.backend.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    RhesisError,
    TenantMismatch,
    UnexpectedFailure,
)
from rhesis.backend.tasks.context import ORGANIZATION, USER, TaskContext, context_of, publishing_headers, take_from
from rhesis.backend.tasks.execution.patience import patiently

logger = get_task_logger(__name__)
R = TypeVar("R")

_STARTED_AT = "started_at_monotonic"
# What another attempt cannot change.
FINAL_ERRORS = (InvalidInput, NotFound, Forbidden, Conflict, TenantMismatch)


class BaseTask(Task):  # type: ignore[type-arg]
    """A task that belongs to a tenant, retries with back-off, and logs its end with tenant and duration."""

    abstract = True
    autoretry_for = (Exception,)
    dont_autoretry_for = FINAL_ERRORS
    max_retries = 3
    # Seconds until what a killed process had begun is tried again; all else backs off.
    default_retry_delay = 2
    retry_backoff = True
    retry_backoff_max = 600
    track_started = True
    #: Whether somebody may withdraw the task by its id before it starts. Members of a run follow the run instead.
    can_be_withdrawn = True

    def __init_subclass__(cls, **options: Any) -> None:
        """Keep what errors say of prompts and answers from Celery's log and its results, which are no tenant's."""
        super().__init_subclass__(**options)
        run = cls.__dict__.get("run")
        if run is not None:
            quiet = staticmethod(_quiet(run.__func__)) if isinstance(run, staticmethod) else _quiet(run)
            cls.run = quiet  # type: ignore[method-assign]

    @classmethod
    def bind(cls, app: Celery) -> Any:
        """Bind the task to the application, or not at all.

        Celery marks a task as bound before it reads the configuration: one first looked at while that could not be
        made would stay half bound for good.
        """
        _ = app.conf.broker_url
        return super().bind(app)

    @property
    def context(self) -> TaskContext:
        """The tenant of the request that is being worked on."""
        return context_of(self.request)

    @contextmanager
    def get_db_session(self) -> Iterator[Session]:
        """Open a session bound to the task's tenant; commit at the end, roll back on an exception, always close."""
        context = self.context
        with SessionLocal() as db:
            set_tenant(db, context.organization_id, context.user_id)
            yield db
            db.commit()

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:  # type: ignore[override]
        """Publish the task with its tenant in the headers; the caller's `kwargs` and `headers` are left alone."""
        copied = dict(kwargs or {})
        options["headers"] = publishing_headers(options.get("headers"), take_from(copied))
        return super().apply_async(args, copied, **options)

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:  # type: ignore[override]
        """Run the task here and now; the caller's `kwargs` are left alone."""
        return super().apply(args, dict(kwargs or {}), **options)

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:  # noqa: ARG002
        """Put the tenant on the request, out of the arguments, and skip a task that was withdrawn while it waited."""
        from_kwargs = take_from(kwargs)
        given = context_of(self.request)
        context = TaskContext(
            given.organization_id or from_kwargs.organization_id, given.user_id or from_kwargs.user_id
        )
        self.request.update(
            {
                ORGANIZATION: context.organization_id,
                USER: context.user_id,
                _STARTED_AT: time.monotonic(),
            }
        )
        if self.can_be_withdrawn and context.organization_id and _is_withdrawn(self, task_id):
            logger.info("task withdrawn before it started", extra=self._log_fields("withdrawn", task_id))
            raise Ignore

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:  # noqa: ARG002
        """Log the end with tenant and duration."""
        logger.info("task succeeded %s", self._described(), extra=self._log_fields("succeeded", task_id))

    def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:  # noqa: ARG002
        """Log an attempt that failed and will be repeated."""
        logger.warning(
            "task will be retried %s after %s", self._described(), _named(exc), extra=self._log_fields("retry", task_id)
        )

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:  # noqa: ARG002
        """Log the final failure; Celery calls this once, after the last attempt."""
        logger.error(
            "task failed %s with %s", self._described(), _named(exc), extra=self._log_fields("failed", task_id)
        )

    def execution_seconds(self) -> float | None:
        """Return the seconds since the current attempt started, or None before it did."""
        started = getattr(self.request, _STARTED_AT, None)
        return None if started is None else round(time.monotonic() - started, 4)

    def _described(self) -> str:
        context = self.context
        return (
            f"task={self.name} id={self.request.id} organization={context.organization_id or 'unknown'} "
            f"user={context.user_id or 'unknown'} seconds={self.execution_seconds()}"
        )

    def _log_fields(self, action: str, task_id: str) -> dict[str, Any]:
        context = self.context
        return {
            "action": f"task_{action}",
            "task": self.name,
            "celery_task_id": task_id,
            "organization_id": context.organization_id,
            "user_id": context.user_id,
            "execution_seconds": self.execution_seconds(),
        }


def with_tenant_context(func: Callable[..., R]) -> Callable[..., R]:
    """Give a task function a session bound to its tenant, as the keyword argument `db`.

    Works for functions with and without `self`, and with and without `bind=True`. The session is open, and so is its
    transaction, for the whole function: a task that waits for something else opens short sessions of its own instead.
    """
    wants_task = next(iter(inspect.signature(func).parameters), None) == "self"

    @wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> R:
        bound = bool(args) and isinstance(args[0], Task)
        task: Any = args[0] if bound else current_task
        rest = args[1:] if bound else args
        with task.get_db_session() as db:
            kwargs["db"] = db
            return func(task, *rest, **kwargs) if wants_task else func(*rest, **kwargs)

    # Celery checks a call's arguments against the signature it sees; this one takes whatever `func` would.
    del wrapper.__wrapped__
    return wrapper


def without_text(error: Exception) -> UnexpectedFailure:
    """Log where an unforeseen error came from, and return one that says of which type it was."""
    cause = getattr(error, "orig", None)
    name = _named(error) if cause is None else f"{_named(error)} ({_named(cause)})"
    logger.error(
        "task raised %s\n%s", name, "".join(traceback.format_tb(error.__traceback__)), extra={"action": "task_raised"}
    )
    return UnexpectedFailure(name)


def _quiet(run: Callable[..., R]) -> Callable[..., R]:
    @wraps(run)
    def quiet(*args: Any, **kwargs: Any) -> R:
        try:
            return run(*args, **kwargs)
        except (RhesisError, TaskPredicate):
            raise
        except Exception as error:  # noqa: BLE001 - all of them quote what they were given
            unforeseen = without_text(error)
        # Outside of the handler: the error's own text would follow as its context.
        raise unforeseen

    return quiet


def _is_withdrawn(task: BaseTask, task_id: str) -> bool:
    found = select(TaskRecord.id).where(TaskRecord.task_id == task_id, TaskRecord.withdrawn_at.is_not(None))

    def look() -> bool:
        with task.get_db_session() as db:
            return db.scalar(found) is not None

    # Celery repeats what a task's function raises, and not what is raised before it.
    return patiently(look, what=f"start task {task_id}")


def _named(exc: BaseException) -> str:
    """Return the type of an exception alone: its text may quote what a prompt or an answer said."""
    return str(exc) if isinstance(exc, UnexpectedFailure) else type(exc).__name__
