"""`rhesis demo`: from nothing to the result of a run, and then nothing is left running."""

import sys
import time
from pathlib import Path

import click

from rhesis.backend import runtime
from rhesis.backend.app.database import dispose_engine
from rhesis.backend.app.services.secrets import secret_box
from rhesis.backend.cli import api_server, demo_report
from rhesis.backend.cli.api_client import ApiClient
from rhesis.backend.cli.demo_place import Place, make_place
from rhesis.backend.cli.demo_world import MAX_TESTS, examples, first_tests, make_configuration, make_user
from rhesis.backend.cli.progress import display, follow
from rhesis.backend.cli.readiness import START_SECONDS, wait_for_api
from rhesis.backend.cli.remote import result_rows
from rhesis.backend.cli.render import table_lines
from rhesis.backend.cli.service import start_service
from rhesis.backend.cli.supervise import Family, Interrupted, Interruptions, Program
from rhesis.backend.cli.terminal import say, say_database
from rhesis.backend.cli.worker_commands import WorkerKind
from rhesis.backend.domain.run_status import RunStatus

# The assistant fails for some questions on purpose, so a run may end in either way.
EXPECTED_ENDS = frozenset({RunStatus.COMPLETED, RunStatus.PARTIAL})
_SEED = 7
_RUN_SECONDS = 120.0
_PATIENCE_SECONDS = 5.0
_DEFAULT_WORKER = WorkerKind(queues="celery", concurrency=2)
_EXECUTION_WORKER = WorkerKind(queues="execution", threads=True, concurrency=64)


@click.command()
@click.option("--tests", "count", type=click.IntRange(1, MAX_TESTS), default=MAX_TESTS, show_default=True)
@click.option("--keep", is_flag=True, help="Leave everything running afterwards, until Ctrl-C.")
@click.pass_context
def demo(ctx: click.Context, count: int, *, keep: bool) -> None:
    """Run the example test set against the example assistant and print the result.

    It has a home of its own, .rhesis/demo, or beside DATABASE_URL a database of its own, rhesis_demo. Both are emptied
    first.
    """
    began = time.monotonic()
    with Interruptions() as interruptions:
        try:
            status = _show(interruptions, count, keep=keep, began=began)
        except Interrupted as interrupted:
            say(f"{interrupted}: stopped everything")
            ctx.exit(interrupted.exit_code)
        finally:
            interruptions.begin_stopping()
            dispose_engine()
            runtime.release()
    ctx.exit(0 if status in EXPECTED_ENDS else 1)


def _show(interruptions: Interruptions, count: int, *, keep: bool, began: float) -> str:
    assistant = examples()
    place = make_place()
    secret_box()
    say_database()
    token = make_user()
    with Family(interruptions, patience_seconds=_PATIENCE_SECONDS, log=place.logs) as family:
        address, assistant_address = _start(family, place, assistant)
        with ApiClient(address, token) as api:
            tests = first_tests(assistant / "tests.csv", count, place.home / "tests.csv")
            configuration_id = make_configuration(api, assistant_address, tests)
            run_id, status = _run(api, family, configuration_id, began)
        say(f"look further:  {place.selection} up")
        say(f"               {place.selection} results {run_id} -o junit")
        if keep:
            say(f"everything keeps running, the API at {address}; Ctrl-C stops it")
            family.wait_for_an_end()
    return status


def _start(family: Family, place: Place, assistant: Path) -> tuple[str, str]:
    """Start everything side by side; return the addresses of the API and of the assistant."""
    listener = api_server.listen(api_server.LOCAL_HOST, 0)
    address = api_server.address_of(listener)
    with listener:
        start_service(family, listener, _DEFAULT_WORKER, _EXECUTION_WORKER)
    ready = place.home / "assistant.url"
    ready.unlink(missing_ok=True)
    command = (
        sys.executable,
        str(assistant / "server.py"),
        "--port",
        "0",
        "--seed",
        str(_SEED),
        "--ready-file",
        str(ready),
    )
    family.start(Program("assistant", command, stage=2))
    wait_for_api(family, address)
    family.wait_until(ready.is_file, seconds=START_SECONDS, what="the example assistant")
    found = ready.read_text(encoding="utf-8").strip()
    say(f"API: {address}   assistant: {found}   logs: {place.logs}")
    return address, found


def _run(api: ApiClient, family: Family, configuration_id: str, began: float) -> tuple[str, str]:
    run_id = str(api.post(f"/test_configurations/{configuration_id}/execute")["test_run_id"])
    with display() as shown:
        counts = follow(api, run_id, shown, timeout_seconds=_RUN_SECONDS, tick=family.check)
    rows = list(result_rows(api, run_id))
    tables = (
        demo_report.summary(counts, rows, time.monotonic() - began),
        demo_report.slowest(rows),
        demo_report.not_passed(rows),
    )
    for table in tables:
        for line in table_lines(table):
            click.echo(line)
        click.echo()
    return run_id, str(counts["status"])
