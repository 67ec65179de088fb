"""More users of one organization."""

from uuid import uuid4

from support.database import Tenant, TestDatabase


def colleague_of(database: TestDatabase, tenant: Tenant, *, superuser: bool = False) -> Tenant:
    """Insert another user of the tenant's organization."""
    user_id = uuid4()
    email = f"{user_id.hex}@example.org"
    database.add_user(tenant.organization_id, user_id=user_id, email=email, superuser=superuser)
    return Tenant(tenant.organization_id, user_id, email)
