"""Names that other code imports: the query functions and the application itself."""

import subprocess
import sys
from uuid import UUID, uuid4

from fastapi.testclient import TestClient

from rhesis.backend.app import crud, schemas
from rhesis.backend.app import database as sessions
from rhesis.backend.app.database import SessionLocal, set_tenant, tenant_session
from rhesis.backend.app.dependencies import current_actor, require_current_user_or_token
from rhesis.backend.app.main import create_app
from support.api import bearer
from support.database import Tenant, TestDatabase


def add_configuration(database: TestDatabase, tenant: Tenant) -> str:
    ids = [str(uuid4()) for _ in range(3)]
    owner = (tenant.organization_id, tenant.user_id)
    insert = "INSERT INTO rhesis.{} (id, organization_id, user_id, {}) VALUES (%s, %s, %s, {})"
    database.fetch(insert.format("endpoint", "name, url", "'e', 'http://x'"), ids[0], *owner)
    database.fetch(insert.format("test_set", "name, slug", "'s', 's'"), ids[1], *owner)
    database.fetch(
        insert.format("test_configuration", "endpoint_id, test_set_id", "%s, %s"), ids[2], *owner, ids[0], ids[1]
    )
    return ids[2]


def test_the_query_functions_answer_for_the_bound_tenant(database: TestDatabase, tenant: Tenant, other_tenant: Tenant):
    configuration_id = add_configuration(database, tenant)
    with tenant_session(tenant.organization_id, tenant.user_id) as db:
        assert len(crud.get_test_sets(db)) == 1
        found = crud.get_test_configuration(db, test_configuration_id=UUID(configuration_id))
        assert found is not None
        assert str(found.id) == configuration_id
        assert crud.get_test_configuration(db, test_configuration_id=uuid4()) is None
    with tenant_session(other_tenant.organization_id, other_tenant.user_id) as db:
        assert list(crud.get_test_sets(db)) == []
        assert crud.get_test_configuration(db, test_configuration_id=UUID(configuration_id)) is None


def test_without_a_tenant_there_is_nothing_to_see(database: TestDatabase, tenant: Tenant):
    configuration_id = add_configuration(database, tenant)
    with SessionLocal() as db:
        assert list(crud.get_test_sets(db)) == []
        assert crud.get_test_configuration(db, UUID(configuration_id)) is None
        set_tenant(db, tenant.organization_id, tenant.user_id)
        assert len(crud.get_test_sets(db)) == 1


def test_the_documented_names_of_caller_and_user_exist():
    assert require_current_user_or_token is current_actor
    assert {"id", "organization_id", "email"} <= schemas.User.model_fields.keys()


def test_importing_the_application_neither_connects_nor_reads_settings():
    code = (
        "import rhesis.backend.app.main, rhesis.backend.settings as s, rhesis.backend.runtime as r, structlog;"
        "assert s.get_settings.cache_info().misses == 0; assert r._login.cache_info().misses == 0;"
        "assert not structlog.is_configured()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env={"DATABASE_URL": "nonsense"})


def test_the_lifespan_prepares_and_lets_go(database: TestDatabase, tenant: Tenant):
    with TestClient(create_app()) as client:
        assert client.get("/users/me", headers=bearer(database, tenant)).status_code == 200
        assert sessions._engines._engine is not None
    assert sessions._engines._engine is None
