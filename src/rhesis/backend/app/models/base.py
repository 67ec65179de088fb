"""What every table shares: schema, key, times and tenant."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, ForeignKeyConstraint, MetaData, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA = "rhesis"


class Base(DeclarativeBase):
    """Root of the models. Relationships are not declared: repositories join by hand, so nothing loads by surprise."""

    metadata = MetaData(schema=SCHEMA)
    type_annotation_map = {  # noqa: RUF012 - read by SQLAlchemy at class creation
        str: Text,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
    }


class Timestamps:
    """Creation and change, kept by the database's clock; a trigger moves `updated_at`."""

    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=90)
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=91)


class Keyed(Timestamps):
    """A random id made by the database."""

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"), sort_order=-10)


class TenantOwned(Keyed):
    """A row of one organization, made by one of its users."""

    organization_id: Mapped[UUID] = mapped_column(ForeignKey(f"{SCHEMA}.organization.id"), sort_order=-9)
    user_id: Mapped[UUID] = mapped_column(sort_order=-8)


def tenant_key(column: str, table: str, *, ondelete: str | None = None) -> ForeignKeyConstraint:
    """Return the foreign key `(organization_id, column)` to `table`: a plain one would cross tenants."""
    return ForeignKeyConstraint(
        ["organization_id", column],
        [f"{SCHEMA}.{table}.organization_id", f"{SCHEMA}.{table}.id"],
        ondelete=ondelete,
    )
