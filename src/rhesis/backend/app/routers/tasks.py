"""Background tasks that the caller launched, by the id he was given."""

from typing import Annotated

from fastapi import APIRouter, Path, status

from rhesis.backend.app.dependencies import CurrentActor, DatabaseSession, after_commit
from rhesis.backend.app.problems import PROBLEM_RESPONSES
from rhesis.backend.app.schemas.tasks import TaskStatus
from rhesis.backend.app.services import tasks
from rhesis.backend.tasks import TaskState, revoke_task, task_state

router = APIRouter(prefix="/tasks", tags=["tasks"], responses=PROBLEM_RESPONSES)

TaskId = Annotated[str, Path(min_length=1, max_length=255)]


@router.get("/{task_id}", response_model=TaskStatus)
def get_task(task_id: TaskId, db: DatabaseSession, actor: CurrentActor) -> TaskState:
    """Show a task's state. Only who launched it may ask, or a superuser of his organization."""
    tasks.require_task(db, actor, task_id)
    return task_state(task_id)


@router.delete("/{task_id}", status_code=status.HTTP_204_NO_CONTENT)
def withdraw_task(task_id: TaskId, db: DatabaseSession, actor: CurrentActor) -> None:
    """Withdraw a task: one that waits does not start any more, and a run that it belongs to is cancelled."""
    if tasks.withdraw_task(db, actor, task_id):
        after_commit(db, lambda: revoke_task(task_id))
