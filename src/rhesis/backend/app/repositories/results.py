"""Statements of one test's execution: what it needs, and the one row it leaves."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from rhesis.backend.app.models import Endpoint, Test, TestConfiguration, TestResult, TestRun, TestSet
from rhesis.backend.domain.run_status import ResultStatus

# The share lock lets results of one run be written side by side, and none after the run was closed.
_ADD = text("""
    WITH run AS (
        SELECT id, organization_id, test_configuration_id FROM rhesis.test_run
        WHERE organization_id = :organization_id AND id = :run_id AND status IN ('Queued', 'Progress')
        FOR SHARE
    )
    INSERT INTO rhesis.test_result
        (organization_id, test_run_id, test_id, test_configuration_id, status, error_type, execution_time_ms,
         test_output, test_metrics)
    SELECT organization_id, id, :test_id, test_configuration_id, :status, :error_type, :execution_time_ms,
           CAST(:test_output AS jsonb), CAST(:test_metrics AS jsonb)
    FROM run
    ON CONFLICT (organization_id, test_run_id, test_id) DO NOTHING
    RETURNING id
""")


@dataclass(frozen=True)
class Outcome:
    """What one test came to. Times in milliseconds; output and metrics are JSON values fit for jsonb."""

    test_id: UUID
    status: ResultStatus
    error_type: str | None
    execution_time_ms: float
    test_output: dict[str, Any]
    test_metrics: dict[str, Any]


def find_result(db: Session, organization_id: UUID, run_id: UUID, test_id: UUID) -> TestResult | None:
    """Return the result of a run's test, or None while there is none."""
    return db.scalar(
        select(TestResult).where(
            TestResult.organization_id == organization_id,
            TestResult.test_run_id == run_id,
            TestResult.test_id == test_id,
        )
    )


def find_test(db: Session, organization_id: UUID, test_id: UUID) -> Test | None:
    """Return a test, or None."""
    return db.scalar(select(Test).where(Test.organization_id == organization_id, Test.id == test_id))


def execution_plan(
    db: Session, organization_id: UUID, run_id: UUID
) -> tuple[TestConfiguration, TestSet, Endpoint] | None:
    """Return what all tests of a run share: configuration, set and endpoint."""
    row = db.execute(
        select(TestConfiguration, TestSet, Endpoint)
        .select_from(TestRun)
        .join(
            TestConfiguration,
            (TestConfiguration.organization_id == TestRun.organization_id)
            & (TestConfiguration.id == TestRun.test_configuration_id),
        )
        .join(
            TestSet,
            (TestSet.organization_id == TestRun.organization_id) & (TestSet.id == TestConfiguration.test_set_id),
        )
        .join(
            Endpoint,
            (Endpoint.organization_id == TestRun.organization_id) & (Endpoint.id == TestConfiguration.endpoint_id),
        )
        .where(TestRun.organization_id == organization_id, TestRun.id == run_id)
    ).one_or_none()
    return (row[0], row[1], row[2]) if row else None


def add(db: Session, organization_id: UUID, run_id: UUID, outcome: Outcome) -> bool:
    """Insert a result; return False when the test had one already or the run has ended: the first outcome counts."""
    row = db.execute(
        _ADD,
        {
            "organization_id": organization_id,
            "run_id": run_id,
            "test_id": outcome.test_id,
            "status": outcome.status.value,
            "error_type": outcome.error_type,
            "execution_time_ms": outcome.execution_time_ms,
            "test_output": json.dumps(outcome.test_output, ensure_ascii=False, allow_nan=False),
            "test_metrics": json.dumps(outcome.test_metrics, ensure_ascii=False, allow_nan=False),
        },
    ).one_or_none()
    return row is not None
