"""A client of the API and tokens for it."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from support.api import bearer, make_client
from support.database import Tenant, TestDatabase


@pytest.fixture
def client(database: TestDatabase) -> TestClient:
    """Return a client of an application on the test's database."""
    return make_client(database)


@pytest.fixture
def token_of(database: TestDatabase) -> Callable[[Tenant], dict[str, str]]:
    """Return a function from a tenant to the headers that authenticate as its user."""
    return lambda tenant: bearer(database, tenant)


@pytest.fixture
def superuser(database: TestDatabase) -> Tenant:
    """Return a superuser in an organization of his own."""
    return database.add_tenant("operators", superuser=True)
