"""A session sees and writes what its tenant owns, in every transaction, on every connection, and nothing else."""

import json
import threading
from collections.abc import Callable, Iterator
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError, ProgrammingError

from rhesis.backend.app import database as app_database
from rhesis.backend.app.database import DEFAULT_POOL_SIZE, SessionLocal, engine, set_tenant, tenant_of, tenant_session
from rhesis.backend.app.models import TestRun, TestSet
from rhesis.backend.errors import InvalidInput, TenantMismatch
from support.database import Tenant, TestDatabase
from support.tenants import TENANT_TABLES, Estate, add_estate, fingerprint, owner_column, rows_of

SETTING = text("SELECT current_setting('app.current_organization', true)")
CONNECTION = text("SELECT pg_backend_pid()")


@pytest.fixture
def mine(database: TestDatabase, tenant: Tenant) -> Estate:
    return add_estate(database, tenant)


@pytest.fixture
def theirs(database: TestDatabase, other_tenant: Tenant) -> Estate:
    return add_estate(database, other_tenant)


@pytest.fixture
def pool_of(database: TestDatabase) -> Iterator[Callable[[int], None]]:
    yield app_database.set_pool_size
    app_database.dispose_engine()
    app_database.set_pool_size(DEFAULT_POOL_SIZE)


def bound_to(estate: Estate):
    return tenant_session(estate.tenant.organization_id, estate.tenant.user_id)


def new_set(tenant: Tenant, name: str = "new") -> TestSet:
    return TestSet(organization_id=tenant.organization_id, user_id=tenant.user_id, name=name, slug=uuid4().hex)


def owners_seen(db, table: str) -> set[UUID]:
    column = owner_column(table)
    return set(db.scalars(text(f'SELECT {column} FROM rhesis."{table}"')))


def runs_seen(db) -> set[UUID]:
    return set(db.scalars(select(TestRun.id)))


def in_thread(work: Callable[[], object]) -> object:
    """Run `work` in a thread of its own and return what it returned."""
    outcome: list[object] = []
    thread = threading.Thread(target=lambda: outcome.append(work()))
    thread.start()
    thread.join(timeout=20)
    assert outcome, "the thread failed"
    return outcome[0]


# --- unset and foreign tenants, table by table ---------------------------------------------------------------------


def test_a_session_sees_its_own_rows_of_every_table_and_no_others(mine, theirs):
    with bound_to(mine) as db:
        seen = {table: owners_seen(db, table) for table in TENANT_TABLES}
    assert seen == {table: {mine.tenant.organization_id} for table in TENANT_TABLES}


def test_an_unbound_session_sees_nothing_of_any_table(mine, theirs):
    with SessionLocal() as db:
        seen = {table: owners_seen(db, table) for table in TENANT_TABLES}
    assert seen == {table: set() for table in TENANT_TABLES}


@pytest.mark.parametrize("bound", [False, True])
def test_no_statement_writes_another_tenants_rows(database, mine, theirs, bound):
    """Unbound or bound to somebody else makes no difference: no row is found, and none may be made."""
    with database.admin() as admin:
        before = fingerprint(admin, theirs.tenant.organization_id)
        copies = {table: rows_of(admin, table, theirs.tenant.organization_id)[0] for table in TENANT_TABLES}
        for table in TENANT_TABLES:
            for statement, parameters in _writes(table, copies[table], theirs.tenant.organization_id):
                assert _written(mine if bound else None, statement, parameters) == 0, statement
        assert fingerprint(admin, theirs.tenant.organization_id) == before


def _writes(table: str, row: dict[str, object], organization_id: UUID):
    own = owner_column(table)
    fresh = json.dumps({**row, **({"id": str(uuid4())} if "id" in row else {})})
    yield f'UPDATE rhesis."{table}" SET {own} = {own} WHERE {own} = :id', {"id": organization_id}
    yield f'DELETE FROM rhesis."{table}" WHERE {own} = :id', {"id": organization_id}
    columns, source = ", ".join(row), f'jsonb_populate_record(NULL::rhesis."{table}", CAST(:row AS jsonb))'
    yield f'INSERT INTO rhesis."{table}" ({columns}) SELECT {columns} FROM {source}', {"row": fresh}


def _written(estate: Estate | None, statement: str, parameters: dict[str, object]) -> int:
    """Return how many rows a statement wrote; a refusal for want of rights wrote none."""
    tenant = (estate.tenant.organization_id, estate.tenant.user_id) if estate else (None, None)
    with SessionLocal() as db:
        set_tenant(db, *tenant)
        try:
            count = db.execute(text(statement), parameters).rowcount
        except ProgrammingError as error:
            if not isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
                raise
            return 0
        db.commit()
        return count


def test_a_row_cannot_be_handed_to_another_tenant(mine, theirs):
    with pytest.raises(ProgrammingError, match="row-level security"), bound_to(mine) as db:
        db.execute(text("UPDATE rhesis.test SET organization_id = :id"), {"id": theirs.tenant.organization_id})


