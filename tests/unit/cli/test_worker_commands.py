"""The command lines that start workers."""

import sys

import pytest

from rhesis.backend.cli.worker_commands import WorkerKind, worker_command
from support.database import environment


@pytest.fixture
def set_variables():
    with environment(RHESIS_EXECUTION_CONCURRENCY="17", CELERY_WORKER_CONCURRENCY="3", CELERY_WORKER_OPTS="-E --quiet"):
        yield


def options(kind: WorkerKind) -> list[str]:
    command = list(worker_command(kind))
    assert command[:6] == [sys.executable, "-m", "celery", "-A", "rhesis.backend.worker.app", "worker"]
    return command[6:]


def test_a_worker_for_everything_is_started_as_documented_and_names_no_queue():
    assert options(WorkerKind()) == [
        "--loglevel=INFO",
        "--concurrency=8",
        "--prefetch-multiplier=4",
        "--max-tasks-per-child=1000",
        "--without-heartbeat",
        "--without-gossip",
    ]


def test_an_execution_worker_waits_in_threads_and_reserves_one_test_for_each(set_variables):
    assert options(WorkerKind(queues="execution", threads=True, name="execution")) == [
        "--loglevel=INFO",
        "--concurrency=17",
        "--prefetch-multiplier=1",
        "--pool=threads",
        "-Q",
        "execution",
        "-n",
        "execution@%h",
        "-E",
        "--quiet",
    ]


def test_what_the_command_says_wins_over_the_settings(set_variables):
    assert "--concurrency=5" in options(WorkerKind(concurrency=5, name="a@b"))
    assert "a@b" in options(WorkerKind(concurrency=5, name="a@b"))
