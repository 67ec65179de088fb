"""Databases for tests: made beside the given one from a migrated template, dropped afterwards."""

import contextlib
import os
import secrets
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import psycopg
from cryptography.fernet import Fernet
from kombu import pools
from kombu.transport.sqlalchemy import Channel
from psycopg import sql
from sqlalchemy.engine import make_url

from rhesis.backend import provision, runtime
from rhesis.backend.app import database as app_database
from rhesis.backend.settings import get_settings

SECRET_KEY = Fernet.generate_key().decode()


@dataclass(frozen=True)
class Tenant:
    """An organization with one ordinary user."""

    organization_id: UUID
    user_id: UUID
    email: str


@dataclass(frozen=True)
class TestDatabase:
    """One migrated database. `url` logs in as the server's administrator, who may become every role."""

    url: str

    def admin(self, *, role: str | None = None, organization_id: object = None) -> psycopg.Connection:
        """Connect as the administrator, or as `role`, with a tenant bound for the session."""
        connection = psycopg.connect(self.url, autocommit=True)
        if role:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        if organization_id is not None:
            connection.execute("SELECT set_config('app.current_organization', %s, false)", (str(organization_id),))
        return connection

    def fetch(self, statement: str, *parameters: object) -> list[tuple]:
        """Run one statement as the administrator, past every policy, and return its rows."""
        with self.admin() as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def add_tenant(self, name: str = "organization", *, superuser: bool = False) -> Tenant:
        """Insert an organization and a user."""
        organization_id, user_id = uuid4(), uuid4()
        email = f"{user_id.hex[:12]}@example.org"
        self.fetch("INSERT INTO rhesis.organization (id, name) VALUES (%s, %s)", organization_id, name)
        self.add_user(organization_id, user_id=user_id, email=email, superuser=superuser)
        return Tenant(organization_id, user_id, email)

    def add_user(self, organization_id: UUID, *, user_id: UUID, email: str, superuser: bool = False) -> None:
        """Insert one more user of an organization."""
        self.fetch(
            'INSERT INTO rhesis."user" (id, organization_id, email, name, is_superuser) VALUES (%s, %s, %s, %s, %s)',
            user_id,
            organization_id,
            email,
            "A user",
            superuser,
        )


def with_database(url: str, name: str) -> str:
    """Return `url` with another database name."""
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def random_name(kind: str) -> str:
    return f"rhesis_test_{kind}_{secrets.token_hex(6)}"


def forget_process_state() -> None:
    """Make this process read its settings anew and connect anew."""
    app_database.dispose_engine()
    get_settings.cache_clear()
    runtime.embedded_server.cache_clear()
    runtime.home.cache_clear()
    runtime._login.cache_clear()
    _forget_celery()


def _forget_celery() -> None:
    """Let the Celery application read its configuration anew: in production a process has one, for good."""
    worker = sys.modules.get("rhesis.backend.worker")
    if worker is None:
        return
    app = worker.app
    pools.reset()
    if backend := sys.modules.get("rhesis.backend.tasks.result_backend"):
        backend.close_pools()
    app._after_fork()
    app._local = threading.local()
    for engine, _ in Channel._engines.values():
        engine.dispose()
    Channel._engines.clear()
    app.configured = False
    app._config_source = worker.LateConfiguration()
    app._conf = None
    app.loader._conf = None


@contextlib.contextmanager
def environment(**values: str | None) -> Iterator[None]:
    """Set environment variables (None removes), and restore them."""
    before = {key: os.environ.get(key) for key in values}
    _assign(values)
    forget_process_state()
    try:
        yield
    finally:
        _assign(before)
        forget_process_state()


def _assign(values: dict[str, str | None]) -> None:
    for key, value in values.items():
        if value is None:
            os.environ.pop(key, None)
        else:
            os.environ[key] = value


@contextlib.contextmanager
def created_database(server_url: str, *, kind: str, template: str | None = None) -> Iterator[str]:
    """Create a database on the server, yield its URL, drop it."""
    name = random_name(kind)
    copy = sql.SQL(" TEMPLATE {}").format(sql.Identifier(template)) if template else sql.SQL("")
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)) + copy)
        # What a test writes need not survive the machine.
        connection.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(sql.Identifier(name)))
    try:
        yield with_database(server_url, name)
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def migrate(url: str) -> None:
    """Bring a database to the newest schema, through the product's own code."""
    with environment(DATABASE_URL=url):
        provision.migrate()