def test_a_hidden_test_set_is_seen_by_its_owner_alone(database, mine):
    colleague = uuid4()
    database.add_user(mine.tenant.organization_id, user_id=colleague, email="colleague@example.org")
    database.fetch("UPDATE rhesis.test_set SET visibility = 'user'")
    with bound_to(mine) as db:
        assert len(owners_seen(db, "test_set")) == 1
    for user_id in (colleague, None):
        with tenant_session(mine.tenant.organization_id, user_id) as db:
            assert owners_seen(db, "test_set") == set()


def test_the_tables_owner_sees_and_changes_nothing(database, mine):
    with database.admin(role="rhesis_owner") as connection:
        for table in TENANT_TABLES:
            name, own = sql.Identifier(table), sql.Identifier(owner_column(table))
            for statement in ("SELECT FROM rhesis.{}", "UPDATE rhesis.{} SET {own} = {own}", "DELETE FROM rhesis.{}"):
                assert connection.execute(sql.SQL(statement).format(name, own=own)).rowcount == 0, (table, statement)


# --- the tenant of a session ---------------------------------------------------------------------------------------


def test_the_tenant_outlives_a_commit_also_on_another_connection(mine, theirs, pool_of):
    pool_of(2)
    with SessionLocal() as db, SessionLocal() as other:
        set_tenant(db, mine.tenant.organization_id, mine.tenant.user_id)
        first = db.scalar(CONNECTION)
        db.commit()
        # The pool hands out the connection that came back first, so the next transaction gets the second one.
        set_tenant(other, theirs.tenant.organization_id, theirs.tenant.user_id)
        if other.scalar(CONNECTION) != first:
            other.rollback()
        assert runs_seen(db) == {mine.run_id}
        assert db.scalar(CONNECTION) != first or other.scalar(CONNECTION) != first
        db.add(new_set(mine.tenant))
        db.commit()
        db.rollback()
        assert runs_seen(db) == {mine.run_id}


def test_a_session_bound_before_or_within_a_transaction_is_bound_all_the_same(mine):
    with SessionLocal() as db:
        set_tenant(db, mine.tenant.organization_id, None)
        assert runs_seen(db) == {mine.run_id}
    with SessionLocal() as db:
        assert runs_seen(db) == set()
        set_tenant(db, str(mine.tenant.organization_id), str(mine.tenant.user_id))
        assert runs_seen(db) == {mine.run_id}


@pytest.mark.parametrize("nothing", [None, ""])
def test_set_tenant_unbinds_for_this_transaction_and_the_next(mine, nothing):
    with SessionLocal() as db:
        set_tenant(db, mine.tenant.organization_id, mine.tenant.user_id)
        assert runs_seen(db) == {mine.run_id}
        set_tenant(db, nothing, nothing)
        assert tenant_of(db) == ("", "")
        assert runs_seen(db) == set()
        db.commit()
        assert runs_seen(db) == set()


def test_pending_changes_are_written_for_the_tenant_they_were_made_for(database, mine, theirs):
    with SessionLocal() as db:
        set_tenant(db, mine.tenant.organization_id, mine.tenant.user_id)
        db.add(new_set(mine.tenant, "pending"))
        set_tenant(db, theirs.tenant.organization_id, theirs.tenant.user_id)
        db.add(new_set(theirs.tenant, "pending"))
        db.commit()
    rows = database.fetch("SELECT organization_id FROM rhesis.test_set WHERE name = 'pending'")
    assert {owner for (owner,) in rows} == {mine.tenant.organization_id, theirs.tenant.organization_id}


def test_what_was_loaded_for_one_tenant_is_not_found_in_memory_by_the_next(mine, theirs):
    with SessionLocal() as db:
        set_tenant(db, mine.tenant.organization_id, mine.tenant.user_id)
        loaded = db.get(TestRun, mine.run_id)
        set_tenant(db, theirs.tenant.organization_id, theirs.tenant.user_id)
        assert db.get(TestRun, mine.run_id) is None
        assert loaded.status == "Progress", "what the caller holds stays readable"


def test_a_session_does_not_change_its_tenant_within_a_savepoint(mine, theirs):
    """Undoing the savepoint would undo the setting, and the session would go on as somebody else."""
    with SessionLocal() as db:
        set_tenant(db, mine.tenant.organization_id, mine.tenant.user_id)
        with db.begin_nested() as savepoint:
            set_tenant(db, mine.tenant.organization_id, mine.tenant.user_id)
            with pytest.raises(TenantMismatch, match="within a savepoint"):
                set_tenant(db, theirs.tenant.organization_id, theirs.tenant.user_id)
            savepoint.rollback()
        assert runs_seen(db) == {mine.run_id}


def test_an_unfit_id_is_refused_and_leaves_the_session_as_it_was(mine):
    with SessionLocal() as db:
        set_tenant(db, mine.tenant.organization_id, mine.tenant.user_id)
        for organization_id, user_id in (("x' OR true --", None), (mine.tenant.organization_id, "nobody")):
            with pytest.raises(InvalidInput, match="is not a UUID") as raised:
                set_tenant(db, organization_id, user_id)
            assert "true" not in str(raised.value)
        assert runs_seen(db) == {mine.run_id}


