"""The shape of the command line, with no database in reach."""

import logging

import click
import pytest
import structlog
from click.testing import CliRunner

from rhesis.backend.cli.failures import ApiUnreachable, WaitTimedOut
from rhesis.backend.cli.main import cli
from support.database import environment

COMMANDS = {
    "migrate", "organization create", "user create", "token create", "reap", "doctor", "down", "secrets rotate",
    "api", "worker", "up", "demo", "import", "run", "results",
}  # fmt: skip


def leaves(command: click.Command, name: str = "") -> dict[str, click.Command]:
    if not isinstance(command, click.Group):
        return {name: command}
    found = {}
    for word, one in command.commands.items():
        found.update(leaves(one, f"{name} {word}".strip()))
    return found


@pytest.fixture
def unreachable_database():
    with environment(DATABASE_URL="postgresql://nobody:s3cret@127.0.0.1:9/nothing"):
        yield


def invoke(*arguments: str):
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        return CliRunner().invoke(cli, arguments)
    finally:
        root.handlers[:], root.level = before
        structlog.reset_defaults()


def test_the_commands_are_these():
    assert set(leaves(cli)) == COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_works_without_a_database(unreachable_database, command):
    result = invoke(*command.split(), "--help")
    assert result.exit_code == 0, result.output
    assert "Usage: " in result.output


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_option_says_what_it_is_for(command):
    for parameter in leaves(cli)[command].params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help or parameter.show_default, f"{command} {parameter.name}"


@pytest.mark.parametrize(
    "arguments",
    [
        ("migrate",),
        ("doctor",),
        ("organization", "create", "A"),
        ("token", "create", "--user", "a@example.org"),
        ("reap", "--once"),
        ("api", "--port", "0"),
        ("worker",),
        ("up", "--port", "0"),
    ],
)
def test_an_unreachable_database_is_one_line_without_its_password(unreachable_database, arguments):
    result = invoke(*arguments)
    assert result.exit_code == 1
    lines = [line for line in result.stderr.splitlines() if not line.startswith("database: ")]
    lines += [line for line in result.stdout.splitlines() if line.startswith("failed")][:1]
    assert len(lines) == 1, result.output
    assert "127.0.0.1" in lines[0]
    assert "cannot be reached" in lines[0]
    assert "s3cret" not in result.output


def test_debug_shows_the_traceback_of_an_expected_failure(unreachable_database):
    result = invoke("--debug", "migrate")
    assert type(result.exception).__name__ == "DatabaseUnavailable"


@pytest.mark.parametrize(
    "arguments",
    [("run", "no-uuid"), ("reap",), ("api", "--port", "70000"), ("nonsense",), ("doctor", "--only", "nothing")],
)
def test_a_usage_error_exits_2(arguments):
    assert invoke(*arguments).exit_code == 2


def test_results_of_a_run_that_is_not_waited_for_cannot_be_asked_for():
    result = invoke("run", "5e6f7a58-4a1b-4c66-9dc4-3d1c7c0f6a11", "-o", "junit")
    assert result.exit_code == 2
    assert "--wait" in result.stderr


def test_exit_codes_tell_waiting_in_vain_from_an_api_that_does_not_answer():
    assert (WaitTimedOut.exit_code, ApiUnreachable.exit_code) == (3, 5)


def test_saving_a_token_is_refused_where_no_home_is_in_use(unreachable_database):
    result = invoke("token", "create", "--user", "a@example.org", "--save")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "RHESIS_TOKEN" in result.stderr
