"""Several processes, threads and forks share one server, and the last one out stops it."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

_FORKS = """
import os, sys
from pathlib import Path
from rhesis.backend.embedded import EmbeddedServer

server = EmbeddedServer(Path(sys.argv[1]))
server.ensure(create=True)
child = os.fork()
if child == 0:
    {in_child}
    sys.exit(0)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), server.is_running(), flush=True)
server.release()
print(server.is_running(), flush=True)
"""

_LIVING_CHILD = """
import os, sys
from pathlib import Path
from rhesis.backend.embedded import EmbeddedServer

server = EmbeddedServer(Path(sys.argv[1]))
server.ensure(create=True)
read_end, write_end = os.pipe()
if os.fork() == 0:
    os.close(write_end)
    os.read(read_end, 1)
    os._exit(0)
server.release()
print(server.is_running(), flush=True)
os.close(write_end)
os.wait()
server.ensure(create=False)
server.release()
print(server.is_running(), flush=True)
"""

_ORPHAN = """
import os, signal, sys
from pathlib import Path
from rhesis.backend.embedded import EmbeddedServer

server = EmbeddedServer(Path(sys.argv[1]))
server.ensure(create=True)
read_end, write_end = os.pipe()
if os.fork() == 0:
    os.close(write_end)
    os.read(read_end, 1)
    server.release()
    print(server.is_running(), flush=True)
    os._exit(0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def _run(script: str, server) -> list[str]:
    finished = subprocess.run(
        [sys.executable, "-c", script, str(server.home)], stdout=subprocess.PIPE, text=True, check=False, timeout=60
    )
    assert finished.returncode in {0, -signal.SIGKILL}
    return finished.stdout.split()


def _tell(client, line: str) -> str:
    client.stdin.write(f"{line}\n")
    client.stdin.flush()
    return client.stdout.readline().strip()


def test_the_last_process_out_stops_the_server_and_none_before(server, project_folder, start_client):
    first, second = start_client(project_folder), start_client(project_folder)
    first.stdout.readline()
    second.stdout.readline()

    assert _tell(first, "release") == "released"
    assert server.is_running()

    assert _tell(second, "release") == "released"
    assert not server.is_running()


def test_a_process_that_simply_ends_lets_go_like_one_that_releases(server, project_folder, start_client):
    client = start_client(project_folder)
    client.stdout.readline()

    client.communicate("exit\n")

    assert client.returncode == 0
    assert server.exists()
    assert not server.is_running()


def test_a_server_left_by_a_killed_client_is_used_again_and_then_stopped(server, project_folder, start_client):
    client = start_client(project_folder)
    assert client.stdout.readline() == "started\n"
    client.kill()
    client.wait()
    assert server.is_running()

    assert not server.ensure(create=False).started

    server.release()
    assert not server.is_running()


def test_a_client_that_is_killed_does_not_take_the_server_from_another(server, project_folder, start_client):
    client = start_client(project_folder)
    client.stdout.readline()
    server.ensure(create=False)

    client.kill()
    client.wait()

    assert not server.ensure(create=False).started


def test_processes_that_start_at_one_instant_create_one_database(new_server, project_folder, start_client):
    clients = [start_client(project_folder) for _ in range(4)]

    said = sorted(client.stdout.readline().strip() for client in clients)

    assert said == ["created", "found", "found", "found"]
    assert [_tell(client, "release") for client in clients] == ["released"] * 4
    assert not new_server.is_running()


def test_threads_that_start_at_one_instant_create_one_database(new_server):
    with ThreadPoolExecutor(8) as pool:
        running = list(pool.map(lambda _: new_server.ensure(create=True), range(8)))

    assert sorted(one.created for one in running) == [False] * 7 + [True]


def test_starting_and_leaving_at_the_same_time_never_leaves_a_client_without_a_server(project_folder, make_server):
    def use(_: int) -> bool:
        server = make_server(project_folder)
        running = []
        for _ in range(5):
            server.ensure(create=True)
            running.append(server.is_running())
            server.release()
        return all(running)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(use, range(4)))
    assert not make_server(project_folder).is_running()


@pytest.mark.parametrize("in_child", ["pass", "server.release()", "os._exit(0)", "del server"])
def test_a_forked_child_that_ends_leaves_the_server_to_its_parent(server, in_child):
    assert _run(_FORKS.format(in_child=in_child), server) == ["0", "True", "False"]


def test_a_forked_child_may_hold_the_server_itself(server):
    in_child = "server.ensure(create=False); server.release()"

    assert _run(_FORKS.format(in_child=in_child), server) == ["0", "True", "False"]


def test_a_server_is_not_stopped_under_a_forked_child_that_still_lives(server):
    assert _run(_LIVING_CHILD, server) == ["True", "False"]


def test_a_forked_child_that_outlives_its_killed_parent_does_not_stop_the_server_either(server):
    assert _run(_ORPHAN, server) == ["True"]
    assert not server.ensure(create=False).started


def test_stopping_by_hand_ends_the_server_though_others_hold_it(server, project_folder, start_client, make_server):
    client = start_client(project_folder)
    client.stdout.readline()

    server.stop()
    assert not server.is_running()

    holder = make_server(project_folder)
    assert holder.ensure(create=False).started
    assert _tell(client, "release") == "released"
    assert holder.is_running()


def test_a_holder_starts_the_server_again_after_it_was_stopped_by_hand(project_folder, make_server):
    holder, operator = make_server(project_folder), make_server(project_folder)
    holder.ensure(create=True)
    operator.stop()

    again = holder.ensure(create=False)

    assert (again.created, again.started) == (False, True)


def test_an_interrupt_in_the_terminal_does_not_reach_the_server(server, project_folder, start_client, postmaster):
    client = start_client(project_folder)
    client.stdout.readline()
    server.ensure(create=False)

    assert os.getsid(postmaster(server)) != os.getsid(client.pid)
    assert os.getpgid(postmaster(server)) != os.getpgid(client.pid)


def test_the_server_is_not_a_child_of_the_process_that_started_it(server, postmaster):
    server.ensure(create=True)

    status = Path("/proc", str(postmaster(server)), "status").read_text()

    assert f"PPid:\t{os.getpid()}\n" not in status


def test_two_projects_have_two_servers(make_project, make_server, query):
    one, other = make_server(make_project()), make_server(make_project())
    one.ensure(create=True)
    other.ensure(create=True)
    query(one.url("superuser"), "CREATE TABLE only_in_one ()")

    assert query(other.url("superuser"), "SELECT to_regclass('only_in_one')") is None
    one.release()
    assert other.is_running()


def test_a_client_killed_while_it_starts_the_server_blocks_nobody(new_server, project_folder, start_client, wait_until):
    client = start_client(project_folder)
    wait_until((new_server.home / "server.lock").exists)
    os.kill(client.pid, signal.SIGKILL)
    client.wait()

    new_server.ensure(create=True)

    assert new_server.is_running()
    assert not list(new_server.home.glob("postgres.new-*"))
