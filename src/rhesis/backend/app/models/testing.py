"""What is asked: tests and the sets they stand in."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from rhesis.backend.app.models.base import SCHEMA, Base, TenantOwned, tenant_key


class Test(TenantOwned, Base):
    """One prompt and how its answer is judged."""

    __tablename__ = "test"

    external_id: Mapped[str | None]
    prompt: Mapped[str]
    expected_response: Mapped[str | None]
    language_code: Mapped[str | None]
    behaviour: Mapped[str | None]
    metrics: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    priority: Mapped[int] = mapped_column(server_default=text("0"))
    __table_args__ = (
        UniqueConstraint("organization_id", "id"),
        tenant_key("user_id", "user"),
        Index("test_created_idx", "organization_id", "created_at", "id"),
    )


class TestSet(TenantOwned, Base):
    """A named list of tests. `visibility` is `organization` or `user` (its owner alone)."""

    __tablename__ = "test_set"

    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    slug: Mapped[str]
    visibility: Mapped[str] = mapped_column(server_default="organization")
    is_published: Mapped[bool] = mapped_column(server_default=text("false"))
    metrics: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    attributes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    __table_args__ = (
        CheckConstraint("visibility IN ('organization', 'user')"),
        UniqueConstraint("organization_id", "id"),
        UniqueConstraint("organization_id", "slug", name="test_set_slug_key"),
        tenant_key("user_id", "user"),
    )


class TestTestSet(Base):
    """A test's place in a set."""

    __tablename__ = "test_test_set"

    organization_id: Mapped[UUID] = mapped_column(ForeignKey(f"{SCHEMA}.organization.id"), primary_key=True)
    test_set_id: Mapped[UUID] = mapped_column(primary_key=True)
    test_id: Mapped[UUID] = mapped_column(primary_key=True)
    position: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    __table_args__ = (
        tenant_key("test_set_id", "test_set", ondelete="CASCADE"),
        tenant_key("test_id", "test", ondelete="CASCADE"),
        Index("test_test_set_order_idx", "organization_id", "test_set_id", "position"),
        Index("test_test_set_test_idx", "organization_id", "test_id"),
    )