def test_a_tenant_that_could_not_be_bound_is_an_error(mine):
    with SessionLocal() as db:
        set_tenant(db, mine.tenant.organization_id, mine.tenant.user_id)
        with pytest.raises(ProgrammingError):
            db.execute(text("SELECT * FROM no_such_table"))
        with pytest.raises(InternalError, match="aborted"):
            set_tenant(db, mine.tenant.organization_id, None)


def test_a_lost_connection_is_an_error_and_not_an_unbound_session(database, mine):
    with SessionLocal() as db:
        set_tenant(db, mine.tenant.organization_id, mine.tenant.user_id)
        database.fetch("SELECT pg_terminate_backend(%s, 5000)", db.scalar(CONNECTION))
        with pytest.raises(OperationalError):
            set_tenant(db, mine.tenant.organization_id, None)
        db.rollback()
        assert runs_seen(db) == {mine.run_id}, "the next transaction has a new connection and the same tenant"


def test_tenant_session_commits_at_the_end_and_undoes_everything_on_an_exception(database, mine):
    with bound_to(mine) as db:
        db.add(new_set(mine.tenant, "kept"))
    with pytest.raises(ZeroDivisionError), bound_to(mine) as db:
        db.add(new_set(mine.tenant, "undone"))
        db.flush()
        raise ZeroDivisionError
    assert database.fetch("SELECT name FROM rhesis.test_set WHERE name IN ('kept', 'undone')") == [("kept",)]
    assert engine().pool.checkedout() == 0


# --- pooled connections and threads --------------------------------------------------------------------------------


def test_nothing_stays_on_a_pooled_connection(mine, theirs, pool_of):
    """One connection, used in turn by threads that commit, roll back, fail, unbind and never bind."""
    pool_of(1)

    def used_by(estate: Estate | None, leave: Callable[[object], object]) -> tuple[object, object, set[UUID]]:
        with SessionLocal() as db:
            if estate:
                set_tenant(db, estate.tenant.organization_id, estate.tenant.user_id)
            seen = (db.scalar(CONNECTION), db.scalar(SETTING), runs_seen(db))
            leave(db)
            return seen

    def fail(db: object) -> None:
        with pytest.raises(DBAPIError):
            db.execute(text("SELECT 1 / 0"))

    connections = set()
    for leave in (lambda db: db.commit(), lambda db: db.rollback(), fail, lambda db: set_tenant(db, None, None)):
        for estate in (mine, None, theirs, None):
            connection, setting, seen = in_thread(lambda e=estate, end=leave: used_by(e, end))
            connections.add(connection)
            assert setting in ((str(estate.tenant.organization_id),) if estate else ("", None))
            assert seen == ({estate.run_id} if estate else set())
    assert len(connections) == 1


def test_the_empty_setting_that_a_transaction_leaves_behind_is_no_error(mine, pool_of):
    """After a transaction-local setting PostgreSQL answers with an empty word, which is no uuid."""
    pool_of(1)
    with bound_to(mine) as db:
        assert db.scalar(SETTING) == str(mine.tenant.organization_id)
    with SessionLocal() as db:
        assert db.scalar(SETTING) == ""
        assert all(owners_seen(db, table) == set() for table in TENANT_TABLES)


def test_asking_for_the_tenant_is_no_error_where_none_was_ever_bound(mine):
    with engine().connect() as connection:
        assert connection.scalar(SETTING) is None
        assert connection.scalar(text("SELECT count(*) FROM rhesis.test_run")) == 0


def test_sessions_of_two_threads_do_not_mix(mine, theirs, pool_of):
    pool_of(4)
    together = threading.Barrier(2, timeout=20)
    seen: dict[UUID, list[set[UUID]]] = {mine.run_id: [], theirs.run_id: []}

    def work(estate: Estate) -> None:
        with SessionLocal() as db:
            for _ in range(20):
                together.wait()
                set_tenant(db, estate.tenant.organization_id, estate.tenant.user_id)
                together.wait()
                seen[estate.run_id].append(runs_seen(db))
                db.commit()
                seen[estate.run_id].append(runs_seen(db))

    threads = [threading.Thread(target=work, args=(estate,)) for estate in (mine, theirs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert seen == {run_id: [{run_id}] * 40 for run_id in (mine.run_id, theirs.run_id)}


def test_a_session_takes_its_tenant_along_to_another_thread(mine):
    """FastAPI opens a session in one thread and uses it in others, so no thread's own variable may carry it."""
    db = SessionLocal()
    in_thread(lambda: set_tenant(db, mine.tenant.organization_id, mine.tenant.user_id) or True)
    assert in_thread(lambda: runs_seen(db)) == {mine.run_id}
    db.commit()
    assert runs_seen(db) == {mine.run_id}
    db.close()
