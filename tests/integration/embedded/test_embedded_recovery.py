"""What a crash, a reboot or a tidy person leaves behind is put right by the next start."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def stranger(server):
    """Run a process of the server's account that has nothing to do with it."""
    owner = server.ensure(create=True).data.stat().st_uid
    process = subprocess.Popen(["/bin/sleep", "600"], user=owner if os.geteuid() == 0 else None)
    yield process
    process.kill()
    process.wait()


def test_a_killed_server_is_started_again_with_everything_that_was_committed(server, kill_server, query):
    server.ensure(create=True)
    query(server.url("superuser"), "CREATE TABLE kept AS SELECT 42 AS answer")
    kill_server(server)

    again = server.ensure(create=False)

    assert again.started
    assert query(server.url("superuser"), "SELECT answer FROM kept") == 42


def test_a_server_killed_many_times_always_comes_back(server, kill_server, query):
    server.ensure(create=True)
    query(server.url("superuser"), "CREATE TABLE counted (number int)")
    for number in range(5):
        query(server.url("superuser"), f"INSERT INTO counted VALUES ({number})")
        kill_server(server)
        server.ensure(create=False)

    assert query(server.url("superuser"), "SELECT count(*) FROM counted") == 5


def test_releasing_after_the_server_was_killed_is_no_error(server, kill_server):
    server.ensure(create=True)
    kill_server(server)

    server.release()

    assert not server.is_running()


def test_a_left_over_pid_file_whose_process_is_gone_does_not_prevent_a_start(server):
    data = server.ensure(create=True).data
    kept = (data / "postmaster.pid").read_text()
    server.release()
    _put_back(data / "postmaster.pid", kept)

    assert server.ensure(create=False).started


def test_a_left_over_pid_file_whose_number_another_process_has_does_not_prevent_a_start(server, stranger):
    data = server.ensure(create=True).data
    kept = (data / "postmaster.pid").read_text().splitlines()
    server.release()
    _put_back(data / "postmaster.pid", "\n".join([str(stranger.pid), *kept[1:], ""]))

    assert not server.is_running()
    assert server.ensure(create=False).started
    assert stranger.poll() is None


@pytest.mark.parametrize("content", ["", "not a number\n", "-1\n"])
def test_a_damaged_pid_file_does_not_prevent_a_start(server, content):
    data = server.ensure(create=True).data
    server.release()
    _put_back(data / "postmaster.pid", content)

    assert server.ensure(create=False).started


def test_stopping_never_signals_a_process_that_got_the_servers_number(server, stranger, kill_server):
    data = server.ensure(create=True).data
    kept = (data / "postmaster.pid").read_text().splitlines()
    kill_server(server)
    (data / "postmaster.pid").write_text("\n".join([str(stranger.pid), *kept[1:], ""]))

    server.stop()

    assert stranger.poll() is None
    assert not server.is_running()


def test_a_left_over_socket_and_its_lock_do_not_prevent_a_start(server, stranger, kill_server):
    running = server.ensure(create=True)
    kill_server(server)
    lock = running.socket_directory / ".s.PGSQL.5432.lock"
    assert (running.socket_directory / ".s.PGSQL.5432").is_socket()
    lock.write_text(f"{stranger.pid}\n{running.data}\n")

    assert server.ensure(create=False).started


def test_a_server_whose_socket_folder_was_removed_is_started_anew(server):
    running = server.ensure(create=True)
    shutil.rmtree(running.socket_directory)
    assert not server.is_running()

    assert server.ensure(create=False).started
    assert server.is_running()


def test_a_running_server_is_found_without_the_record_of_its_socket(project_folder, make_server, make_project):
    runtime = make_project()
    made = make_server(project_folder, runtime_directory=runtime).ensure(create=True)
    (project_folder / ".rhesis" / "postgres.json").unlink()
    other = make_server(project_folder)

    found = other.ensure(create=False)

    assert (found.started, found.socket_directory) == (False, made.socket_directory)
    assert f"host={runtime}" in other.url("app")


