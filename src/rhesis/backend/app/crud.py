"""The two query functions that task code calls by their documented names.

They answer for the tenant that is bound to the session; with none bound there is nothing to see.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from rhesis.backend.app.database import tenant_of
from rhesis.backend.app.models import TestConfiguration, TestSet


def get_test_sets(db: Session) -> Sequence[TestSet]:
    """Return the test sets that the bound user may see, oldest first."""
    organization_id = _organization(db)
    if organization_id is None:
        return ()
    statement = select(TestSet).where(TestSet.organization_id == organization_id)
    return db.scalars(statement.order_by(TestSet.created_at, TestSet.id)).all()


def get_test_configuration(db: Session, test_configuration_id: UUID) -> TestConfiguration | None:
    """Return a configuration of the bound organization, or None."""
    organization_id = _organization(db)
    if organization_id is None:
        return None
    return db.scalar(
        select(TestConfiguration).where(
            TestConfiguration.organization_id == organization_id, TestConfiguration.id == test_configuration_id
        )
    )


def _organization(db: Session) -> UUID | None:
    organization_id, _ = tenant_of(db)
    return UUID(organization_id) if organization_id else None
