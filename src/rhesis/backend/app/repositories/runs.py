"""Statements on runs. None commits; each filters by organization beside the row-level security."""

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, CursorResult, func, select, text, update
from sqlalchemy.orm import Session

from rhesis.backend.app.models import (
    Test,
    TestConfiguration,
    TestResult,
    TestRun,
    TestSet,
    TestTestSet,
    WorkerHeartbeat,
)
from rhesis.backend.domain.closing import Closing
from rhesis.backend.domain.progress import RunCounts
from rhesis.backend.domain.run_status import OPEN_STATUSES, ResultStatus, RunStatus, status_of_run

OPEN = tuple(status.value for status in OPEN_STATUSES)

# Locking the run keeps results out while it is closed; whoever inserts one shares this lock.
_LOCK_OPEN = text("""
    SELECT test_configuration_id, total_tests FROM rhesis.test_run
    WHERE organization_id = :organization_id AND id = :run_id AND status IN ('Queued', 'Progress')
    FOR UPDATE
""")
_ADD_MISSING = text("""
    INSERT INTO rhesis.test_result
        (organization_id, test_run_id, test_id, test_configuration_id, status, error_type, test_output)
    SELECT run.organization_id, run.id, missing.test_id, run.test_configuration_id, 'Error', 'not_run',
           jsonb_build_object('error', true, 'error_type', 'not_run', 'message', CAST(:message AS text))
    FROM rhesis.test_run run CROSS JOIN LATERAL unnest(run.test_ids) AS missing (test_id)
    WHERE run.organization_id = :organization_id AND run.id = :run_id
      AND NOT EXISTS (SELECT FROM rhesis.test_result result
                      WHERE result.organization_id = run.organization_id AND result.test_run_id = run.id
                        AND result.test_id = missing.test_id)
    ON CONFLICT (organization_id, test_run_id, test_id) DO NOTHING
""")
_COUNT = text("""
    SELECT count(*) FILTER (WHERE status = 'Error') AS errors,
           avg(execution_time_ms) FILTER (WHERE error_type IS DISTINCT FROM 'not_run') AS mean_ms,
           sum(execution_time_ms) AS total_ms
    FROM rhesis.test_result WHERE organization_id = :organization_id AND test_run_id = :run_id
""")
_CLOSE = text("""
    UPDATE rhesis.test_run
    SET status = :status, completed_at = now(), error = :error, completed_tests = :completed, failed_tasks = :errors,
        mean_execution_time_ms = :mean_ms, total_execution_time_ms = :total_ms
    WHERE organization_id = :organization_id AND id = :run_id AND status IN ('Queued', 'Progress')
""")


def find_configuration(db: Session, organization_id: UUID, configuration_id: UUID) -> TestConfiguration | None:
    """Return a configuration, or None."""
    return db.scalar(
        select(TestConfiguration).where(
            TestConfiguration.organization_id == organization_id, TestConfiguration.id == configuration_id
        )
    )


def find_test_set(db: Session, organization_id: UUID, test_set_id: UUID) -> TestSet | None:
    """Return a test set that the bound user may see, or None."""
    return db.scalar(select(TestSet).where(TestSet.organization_id == organization_id, TestSet.id == test_set_id))


def find_run(db: Session, organization_id: UUID, run_id: UUID) -> TestRun | None:
    """Return a run, or None."""
    return db.scalar(select(TestRun).where(TestRun.organization_id == organization_id, TestRun.id == run_id))


def find_run_by_task(db: Session, organization_id: UUID, task_id: str) -> TestRun | None:
    """Return the run that a task executes, or None."""
    return db.scalar(select(TestRun).where(TestRun.organization_id == organization_id, TestRun.task_id == task_id))


def tests_in_order(db: Session, organization_id: UUID, test_set_id: UUID) -> Sequence[UUID]:
    """Return the ids of a set's tests, in its order."""
    return db.scalars(
        select(TestTestSet.test_id)
        .where(TestTestSet.organization_id == organization_id, TestTestSet.test_set_id == test_set_id)
        .order_by(TestTestSet.position, TestTestSet.test_id)
    ).all()


def tests_without_metrics(db: Session, organization_id: UUID, test_set_id: UUID, *, limit: int) -> Sequence[UUID]:
    """Return the first tests of a set that have no metric of their own."""
    return db.scalars(
        select(Test.id)
        .join(TestTestSet, (TestTestSet.organization_id == Test.organization_id) & (TestTestSet.test_id == Test.id))
        .where(
            Test.organization_id == organization_id,
            TestTestSet.test_set_id == test_set_id,
            func.jsonb_array_length(Test.metrics) == 0,
        )
        .order_by(TestTestSet.position)
        .limit(limit)
    ).all()


