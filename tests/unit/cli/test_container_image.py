"""The image's recipe, parsed: nothing here can build it."""

import json
import re
import shlex
from pathlib import Path

import pytest

DOCUMENTED = {
    "CELERY_WORKER_CONCURRENCY": "8",
    "CELERY_WORKER_PREFETCH_MULTIPLIER": "4",
    "CELERY_WORKER_MAX_TASKS_PER_CHILD": "1000",
    "CELERY_WORKER_LOGLEVEL": "INFO",
    "CELERY_WORKER_OPTS": "--without-heartbeat --without-gossip",
}


@pytest.fixture(scope="module")
def recipe(project: Path) -> list[tuple[str, str]]:
    """Return the instructions and their arguments in order."""
    lines = [line for line in (project / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    text = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def arguments(recipe: list[tuple[str, str]], instruction: str) -> list[str]:
    return [rest for word, rest in recipe if word == instruction]


def variables(recipe: list[tuple[str, str]]) -> dict[str, str]:
    words = [word for rest in arguments(recipe, "ENV") for word in shlex.split(rest)]
    return dict(word.split("=", 1) for word in words)


def test_the_documented_defaults_are_set(recipe):
    assert DOCUMENTED.items() <= variables(recipe).items()


def test_no_secret_and_no_address_is_baked_in(recipe):
    assert variables(recipe).keys() - DOCUMENTED.keys() == {"HEALTH_PORT"}
    assert not arguments(recipe, "ARG")


def test_it_runs_as_a_user_who_is_not_root(recipe):
    instructions = [word for word, _ in recipe]
    assert arguments(recipe, "USER") == ["celery_user"]
    assert instructions.index("USER") < instructions.index("CMD")
    assert any("useradd" in command and "celery_user" in command for command in arguments(recipe, "RUN"))


def test_the_health_check_asks_the_workers_own_server_as_often_as_documented(recipe):
    [check] = arguments(recipe, "HEALTHCHECK")
    options, command = check.split(" CMD ")
    assert options.split() == ["--interval=30s", "--timeout=10s", "--start-period=30s", "--retries=3"]
    program, flag, source = json.loads(command)
    assert (program, flag) == ("python", "-c")
    compile(source, "health check", "exec")
    assert "/ping" in source


def test_only_locked_packages_with_their_hashes_are_installed(recipe):
    commands = [command for command in arguments(recipe, "RUN") if "pip install" in command]
    assert len(commands) == 2
    assert "--require-hashes -r requirements/run.txt" in commands[0]
    assert "--no-deps --no-build-isolation" in commands[1]


def test_it_starts_the_documented_script_and_everything_that_is_copied_exists(recipe, project: Path):
    assert [json.loads(rest) for rest in arguments(recipe, "CMD")] == [["./start-worker.sh"]]
    for rest in arguments(recipe, "COPY"):
        *sources, _ = rest.split()
        assert all((project / source).exists() for source in sources), rest


def test_what_is_copied_is_not_ignored(recipe, project: Path):
    kept = {line[1:] for line in (project / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for rest in arguments(recipe, "COPY") for source in rest.split()[:-1]}
    assert copied == kept
