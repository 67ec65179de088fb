"""Ids of another tenant lead nowhere: no row can be hung on his, and no answer says whether there is one."""

import json
from collections.abc import Callable
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from rhesis.backend.app.database import tenant_session
from rhesis.backend.app.services import endpoints, runs, test_configurations, test_sets, tests
from rhesis.backend.domain.actor import Actor
from rhesis.backend.errors import NotFound
from support.database import Tenant, TestDatabase
from support.tenants import Estate, add_estate, rows_of


@pytest.fixture
def mine(database: TestDatabase, tenant: Tenant) -> Estate:
    return add_estate(database, tenant)


@pytest.fixture
def theirs(database: TestDatabase, other_tenant: Tenant) -> Estate:
    return add_estate(database, other_tenant)


def bound_to(estate: Estate):
    return tenant_session(estate.tenant.organization_id, estate.tenant.user_id)


def _foreign_keys(database: TestDatabase) -> list[tuple[str, str]]:
    return database.fetch(
        "SELECT relname, attname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid"
        " JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[2]"
        " WHERE contype = 'f' AND connamespace = 'rhesis'::regnamespace AND cardinality(conkey) = 2 ORDER BY 1, 2"
    )


def test_no_row_can_be_hung_on_another_tenants_and_the_refusal_does_not_say_whether_it_exists(database, mine, theirs):
    """Foreign keys are checked past row-level security, so that each must carry the organization."""
    keys = _foreign_keys(database)
    assert ("test_result", "test_run_id") in keys
    with database.admin() as admin:
        for table, column in keys:
            row = rows_of(admin, table, mine.tenant.organization_id)[0]
            foreign = rows_of(admin, table, theirs.tenant.organization_id)[0][column]
            answers = [_refusal(mine, table, {**row, column: value}, str(value)) for value in (foreign, str(uuid4()))]
            assert answers[0] == answers[1], (table, column)


def _refusal(estate: Estate, table: str, row: dict[str, object], value: str) -> str:
    """Insert a row that must be refused for its foreign key, and return the database's words without the id."""
    # Another id, and another natural key: this is not about duplicates.
    natural_keys = {"id", "slug", "task_id", "digest"} | ({"test_id"} if table == "test_result" else set())
    changed = {**row, **{name: str(uuid4()) for name in natural_keys & row.keys()}}
    columns = ", ".join(changed)
    statement = (
        f'INSERT INTO rhesis."{table}" ({columns}) SELECT {columns}'
        f' FROM jsonb_populate_record(NULL::rhesis."{table}", CAST(:row AS jsonb))'
    )
    with pytest.raises(IntegrityError) as raised, bound_to(estate) as db:
        db.execute(text(statement), {"row": json.dumps(changed)})
    assert isinstance(raised.value.orig, psycopg.errors.ForeignKeyViolation), raised.value
    return str(raised.value.orig).replace(value, "ID")


def test_a_row_of_ones_own_cannot_be_moved_under_another_tenants(mine, theirs):
    with pytest.raises(IntegrityError, match="foreign key"), bound_to(mine) as db:
        db.execute(text("UPDATE rhesis.test_result SET test_run_id = :id"), {"id": theirs.run_id})


LOOKUPS = {
    "run": (runs.get_run, lambda estate: estate.run_id),
    "progress": (runs.progress_of, lambda estate: estate.run_id),
    "cancel": (runs.cancel_run, lambda estate: estate.run_id),
    "rerun": (runs.create_rerun, lambda estate: estate.run_id),
    "execute": (runs.create_run, lambda estate: estate.world.configuration_id),
    "endpoint": (endpoints.get_endpoint, lambda estate: estate.world.endpoint_id),
    "delete endpoint": (endpoints.delete_endpoint, lambda estate: estate.world.endpoint_id),
    "test": (tests.get_test, lambda estate: estate.world.test_ids[0]),
    "delete test": (tests.delete_test, lambda estate: estate.world.test_ids[0]),
    "set": (test_sets.get_test_set, lambda estate: estate.world.test_set_id),
    "delete set": (test_sets.delete_test_set, lambda estate: estate.world.test_set_id),
    "configuration": (test_configurations.get_configuration, lambda estate: estate.world.configuration_id),
    "delete configuration": (
        test_configurations.delete_configuration, lambda estate: estate.world.configuration_id,
    ),
}  # fmt: skip


def test_an_id_of_another_tenant_answers_like_one_that_was_never_given(mine, theirs):
    # A superuser as well: his reach over organizations has routes of its own.
    actor = Actor(mine.tenant.user_id, mine.tenant.organization_id, is_superuser=True)

    def answer(call: Callable[..., object], subject: UUID) -> str:
        with pytest.raises(NotFound) as raised, bound_to(mine) as db:
            call(db, actor, subject)
        return str(raised.value).replace(str(subject), "ID")

    for name, (call, id_of) in LOOKUPS.items():
        assert answer(call, id_of(theirs)) == answer(call, uuid4()), name
