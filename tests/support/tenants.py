"""What one tenant owns: a row in every table, and a fingerprint that changes when anything of it does."""

import json
from dataclasses import dataclass
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from support.database import Tenant, TestDatabase
from support.world import World, add_world

# In the order in which rows can be inserted.
TENANT_TABLES = (
    "organization",
    "user",
    "token",
    "endpoint",
    "test",
    "test_set",
    "test_test_set",
    "test_configuration",
    "test_run",
    "test_result",
    "task",
)


@dataclass(frozen=True)
class Estate:
    """A tenant with at least one row in every table."""

    tenant: Tenant
    world: World
    run_id: UUID
    result_id: UUID


def add_estate(database: TestDatabase, tenant: Tenant) -> Estate:
    """Give a tenant a world, an open run with one result of two, a launched task and a token, as the administrator."""
    world = add_world(database, tenant, prompts=["first prompt", "second prompt"])
    run_id, result_id, task_id = uuid4(), uuid4(), str(uuid4())
    owner = (tenant.organization_id, tenant.user_id)
    with database.admin() as connection:
        connection.execute(
            "INSERT INTO rhesis.test_run (id, organization_id, user_id, test_configuration_id, task_id, body_task_id,"
            " deadline, test_ids, total_tests, status)"
            " VALUES (%s, %s, %s, %s, %s, %s, now() + interval '1 hour', %s, 2, 'Progress')",
            (run_id, *owner, world.configuration_id, task_id, str(uuid4()), list(world.test_ids)),
        )
        connection.execute(
            "INSERT INTO rhesis.test_result (id, organization_id, test_run_id, test_id, test_configuration_id, status,"
            " test_output) VALUES (%s, %s, %s, %s, %s, 'Pass', %s)",
            (result_id, owner[0], run_id, world.test_ids[0], world.configuration_id, Jsonb({"output": "an answer"})),
        )
        connection.execute(
            "INSERT INTO rhesis.task (organization_id, user_id, task_id, name, test_run_id)"
            " VALUES (%s, %s, %s, 'a task', %s)",
            (*owner, task_id, run_id),
        )
        connection.execute(
            "INSERT INTO rhesis.token (organization_id, user_id, digest, prefix, expires_at)"
            " VALUES (%s, %s, %s, 'rh_xxxxx', now() + interval '1 day')",
            (*owner, uuid4().hex),
        )
    return Estate(tenant, world, run_id, result_id)


def owner_column(table: str) -> str:
    """Return the column that says whose row it is."""
    return "id" if table == "organization" else "organization_id"


def rows_of(connection: psycopg.Connection, table: str, organization_id: UUID) -> list[dict[str, object]]:
    """Return a tenant's rows of a table as JSON objects."""
    statement = sql.SQL("SELECT row_to_json(t)::text FROM rhesis.{} t WHERE {} = %s").format(
        sql.Identifier(table), sql.Identifier(owner_column(table))
    )
    return [json.loads(text) for (text,) in connection.execute(statement, (organization_id,)).fetchall()]


_FINGERPRINT = sql.SQL(" UNION ALL ").join(
    sql.SQL(
        "SELECT {}, count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM rhesis.{} t WHERE {} = %(id)s"
    ).format(sql.Literal(table), sql.Identifier(table), sql.Identifier(owner_column(table)))
    for table in TENANT_TABLES
)


def fingerprint(connection: psycopg.Connection, organization_id: UUID) -> list[tuple]:
    """Return count and digest of all that a tenant has, table by table; the connection must see past the policies."""
    return connection.execute(_FINGERPRINT, {"id": organization_id}).fetchall()
