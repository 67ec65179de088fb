"""What the migrated database itself guarantees, read from its catalogue and tried as each role."""

import re
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from rhesis.backend import provision
from rhesis.backend.app.models import Base
from support.database import TestDatabase
from support.tenants import TENANT_TABLES

# Belong to no tenant: the schema's revision, and which workers live.
SHARED_TABLES = {"alembic_version", "worker_heartbeat"}
BOUND = "(NULLIF(current_setting('app.current_organization'::text, true), ''::text))::uuid"
BOUND_USER = "(NULLIF(current_setting('app.current_user'::text, true), ''::text))::uuid"

# Unique beyond one tenant, and why that tells nobody what another tenant has.
GLOBAL_UNIQUE = {
    "user_email_key": "a superuser alone inserts users, and may know every address",
    "token_digest_key": "a digest of 256 random bits cannot be guessed",
}
# Ids that are kept although their row may be gone.
WITHOUT_FOREIGN_KEY = {("test_result", "test_id"), ("test_run", "rerun_of")}


@pytest.fixture
def admin(database: TestDatabase):
    with database.admin() as connection:
        yield connection


def tables_with_tenant(admin: psycopg.Connection) -> set[str]:
    rows = admin.execute(
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'rhesis' AND column_name = 'organization_id'"
    )
    return {name for (name,) in rows} | {"organization"}


