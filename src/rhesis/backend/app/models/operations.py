"""What operators look at: launched tasks and living workers."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Text, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from rhesis.backend.app.models.base import Base, TenantOwned, tenant_key


class TaskRecord(TenantOwned, Base):
    """A task somebody launched, or the body of a run's chord: whose it is, so that only he may ask about it."""

    __tablename__ = "task"

    task_id: Mapped[str]
    name: Mapped[str]
    test_run_id: Mapped[UUID | None]
    withdrawn_at: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("organization_id", "task_id", name="task_task_id_key"),
        tenant_key("user_id", "user"),
        tenant_key("test_run_id", "test_run", ondelete="CASCADE"),
    )


class WorkerHeartbeat(Base):
    """A worker's sign of life, by the database's clock. Belongs to no tenant."""

    __tablename__ = "worker_heartbeat"

    name: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    process_id: Mapped[int]
    queues: Mapped[list[str]] = mapped_column(ARRAY(Text))
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    beat_at: Mapped[datetime] = mapped_column(server_default=func.now())
