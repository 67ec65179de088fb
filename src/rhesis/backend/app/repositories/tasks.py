"""Queries over the ledger of launched tasks."""

from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from rhesis.backend.app.models import TaskRecord, TestRun
from rhesis.backend.domain.run_status import OPEN_STATUSES


def find_task(db: Session, organization_id: UUID, task_id: str) -> TaskRecord | None:
    """Return what the ledger says of a task."""
    return db.scalar(
        select(TaskRecord).where(TaskRecord.organization_id == organization_id, TaskRecord.task_id == task_id)
    )


def is_run_open(db: Session, organization_id: UUID, run_id: UUID) -> bool:
    """Whether a run is queued or in progress."""
    statement = select(TestRun.id).where(
        TestRun.organization_id == organization_id, TestRun.id == run_id, TestRun.status.in_(OPEN_STATUSES)
    )
    return db.scalar(statement) is not None


def withdraw(db: Session, organization_id: UUID, task_id: str) -> None:
    """Note that a task shall not start any more; a second time changes nothing."""
    db.execute(
        update(TaskRecord)
        .where(
            TaskRecord.organization_id == organization_id,
            TaskRecord.task_id == task_id,
            TaskRecord.withdrawn_at.is_(None),
        )
        .values(withdrawn_at=func.now())
    )
