"""Which database serves: none without its roles and schema, none that sees past the policies, and each refusal says why."""

import logging
import os
import shutil
import socket
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import URL, make_url, select, text

from rhesis.backend import provision, runtime
from rhesis.backend.app import database as app_database
from rhesis.backend.app.database import SessionLocal, tenant_session
from rhesis.backend.app.models import TestRun
from rhesis.backend.embedded import EmbeddedServer
from rhesis.backend.errors import ConfigurationError, DatabaseUnavailable
from rhesis.backend.settings import get_settings
from support.database import Tenant, TestDatabase, environment
from support.tenants import Estate, add_estate

PASSWORD = "correct-horse-battery"


@pytest.fixture
def estate(database: TestDatabase, tenant: Tenant) -> Estate:
    return add_estate(database, tenant)


@pytest.fixture
def throwaway_role(server_url: str, database: TestDatabase) -> Iterator[Callable[[str], str]]:
    """Make logins with the given attributes, and drop them."""
    made = []

    def make(attributes: str = "") -> str:
        name = f"rhesis_test_login_{uuid4().hex[:12]}"
        made.append(name)
        database.fetch(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}' {attributes}")
        return name

    yield make
    app_database.dispose_engine()
    for name in made:
        database.fetch(f"DROP ROLE {name}")


@pytest.fixture(scope="module")
def guarded_url() -> Iterator[URL]:
    """Return an administrator's URL of a server of its own that asks for passwords and has none of our roles."""
    folder = Path(tempfile.mkdtemp(prefix="rhesis-refusals-", dir="/tmp"))
    folder.chmod(0o755)
    server = EmbeddedServer(folder / ".rhesis")
    try:
        server.ensure(create=True)
        yield make_url(server.url("superuser"))
    finally:
        server.erase()
        shutil.rmtree(folder, ignore_errors=True)


def refusal_of(url: URL, work: Callable[[], object]) -> DatabaseUnavailable:
    with environment(DATABASE_URL=url.render_as_string(hide_password=False)):
        with pytest.raises(DatabaseUnavailable) as raised:
            work()
        return raised.value


def use_database() -> None:
    with SessionLocal() as db:
        db.execute(text("SELECT 1"))


# --- sessions that could see past the policies -----------------------------------------------------------------------


@pytest.mark.parametrize("attributes", ["SUPERUSER", "BYPASSRLS", "IN ROLE rhesis_owner"])
def test_a_login_that_could_see_past_the_policies_never_serves_a_tenant(
    database, estate, throwaway_role, monkeypatch, attributes
):
    name = throwaway_role(attributes)
    url = make_url(database.url).set(username=name, password=PASSWORD)
    monkeypatch.setattr(runtime, "app_login", lambda: runtime.Login(url, None))
    with pytest.raises(DatabaseUnavailable, match="GRANT rhesis_app TO") as raised:
        use_database()
    assert raised.value.kind == "role"
    assert name in str(raised.value)


def test_the_tables_owner_itself_never_serves_a_tenant(database, estate, monkeypatch):
    monkeypatch.setattr(runtime, "app_login", lambda: runtime.Login(make_url(database.url), "rhesis_owner"))
    with pytest.raises(DatabaseUnavailable, match="rhesis_owner could see past") as raised:
        use_database()
    assert raised.value.kind == "role"


def test_an_administrators_url_serves_as_the_applications_role_and_cannot_step_back(estate):
    with tenant_session(estate.tenant.organization_id, None) as db:
        role = text("SELECT current_user, row_security_active('rhesis.test_run')")
        assert db.execute(role).one() == ("rhesis_app", True)
        db.execute(text("RESET ROLE"))
        assert db.execute(role).one() == ("rhesis_app", True)
        assert set(db.scalars(select(TestRun.id))) == {estate.run_id}


def test_a_role_in_the_urls_options_does_not_win(database):
    url = make_url(database.url).update_query_dict({"options": "-c role=rhesis_owner"})
    with environment(DATABASE_URL=url.render_as_string(hide_password=False)), SessionLocal() as db:
        assert db.scalar(text("SELECT current_user")) == "rhesis_app"


def test_a_login_that_may_become_the_applications_role_serves(database, throwaway_role):
    name = throwaway_role("NOINHERIT IN ROLE rhesis_app, rhesis_queue")
    url = make_url(database.url).set(username=name, password=PASSWORD)
    with environment(DATABASE_URL=url.render_as_string(hide_password=False)):
        with SessionLocal() as db:
            assert db.execute(text("SELECT session_user, current_user")).one() == (name, "rhesis_app")
        assert runtime.queue_login().role == "rhesis_queue"
        app_database.dispose_engine()


# --- one kind and one line for each reason ---------------------------------------------------------------------------


