"""Sessions that know their tenant.

The tenant lives on the session and is applied anew to each transaction, because a commit gives the connection back and
the next transaction may get another one. It is transaction-local, so nothing stays on a pooled connection.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.orm import Session, SessionTransaction, sessionmaker

from rhesis.backend import runtime
from rhesis.backend.errors import DatabaseUnavailable, InvalidInput, TenantMismatch

DEFAULT_POOL_SIZE = 10

_TENANT = "rhesis_tenant"
_BIND_TENANT = text(
    "SELECT set_config('app.current_organization', :organization, true), set_config('app.current_user', :user, true)"
)
# A session that could see past row-level security must never serve a tenant.
_RIGHTS = """
SELECT current_user, role.rolsuper, role.rolbypassrls,
       EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'rhesis' AND c.relkind = 'r' AND pg_has_role(current_user, c.relowner, 'USAGE'))
FROM pg_roles role WHERE role.rolname = current_user
"""


class _Engines:
    """The process's engine: made on first use, of a set size, never shared with a forked child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._pool_size = DEFAULT_POOL_SIZE
        os.register_at_fork(after_in_child=self._forget)

    def set_pool_size(self, size: int) -> None:
        with self._lock:
            if size != self._pool_size and self._engine is not None:
                self._engine.dispose()
                self._engine = None
            self._pool_size = size

    def get(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = _make_engine(self._pool_size)
            return self._engine

    def dispose(self) -> None:
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
            self._engine = None

    def _forget(self) -> None:
        # The sockets belong to the parent: closing them here would end its sessions.
        self._lock = threading.Lock()
        if self._engine is not None:
            self._engine.dispose(close=False)
        self._engine = None


_engines = _Engines()
set_pool_size = _engines.set_pool_size
dispose_engine = _engines.dispose


def engine() -> Engine:
    """Return this process's engine; it connects as `rhesis_app`."""
    return _engines.get()


class TenantSession(Session):
    """A session whose transactions carry the tenant that `set_tenant` bound."""

    def get_bind(self, *_: Any, **__: Any) -> Engine:
        """Return the process's engine, made on first use: nothing connects at import time."""
        return engine()


SessionLocal = sessionmaker(class_=TenantSession, expire_on_commit=False)


def set_tenant(db: Session, organization_id: UUID | str | None, user_id: UUID | str | None) -> None:
    """Bind the session to an organization and a user, now and in every later transaction; None unbinds.

    Pending changes are flushed first, under the tenant they were made for, and the session lets go of what it loaded
    for another one. Raises `InvalidInput` for ids that are not UUIDs, `TenantMismatch` for a change within a savepoint,
    and whatever the database raises: a tenant that could not be bound must not go unnoticed.
    """
    tenant = (_uuid_text(organization_id, "organization_id"), _uuid_text(user_id, "user_id"))
    db.flush()
    if tenant_of(db) != tenant:
        if db.in_nested_transaction():
            raise TenantMismatch("a session cannot change its tenant within a savepoint: undoing that would undo it")
        # `Session.get` answers from memory, past every policy.
        db.expunge_all()
    db.info[_TENANT] = tenant
    if db.in_transaction():
        _apply(db.connection(), tenant)


def tenant_of(db: Session) -> tuple[str, str]:
    """Return the bound (organization id, user id); empty words when unbound."""
    tenant: tuple[str, str] = db.info.get(_TENANT, ("", ""))
    return tenant


@contextmanager
def tenant_session(organization_id: UUID | str, user_id: UUID | str | None) -> Iterator[Session]:
    """Open a session bound to a tenant, commit at the end, roll back on an exception, always close."""
    with SessionLocal() as db:
        set_tenant(db, organization_id, user_id)
        with db.begin():
            yield db


def _uuid_text(value: UUID | str | None, name: str) -> str:
    if value is None or value == "":
        return ""
    try:
        return str(UUID(str(value)))
    except ValueError:
        raise InvalidInput(f"{name} is not a UUID") from None


def _apply(connection: Connection, tenant: tuple[str, str]) -> None:
    connection.execute(_BIND_TENANT, {"organization": tenant[0], "user": tenant[1]})


@event.listens_for(TenantSession, "after_begin")
def _bind_on_begin(session: Session, _: SessionTransaction, connection: Connection) -> None:
    tenant = session.info.get(_TENANT)
    if tenant is not None:
        _apply(connection, tenant)


def _make_engine(pool_size: int) -> Engine:
    made = create_engine(
        runtime.app_login().sqlalchemy_url(search_path="rhesis"),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=30,
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={"application_name": "rhesis"},
        # An error would otherwise quote prompts and answers into whatever log it reaches.
        hide_parameters=True,
    )
    event.listen(made, "connect", _refuse_privileged)
    return made


def _refuse_privileged(driver_connection: psycopg.Connection[Any], _: Any) -> None:
    row = driver_connection.execute(_RIGHTS).fetchone()
    driver_connection.rollback()
    if row is None or any(row[1:]):
        name = row[0] if row else "unknown"
        raise DatabaseUnavailable(
            f"role {name} could see past row-level security: let DATABASE_URL log in as rhesis_app, or as a login that "
            f"may become it (GRANT rhesis_app TO login)",
            kind="role",
        )
