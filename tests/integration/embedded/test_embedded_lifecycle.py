"""Making, starting, reading and removing one project's server."""

import re
import shutil
import stat
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from rhesis.backend.embedded import EmbeddedServer
from rhesis.backend.embedded.credentials import Credentials
from rhesis.backend.errors import EmbeddedServerError


def test_the_first_ensure_creates_and_starts_and_the_second_finds_it_running(new_server):
    first = new_server.ensure(create=True)
    second = new_server.ensure(create=True)

    assert (first.created, first.started) == (True, True)
    assert (second.created, second.started) == (False, False)
    assert new_server.exists()
    assert new_server.is_running()


def test_a_reader_is_told_that_nothing_has_run_and_creates_nothing(new_server, project_folder):
    with pytest.raises(EmbeddedServerError, match=r"no database at .*/\.rhesis: nothing has run here"):
        new_server.ensure(create=False)

    assert not new_server.exists()
    assert not new_server.is_running()
    assert list(project_folder.iterdir()) == []


def test_a_reader_starts_a_database_that_exists(server, query):
    server.ensure(create=True)
    query(server.url("superuser"), "CREATE TABLE kept AS SELECT 42 AS answer")
    server.release()
    assert not server.is_running()

    again = server.ensure(create=False)

    assert (again.created, again.started) == (False, True)
    assert query(server.url("superuser"), "SELECT answer FROM kept") == 42


def test_the_url_is_plain_libpq_and_names_login_database_and_socket(new_server):
    running = new_server.ensure(create=True)

    url = urlsplit(new_server.url("app"))

    assert (url.scheme, url.username, url.path) == ("postgresql", "rhesis_app", "/rhesis")
    assert url.password == new_server.password("app")
    assert parse_qs(url.query) == {"host": [str(running.socket_directory)], "port": ["5432"]}
    assert urlsplit(new_server.url("queue", "other")).path == "/other"


def test_every_role_has_another_password(server):
    server.ensure(create=True)

    passwords = {server.password(role) for role in ("superuser", "owner", "app", "queue")}

    assert len(passwords) == 4
    assert min(map(len, passwords)) >= 32


@pytest.mark.parametrize("password", ["", "wrong"])
def test_a_login_without_the_right_password_is_refused(server, password):
    running = server.ensure(create=True)

    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(host=str(running.socket_directory), user="postgres", password=password, passfile="/dev/null")


def test_every_line_of_the_access_list_demands_a_password(server):
    running = server.ensure(create=True)

    lines = (running.data / "pg_hba.conf").read_text().splitlines()

    assert {line.split()[-1] for line in lines if line and not line.startswith("#")} == {"scram-sha-256"}


def test_the_server_runs_closed_durable_and_discreet(server, query):
    server.ensure(create=True)
    expected = {
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "max_connections": "300",
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "log_statement": "none",
        "log_min_messages": "log",
        "log_min_error_statement": "panic",
    }

    names = ", ".join(f"'{name}'" for name in expected)
    found = query(
        server.url("superuser"),
        f"SELECT json_object_agg(name, current_setting(name)) FROM pg_settings WHERE name IN ({names})",
    )

    assert found == expected


def test_the_number_of_connections_can_be_set(project_folder, make_server, query):
    server = make_server(project_folder, max_connections=17)
    server.ensure(create=True)

    assert query(server.url("superuser"), "SHOW max_connections") == "17"


def test_the_locale_needs_nothing_of_the_operating_system(server, query, programs):
    server.ensure(create=True)
    url = server.url("superuser")

    assert query(url, "SELECT current_setting('server_encoding')") == "UTF8"
    if programs.version.major >= 17:
        facts = "SELECT datlocprovider::text || ' ' || datlocale FROM pg_database WHERE datname = 'rhesis'"
        assert query(url, facts) == "b C.UTF-8"
        assert query(url, "SELECT upper('ä')") == "Ä"


