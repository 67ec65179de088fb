"""A small world to run tests in: an endpoint, a set of tests and a configuration, of one tenant."""

import json
from dataclasses import dataclass
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from support.database import Tenant, TestDatabase

CONTAINS_OK = [{"name": "contains", "parameters": {"value": "ok"}}]


@dataclass(frozen=True)
class World:
    """Ids of one tenant's objects. `test_ids` are in the set's order."""

    tenant: Tenant
    endpoint_id: UUID
    test_set_id: UUID
    configuration_id: UUID
    test_ids: tuple[UUID, ...]


def add_world(
    database: TestDatabase,
    tenant: Tenant,
    *,
    prompts: list[str],
    url: str = "http://127.0.0.1:9/chat",
    metrics: list[object] | None = None,
    attributes: dict[str, object] | None = None,
) -> World:
    """Insert the objects as the administrator; every test gets `metrics` (default: the answer contains "ok")."""
    endpoint_id, test_set_id, configuration_id = uuid4(), uuid4(), uuid4()
    test_ids = tuple(uuid4() for _ in prompts)
    owner = (tenant.organization_id, tenant.user_id)
    with database.admin() as connection:
        connection.execute(
            "INSERT INTO rhesis.endpoint (id, organization_id, user_id, name, url, response_mappings)"
            " VALUES (%s, %s, %s, 'endpoint', %s, %s)",
            (endpoint_id, *owner, url, Jsonb({"output": "$.output"})),
        )
        connection.execute(
            "INSERT INTO rhesis.test_set (id, organization_id, user_id, name, slug) VALUES (%s, %s, %s, 'set', %s)",
            (test_set_id, *owner, test_set_id.hex),
        )
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO rhesis.test (id, organization_id, user_id, prompt, metrics) VALUES (%s, %s, %s, %s, %s)",
                [
                    (test_id, *owner, prompt, Jsonb(CONTAINS_OK if metrics is None else metrics))
                    for test_id, prompt in zip(test_ids, prompts, strict=True)
                ],
            )
            cursor.executemany(
                "INSERT INTO rhesis.test_test_set (organization_id, test_set_id, test_id, position)"
                " VALUES (%s, %s, %s, %s)",
                [(tenant.organization_id, test_set_id, test_id, place) for place, test_id in enumerate(test_ids)],
            )
        connection.execute(
            "INSERT INTO rhesis.test_configuration"
            " (id, organization_id, user_id, name, endpoint_id, test_set_id, attributes)"
            " VALUES (%s, %s, %s, 'configuration', %s, %s, %s)",
            (configuration_id, *owner, endpoint_id, test_set_id, Jsonb(attributes or {})),
        )
    return World(tenant, endpoint_id, test_set_id, configuration_id, test_ids)


def run_row(database: TestDatabase, run_id: UUID) -> dict[str, object]:
    """Return a run as JSON knows it."""
    return json.loads(database.fetch("SELECT row_to_json(r)::text FROM rhesis.test_run r WHERE id = %s", run_id)[0][0])


def result_rows(database: TestDatabase, run_id: UUID) -> list[dict[str, object]]:
    """Return a run's results."""
    rows = database.fetch("SELECT row_to_json(r)::text FROM rhesis.test_result r WHERE test_run_id = %s", run_id)
    return [json.loads(row[0]) for row in rows]