def test_every_table_belongs_to_a_tenant_or_is_known_to_be_shared(admin):
    tables = {name for (name,) in admin.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'rhesis'")}
    assert tables_with_tenant(admin) == set(TENANT_TABLES)
    assert tables - tables_with_tenant(admin) == SHARED_TABLES


def test_every_tenant_table_enables_and_forces_row_level_security(admin):
    rows = admin.execute(
        "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class"
        " WHERE relnamespace = 'rhesis'::regnamespace AND relkind IN ('r', 'p')"
    )
    open_tables = {name for name, enabled, forced in rows if not (enabled and forced)}
    assert open_tables == SHARED_TABLES


def test_the_applications_policies_compare_the_organization_on_reading_and_on_writing(admin):
    """One policy for each table: permissive ones are joined by OR, so a second could only widen the first."""
    rows = admin.execute(
        "SELECT tablename, permissive, cmd, qual, with_check FROM pg_policies"
        " WHERE schemaname = 'rhesis' AND 'rhesis_app' = ANY (roles)"
    ).fetchall()
    assert sorted(row[0] for row in rows) == sorted(TENANT_TABLES)
    for table, permissive, command, using, check in rows:
        own = f"({'id' if table == 'organization' else 'organization_id'} = {BOUND})"
        visible = f"({own} AND ((visibility = 'organization'::text) OR (user_id = {BOUND_USER})))"
        assert (permissive, command) == ("PERMISSIVE", "ALL"), table
        assert using == (visible if table == "test_set" else own), table
        assert check == own, table


def test_other_roles_have_exactly_the_policies_they_need(admin):
    rows = admin.execute(
        "SELECT array_to_string(roles, ','), tablename, cmd, coalesce(qual, with_check) FROM pg_policies"
        " WHERE schemaname = 'rhesis' AND NOT 'rhesis_app' = ANY (roles)"
    )
    assert set(rows) == {
        ("rhesis_identity", "organization", "ALL", "true"),
        ("rhesis_identity", "user", "ALL", "true"),
        ("rhesis_identity", "token", "ALL", "true"),
        ("rhesis_queue", "test_run", "SELECT", "true"),
        ("rhesis_queue", "test_run", "UPDATE", "true"),
        ("rhesis_queue", "test_result", "SELECT", "true"),
        ("rhesis_queue", "test_result", "INSERT", "(status = 'Error'::text)"),
    }


def test_each_schema_and_all_that_is_in_it_has_its_own_owner(admin):
    rows = admin.execute(
        "SELECT nspname, nspowner::regrole::text FROM pg_namespace WHERE nspname IN ('rhesis', 'rhesis_queue')"
        " UNION SELECT n.nspname, relowner::regrole::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE nspname IN ('rhesis', 'rhesis_queue')"
        " UNION SELECT n.nspname, proowner::regrole::text FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace"
        " WHERE nspname IN ('rhesis', 'rhesis_queue')"
    )
    assert set(rows) == {("rhesis", "rhesis_owner"), ("rhesis_queue", "rhesis_queue")}


def test_the_application_and_the_identity_role_own_nothing(admin):
    rows = admin.execute(
        "SELECT refobjid::regrole::text FROM pg_shdepend WHERE deptype = 'o' AND refclassid = 'pg_authid'::regclass"
        " AND refobjid IN ('rhesis_app'::regrole, 'rhesis_identity'::regrole)"
        " AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    assert rows.fetchall() == []


def test_nothing_in_the_schemas_runs_with_its_owners_rights(admin):
    """A view runs as its owner, and so does a SECURITY DEFINER function."""
    views = admin.execute(
        "SELECT relname FROM pg_class WHERE relkind IN ('v', 'm')"
        " AND relnamespace IN ('rhesis'::regnamespace, 'rhesis_queue'::regnamespace)"
    )
    assert views.fetchall() == []
    definers = admin.execute(
        "SELECT proname FROM pg_proc WHERE prosecdef"
        " AND pronamespace IN ('rhesis'::regnamespace, 'rhesis_queue'::regnamespace)"
    )
    assert definers.fetchall() == []


def test_a_tenant_row_always_says_whose_it_is(admin):
    rows = admin.execute(
        "SELECT table_name FROM information_schema.columns"
        " WHERE table_schema = 'rhesis' AND column_name = 'organization_id' AND is_nullable = 'YES'"
    )
    assert rows.fetchall() == [], "a foreign key with a NULL in it is not checked"


FOREIGN_KEYS = """
SELECT c.conrelid::regclass::text, c.confrelid::regclass::text,
       ARRAY(SELECT attname::text FROM unnest(c.conkey) WITH ORDINALITY k (number, place)
             JOIN pg_attribute ON attrelid = c.conrelid AND attnum = number ORDER BY place),
       ARRAY(SELECT attname::text FROM unnest(c.confkey) WITH ORDINALITY k (number, place)
             JOIN pg_attribute ON attrelid = c.confrelid AND attnum = number ORDER BY place)
FROM pg_constraint c WHERE c.contype = 'f' AND c.connamespace = 'rhesis'::regnamespace
"""


def test_foreign_keys_between_tenant_tables_carry_the_organization(admin):
    keys = admin.execute(FOREIGN_KEYS).fetchall()
    assert len(keys) > len(TENANT_TABLES)
    for table, target, columns, referenced in keys:
        if target == "rhesis.organization":
            assert (columns, referenced) == (["organization_id"], ["id"]), table
        else:
            assert columns[0] == "organization_id", (table, columns)
            assert referenced == ["organization_id", "id"], (table, target)


def test_every_id_of_another_row_is_a_foreign_key_or_known_not_to_be(admin):
    covered = {(table, column) for table, _, columns, _ in admin.execute(FOREIGN_KEYS) for column in columns}
    rows = admin.execute(
        "SELECT format('rhesis.%I', table_name), column_name FROM information_schema.columns"
        " WHERE table_schema = 'rhesis' AND data_type = 'uuid' AND column_name <> 'id'"
    )
    assert set(rows) - covered == {(f"rhesis.{table}", column) for table, column in WITHOUT_FOREIGN_KEY}


def test_unique_keys_begin_with_the_organization(admin):
    """A global one would tell a tenant what another has. Primary keys on a random `id` tell only who knows it anyway."""
    rows = admin.execute(
        "SELECT i.relname, x.indisprimary, pg_get_indexdef(x.indexrelid, 1, true) FROM pg_index x"
        " JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid"
        " WHERE x.indisunique AND t.relnamespace = 'rhesis'::regnamespace AND t.relname <> ALL (%s)",
        (list(SHARED_TABLES),),
    )
    crossing = {name for name, primary, first in rows if first != "organization_id" and not (primary and first == "id")}
    assert crossing == set(GLOBAL_UNIQUE)


def test_ids_are_made_by_the_database_at_random(admin):
    rows = admin.execute(
        "SELECT table_name, column_default FROM information_schema.columns"
        " WHERE table_schema = 'rhesis' AND column_name = 'id'"
    )
    assert {default for _, default in rows} == {"gen_random_uuid()"}


def test_the_queues_tables_are_made_by_the_migration_in_their_own_schema(admin):
    tables = {name for (name,) in admin.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'rhesis_queue'")}
    assert tables == {"kombu_queue", "kombu_message", "celery_taskmeta", "celery_tasksetmeta"}
    stray = admin.execute(
        "SELECT tablename FROM pg_tables WHERE tablename LIKE ANY ('{kombu%,celery%}') AND schemaname = 'public'"
    )
    assert stray.fetchall() == []


def test_the_models_say_what_the_migrations_made(database):
    engine = create_engine(make_url(database.url).set(drivername="postgresql+psycopg"))

    def ours(name: str | None, kind: str, _: object) -> bool:
        return kind != "schema" or name == "rhesis"

    try:
        with engine.connect() as connection:
            options = {
                "include_schemas": True,
                "include_name": ours,
                "version_table_schema": "rhesis",
                "compare_type": True,
                "compare_server_default": True,
            }
            context = MigrationContext.configure(connection, opts=options)
            assert compare_metadata(context, Base.metadata) == []
    finally:
        engine.dispose()


def test_there_is_one_newest_revision_and_the_database_has_it(admin):
    heads = ScriptDirectory.from_config(provision._alembic_config()).get_heads()
    assert admin.execute("SELECT version_num FROM rhesis.alembic_version").fetchall() == [(head,) for head in heads]
    assert heads == [provision.head_revision()]


def test_migrating_a_second_time_changes_nothing(database, admin):
    catalogue = sql.SQL("SELECT polname FROM pg_policy UNION ALL SELECT conname FROM pg_constraint ORDER BY 1")
    before = admin.execute(catalogue).fetchall()
    assert provision.migrate() == provision.head_revision()
    assert admin.execute(catalogue).fetchall() == before


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        (r"rhesis_identity", {"app/identity.py"}),
        (r"SET (?:LOCAL )?ROLE", {"app/identity.py", "provision.py"}),
        (r"set_config\('app\.", {"app/database.py"}),
        # Without `true` an unset name is an error that ends the transaction.
        (r"current_setting\('app\.[^)]*'\)|\bSHOW \"", set()),
    ],
)
def test_what_decides_the_tenant_is_written_in_one_place(project: Path, pattern, allowed):
    source = project / "src" / "rhesis" / "backend"
    found = {
        str(path.relative_to(source))
        for path in source.rglob("*")
        if path.suffix in {".py", ".sql"}
        and path.name not in {"roles.sql", "schemas.sql", "0001_security.sql"}
        and re.search(pattern, _without_comments(path), re.MULTILINE)
    }
    assert found == allowed


def _without_comments(path: Path) -> str:
    """Return the code of a file: neither comments nor the docstrings that explain the roles."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".sql":
        return re.sub(r"--.*", "", text)
    return re.sub(r'^\s*"""(?:.|\n)*?"""|#.*', "", text, flags=re.MULTILINE)
