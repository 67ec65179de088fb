"""Background tasks over HTTP."""

from typing import Any

from rhesis.backend.app.schemas.common import Output


class TaskStatus(Output):
    """What is known of a task: Celery's word for its state, its result or, as type and message, its error."""

    task_id: str
    status: str
    result: Any
    error: str | None
