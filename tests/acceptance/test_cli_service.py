"""`up`, `api` and `worker`: what they start, how they end, and that nothing is left behind."""

import signal
import socket
from pathlib import Path

import httpx2
import psutil
import pytest

from rhesis.backend.embedded import EmbeddedServer
from support.commands import RHESIS, Running, assert_gone, own_home, rhesis, running, succeeded
from support.waiting import eventually

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("processes")]


@pytest.fixture
def home(tmp_path: Path):
    with own_home(tmp_path) as path:
        yield path


def child_of(command: Running, word: str) -> psutil.Process:
    """Return the command's direct child whose command line holds a word."""
    children = psutil.Process(command.process.pid).children()
    return next(child for child in children if word in child.cmdline())


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_starts_everything_from_nothing_and_a_signal_stops_everything(home, tmp_path, number):
    with running(*RHESIS, "--home", home, "up", "--port", "0", folder=tmp_path) as up:
        up.waits_for("ready at", within=90)
        url = up.out[0].strip()
        assert httpx2.get(f"{url}/health").json()["status"] == "ok"
        bearer = {"Authorization": f"Bearer {(home / 'token').read_text().strip()}"}
        assert httpx2.get(f"{url}/users/me", headers=bearer).json()["is_superuser"] is True
        assert [one["name"] for one in httpx2.get(f"{url}/organizations", headers=bearer).json()] == ["Default"]
        assert (home / "api_url").read_text().strip() == url
        groups = up.groups()
        assert len(groups) == 4, "this command, the API and two workers"
        up.send(number)
        assert up.ends() == 0
        assert_gone(groups)
    assert not EmbeddedServer(home).is_running()
    assert not (home / "api_url").exists()
    assert any(line.startswith("execution | ") for line in up.err)
    assert "ready." in (tmp_path / "celery_worker.log").read_text()


def test_when_a_child_dies_up_stops_the_others_and_fails_with_one_line(home, tmp_path):
    with running(*RHESIS, "--home", home, "up", "--port", "0", folder=tmp_path) as up:
        up.waits_for("ready at", within=90)
        groups = up.groups()
        child_of(up, "celery").kill()
        assert up.ends() == 1
        assert_gone(groups)
    lines = [line for line in up.err if line.startswith("rhesis: ")]
    assert len(lines) == 1, up.err[-5:]
    assert "worker ended by itself (exit code -9)" in lines[0]
    assert not EmbeddedServer(home).is_running()


def test_up_takes_the_next_port_when_the_usual_one_is_taken_and_a_set_one_is_refused(home, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = rhesis("--home", home, "up", "--port", port, folder=tmp_path, timeout=90)
    assert result.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in result.stderr.splitlines()[-1]
    assert not EmbeddedServer(home).is_running()


def test_the_api_prints_its_address_and_ends_in_order_on_term(database, tmp_path):
    with running(*RHESIS, "api", "--port", "0", folder=tmp_path) as api:
        api.waits_for("listening on")
        url = eventually(lambda: next(iter(api.out), ""), within=10, what="the address").strip()
        assert httpx2.get(f"{url}/health").status_code == 200
        assert url.startswith("http://127.0.0.1:"), "other machines cannot reach it unless told so"
        api.send(signal.SIGTERM)
        assert api.ends() == 0
    assert not any("Traceback" in line for line in api.err)


def test_the_api_does_not_start_without_a_key_for_credentials(database, tmp_path):
    result = rhesis("api", "--port", "0", folder=tmp_path, RHESIS_SECRET_KEYS="")
    assert result.returncode == 1
    assert "RHESIS_SECRET_KEYS is not set" in result.stderr.splitlines()[-1]


def queues_in(banner: list[str]) -> list[str]:
    return [line.split()[1] for line in banner if line.strip().startswith(".> ") and "exchange=" in line]


@pytest.mark.parametrize(
    ("options", "queues", "concurrency"),
    [(("--concurrency", "2"), ["celery", "execution"], "2 (prefork)"), (("--execution",), ["execution"], "5 (thread)")],
)
def test_a_worker_consumes_its_queues_in_its_pool(database, tmp_path, options, queues, concurrency):
    variables = {"RHESIS_EXECUTION_CONCURRENCY": "5", "CELERY_WORKER_LOGFILE": str(tmp_path / "mine.log")}
    with running(*RHESIS, "worker", *options, "--name", "mine", folder=tmp_path, **variables) as worker:
        worker.waits_for("ready.")
        assert queues_in(worker.out) == queues
        assert any(f"concurrency: {concurrency}" in line for line in worker.out)
        groups = worker.groups()
        worker.send(signal.SIGTERM)
        assert worker.ends() == 0
        assert_gone(groups)
    assert "mine@" in (tmp_path / "mine.log").read_text(), "the log goes to its file as well"


def health(port: int, path: str) -> tuple[int, str]:
    answer = httpx2.get(f"http://127.0.0.1:{port}{path}")
    return answer.status_code, answer.text


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_workers_health_server_answers_probes_and_tells_trouble_by_its_class_alone(database, tmp_path):
    port = free_port()
    with running(*RHESIS, "worker", "--execution", folder=tmp_path, HEALTH_PORT=str(port)) as worker:
        worker.waits_for("health server on 127.0.0.1 port")
        eventually(lambda: health(port, "/health")[0] == 200, within=20, what="a healthy worker")
        assert health(port, "/ping") == (200, "pong")
        assert health(port, "/health/basic") == (200, "ok")
        assert health(port, "/debug")[0] == 404
        checks = httpx2.get(f"http://127.0.0.1:{port}/health").json()["checks"]
        assert checks == {name: {"status": "ok"} for name in ("database", "queue", "worker")}
        database.fetch("UPDATE rhesis.alembic_version SET version_num = 'other'")
        _, text = eventually(
            lambda: (found := health(port, "/health"))[0] == 503 and found, within=20, what="trouble to be noticed"
        )
        assert '"database": {"status": "failed", "class": "schema"}' in text
        assert "rhesis_test" not in text, "no name of a database"
        assert health(port, "/ping") == (200, "pong"), "the process lives all the same"


def test_a_health_port_that_is_taken_does_not_keep_a_worker_from_working(database, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with running(*RHESIS, "worker", "--execution", folder=tmp_path, HEALTH_PORT=port) as worker:
            worker.waits_for(f"no health server on 127.0.0.1 port {port}")
            worker.waits_for("ready.")


def test_no_health_server_is_started_unless_a_port_is_set(database, tmp_path):
    with running(*RHESIS, "worker", "--execution", folder=tmp_path) as worker:
        worker.waits_for("ready.")
        main = psutil.Process(worker.process.pid)
        assert [one for one in main.net_connections("inet") if one.status == psutil.CONN_LISTEN] == []


def test_the_documented_celery_command_starts_the_embedded_database_itself(home, tmp_path):
    command = (*RHESIS[:2], "celery", "-A", "rhesis.backend.worker.app")
    succeeded(rhesis("--home", home, "migrate", folder=tmp_path))
    with running(*command, "worker", "--loglevel=INFO", "-c", "1", folder=tmp_path, RHESIS_HOME=str(home)) as worker:
        worker.waits_for("ready.")
        assert EmbeddedServer(home).is_running()
        worker.send(signal.SIGTERM)
        assert worker.ends() == 0
    assert not EmbeddedServer(home).is_running()
    assert [one.name for one in tmp_path.iterdir()] == ["home"], "no log file unless one is asked for"
