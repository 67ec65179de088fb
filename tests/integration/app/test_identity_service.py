"""What the command line calls directly, and how far the role it takes reaches."""

import ast
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from rhesis.backend.app.database import SessionLocal, tenant_session
from rhesis.backend.app.identity import find_actor, identity_session
from rhesis.backend.app.models import Token
from rhesis.backend.app.repositories.identity import list_organizations
from rhesis.backend.app.repositories.listing import ListParameters
from rhesis.backend.app.services import identity
from rhesis.backend.errors import Conflict, InvalidInput, NotFound
from rhesis.backend.security.tokens import digest_of
from support.database import Tenant, TestDatabase

IDENTITY_TABLES = {"organization", '"user"', "token"}


def test_the_first_superuser_is_made_without_a_token(database: TestDatabase):
    organization = identity.create_organization("First")
    user = identity.create_user(organization.id, "root@example.org", name="Root", is_superuser=True)
    created = identity.create_token(user.id, name="first")
    actor = find_actor(digest_of(created.plain))
    assert actor is not None
    assert (actor.id, actor.organization_id, actor.is_superuser) == (user.id, organization.id, True)
    assert identity.find_user_by_email(" ROOT@example.org").id == user.id
    assert (organization.is_active, user.created_at.tzinfo is not None) == (True, True)


def test_a_created_token_does_not_show_in_its_representation(database: TestDatabase, tenant: Tenant):
    created = identity.create_token(tenant.user_id)
    assert created.plain not in repr(created)
    assert created.plain not in repr(vars(created.row))


def test_what_cannot_be_created_says_why(database: TestDatabase, tenant: Tenant):
    with pytest.raises(NotFound):
        identity.create_user(uuid4(), "a@example.org")
    with pytest.raises(Conflict):
        identity.create_user(tenant.organization_id, tenant.email.upper())
    with pytest.raises(NotFound):
        identity.create_token(uuid4())
    with pytest.raises(InvalidInput):
        identity.create_token(tenant.user_id, days=366)
    with pytest.raises(InvalidInput):
        identity.create_organization(" ")
    with pytest.raises(NotFound):
        identity.find_user_by_email("nobody@example.org")


def test_the_identity_role_ends_with_its_transaction(database: TestDatabase, tenant: Tenant):
    with identity_session() as db:
        assert db.scalar(text("SELECT current_user")) == "rhesis_identity"
        assert list_organizations(db, ListParameters()).total == 1
    with SessionLocal() as db:
        assert db.scalar(text("SELECT current_user")) == "rhesis_app"
        assert list_organizations(db, ListParameters()).total == 0


def test_the_identity_role_reaches_three_tables_and_no_other(database: TestDatabase):
    tables = {
        name
        for (name,) in database.fetch(
            "SELECT quote_ident(relname) FROM pg_class c JOIN pg_namespace n "
            "ON n.oid = c.relnamespace WHERE nspname IN ('rhesis', 'rhesis_queue') AND relkind = 'r'"
        )
    }
    schemas = dict(
        database.fetch(
            "SELECT quote_ident(relname), nspname FROM pg_class c JOIN pg_namespace n "
            "ON n.oid = c.relnamespace WHERE nspname IN ('rhesis', 'rhesis_queue')"
        )
    )
    for name in tables - IDENTITY_TABLES:
        with pytest.raises(ProgrammingError, match="permission denied"), identity_session() as db:
            db.execute(text(f"SELECT FROM {schemas[name]}.{name}"))
    with identity_session() as db:
        for name in IDENTITY_TABLES:
            db.execute(text(f"SELECT FROM rhesis.{name}"))


def test_the_application_role_cannot_read_a_digest(database: TestDatabase, tenant: Tenant):
    created = identity.create_token(tenant.user_id)
    with tenant_session(tenant.organization_id, tenant.user_id) as db:
        token = db.get(Token, created.row.id)
        assert token is not None
        assert token.prefix == created.plain[:8]
    for statement in (
        "SELECT digest FROM rhesis.token",
        "SELECT * FROM rhesis.token",
        "SELECT id FROM rhesis.token WHERE digest = 'x'",
        "SELECT id FROM rhesis.token ORDER BY digest",
        "UPDATE rhesis.token SET digest = 'x'",
        "UPDATE rhesis.token SET expires_at = now()",
        "UPDATE rhesis.token SET name = 'x' RETURNING digest",
        "DELETE FROM rhesis.token",
    ):
        with (
            database.admin(role="rhesis_app", organization_id=tenant.organization_id) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement.encode())


def test_one_module_takes_the_identity_role(project: Path):
    source = project / "src"
    takers = set()
    for path in source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            if is_text and "ROLE" in node.value.upper() and "RHESIS_IDENTITY" in node.value.upper():
                takers.add((path.relative_to(source).as_posix(), "SET" in node.value.upper().split()))
    assert takers - {(name, False) for name, _ in takers} == {("rhesis/backend/app/identity.py", True)}


def test_one_service_opens_identity_sessions(project: Path):
    users = {
        path.relative_to(project / "src/rhesis/backend").as_posix()
        for path in (project / "src").rglob("*.py")
        if "identity_session" in path.read_text()
    }
    assert users == {"app/identity.py", "app/services/identity.py"}