@pytest.mark.parametrize("content", ["", "[]", '{"home": 1}', "{"])
def test_a_damaged_record_is_written_anew(server, content):
    server.ensure(create=True)
    server.release()
    (server.home / "postgres.json").write_text(content)

    server.ensure(create=False)

    assert '"socket"' in (server.home / "postgres.json").read_text()


def test_a_database_made_anew_is_not_mistaken_for_the_removed_one_whose_server_still_runs(
    project_folder, make_server, query, postmaster
):
    removed = make_server(project_folder)
    removed.ensure(create=True)
    query(removed.url("superuser"), "CREATE TABLE of_the_removed ()")
    ghost = postmaster(removed)
    shutil.rmtree(removed.home)
    try:
        server = make_server(project_folder)

        assert server.ensure(create=True).created
        assert query(server.url("superuser"), "SELECT to_regclass('of_the_removed')") is None
        removed.release()
    finally:
        os.kill(ghost, signal.SIGQUIT)


def test_a_moved_project_keeps_its_database(make_project, make_server, query):
    base = make_project()
    (base / "old").mkdir()
    before = make_server(base / "old")
    before.ensure(create=True)
    query(before.url("superuser"), "CREATE TABLE kept AS SELECT 42 AS answer")
    before.release()

    (base / "old").rename(base / "new")

    after = make_server(base / "new")
    after.ensure(create=False)
    assert query(after.url("superuser"), "SELECT answer FROM kept") == 42


def test_a_project_moved_while_its_server_runs_keeps_its_database(make_project, make_server, query, postmaster):
    base = make_project()
    (base / "old").mkdir()
    before = make_server(base / "old")
    before.ensure(create=True)
    query(before.url("superuser"), "CREATE TABLE kept AS SELECT 42 AS answer")
    process_id = postmaster(before)
    old_socket_folder = before.ensure(create=False).socket_directory

    (base / "old").rename(base / "new")

    after = make_server(base / "new")
    running = after.ensure(create=False)
    assert running.started
    assert query(after.url("superuser"), "SELECT answer FROM kept") == 42
    assert postmaster(after) != process_id
    assert not old_socket_folder.exists()
    before.release()
    assert after.is_running()


def test_a_copied_project_has_a_server_of_its_own(make_project, make_server, query):
    base = make_project()
    (base / "first").mkdir()
    first = make_server(base / "first")
    first.ensure(create=True)
    # A copy made by the account of the server, as `cp -a` would make it.
    subprocess.run(["cp", "-a", str(base / "first"), str(base / "second")], check=True)
    second = make_server(base / "second")

    running = second.ensure(create=False)

    assert running.started
    assert running.data.is_relative_to(base / "second")
    query(second.url("superuser"), "CREATE TABLE only_in_second ()")
    assert query(first.url("superuser"), "SELECT to_regclass('only_in_second')") is None


def test_a_client_killed_inside_initdb_leaves_nothing_half_made(
    project_folder, make_server, wrapped_programs, start_client, make_project, wait_until
):
    marks = make_project()
    marks.chmod(0o777)
    script = f'touch {marks}/begun\n"$real" "$@" || exit\nmkdir {marks}/made\nkill -STOP $$'
    begun = make_server(project_folder, binaries=[wrapped_programs(script)])
    child = os.fork()
    if child == 0:
        try:
            begun.ensure(create=True)
        finally:
            os._exit(1)
    wait_until((marks / "made").exists)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    _end_all_with(str(begun.home))
    assert list(begun.home.glob("postgres.new-*"))

    server = make_server(project_folder)
    assert not server.exists()

    assert server.ensure(create=True).created
    assert not list(server.home.glob("postgres.new-*"))


def _end_all_with(argument: str) -> None:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            named = argument.encode() in (process / "cmdline").read_bytes()
        except OSError:
            continue
        if named:
            os.kill(int(process.name), signal.SIGKILL)


def _put_back(path: Path, content: str) -> None:
    path.write_text(content)
    owner = path.parent.stat()
    os.chown(path, owner.st_uid, owner.st_gid)
