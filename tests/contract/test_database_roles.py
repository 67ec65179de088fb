"""What each role of the database may do: exactly what it needs, by its attributes, memberships, grants and policies."""

import psycopg
import pytest

from support.database import TestDatabase
from support.tenants import add_estate


@pytest.fixture
def admin(database: TestDatabase):
    with database.admin() as connection:
        yield connection


def as_role(database: TestDatabase, role: str, statement: str) -> list[tuple]:
    with database.admin(role=role) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_no_role_of_the_service_may_bypass_the_policies(admin):
    rows = admin.execute(
        "SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname LIKE 'rhesis\\_%' AND rolname IN"
        " ('rhesis_owner', 'rhesis_app', 'rhesis_queue', 'rhesis_identity')"
        " AND NOT (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)"
    )
    assert set(rows) == {
        ("rhesis_owner", True),
        ("rhesis_app", True),
        ("rhesis_queue", True),
        ("rhesis_identity", False),
    }


def test_the_application_reaches_identities_only_by_taking_the_role(admin):
    assert admin.execute("SELECT rolinherit FROM pg_roles WHERE rolname = 'rhesis_app'").fetchone() == (False,)
    rights = (
        "pg_has_role('rhesis_app', 'rhesis_identity', 'MEMBER'), pg_has_role('rhesis_app', 'rhesis_identity', 'USAGE')"
    )
    assert admin.execute(f"SELECT {rights}").fetchone() == (True, False)


def test_no_role_of_the_service_is_a_member_of_more_than_it_needs(admin):
    rows = admin.execute(
        "SELECT member::regrole::text, roleid::regrole::text FROM pg_auth_members WHERE member IN"
        " ('rhesis_owner'::regrole, 'rhesis_app'::regrole, 'rhesis_queue'::regrole, 'rhesis_identity'::regrole)"
    )
    assert set(rows) == {("rhesis_app", "rhesis_identity")}


def test_the_public_has_no_part_in_either_schema(admin):
    rights = [
        admin.execute("SELECT has_schema_privilege('public', %s, %s)", (schema, right)).fetchone()
        for schema in ("rhesis", "rhesis_queue")
        for right in ("USAGE", "CREATE")
    ]
    assert rights == [(False,)] * 4


GRANTS = """
SELECT grantee, kind, relname, privilege_type, coalesce(string_agg(attname, ' ' ORDER BY attname), '') FROM (
    SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee, 'table' AS kind, c.relname,
           a.privilege_type, NULL AS attname
    FROM pg_class c CROSS JOIN aclexplode(c.relacl) a
    WHERE c.relnamespace = 'rhesis'::regnamespace AND a.grantee <> c.relowner
    UNION ALL
    SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END, 'columns', c.relname, a.privilege_type,
           t.attname
    FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid CROSS JOIN aclexplode(t.attacl) a
    WHERE c.relnamespace = 'rhesis'::regnamespace
) found GROUP BY 1, 2, 3, 4
"""
EVERYTHING = ("SELECT", "INSERT", "UPDATE", "DELETE")
WORKED_ON = ("endpoint", "test", "test_set", "test_test_set", "test_configuration", "test_run", "test_result", "task")


