"""The demo, from nothing to its table: it ends in time, says what it should, and leaves nothing running."""

import signal
import time
from pathlib import Path

import psycopg
import pytest

from rhesis.backend.embedded import EmbeddedServer
from support.commands import RHESIS, assert_gone, own_home, rhesis, running
from support.waiting import eventually

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("processes")]
AT_MOST_SECONDS = 60.0


@pytest.fixture
def home(tmp_path: Path):
    with own_home(tmp_path) as path:
        yield path


def status_line(output: str) -> list[str]:
    heading, values, *_ = output.splitlines()
    assert heading.split()[:5] == ["status", "tests", "Pass", "Fail", "Error"]
    return values.split()


def test_the_demo_runs_twice_from_nothing_to_the_same_result_and_leaves_nothing(home, tmp_path):
    found = []
    for _ in range(2):
        began = time.monotonic()
        with running(*RHESIS, "--home", home, "demo", "--tests", "30", folder=tmp_path) as demo:
            demo.waits_for("API: ")
            groups = demo.groups()
            code = demo.ends(within=120)
            assert_gone(groups)
        assert code == 0, demo.err[-10:]
        assert time.monotonic() - began < AT_MOST_SECONDS
        assert len(groups) == 5, "this command, API, assistant and two workers"
        assert not EmbeddedServer(home / "demo").is_running()
        found.append(status_line("".join(demo.out)))
    first, second = found
    assert first[:5] == second[:5], "the assistant is wrong about the same questions"
    assert (first[0], sum(map(int, first[2:5]))) == ("Partial", 30)
    talk = "".join(demo.err)
    assert "100 %" in talk
    assert f"--home {(home / 'demo').relative_to(tmp_path)} results" in talk
    assert not (home / "credentials.json").exists(), "the database of `up` is another one"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_demo_that_is_stopped_in_the_middle_leaves_nothing(home, tmp_path, number, code):
    with running(*RHESIS, "--home", home, "demo", folder=tmp_path) as demo:
        demo.waits_for(", Progress", within=90)
        groups = demo.groups()
        demo.send(number)
        assert demo.ends(within=40) == code
        assert_gone(groups)
    assert not EmbeddedServer(home / "demo").is_running()
    assert not any("Traceback" in line for line in demo.err)


def test_a_demo_is_refused_where_another_one_runs_and_a_kept_one_ends_on_ctrl_c(home, tmp_path):
    with running(*RHESIS, "--home", home, "demo", "--tests", "3", "--keep", folder=tmp_path) as demo:
        demo.waits_for("everything keeps running", within=90)
        second = rhesis("--home", home, "demo", folder=tmp_path)
        assert second.returncode == 1
        assert "is in use" in second.stderr.splitlines()[-1]
        groups = demo.groups()
        demo.send(signal.SIGINT)
        assert demo.ends(within=40) == 130
        assert_gone(groups)


def test_beside_a_named_database_the_demo_makes_one_of_its_own(server_url, tmp_path):
    variables = {"DATABASE_URL": server_url, "RHESIS_HOME": str(tmp_path / "home")}
    with psycopg.connect(server_url, autocommit=True) as connection:
        try:
            result = rhesis("demo", "--tests", "3", folder=tmp_path, timeout=120, **variables)
            assert result.returncode == 0, result.stderr
            assert "rhesis_demo" in result.stderr
            assert status_line(result.stdout)[1] == "3"
            again = rhesis("demo", "--tests", "2", folder=tmp_path, timeout=120, **variables)
            assert status_line(again.stdout)[1] == "2"
            eventually(lambda: _sessions(connection) == 0, within=10, what="the end of every session")
        finally:
            connection.execute("DROP DATABASE IF EXISTS rhesis_demo WITH (FORCE)")


def _sessions(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = 'rhesis_demo'").fetchone()
    return int(row[0]) if row else 0
