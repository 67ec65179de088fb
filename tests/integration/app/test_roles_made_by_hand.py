"""Roles that existed before are not trusted: one that could see past row-level security is refused."""

import psycopg
import pytest

from rhesis.backend import provision
from rhesis.backend.embedded import EmbeddedServer
from rhesis.backend.errors import ConfigurationError
from support.database import environment


def test_a_role_with_too_many_rights_keeps_the_schema_from_being_made(tmp_path):
    """On a server of its own: roles belong to the whole server, and other tests use theirs."""
    server = EmbeddedServer(tmp_path / ".rhesis")
    try:
        server.ensure(create=True)
        url = server.url("superuser")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE ROLE rhesis_queue LOGIN BYPASSRLS")
        with environment(DATABASE_URL=url):
            with pytest.raises(ConfigurationError, match="ALTER ROLE rhesis_queue NOSUPERUSER NOBYPASSRLS"):
                provision.migrate()
            with psycopg.connect(url, autocommit=True) as connection:
                assert connection.execute("SELECT to_regnamespace('rhesis')").fetchone() == (None,)
                connection.execute("ALTER ROLE rhesis_queue NOBYPASSRLS")
            assert provision.migrate() == provision.head_revision()
    finally:
        server.erase()
