"""Read runs and results for lists and exports. None commits; each filters by organization beside the policies."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import and_, delete, func, select, text
from sqlalchemy.orm import Session

from rhesis.backend.app.models import TestConfiguration, TestResult, TestRun
from rhesis.backend.app.repositories.listing import Fields, ListParameters, Page, page
from rhesis.backend.domain.run_status import ResultStatus

RUN_FIELDS: Final[Fields] = {
    "id": TestRun.id,
    "user_id": TestRun.user_id,
    "test_configuration_id": TestRun.test_configuration_id,
    "name": TestRun.name,
    "status": TestRun.status,
    "task_id": TestRun.task_id,
    "total_tests": TestRun.total_tests,
    "failed_tasks": TestRun.failed_tasks,
    "rerun_of": TestRun.rerun_of,
    "deadline": TestRun.deadline,
    "started_at": TestRun.started_at,
    "completed_at": TestRun.completed_at,
    "created_at": TestRun.created_at,
    "updated_at": TestRun.updated_at,
}
RESULT_FIELDS: Final[Fields] = {
    "id": TestResult.id,
    "test_run_id": TestResult.test_run_id,
    "test_id": TestResult.test_id,
    "test_configuration_id": TestResult.test_configuration_id,
    "status": TestResult.status,
    "error_type": TestResult.error_type,
    "execution_time_ms": TestResult.execution_time_ms,
    "created_at": TestResult.created_at,
    "updated_at": TestResult.updated_at,
}
EXPORT_ROWS: Final = 500
# As stored, that is compressed: some megabytes of JSON once read.
EXPORT_BYTES: Final = 1024 * 1024

# The run's own array gives the order. A page ends after some rows or bytes, and holds at least one row if there is any.
_RESULTS_AFTER = text("""
    WITH wanted AS (
        SELECT member.test_id, CAST(:after AS integer) + member.place AS place
        FROM rhesis.test_run run
        CROSS JOIN LATERAL unnest(run.test_ids[CAST(:first AS integer) : CAST(:last AS integer)])
            WITH ORDINALITY AS member (test_id, place)
        WHERE run.organization_id = :organization_id AND run.id = :run_id
    ), sized AS (
        SELECT wanted.place, result.id,
               sum(pg_column_size(result.test_output) + pg_column_size(result.test_metrics)
                   + coalesce(pg_column_size(test.prompt), 0) + coalesce(pg_column_size(test.expected_response), 0))
                   OVER (ORDER BY wanted.place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM wanted
        JOIN rhesis.test_result result
            ON result.organization_id = :organization_id AND result.test_run_id = :run_id
               AND result.test_id = wanted.test_id
        LEFT JOIN rhesis.test test ON test.organization_id = :organization_id AND test.id = wanted.test_id
    )
    SELECT sized.place, result.test_id, test.external_id, test.prompt, test.expected_response, test.behaviour,
           result.status, result.error_type, result.execution_time_ms, result.test_output, result.test_metrics
    FROM sized
    JOIN rhesis.test_result result ON result.organization_id = :organization_id AND result.id = sized.id
    LEFT JOIN rhesis.test test ON test.organization_id = :organization_id AND test.id = result.test_id
    WHERE coalesce(sized.bytes_before, 0) < :bytes
    ORDER BY sized.place
""")


@dataclass(frozen=True)
class ReportedResult:
    """One result with what is still known about its test. `place` counts the run's tests from 1."""

    place: int
    test_id: UUID
    external_id: str | None
    prompt: str | None
    expected_response: str | None
    behaviour: str | None
    status: str
    error_type: str | None
    execution_time_ms: float
    test_output: dict[str, Any]
    test_metrics: dict[str, Any]


@dataclass(frozen=True)
class RunSummary:
    """A run and what its results count up to, at one moment."""

    test_run_id: UUID
    name: str
    status: str
    started_at: datetime | None
    total_tests: int
    results: int
    failed: int
    errors: int
    seconds: float


def page_of_runs(db: Session, organization_id: UUID, parameters: ListParameters) -> Page[TestRun]:
    """Return a part of the organization's runs."""
    return page(db, select(TestRun).where(TestRun.organization_id == organization_id), parameters, fields=RUN_FIELDS)


def page_of_results(
    db: Session, organization_id: UUID, run_id: UUID | None, parameters: ListParameters
) -> Page[TestResult]:
    """Return a part of the organization's results, or of one run's."""
    statement = select(TestResult).where(TestResult.organization_id == organization_id)
    if run_id is not None:
        statement = statement.where(TestResult.test_run_id == run_id)
    return page(db, statement, parameters, fields=RESULT_FIELDS)


def find_result(db: Session, organization_id: UUID, result_id: UUID) -> TestResult | None:
    """Return a result, or None."""
    return db.scalar(
        select(TestResult).where(TestResult.organization_id == organization_id, TestResult.id == result_id)
    )


def configuration_of(db: Session, organization_id: UUID, run: TestRun) -> TestConfiguration:
    """Return the configuration that a run executes."""
    return db.scalars(
        select(TestConfiguration).where(
            TestConfiguration.organization_id == organization_id, TestConfiguration.id == run.test_configuration_id
        )
    ).one()


def lock_run(db: Session, organization_id: UUID, run_id: UUID) -> TestRun | None:
    """Return a run that nobody else can change until the transaction ends, or None."""
    return db.scalar(
        select(TestRun).where(TestRun.organization_id == organization_id, TestRun.id == run_id).with_for_update()
    )


def remove_run(db: Session, organization_id: UUID, run_id: UUID) -> None:
    """Delete a run with its results and its tasks' rows in the ledger."""
    db.execute(delete(TestRun).where(TestRun.organization_id == organization_id, TestRun.id == run_id))


def summary(db: Session, organization_id: UUID, run_id: UUID) -> RunSummary | None:
    """Return what a report's head says about a run, or None."""
    row = db.execute(
        select(
            TestRun.id.label("test_run_id"),
            TestRun.name,
            TestRun.status,
            TestRun.started_at,
            TestRun.total_tests,
            func.count(TestResult.id).label("results"),
            func.count().filter(TestResult.status == ResultStatus.FAIL).label("failed"),
            func.count().filter(TestResult.status == ResultStatus.ERROR).label("errors"),
            (func.coalesce(func.sum(TestResult.execution_time_ms), 0) / 1000).label("seconds"),
        )
        .outerjoin(
            TestResult,
            and_(TestResult.organization_id == TestRun.organization_id, TestResult.test_run_id == TestRun.id),
        )
        .where(TestRun.organization_id == organization_id, TestRun.id == run_id)
        .group_by(TestRun.id)
    ).one_or_none()
    return RunSummary(**row._asdict()) if row else None


def results_after(db: Session, organization_id: UUID, run_id: UUID, after: int) -> Sequence[ReportedResult]:
    """Return results of the tests behind place `after` of a run, in the run's order.

    Only the next `EXPORT_ROWS` places are looked at. None may have a result yet, and a page of long answers ends
    earlier, after at least one result.
    """
    rows = db.execute(
        _RESULTS_AFTER,
        {
            "organization_id": organization_id,
            "run_id": run_id,
            "after": after,
            "first": after + 1,
            "last": after + EXPORT_ROWS,
            "bytes": EXPORT_BYTES,
        },
    )
    return [ReportedResult(**row._asdict()) for row in rows]