def tests_to_repeat(db: Session, organization_id: UUID, run_id: UUID) -> Sequence[UUID]:
    """Return the tests of a run that did not pass and still exist, in a stable order."""
    return db.scalars(
        select(TestResult.test_id)
        .join(Test, (Test.organization_id == TestResult.organization_id) & (Test.id == TestResult.test_id))
        .where(
            TestResult.organization_id == organization_id,
            TestResult.test_run_id == run_id,
            TestResult.status != ResultStatus.PASS,
        )
        .order_by(TestResult.test_id)
    ).all()


def begin(db: Session, organization_id: UUID, run_id: UUID) -> bool:
    """Move a run from Queued to Progress; return whether it is open, also when a first attempt had begun it."""
    db.execute(
        update(TestRun)
        .where(TestRun.organization_id == organization_id, TestRun.id == run_id, TestRun.status == RunStatus.QUEUED)
        .values(status=RunStatus.PROGRESS, started_at=func.now())
        .execution_options(synchronize_session=False)
    )
    return is_open(db, organization_id, run_id)


def is_open(db: Session, organization_id: UUID, run_id: UUID) -> bool:
    """Return whether a run exists and has not ended."""
    found = select(TestRun.id).where(
        TestRun.organization_id == organization_id, TestRun.id == run_id, TestRun.status.in_(OPEN)
    )
    return db.scalar(found) is not None


def tests_owed(db: Session, organization_id: UUID, run_id: UUID) -> list[UUID]:
    """Return the tests of a run that have no result yet, in the run's order."""
    owed = db.scalar(select(TestRun.test_ids).where(TestRun.organization_id == organization_id, TestRun.id == run_id))
    done = set(
        db.scalars(
            select(TestResult.test_id).where(
                TestResult.organization_id == organization_id, TestResult.test_run_id == run_id
            )
        )
    )
    return [test_id for test_id in owed or [] if test_id not in done]


def close(connection: Session | Connection, organization_id: UUID, run_id: UUID, closing: Closing) -> RunStatus | None:
    """Close an open run: one Error row for each missing result, counts by SQL, one terminal status.

    Return that status, or None when the run had ended already or is not there: the first to close it wins. Works as
    `rhesis_app` for its tenant and as `rhesis_queue` for all.
    """
    key = {"organization_id": organization_id, "run_id": run_id}
    locked = connection.execute(_LOCK_OPEN, key).one_or_none()
    if locked is None:
        return None
    added = connection.execute(_ADD_MISSING, key | {"message": closing.not_run})
    counts = connection.execute(_COUNT, key).one()
    status = RunStatus.CANCELLED if closing.cancelled else status_of_run(total=locked.total_tests, errors=counts.errors)
    values: dict[str, Any] = {
        "status": status.value,
        "error": _sentence(closing, missing=cast("CursorResult[Any]", added).rowcount),
        "completed": locked.total_tests - counts.errors,
        "errors": counts.errors,
        "mean_ms": counts.mean_ms,
        "total_ms": counts.total_ms,
    }
    connection.execute(_CLOSE, key | values)
    return status


def _sentence(closing: Closing, *, missing: int) -> str | None:
    if not missing:
        return closing.reason
    without = f"{missing} tests without a result" if missing != 1 else "1 test without a result"
    return f"{closing.reason}; {without}" if closing.reason else without


def counts(db: Session, organization_id: UUID, run_id: UUID) -> RunCounts | None:
    """Return how far a run is, by one statement over the index (organization, run, status)."""

    def number(status: ResultStatus) -> ColumnElement[int]:
        return (
            select(func.count())
            .where(
                TestResult.organization_id == organization_id,
                TestResult.test_run_id == run_id,
                TestResult.status == status,
            )
            .scalar_subquery()
        )

    row = db.execute(
        select(
            TestRun.id.label("test_run_id"),
            TestRun.status,
            TestRun.total_tests.label("total"),
            number(ResultStatus.PASS).label("passed"),
            number(ResultStatus.FAIL).label("failed"),
            number(ResultStatus.ERROR).label("errors"),
            TestRun.started_at,
            TestRun.completed_at,
            TestRun.deadline,
            func.now().label("now"),
            select(func.max(WorkerHeartbeat.beat_at)).scalar_subquery().label("last_worker_seen_at"),
        ).where(TestRun.organization_id == organization_id, TestRun.id == run_id)
    ).one_or_none()
    return RunCounts(**row._asdict()) if row else None
