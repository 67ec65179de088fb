"""What was run: configurations, runs and results."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Double, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy import Uuid as UuidType
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from rhesis.backend.app.models.base import SCHEMA, Base, Keyed, TenantOwned, tenant_key


class TestConfiguration(TenantOwned, Base):
    """A test set against an endpoint. `attributes.execution_mode` is `Parallel` (default) or `Sequential`."""

    __tablename__ = "test_configuration"

    name: Mapped[str] = mapped_column(server_default="")
    endpoint_id: Mapped[UUID]
    test_set_id: Mapped[UUID]
    metrics: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    attributes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    __table_args__ = (
        UniqueConstraint("organization_id", "id"),
        tenant_key("user_id", "user"),
        tenant_key("endpoint_id", "endpoint"),
        tenant_key("test_set_id", "test_set"),
        Index("test_configuration_endpoint_idx", "organization_id", "endpoint_id"),
        Index("test_configuration_set_idx", "organization_id", "test_set_id"),
    )


class TestRun(TenantOwned, Base):
    """One execution of a configuration. `test_ids` is what it owes results for, fixed at dispatch."""

    __tablename__ = "test_run"

    test_configuration_id: Mapped[UUID]
    name: Mapped[str] = mapped_column(server_default="")
    status: Mapped[str] = mapped_column(server_default="Queued")
    task_id: Mapped[str]
    body_task_id: Mapped[str]
    execution_mode: Mapped[str] = mapped_column(server_default="Parallel")
    deadline: Mapped[datetime]
    test_ids: Mapped[list[UUID]] = mapped_column(ARRAY(UuidType), deferred=True)
    total_tests: Mapped[int]
    completed_tests: Mapped[int] = mapped_column(server_default=text("0"))
    failed_tasks: Mapped[int] = mapped_column(server_default=text("0"))
    mean_execution_time_ms: Mapped[float | None] = mapped_column(Double)
    total_execution_time_ms: Mapped[float | None] = mapped_column(Double)
    rerun_of: Mapped[UUID | None]
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    error: Mapped[str | None]
    attributes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    __table_args__ = (
        UniqueConstraint("organization_id", "id"),
        UniqueConstraint("organization_id", "task_id", name="test_run_task_id_key"),
        tenant_key("user_id", "user"),
        tenant_key("test_configuration_id", "test_configuration"),
        Index("test_run_created_idx", "organization_id", "created_at", "id"),
        Index("test_run_configuration_idx", "organization_id", "test_configuration_id"),
        Index("test_run_open_deadline_idx", "deadline", postgresql_where=text("status IN ('Queued', 'Progress')")),
    )


class TestResult(Keyed, Base):
    """What one test of one run came to; at most one row for each (run, test)."""

    __tablename__ = "test_result"

    organization_id: Mapped[UUID] = mapped_column(ForeignKey(f"{SCHEMA}.organization.id"), sort_order=-9)
    test_run_id: Mapped[UUID]
    test_id: Mapped[UUID]
    test_configuration_id: Mapped[UUID]
    status: Mapped[str]
    error_type: Mapped[str | None]
    execution_time_ms: Mapped[float] = mapped_column(Double, server_default=text("0"))
    test_output: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    test_metrics: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    __table_args__ = (
        UniqueConstraint("organization_id", "test_run_id", "test_id", name="test_result_run_test_key"),
        tenant_key("test_run_id", "test_run", ondelete="CASCADE"),
        tenant_key("test_configuration_id", "test_configuration"),
        Index("test_result_status_idx", "organization_id", "test_run_id", "status"),
    )
