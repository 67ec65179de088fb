"""Create and upgrade the database: roles, schemas, tables, and the stock queue's tables.

Everything is idempotent and runs under one advisory lock, so that an API and two workers that start at the same
instant on an empty embedded server do it once.
"""

import time
from importlib.resources import files
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import create_engine

from rhesis.backend import runtime
from rhesis.backend.embedded.credentials import LOGINS
from rhesis.backend.errors import ConfigurationError, DatabaseUnavailable
from rhesis.backend.migrations.sql_files import sql_text
from rhesis.backend.queue_tables import create_queue_tables
from rhesis.backend.settings import get_settings

# Any number will do, as long as nothing else of the service takes it.
_MIGRATION_LOCK = 7_264_331
# Roles are the whole cluster's: two databases provisioned at once may touch the same catalogue row.
_ROLE_ATTEMPTS = 10
_ROLE_CONFLICTS = (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateObject, psycopg.errors.InternalError_)


class MissingRoles(ConfigurationError):
    """The login may not create the roles; `sql` is what somebody who may has to run."""

    code = "missing_roles"

    def __init__(self, message: str, statements: str) -> None:
        super().__init__(message)
        self.sql = statements


def migrate() -> str:
    """Bring the database to this version's schema and return its revision."""
    login = runtime.migration_login()
    with runtime.connect(login) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_MIGRATION_LOCK,))
        _ensure_roles(connection)
        _ensure_schemas(connection)
        _set_passwords(connection)
        create_queue_tables(runtime.queue_login().sqlalchemy_url(search_path="rhesis_queue"))
        # Last, because who finds this version's revision takes everything to be there.
        _upgrade_tables(login)
        _grant_version(connection)
    return head_revision()


def prepare(*, create: bool) -> None:
    """Start the embedded server and bring it up to date, or check that the named server is; for API and workers."""
    runtime.start(create=create)
    revision = current_revision()
    if revision == head_revision():
        return
    if get_settings().is_embedded:
        migrate()
        return
    found = f"schema revision {revision}" if revision else "no schema"
    raise DatabaseUnavailable(
        f"{runtime.describe()} has {found}, this version needs {head_revision()}: run rhesis migrate", kind="schema"
    )


def current_revision() -> str | None:
    """Return the schema's revision, or None where there is none."""
    login = runtime.migration_login() if get_settings().is_embedded else runtime.app_login()
    with runtime.connect(login) as connection:
        try:
            row = connection.execute("SELECT version_num FROM rhesis.alembic_version").fetchone()
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName, psycopg.errors.InsufficientPrivilege):
            return None
    return str(row[0]) if row else None


def head_revision() -> str:
    """Return the newest revision this version knows."""
    head = ScriptDirectory.from_config(_alembic_config()).get_current_head()
    if head is None:
        raise ConfigurationError("the package holds no migrations: install it again")
    return head


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("rhesis.backend.migrations")).replace("%", "%%"))
    return config


def _ensure_roles(connection: psycopg.Connection[Any]) -> None:
    statements = sql_text("roles.sql")
    for attempt in range(1, _ROLE_ATTEMPTS + 1):
        try:
            connection.execute(statements.encode())
        except psycopg.errors.InsufficientPrivilege as error:
            raise MissingRoles(
                "this login may not create roles; let an administrator run the SQL below, then run "
                "rhesis migrate again",
                statements,
            ) from error
        except psycopg.errors.RaiseException as error:
            raise ConfigurationError(str(error.diag.message_primary)) from error
        except _ROLE_CONFLICTS:
            if attempt == _ROLE_ATTEMPTS:
                raise
            time.sleep(0.05 * attempt)
        else:
            return


def _ensure_schemas(connection: psycopg.Connection[Any]) -> None:
    try:
        connection.execute(sql_text("schemas.sql").encode())
    except psycopg.errors.InsufficientPrivilege as error:
        raise MissingRoles(
            "this login may not create schemas in the database; let an administrator run the SQL below, "
            "then run rhesis migrate again",
            sql_text("schemas.sql"),
        ) from error
    name = connection.info.dbname
    statement = sql.SQL("ALTER ROLE rhesis_queue IN DATABASE {} SET search_path = rhesis_queue")
    for attempt in range(1, _ROLE_ATTEMPTS + 1):
        try:
            connection.execute(statement.format(sql.Identifier(name)))
        except psycopg.errors.InsufficientPrivilege:
            # Our own connections set the path themselves; this only serves people with psql.
            return
        except _ROLE_CONFLICTS:
            if attempt == _ROLE_ATTEMPTS:
                raise
            time.sleep(0.05 * attempt)
        else:
            return


def _upgrade_tables(login: runtime.Login) -> None:
    owner = runtime.Login(login.url, "rhesis_owner")
    made = create_engine(owner.sqlalchemy_url(search_path="rhesis"))
    try:
        with made.connect() as connection:
            config = _alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    finally:
        made.dispose()


def _grant_version(connection: psycopg.Connection[Any]) -> None:
    connection.execute("SET ROLE rhesis_owner")
    connection.execute("GRANT SELECT ON rhesis.alembic_version TO rhesis_app, rhesis_queue")
    connection.execute("RESET ROLE")


def _set_passwords(connection: psycopg.Connection[Any]) -> None:
    if not get_settings().is_embedded:
        return
    server = runtime.embedded_server()
    for short, role in LOGINS.items():
        # The verifier is computed here, so that no password reaches the server's log.
        verifier = connection.pgconn.encrypt_password(
            server.password(short).encode(), role.encode(), b"scram-sha-256"
        ).decode()
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier)))