def test_a_login_without_the_roles_is_told_the_grant_to_run(database, throwaway_role):
    url = make_url(database.url).set(username=throwaway_role(), password=PASSWORD)
    error = refusal_of(url, use_database)
    assert (error.kind, "GRANT rhesis_app TO" in str(error)) == ("role", True)
    error = refusal_of(url, runtime.celery_urls)
    assert (error.kind, "GRANT rhesis_queue TO" in str(error)) == ("role", True)
    assert "RHESIS_QUEUE_URL" in str(error)


def test_a_server_without_our_roles_is_told_apart(guarded_url):
    error = refusal_of(guarded_url, use_database)
    assert (error.kind, str(error)) == (
        "role", f"role rhesis_app does not exist on {guarded_url.query['host']}/rhesis: run rhesis migrate",
    )  # fmt: skip


def test_a_wrong_password_is_told_apart(guarded_url):
    error = refusal_of(guarded_url.set(password="wrong-" + PASSWORD), use_database)
    assert error.kind == "credentials"
    assert "check user and password" in str(error)


def test_a_server_that_cannot_be_reached_is_told_apart():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for host in ("127.0.0.1", "no-such-host.invalid"):
        error = refusal_of(make_url(f"postgresql://somebody:{PASSWORD}@{host}:{port}/rhesis"), use_database)
        assert (error.kind, host in str(error)) == ("unreachable", True)


def test_a_database_that_does_not_exist_is_told_apart(server_url):
    error = refusal_of(make_url(server_url).set(database="no_such_database"), use_database)
    assert (error.kind, "no such database" in str(error)) == ("schema", True)


def test_a_database_without_schema_is_told_apart(template_name, empty_database_url):
    """The template has made the server's roles."""
    error = refusal_of(make_url(empty_database_url), lambda: provision.prepare(create=True))
    assert (error.kind, "no schema" in str(error), "run rhesis migrate" in str(error)) == ("schema", True, True)


def test_a_user_that_does_not_exist_is_told_apart_from_a_server_that_is_down(database):
    url = make_url(database.url).set(username="no_such_login", password=PASSWORD)
    assert refusal_of(url, use_database).kind in {"role", "credentials"}


def test_an_option_that_no_client_knows_is_a_matter_of_configuration():
    url = f"postgresql://somebody:{PASSWORD}@127.0.0.1/rhesis?nonsense=1"
    with environment(DATABASE_URL=url), pytest.raises(ConfigurationError, match="nonsense") as raised:
        use_database()
    assert PASSWORD not in "".join(traceback.format_exception(raised.value))


# --- passwords -------------------------------------------------------------------------------------------------------


def refusals_with_a_password(database: TestDatabase, guarded_url: URL) -> list[URL]:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    secret = {"password": PASSWORD}
    return [
        make_url(f"postgresql://somebody:{PASSWORD}@127.0.0.1:{port}/rhesis"),
        guarded_url.set(**secret),
        guarded_url.set(username="no_such_login", **secret),
        make_url(database.url).set(username="no_such_login", **secret),
        make_url(database.url).set(database="no_such_database", **secret),
    ]


def test_no_error_shows_the_password_and_each_is_one_line(database, guarded_url, caplog):
    caplog.set_level(logging.DEBUG)
    for url in refusals_with_a_password(database, guarded_url):
        error = refusal_of(url, use_database)
        assert "\n" not in str(error)
        for shown in (str(error), repr(error), "".join(traceback.format_exception(error))):
            assert PASSWORD not in shown, url.host
    assert PASSWORD not in caplog.text


def test_neither_settings_nor_logins_nor_engines_show_the_password(database):
    url = make_url(database.url).set(password=PASSWORD).render_as_string(hide_password=False)
    variables = dict.fromkeys(("DATABASE_URL", "RHESIS_OWNER_URL", "RHESIS_QUEUE_URL", "BROKER_URL"), url)
    with environment(**variables):
        settings = get_settings()
        queue, owner = runtime.queue_login(), runtime.migration_login()
        shown = [repr(settings), str(settings), settings.model_dump_json(), runtime.describe()]
        shown += [str(value) for login in (queue, owner) for value in (login, login.url, login.sqlalchemy_url())]
    assert not [text for text in shown if PASSWORD in text]
    assert os.environ["DATABASE_URL"] == database.url


@pytest.mark.parametrize("given", [f"no url {PASSWORD}", f"mysql://root:{PASSWORD}@localhost/x"])
def test_an_unfit_url_is_refused_by_its_variable_and_without_its_value(given):
    with environment(DATABASE_URL=given), pytest.raises(ConfigurationError, match="DATABASE_URL") as raised:
        use_database()
    assert PASSWORD not in "".join(traceback.format_exception(raised.value))
