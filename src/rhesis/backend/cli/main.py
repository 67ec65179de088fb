"""The command `rhesis`, and how every one of its failures ends."""

import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from sqlalchemy.exc import InterfaceError, OperationalError

from rhesis.backend import runtime
from rhesis.backend.cli import database, remote, service
from rhesis.backend.cli.demo import demo
from rhesis.backend.cli.environment import choose
from rhesis.backend.cli.failures import CommandFailed
from rhesis.backend.cli.terminal import say
from rhesis.backend.errors import RhesisError
from rhesis.backend.logging import configure_logging

INTERRUPTED = 130


class Commands(click.Group):
    """Runs a command and turns what it raises into one line and an exit code; a bug still shows its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        # A failure is told in one line; the log's lines would only repeat it. Without this they would go to stdout.
        configure_logging("INFO" if ctx.params["debug"] else "CRITICAL", stream=sys.stderr)
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Whoever read us has seen enough. What is still buffered must not fail when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except (RhesisError, OperationalError, InterfaceError, OSError) as error:
            if ctx.params["debug"]:
                raise
            failure = _as_failure(error)
            say(f"rhesis: {failure}")
            ctx.exit(failure.exit_code if isinstance(failure, CommandFailed) else 1)


def _as_failure(error: Exception) -> RhesisError:
    if isinstance(error, RhesisError):
        return error
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return CommandFailed(f"{place}{error.strerror or type(error).__name__}")
    return runtime.unavailable(getattr(error, "orig", None) or error)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("rhesis-backend"), prog_name="rhesis")
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the embedded database, its keys, log and token.  [env: RHESIS_HOME]",
)
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def cli(home: Path | None, *, debug: bool) -> None:  # noqa: ARG001 - read by `Commands`
    """Run test sets against an endpoint in parallel and get one result, once.

    Data goes to stdout and talk to stderr.
    """
    if home is not None:
        choose(RHESIS_HOME=str(home.resolve()))


for _command in (
    database.migrate,
    database.organization,
    database.user,
    database.token,
    database.reap,
    database.doctor,
    database.down,
    database.secrets,
    service.api,
    service.worker,
    service.up,
    demo,
    remote.import_file,
    remote.run,
    remote.results,
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line."""
    cli(prog_name="rhesis")
