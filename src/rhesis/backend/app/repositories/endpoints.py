"""Statements on endpoints. None commits; each filters by organization beside the row-level security."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from rhesis.backend.app.models import Endpoint, TestConfiguration
from rhesis.backend.app.repositories.listing import Fields, ListParameters, Page, page

# Values of headers and of the query, and the token, are not among them: a filter would be a way to read them.
FIELDS: Final[Fields] = {
    "id": Endpoint.id,
    "user_id": Endpoint.user_id,
    "name": Endpoint.name,
    "description": Endpoint.description,
    "protocol": Endpoint.protocol,
    "url": Endpoint.url,
    "method": Endpoint.method,
    "created_at": Endpoint.created_at,
    "updated_at": Endpoint.updated_at,
}


def page_of_endpoints(db: Session, organization_id: UUID, parameters: ListParameters) -> Page[Endpoint]:
    """Return a part of the organization's endpoints."""
    return page(db, select(Endpoint).where(Endpoint.organization_id == organization_id), parameters, fields=FIELDS)


def find(db: Session, organization_id: UUID, endpoint_id: UUID) -> Endpoint | None:
    """Return an endpoint, or None."""
    return db.scalar(_one(organization_id, endpoint_id))


def lock(db: Session, organization_id: UUID, endpoint_id: UUID) -> Endpoint | None:
    """Return an endpoint that nobody else can change until the transaction ends, or None."""
    return db.scalar(_one(organization_id, endpoint_id).with_for_update())


def configurations_of(db: Session, organization_id: UUID, endpoint_id: UUID, *, limit: int) -> Sequence[UUID]:
    """Return configurations that use the endpoint."""
    return db.scalars(
        select(TestConfiguration.id)
        .where(TestConfiguration.organization_id == organization_id, TestConfiguration.endpoint_id == endpoint_id)
        .order_by(TestConfiguration.created_at)
        .limit(limit)
    ).all()


def remove(db: Session, organization_id: UUID, endpoint_id: UUID) -> None:
    """Delete an endpoint."""
    db.execute(delete(Endpoint).where(Endpoint.organization_id == organization_id, Endpoint.id == endpoint_id))


def _one(organization_id: UUID, endpoint_id: UUID) -> Select[Endpoint]:
    return select(Endpoint).where(Endpoint.organization_id == organization_id, Endpoint.id == endpoint_id)
