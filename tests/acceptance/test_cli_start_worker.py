"""`start-worker.sh`, run by real shells: once with the real worker, and with stand-ins for what it calls."""

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from support.commands import assert_gone, running
from support.waiting import eventually

SHELLS = [shell for shell in ("sh", "bash") if shutil.which(shell)]
# Waits until it is told to stop, and then ends with a code nobody else would use.
PATIENT = 'trap "exit 42" TERM; echo "celery $*" >>called; while :; do sleep 0.05; done'


@pytest.fixture
def script(project: Path, tmp_path: Path) -> Path:
    """Return a copy beside which no .venv lies."""
    return Path(shutil.copy(project / "start-worker.sh", tmp_path))


@pytest.fixture
def stand_in(tmp_path: Path):
    """Make programs that are found before the real ones."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def make(name: str, source: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{source}\n")
        (folder / name).chmod(0o755)

    make("python", "exit 0")
    return make


def called(folder: Path) -> list[str]:
    file = folder / "called"
    return file.read_text().splitlines() if file.exists() else []


def start(script: Path, shell: str = "sh", **variables: str):
    path = f"{script.parent / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return running(shell, script, folder=script.parent, **{"PATH": path, **variables})


@pytest.mark.xdist_group("processes")
def test_it_runs_the_documented_worker_and_ends_with_its_code_when_told_to_stop(database, script):
    variables = {"CELERY_WORKER_CONCURRENCY": "2", "HEALTH_PORT": "0", "BROKER_URL": ""}
    with start(script, **variables) as worker:
        worker.waits_for("ready.", within=90)
        worker.waits_for("the worker is alive after 5 s")
        assert any("concurrency: 2 (prefork)" in line for line in worker.out)
        group = worker.process.pid
        worker.send(signal.SIGTERM)
        assert worker.ends() == 0
        assert_gone({group})
    talk = "".join(worker.err)
    assert "DATABASE_URL is set\n" in talk
    assert "BROKER_URL is not set\n" in talk
    assert database.url not in talk
    assert "health server on 127.0.0.1 port" in talk
    assert "ready." in (script.parent / "celery_worker.log").read_text()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_and_the_workers_own_code_is_returned(script, stand_in, shell, number):
    stand_in("celery", PATIENT)
    with start(script, shell) as worker:
        eventually(lambda: called(script.parent), within=20, what="the worker")
        group = worker.process.pid
        worker.send(number)
        assert worker.ends(within=20) == 42
        assert_gone({group})


@pytest.mark.parametrize("shell", SHELLS)
def test_a_worker_that_cannot_start_is_noticed_and_its_code_returned(script, stand_in, shell):
    stand_in("celery", "exit 7")
    with start(script, shell) as worker:
        assert worker.ends(within=20) == 7
        worker_group = worker.process.pid
        assert_gone({worker_group})
    assert any("the worker ended within 5 s" in line for line in worker.err)


def command_with(script: Path, stand_in, **variables: str) -> str:
    stand_in("celery", 'echo "celery $*" >>called')
    with start(script, **variables) as worker:
        assert worker.ends(within=20) == 0
    return called(script.parent)[-1]


def test_the_variables_have_the_documented_defaults(script, stand_in):
    assert command_with(script, stand_in) == (
        "celery -A rhesis.backend.worker.app worker --loglevel=INFO --concurrency=8 --prefetch-multiplier=4"
        " --max-tasks-per-child=1000 --without-heartbeat --without-gossip"
    )


def test_the_variables_shape_the_command_and_options_are_words(script, stand_in):
    found = command_with(
        script,
        stand_in,
        CELERY_WORKER_CONCURRENCY="3",
        CELERY_WORKER_PREFETCH_MULTIPLIER="1",
        CELERY_WORKER_MAX_TASKS_PER_CHILD="9",
        CELERY_WORKER_LOGLEVEL="DEBUG",
        CELERY_WORKER_OPTS="-Q execution",
    )
    assert found.endswith(
        "--loglevel=DEBUG --concurrency=3 --prefetch-multiplier=1 --max-tasks-per-child=9 -Q execution"
    )
    assert "heartbeat" not in command_with(script, stand_in, CELERY_WORKER_OPTS="")


def test_an_application_that_cannot_be_imported_is_fatal(script, stand_in):
    stand_in("python", "echo no such module >&2; exit 1")
    stand_in("celery", 'echo "celery $*" >>called')
    with start(script) as worker:
        assert worker.ends(within=20) == 1
    assert called(script.parent) == []
    assert any("cannot be imported" in line for line in worker.err)


def test_a_broker_that_is_away_is_a_warning_without_its_password(script, stand_in):
    (script.parent / "bin" / "python").unlink()
    stand_in("celery", 'echo "celery $*" >>called')
    with start(script, BROKER_URL="redis://:s3cret@127.0.0.1:9/0", DATABASE_URL="postgresql://127.0.0.1:9/x") as worker:
        assert worker.ends() == 0
    talk = "".join(worker.err)
    assert "warning: the broker could not be tested" in talk
    assert "s3cret" not in talk
    assert len(called(script.parent)) == 1, "the worker is started all the same"


def test_flower_that_is_not_installed_is_one_line(script, stand_in):
    command = command_with(script, stand_in, ENABLE_FLOWER="yes", PATH=f"{script.parent / 'bin'}:/usr/bin:/bin")
    assert " worker " in command


@pytest.mark.parametrize(("login", "address"), [("", "127.0.0.1"), ("user:password", "0.0.0.0")])
def test_flower_is_reached_by_other_machines_only_behind_a_login_and_ends_with_the_worker(
    script, stand_in, login, address
):
    stand_in("celery", PATIENT)
    stand_in("flower", "exit 0")
    with start(script, ENABLE_FLOWER="yes", FLOWER_BASIC_AUTH=login) as worker:
        eventually(lambda: len(called(script.parent)) == 2, within=20, what="worker and Flower")
        group = worker.process.pid
        worker.send(signal.SIGTERM)
        assert worker.ends(within=20) == 42
        assert_gone({group})
    assert f"celery -A rhesis.backend.worker.app flower --address={address} --port=5555" in called(script.parent)
    assert "password" not in "".join(worker.err)
