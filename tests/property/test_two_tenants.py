"""Two tenants do what they like, and what they should not; neither ever sees or changes anything of the other.

What is excluded on purpose: a statement that binds another tenant itself. Whoever can run such SQL is past this line of
defence; our code binds what the authenticated caller's token says.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from uuid import UUID, uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from rhesis.backend.app import crud
from rhesis.backend.app.database import SessionLocal, set_tenant, tenant_session
from rhesis.backend.app.models import Test, TestSet
from rhesis.backend.app.repositories import endpoints as endpoint_queries
from rhesis.backend.app.repositories import results, runs
from rhesis.backend.app.repositories import tasks as task_queries
from rhesis.backend.app.repositories import test_sets as set_queries
from rhesis.backend.app.repositories import tests as test_queries
from rhesis.backend.app.repositories.listing import ListParameters
from rhesis.backend.app.schemas.test_configurations import TestConfigurationCreate, TestConfigurationUpdate
from rhesis.backend.app.schemas.test_sets import TestSetCreate, TestSetUpdate
from rhesis.backend.app.schemas.tests import TestCreate, TestUpdate
from rhesis.backend.app.services import endpoints, test_configurations, test_sets, tests
from rhesis.backend.app.services import runs as run_service
from rhesis.backend.domain.actor import Actor
from rhesis.backend.domain.closing import COLLECTED
from rhesis.backend.domain.run_status import ResultStatus
from rhesis.backend.errors import RhesisError
from support.database import TestDatabase
from support.tenants import TENANT_TABLES, Estate, add_estate, fingerprint, owner_column, rows_of

WHO = st.integers(0, 1)
NAMES = st.text(alphabet="abc'\";-% ", min_size=1, max_size=12).map(lambda name: f"n{name}")
ALL = ListParameters(limit=1000)

Ids = Callable[[str], UUID]
Operation = Callable[[Session, Actor, Ids, str], object]

# What the service offers. `ids(table)` is an id of the acting tenant, or of the other one when he is after that.
OPERATIONS: dict[str, Operation] = {
    "list": lambda db, actor, ids, name: [
        *tests.list_tests(db, actor, ALL).items,
        *test_sets.list_test_sets(db, actor, ALL).items,
        *endpoints.list_endpoints(db, actor, ALL).items,
        *test_configurations.list_configurations(db, actor, ALL).items,
    ],
    "add test": lambda db, actor, ids, name: tests.create_test(db, actor, TestCreate(prompt=name)),
    "change test": lambda db, actor, ids, name: tests.change_test(db, actor, ids("test"), TestUpdate(prompt=name)),
    "delete test": lambda db, actor, ids, name: tests.delete_test(db, actor, ids("test")),
    "add set": lambda db, actor, ids, name: test_sets.create_test_set(db, actor, TestSetCreate(name=name)),
    "change set": lambda db, actor, ids, name: test_sets.change_test_set(
        db, actor, ids("test_set"), TestSetUpdate(name=name)
    ),
    "delete set": lambda db, actor, ids, name: test_sets.delete_test_set(db, actor, ids("test_set")),
    "add member": lambda db, actor, ids, name: test_sets.add_members(db, actor, ids("test_set"), [ids("test")]),
    "remove member": lambda db, actor, ids, name: test_sets.remove_member(db, actor, ids("test_set"), ids("test")),
    "delete endpoint": lambda db, actor, ids, name: endpoints.delete_endpoint(db, actor, ids("endpoint")),
    "see endpoint": lambda db, actor, ids, name: endpoints.get_endpoint(db, actor, ids("endpoint")),
    "add configuration": lambda db, actor, ids, name: test_configurations.create_configuration(
        db,
        actor,
        TestConfigurationCreate(name=name, endpoint_id=ids("endpoint"), test_set_id=ids("test_set")),
    ),
    "change configuration": lambda db, actor, ids, name: test_configurations.change_configuration(
        db, actor, ids("test_configuration"), TestConfigurationUpdate(name=name)
    ),
    "execute": lambda db, actor, ids, name: run_service.create_run(db, actor, ids("test_configuration")),
    "cancel": lambda db, actor, ids, name: run_service.cancel_run(db, actor, ids("test_run"), reason=name),
    "repeat": lambda db, actor, ids, name: run_service.create_rerun(db, actor, ids("test_run")),
    "progress": lambda db, actor, ids, name: run_service.progress_of(db, actor, ids("test_run")),
    "crud": lambda db, actor, ids, name: [
        *crud.get_test_sets(db),
        crud.get_test_configuration(db, ids("test_configuration")),
    ],
}

# What repositories do when they are handed the wrong organization: their own filter agrees, the policies do not.
Query = Callable[[Session, UUID, Ids], object]
QUERIES: dict[str, Query] = {
    "endpoint": lambda db, owner, ids: endpoint_queries.lock(db, owner, ids("endpoint")),
    "remove endpoint": lambda db, owner, ids: endpoint_queries.remove(db, owner, ids("endpoint")),
    "test": lambda db, owner, ids: test_queries.find(db, owner, ids("test")),
    "existing tests": lambda db, owner, ids: test_queries.existing(db, owner, [ids("test")]),
    "remove test": lambda db, owner, ids: test_queries.remove(db, owner, ids("test")),
    "set": lambda db, owner, ids: set_queries.find(db, owner, ids("test_set")),
    "run": lambda db, owner, ids: runs.find_run(db, owner, ids("test_run")),
    "owed": lambda db, owner, ids: runs.tests_owed(db, owner, ids("test_run")),
    "begin": lambda db, owner, ids: runs.begin(db, owner, ids("test_run")),
    "close": lambda db, owner, ids: runs.close(db, owner, ids("test_run"), COLLECTED),
    "counts": lambda db, owner, ids: runs.counts(db, owner, ids("test_run")),
    "plan": lambda db, owner, ids: results.execution_plan(db, owner, ids("test_run")),
    "add result": lambda db, owner, ids: results.add(
        db, owner, ids("test_run"), results.Outcome(ids("test"), ResultStatus.PASS, None, 1.0, {}, {"metrics": {}})
    ),
    "task": lambda db, owner, ids: task_queries.find_task(db, owner, str(ids("test_run"))),
}

# `:id` is a row of the other tenant, `:owner` his organization, `:row` a row of his as JSON.
STATEMENTS = {
    "read all": 'SELECT t::text FROM rhesis."{table}" t',
    "read by owner": 'SELECT t::text FROM rhesis."{table}" t WHERE {own} = :owner',
    "read by word": 'SELECT t::text FROM rhesis."{table}" t WHERE position(CAST(:owner AS text) IN t::text) > 0',
    "count": 'SELECT count(*) FROM rhesis."{table}" t WHERE {own} = :owner HAVING count(*) > 0',
    "lock": 'SELECT t::text FROM rhesis."{table}" t WHERE {own} = :owner FOR UPDATE',
    "update": 'UPDATE rhesis."{table}" SET {own} = {own} WHERE {own} = :owner RETURNING {own}',
    "update all": 'UPDATE rhesis."{table}" SET created_at = now() RETURNING {own}',
    "take": 'UPDATE rhesis."{table}" SET {own} = :mine WHERE {own} = :owner RETURNING {own}',
    "give": 'UPDATE rhesis."{table}" SET {own} = :owner RETURNING {own}',
    "delete": 'DELETE FROM rhesis."{table}" WHERE {own} = :owner RETURNING {own}',
    "delete all": 'DELETE FROM rhesis."{table}" RETURNING {own}',
    "insert": 'INSERT INTO rhesis."{table}" ({columns}) SELECT {columns} FROM jsonb_populate_record('
    'NULL::rhesis."{table}", CAST(:row AS jsonb)) RETURNING {own}',
    "upsert": 'INSERT INTO rhesis."{table}" ({columns}) SELECT {columns} FROM jsonb_populate_record('
    'NULL::rhesis."{table}", CAST(:row AS jsonb)) ON CONFLICT DO NOTHING RETURNING {own}',
    "graft": 'INSERT INTO rhesis."{table}" ({columns}) SELECT {columns} FROM jsonb_populate_record('
    'NULL::rhesis."{table}", CAST(:grafted AS jsonb)) RETURNING {own}',
}


class TwoTenants(RuleBasedStateMachine):
    """`database` is set by the test."""

    database: ClassVar[TestDatabase]

    @initialize()
    def two_estates(self) -> None:
        self.admin = self.database.admin()
        self.estates: list[Estate] = [add_estate(self.database, self.database.add_tenant()) for _ in range(2)]

    def teardown(self) -> None:
        if hasattr(self, "admin"):
            self.admin.close()

    @contextmanager
    def acting(self, who: int) -> Iterator[tuple[Estate, Estate]]:
        """Yield the acting tenant and the other; whatever happens within changes nothing of the other."""
        mine, theirs = self.estates[who], self.estates[1 - who]
        before = fingerprint(self.admin, theirs.tenant.organization_id)
        yield mine, theirs
        assert fingerprint(self.admin, theirs.tenant.organization_id) == before

    def ids_of(self, estate: Estate) -> Ids:
        """Return a function that gives the newest id of a table that a tenant has; a random one where he has none."""

        def newest(table: str) -> UUID:
            owner = estate.tenant.organization_id
            found = rows_of(self.admin, table, owner)
            return UUID(str(max(found, key=lambda row: str(row["created_at"]))["id"])) if found else uuid4()

        return newest

    @rule(who=WHO, name=NAMES, operation=st.sampled_from(sorted(OPERATIONS)))
    def work(self, who: int, name: str, operation: str) -> None:
        with self.acting(who) as (mine, theirs):
            answer = perform(mine, lambda db, actor: OPERATIONS[operation](db, actor, self.ids_of(mine), name))
            assert_no_trace(answer, theirs)

    @rule(who=WHO, name=NAMES, operation=st.sampled_from(sorted(OPERATIONS)))
    def reach_for_ids_of_the_other(self, who: int, name: str, operation: str) -> None:
        with self.acting(who) as (mine, theirs):
            answer = perform(mine, lambda db, actor: OPERATIONS[operation](db, actor, self.ids_of(theirs), name))
            assert_no_trace(answer, theirs)

    @rule(who=WHO, query=st.sampled_from(sorted(QUERIES)))
    def query_as_the_other(self, who: int, query: str) -> None:
        with self.acting(who) as (mine, theirs):
            owner = theirs.tenant.organization_id
            answer = perform(mine, lambda db, _: QUERIES[query](db, owner, self.ids_of(theirs)))
            assert not answer or isinstance(answer, Exception), answer

    @rule(who=WHO, table=st.sampled_from(TENANT_TABLES), kind=st.sampled_from(sorted(STATEMENTS)), data=st.data())
    def run_any_statement(self, who: int, table: str, kind: str, data: st.DataObject) -> None:
        with self.acting(who) as (mine, theirs):
            rows = rows_of(self.admin, table, theirs.tenant.organization_id)
            own_rows = rows_of(self.admin, table, mine.tenant.organization_id)
            row = data.draw(st.sampled_from(rows)) if rows else {"id": str(uuid4())}
            grafted = graft(data.draw(st.sampled_from(own_rows)), row) if own_rows else row
            statement = STATEMENTS[kind].format(table=table, own=owner_column(table), columns=", ".join(row))
            parameters = {
                "owner": theirs.tenant.organization_id,
                "mine": mine.tenant.organization_id,
                "row": json.dumps(
                    {**row, **({"id": str(uuid4())} if "id" in row and data.draw(st.booleans()) else {})}
                ),
                "grafted": json.dumps(grafted),
            }
            used = {name: value for name, value in parameters.items() if f":{name}" in statement}
            answer = perform(mine, lambda db, _: db.scalars(text(statement), used).all())
            if kind == "graft" and table not in {"organization", "user"}:
                assert isinstance(answer, DBAPIError), "a row of one's own hangs on the other's"
            if not isinstance(answer, Exception):
                assert not [found for found in answer if str(theirs.tenant.organization_id) in str(found)], answer

    @rule(who=WHO)
    def borrow_the_others_user(self, who: int) -> None:
        with self.acting(who) as (mine, theirs):
            with tenant_session(mine.tenant.organization_id, theirs.tenant.user_id) as db:
                seen = everything(db)
            assert seen <= {str(mine.tenant.organization_id)}

    @rule(who=WHO, name=NAMES)
    def one_session_for_one_after_the_other(self, who: int, name: str) -> None:
        mine, theirs = self.estates[who], self.estates[1 - who]
        with SessionLocal() as db:
            for estate in (mine, theirs, mine):
                set_tenant(db, estate.tenant.organization_id, estate.tenant.user_id)
                assert everything(db) == {str(estate.tenant.organization_id)}
                owner = {"organization_id": estate.tenant.organization_id, "user_id": estate.tenant.user_id}
                db.add_all([Test(prompt=name, **owner), TestSet(name=name, slug=uuid4().hex, **owner)])
            db.commit()

    @invariant()
    def nobody_unbound_sees_anything(self) -> None:
        with SessionLocal() as db:
            assert everything(db) == set()


def perform(estate: Estate, work: Callable[[Session, Actor], Any]) -> Any:
    """Do something as a tenant; a refusal is an answer, too."""
    actor = Actor(estate.tenant.user_id, estate.tenant.organization_id)
    try:
        with tenant_session(actor.organization_id, actor.id) as db:
            return work(db, actor)
    except (RhesisError, DBAPIError) as error:
        return error


def everything(db: Session) -> set[str]:
    """Return the owners of all that a session sees."""
    tables = " UNION ".join(f'SELECT {owner_column(table)}::text FROM rhesis."{table}"' for table in TENANT_TABLES)
    return set(db.scalars(text(tables)))


def assert_no_trace(answer: object, theirs: Estate) -> None:
    """A row says whose it is; an error may repeat the id that was asked for and nothing else."""
    owner = theirs.tenant.organization_id
    for found in answer if isinstance(answer, list) else [answer]:
        assert getattr(found, "organization_id", None) != owner, found
    assert str(owner) not in str(answer)


def graft(own: dict[str, object], foreign: dict[str, object]) -> dict[str, object]:
    """Return a row of one's own that points at what a row of the other points at."""
    keys = {"id", "organization_id", "slug", "task_id", "body_task_id", "digest"}
    pointers = {name: foreign.get(name) for name in own if name.endswith("_id") and name not in keys}
    return {**own, **pointers, **{name: str(uuid4()) for name in keys - {"organization_id"} if name in own}}


def test_neither_of_two_tenants_sees_or_changes_anything_of_the_other(database: TestDatabase) -> None:
    # Hundreds of small transactions: none of them has to survive a crash of the server.
    database.fetch(f"ALTER DATABASE {make_url(database.url).database} SET synchronous_commit = off")
    machine = type("TwoTenantsOnThisDatabase", (TwoTenants,), {"database": database})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=30,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
