"""Launched tasks: whose they are, and how one is withdrawn.

A task that the ledger does not know, another organization's and another user's are one and the same to the caller.
"""

from sqlalchemy.orm import Session

from rhesis.backend.app.models import TaskRecord
from rhesis.backend.app.repositories import tasks as queries
from rhesis.backend.app.services import runs
from rhesis.backend.domain.actor import Actor
from rhesis.backend.errors import NotFound

_WITHDRAWN = "its task was withdrawn"


def require_task(db: Session, actor: Actor, task_id: str) -> TaskRecord:
    """Return the ledger's row of a task; raise `NotFound` unless the caller owns it or is a superuser here."""
    record = queries.find_task(db, actor.organization_id, task_id)
    if record is None or (record.user_id != actor.id and not actor.is_superuser):
        raise NotFound(f"there is no task {task_id}", subject_id=task_id)
    return record


def withdraw_task(db: Session, actor: Actor, task_id: str) -> bool:
    """Keep a task from starting; return whether a message has to be revoked as well.

    The task of an open run is withdrawn by cancelling the run: its tests notice, and nothing needs to be revoked.
    """
    record = require_task(db, actor, task_id)
    queries.withdraw(db, actor.organization_id, task_id)
    if record.test_run_id is None or not queries.is_run_open(db, actor.organization_id, record.test_run_id):
        return True
    runs.cancel_run(db, actor, record.test_run_id, reason=_WITHDRAWN)
    return False