def test_logins_other_than_the_superuser_enter_only_their_own_database(server, query):
    server.ensure(create=True)
    query(server.url("superuser"), f"CREATE ROLE rhesis_app LOGIN PASSWORD '{server.password('app')}'")

    assert query(server.url("app"), "SELECT current_user") == "rhesis_app"
    for database in ("postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(server.url("app", database))


def test_a_first_start_that_was_cut_short_is_completed_by_the_next(server, query):
    server.ensure(create=True)
    query(server.url("superuser", "postgres"), "DROP DATABASE rhesis")
    server.release()

    server.ensure(create=False)

    assert query(server.url("superuser"), "SELECT current_database()") == "rhesis"


def test_passwords_lie_in_one_file_that_only_its_owner_may_read(new_server):
    new_server.ensure(create=True)
    secrets = [new_server.password(role) for role in ("superuser", "owner", "app", "queue")]
    readable = [path for path in new_server.home.rglob("*") if path.is_file() and _holds(path, secrets)]

    assert readable == [new_server.home / "credentials.json"]
    assert stat.S_IMODE(readable[0].stat().st_mode) == 0o600


def _holds(path: Path, secrets: list[str]) -> bool:
    content = path.read_bytes()
    return any(secret.encode() in content for secret in secrets)


def test_no_password_appears_in_a_process_list(project_folder, make_server, wrapped_programs, postmaster):
    notes = project_folder / "arguments"
    notes.touch()
    notes.chmod(0o666)
    server = make_server(project_folder, binaries=[wrapped_programs(f'(echo "$@"; env) > {notes}\nexec "$real" "$@"')])
    server.ensure(create=True)

    listed = notes.read_text() + Path("/proc", str(postmaster(server)), "cmdline").read_text()

    assert "--pwfile=" in listed
    assert not any(server.password(role) in listed for role in ("superuser", "owner", "app", "queue"))


def test_variables_of_the_caller_do_not_reach_the_server(project_folder, make_server, monkeypatch, query, postmaster):
    for name, value in {
        "PGDATA": "/nonexistent",
        "PGPORT": "1",
        "PGHOST": "/nonexistent",
        "PGUSER": "stranger",
        "PGOPTIONS": "-c work_mem=1",
        "PGDATABASE": "none",
        "LC_ALL": "xx_XX",
        "TZ": "Asia/Tokyo",
    }.items():
        monkeypatch.setenv(name, value)
    server = make_server(project_folder)

    server.ensure(create=True)

    monkeypatch.delenv("PGOPTIONS")
    seen = Path("/proc", str(postmaster(server)), "environ").read_bytes()
    assert not [name for name in (b"PGPORT", b"PGUSER", b"xx_XX", b"Asia/Tokyo") if name in seen]
    assert query(server.url("superuser"), "SELECT current_setting('timezone')") == "UTC"


def test_the_log_quotes_neither_statements_nor_rows(server, query):
    server.ensure(create=True)
    url = server.url("superuser")
    query(url, "CREATE TABLE person (email text PRIMARY KEY)")
    query(url, "INSERT INTO person VALUES ('canary@example.org')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        query(url, "INSERT INTO person VALUES ('canary@example.org')")
    with pytest.raises(psycopg.errors.SyntaxError):
        query(url, "SELEKT 'canary'")
    server.release()

    log = (server.home / "postgres.log").read_text()

    assert "ready to accept connections" in log
    assert "canary" not in log


def test_a_log_past_its_bound_keeps_only_its_end(server):
    server.ensure(create=True)
    server.release()
    log = server.home / "postgres.log"
    with log.open("a") as stream:
        stream.writelines(f"line {number}\n" for number in range(200_000))

    server.ensure(create=False)

    assert log.stat().st_size < 256 * 1024
    assert re.search(r"^line 199999$", log.read_text(), re.MULTILINE)
    assert "ready to accept connections" in log.read_text()


def test_a_folder_name_that_a_shell_would_run_is_only_a_name(make_project, make_server, query):
    folder = make_project() / "a $(touch here) 'b', \"c\" ä"
    folder.mkdir()
    runtime = folder.with_name("run \"time' %41")
    runtime.mkdir(mode=0o755)
    server = make_server(folder, runtime_directory=runtime)

    running = server.ensure(create=True)

    assert running.data == folder / ".rhesis" / "postgres"
    assert running.socket_directory.parent == runtime
    assert query(server.url("superuser"), "SELECT 1") == 1
    assert not list(folder.rglob("here"))


def test_a_runtime_folder_that_clients_would_take_for_two_hosts_is_not_used(project_folder, make_server):
    runtime = project_folder / "one,two"
    runtime.mkdir(mode=0o755)

    assert make_server(project_folder, runtime_directory=runtime).ensure(create=True).socket_directory.parent != runtime


def test_a_project_path_of_any_length_works(make_project, make_server, query):
    folder = make_project() / ("long" * 50)
    folder.mkdir()
    server = make_server(folder, runtime_directory=folder)

    running = server.ensure(create=True)

    assert str(running.socket_directory).startswith("/tmp/rhesis-")
    assert query(server.url("superuser"), "SELECT 1") == 1


def test_the_socket_lies_in_a_folder_that_nobody_else_may_enter(server):
    running = server.ensure(create=True)

    status = running.socket_directory.lstat()

    assert running.socket_directory.parent == Path("/tmp")
    assert stat.S_IMODE(status.st_mode) == 0o700
    assert status.st_uid == running.data.stat().st_uid


def test_clients_with_and_without_a_runtime_folder_meet_at_one_server(project_folder, make_server, make_project):
    runtime = make_project()
    with_folder = make_server(project_folder, runtime_directory=runtime)
    without = make_server(project_folder)
    made = with_folder.ensure(create=True)

    assert made.socket_directory.parent == runtime
    assert without.ensure(create=False).socket_directory == made.socket_directory
    assert without.url("app") == with_folder.url("app")


def test_a_runtime_folder_that_is_gone_is_given_up_for_another(project_folder, make_server, make_project):
    runtime = make_project()
    server = make_server(project_folder, runtime_directory=runtime)
    server.ensure(create=True)
    server.release()
    shutil.rmtree(runtime)

    assert server.ensure(create=False).socket_directory.parent == Path("/tmp")


def test_stopping_leaves_no_process_and_no_socket(server, postmaster):
    running = server.ensure(create=True)
    process_id = postmaster(server)

    server.release()

    assert not Path("/proc", str(process_id)).exists() or not Path("/proc", str(process_id), "cmdline").read_bytes()
    assert not running.socket_directory.exists()
    assert not (running.data / "postmaster.pid").exists()


def test_erasing_removes_the_database_and_a_new_one_can_be_made(server, query):
    server.ensure(create=True)
    query(server.url("superuser"), "CREATE TABLE gone ()")
    before = server.password("app")

    server.erase()

    assert not server.exists()
    assert {path.suffix for path in server.home.iterdir()} == {".lock"}
    assert server.ensure(create=True).created
    assert server.password("app") != before
    assert query(server.url("superuser"), "SELECT to_regclass('gone')") is None


def test_asking_for_a_url_before_anything_ran_says_so(new_server):
    with pytest.raises(EmbeddedServerError, match="nothing has run here"):
        new_server.url("app")


def test_releasing_or_stopping_what_never_ran_does_nothing(new_server, project_folder):
    new_server.release()
    new_server.stop()

    assert list(project_folder.iterdir()) == []


def test_only_files_of_the_home_are_changed(new_server, project_folder):
    before = {path: path.stat().st_mode for path in (project_folder, *project_folder.parents)}

    new_server.ensure(create=True)

    assert {path: path.stat().st_mode for path in before} == before
    assert [path.name for path in project_folder.iterdir()] == [".rhesis"]


def test_the_object_never_shows_a_password(server):
    server.ensure(create=True)
    credentials = Credentials.load(server.home / "credentials.json", data=server.home)

    assert server.password("app") not in repr(credentials) + repr(server) + str(vars(server))


def test_two_objects_of_one_process_each_hold_the_server(project_folder, make_server):
    first, second = make_server(project_folder), make_server(project_folder)
    first.ensure(create=True)
    second.ensure(create=False)

    first.release()
    assert second.is_running()

    second.release()
    assert not second.is_running()


def test_a_home_given_through_a_symlink_is_the_same_home(project_folder, make_server, make_project):
    link = make_project() / "link"
    link.symlink_to(project_folder)
    make_server(project_folder).ensure(create=True)

    through_link = EmbeddedServer(link / ".rhesis")
    running = through_link.ensure(create=False)
    through_link.release()

    assert not running.started
    assert through_link.home.samefile(project_folder / ".rhesis")
