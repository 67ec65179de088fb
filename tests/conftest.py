"""Fixtures every tier may use. No test reads `.env`, and none touches the database that a URL names."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from support.database import (
    SECRET_KEY,
    Tenant,
    TestDatabase,
    created_database,
    environment,
    forget_process_state,
    migrate,
)

# The server to test on is taken before the service's own variables are cleared for good.
# It stays in the environment under a name of its own, because the processes of a parallel run start from there.
_GIVEN_SERVER = os.environ.get("TEST_DATABASE_URL") or os.environ.get("DATABASE_URL")
if _GIVEN_SERVER:
    os.environ["TEST_DATABASE_URL"] = _GIVEN_SERVER
for _variable in list(os.environ):
    if _variable.startswith(("RHESIS_", "CELERY_")) or _variable in {
        "DATABASE_URL",
        "SQLALCHEMY_DATABASE_URL",
        "BROKER_URL",
        "HEALTH_PORT",
        "HEALTH_HOST",
        "ENABLE_FLOWER",
    }:
        del os.environ[_variable]

# A job in the background of a script ignores SIGINT, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _restored_environment() -> Iterator[None]:
    """Take back what a test, or a command that it ran in this process, has set in the environment."""
    before = dict(os.environ)
    yield
    after = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    if after != {name: value for name, value in before.items() if name != "PYTEST_CURRENT_TEST"}:
        os.environ.clear()
        os.environ.update(before)
        forget_process_state()


@pytest.fixture(scope="session")
def project() -> Path:
    """Return the checkout."""
    return PROJECT


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """Return an administrator's URL of a PostgreSQL server: the given one, else an embedded one apart from `up`'s."""
    if _GIVEN_SERVER:
        yield make_url(_GIVEN_SERVER).set(drivername="postgresql").render_as_string(hide_password=False)
        return
    from rhesis.backend.embedded import EmbeddedServer

    server = EmbeddedServer(PROJECT / ".rhesis-test")
    server.ensure(create=True)
    yield server.url("superuser")
    server.release()


@pytest.fixture(scope="session")
def template_name(server_url: str) -> Iterator[str]:
    """Return the name of a migrated database that each test's own is copied from."""
    with created_database(server_url, kind="template") as url:
        migrate(url)
        yield str(make_url(url).database)


@pytest.fixture
def empty_database_url(server_url: str) -> Iterator[str]:
    """Return the URL of a database without our schema."""
    with created_database(server_url, kind="empty") as url:
        yield url


@pytest.fixture
def database(server_url: str, template_name: str) -> Iterator[TestDatabase]:
    """Return a fresh migrated database that this process's service is set to use, as role rhesis_app."""
    with (
        created_database(server_url, kind="db", template=template_name) as url,
        environment(DATABASE_URL=url, RHESIS_SECRET_KEYS=SECRET_KEY, RHESIS_ALLOWED_NETWORKS="127.0.0.0/8"),
    ):
        yield TestDatabase(url)


@pytest.fixture
def tenant(database: TestDatabase) -> Tenant:
    """Return an organization with a user."""
    return database.add_tenant("first")


@pytest.fixture
def other_tenant(database: TestDatabase) -> Tenant:
    """Return a second organization with a user."""
    return database.add_tenant("second")
