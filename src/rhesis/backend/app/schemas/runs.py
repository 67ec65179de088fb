"""Runs and results on the wire."""

from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints

from rhesis.backend.app.schemas.common import Input, KeyedOutput, Output, OwnedOutput
from rhesis.backend.app.schemas.fields import Storable
from rhesis.backend.domain.run_status import ResultStatus, RunStatus
from rhesis.backend.settings import MAX_DEADLINE_SECONDS


class ResultFormat(StrEnum):
    """How results are written."""

    JSON = "json"
    CSV = "csv"
    JUNIT = "junit"


class Execution(Input):
    """How to execute, where it differs from the usual."""

    deadline_seconds: int | None = Field(
        None, ge=1, le=MAX_DEADLINE_SECONDS, description="Seconds until the run is closed with what there is."
    )


class Cancellation(Input):
    """Why a run is cancelled."""

    reason: Annotated[str, StringConstraints(strip_whitespace=True, max_length=500), Storable] | None = None


class Submitted(Output):
    """A run that was handed to the workers."""

    task_id: str
    test_run_id: UUID
    test_configuration_id: UUID
    endpoint_id: UUID
    test_set_id: UUID
    user_id: UUID
    status: str = "submitted"


class TestRun(OwnedOutput):
    """A run. Its counts are final once it has ended; until then `/progress` has them."""

    test_configuration_id: UUID
    name: str
    status: RunStatus
    task_id: str
    execution_mode: str
    deadline: AwareDatetime
    total_tests: int
    completed_tests: int
    failed_tasks: int
    mean_execution_time_ms: float | None
    total_execution_time_ms: float | None
    rerun_of: UUID | None
    started_at: AwareDatetime | None
    completed_at: AwareDatetime | None
    error: str | None
    attributes: dict[str, Any]


class TestResult(KeyedOutput):
    """What one test of a run came to."""

    organization_id: UUID
    test_run_id: UUID
    test_id: UUID
    test_configuration_id: UUID
    status: ResultStatus
    error_type: str | None
    execution_time_ms: float
    test_output: dict[str, Any]
    test_metrics: dict[str, Any]


class Progress(Output):
    """How far a run is.

    `late` means that it should have been closed by now: no worker has reported since `last_worker_seen_at`.
    """

    test_run_id: UUID
    status: RunStatus
    total: int
    completed: int
    passed: int
    failed: int
    errors: int
    percent: float
    started_at: AwareDatetime | None
    completed_at: AwareDatetime | None
    deadline: AwareDatetime
    late: bool
    rate_per_second: float | None
    eta_seconds: float | None
    last_worker_seen_at: AwareDatetime | None
