"""Statements on test configurations. None commits; each filters by organization beside the row-level security."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from rhesis.backend.app.models import TestConfiguration, TestRun
from rhesis.backend.app.repositories.listing import Fields, ListParameters, Page, page

FIELDS: Final[Fields] = {
    "id": TestConfiguration.id,
    "user_id": TestConfiguration.user_id,
    "name": TestConfiguration.name,
    "endpoint_id": TestConfiguration.endpoint_id,
    "test_set_id": TestConfiguration.test_set_id,
    "created_at": TestConfiguration.created_at,
    "updated_at": TestConfiguration.updated_at,
}


def page_of_configurations(db: Session, organization_id: UUID, parameters: ListParameters) -> Page[TestConfiguration]:
    """Return a part of the organization's configurations."""
    statement = select(TestConfiguration).where(TestConfiguration.organization_id == organization_id)
    return page(db, statement, parameters, fields=FIELDS)


def find(db: Session, organization_id: UUID, configuration_id: UUID) -> TestConfiguration | None:
    """Return a configuration, or None."""
    return db.scalar(_one(organization_id, configuration_id))


def lock(db: Session, organization_id: UUID, configuration_id: UUID) -> TestConfiguration | None:
    """Return a configuration that nobody else can change until the transaction ends, or None."""
    return db.scalar(_one(organization_id, configuration_id).with_for_update())


def runs_of(db: Session, organization_id: UUID, configuration_id: UUID, *, limit: int) -> Sequence[UUID]:
    """Return runs of the configuration."""
    return db.scalars(
        select(TestRun.id)
        .where(TestRun.organization_id == organization_id, TestRun.test_configuration_id == configuration_id)
        .order_by(TestRun.created_at)
        .limit(limit)
    ).all()


def remove(db: Session, organization_id: UUID, configuration_id: UUID) -> None:
    """Delete a configuration."""
    db.execute(
        delete(TestConfiguration).where(
            TestConfiguration.organization_id == organization_id, TestConfiguration.id == configuration_id
        )
    )


def _one(organization_id: UUID, configuration_id: UUID) -> Select[TestConfiguration]:
    return select(TestConfiguration).where(
        TestConfiguration.organization_id == organization_id, TestConfiguration.id == configuration_id
    )