def expected_grants() -> set[tuple[str, str, str, str, str]]:
    def whole(role: str, tables: tuple[str, ...], privileges: tuple[str, ...]) -> set[tuple[str, str, str, str, str]]:
        return {(role, "table", table, privilege, "") for table in tables for privilege in privileges}

    def some(role: str, table: str, privilege: str, columns: str) -> set[tuple[str, str, str, str, str]]:
        return {(role, "columns", table, privilege, " ".join(sorted(columns.split())))}

    return (
        whole("rhesis_app", WORKED_ON, EVERYTHING)
        | whole("rhesis_app", ("organization", "user", "worker_heartbeat", "alembic_version"), ("SELECT",))
        | whole("rhesis_app", ("token",), ("INSERT",))
        | some(
            "rhesis_app", "token", "SELECT",
            "id organization_id user_id name prefix expires_at last_used_at revoked_at created_at updated_at",
        )
        | some("rhesis_app", "token", "UPDATE", "name revoked_at")
        | whole("rhesis_identity", ("organization", "user", "token"), ("SELECT", "INSERT", "UPDATE"))
        | whole("rhesis_queue", ("alembic_version",), ("SELECT",))
        | whole("rhesis_queue", ("worker_heartbeat",), EVERYTHING)
        | some(
            "rhesis_queue", "test_run", "SELECT",
            "id organization_id test_configuration_id status task_id body_task_id deadline test_ids total_tests"
            " completed_tests failed_tasks started_at created_at updated_at completed_at error",
        )
        | some(
            "rhesis_queue", "test_run", "UPDATE",
            "status completed_at error completed_tests failed_tasks mean_execution_time_ms total_execution_time_ms",
        )
        | some(
            "rhesis_queue", "test_result", "SELECT",
            "id organization_id test_run_id test_id status error_type execution_time_ms",
        )
        | some(
            "rhesis_queue", "test_result", "INSERT",
            "organization_id test_run_id test_id test_configuration_id status error_type test_output",
        )
    )  # fmt: skip


def test_every_role_has_exactly_the_rights_it_needs(admin):
    assert set(admin.execute(GRANTS)) == expected_grants()


REFUSED = {
    "rhesis_app": (
        "SELECT digest FROM rhesis.token",
        "SELECT count(*) FROM rhesis.token WHERE digest LIKE 'a%'",
        "UPDATE rhesis.token SET digest = 'x'",
        "INSERT INTO rhesis.token (digest) VALUES ('x') RETURNING digest",
        'UPDATE rhesis."user" SET is_superuser = true',
        "UPDATE rhesis.organization SET name = 'x'",
        "SELECT count(*) FROM rhesis_queue.kombu_message",
        "SELECT count(*) FROM rhesis_queue.celery_taskmeta",
        "TRUNCATE rhesis.test_run CASCADE",
        "ALTER TABLE rhesis.test_run DISABLE ROW LEVEL SECURITY",
        "CREATE TABLE rhesis.mine (id int)",
    ),
    "rhesis_queue": (
        "SELECT test_output FROM rhesis.test_result",
        "SELECT test_metrics FROM rhesis.test_result",
        "SELECT * FROM rhesis.test_result",
        "SELECT attributes FROM rhesis.test_run",
        "SELECT prompt FROM rhesis.test",
        "SELECT auth_token FROM rhesis.endpoint",
        "SELECT count(*) FROM rhesis.token",
        'SELECT count(*) FROM rhesis."user"',
        "DELETE FROM rhesis.test_run",
        "UPDATE rhesis.test_run SET deadline = now()",
        "UPDATE rhesis.test_run SET organization_id = gen_random_uuid()",
        "UPDATE rhesis.test_result SET status = 'Pass'",
    ),
    "rhesis_identity": (
        "SELECT count(*) FROM rhesis.test_run",
        "SELECT count(*) FROM rhesis.test",
        "DELETE FROM rhesis.token",
    ),
}


@pytest.mark.parametrize("role", REFUSED)
def test_what_a_role_may_not_do_is_refused(database, tenant, role):
    add_estate(database, tenant)
    for statement in REFUSED[role]:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied|must be owner"):
            as_role(database, role, statement)


def test_the_reaper_can_add_an_error_and_never_a_verdict(database, tenant):
    estate = add_estate(database, tenant)
    insert = (
        "INSERT INTO rhesis.test_result (organization_id, test_run_id, test_id, test_configuration_id, status)"
        " SELECT organization_id, id, test_ids[2], test_configuration_id, {} FROM rhesis.test_run"
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        as_role(database, "rhesis_queue", insert.format("'Pass'"))
    as_role(database, "rhesis_queue", insert.format("'Error'"))
    rows = database.fetch("SELECT status FROM rhesis.test_result WHERE test_run_id = %s", estate.run_id)
    assert sorted(rows) == [("Error",), ("Pass",)]


def test_the_identity_role_sees_identities_of_every_organization(database, tenant, other_tenant):
    rows = as_role(database, "rhesis_identity", "SELECT id FROM rhesis.organization")
    assert {tenant.organization_id, other_tenant.organization_id} <= {organization_id for (organization_id,) in rows}
