"""Commands that speak HTTP to the API: a CI job has a URL and a token, and no database."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from rhesis.backend.cli.api_client import ApiClient, connect
from rhesis.backend.cli.progress import display, follow, say_goes_on
from rhesis.backend.cli.render import Output, Report, Table, output_option, render
from rhesis.backend.cli.terminal import say
from rhesis.backend.domain.run_status import RunStatus
from rhesis.backend.settings import MAX_DEADLINE_SECONDS

INTERRUPTED = 130
_ENVIRONMENT = "Environment: RHESIS_API_URL, RHESIS_TOKEN"
_MEDIA_TYPES = {"csv": "text/csv", "jsonl": "application/x-ndjson"}
_RESULT_COLUMNS = ("test", "status", "ms", "prompt", "reason")


@click.command("import", epilog=_ENVIRONMENT)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="Name of the new test set.")
@click.option(
    "--format", "file_format", type=click.Choice(list(_MEDIA_TYPES)), help="Format of the file. Default: by its name."
)
def import_file(file: Path, name: str, file_format: str | None) -> None:
    """Make a test set of FILE: all of its tests, or none and what is wrong."""
    wanted = file_format or file.suffix.lower().removeprefix(".")
    if wanted not in _MEDIA_TYPES:
        raise click.UsageError(f"{file.name} ends neither in .csv nor in .jsonl: say which with --format")
    with _connected() as api:
        made = api.upload("/test_sets/import", file, _MEDIA_TYPES[wanted], name=name)
    for note in made["notes"]:
        say(f"note: {note}")
    say(f"test set {name}: {made['tests']} tests")
    click.echo(made["test_set"]["id"])


@click.command(epilog=_ENVIRONMENT)
@click.argument("configuration_id", type=click.UUID)
@click.option("--wait", is_flag=True, help="Wait for the end and exit by the outcome: 0, 1, or 3 when time is up.")
@click.option("--timeout", "timeout_seconds", type=click.FloatRange(min=0), help="Seconds to wait at most.")
@click.option(
    "--deadline",
    "deadline_seconds",
    type=click.IntRange(1, MAX_DEADLINE_SECONDS),
    help="Seconds after which the run itself is closed.",
)
@output_option
@click.pass_context
def run(
    ctx: click.Context,
    configuration_id: UUID,
    *,
    wait: bool,
    timeout_seconds: float | None,
    deadline_seconds: int | None,
    output: Output,
) -> None:
    """Execute test configuration CONFIGURATION_ID.

    Exit codes of --wait: 0 every test passed, 1 a test failed or the run did not complete, 3 the time to wait was over,
    5 the API does not answer, 130 interrupted; the run itself goes on after 3, 5 and 130.
    """
    if not wait and output in {Output.JUNIT, Output.CSV}:
        raise click.UsageError(f"-o {output} needs --wait: there are no results yet")
    with _connected() as api:
        path = f"/test_configurations/{configuration_id}/execute"
        submitted = api.post(path, {"deadline_seconds": deadline_seconds})
        run_id = str(submitted["test_run_id"])
        if not wait:
            click.echo(run_id if output is Output.TABLE else json.dumps(submitted, indent=2))
            return
        say(f"run: {run_id}")
        try:
            with display() as shown:
                counts = follow(api, run_id, shown, timeout_seconds=timeout_seconds)
        except KeyboardInterrupt:
            say_goes_on(run_id)
            ctx.exit(INTERRUPTED)
        render(_report_of_run(api, counts), output)
    ctx.exit(0 if _is_clean(counts) else 1)


@click.command(epilog=_ENVIRONMENT)
@click.argument("run_id", type=click.UUID)
@output_option
@click.option("--raw", is_flag=True, help="CSV exactly as stored, for machines and not for spreadsheets.")
def results(run_id: UUID, *, output: Output, raw: bool) -> None:
    """Print the results of run RUN_ID that there are so far."""
    with _connected() as api:
        render(_report_of_results(api, str(run_id), raw=raw), output)


def result_rows(api: ApiClient, run_id: str) -> Iterator[Mapping[str, str]]:
    """Yield a run's results in the order of its tests, as the CSV export has them."""
    # Prompts and answers may be longer than the module's limit.
    csv.field_size_limit(2**31 - 1)
    stream = api.stream(f"/test_runs/{run_id}/results", format="csv", raw="true")
    return csv.DictReader(_lines(stream))


def reason_of(row: Mapping[str, str]) -> str:
    """Return why a test did not pass, in short."""
    if row["error_type"]:
        return f"{row['error_type']}: {row['error']}" if row["error"] else row["error_type"]
    metrics = json.loads(row["metrics"] or "{}")
    failed = {name: metric for name, metric in metrics.items() if not metric.get("is_successful")}
    reasons = {name: metric.get("error") or metric.get("reason") or "not met" for name, metric in failed.items()}
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())


def _connected() -> ApiClient:
    api = connect()
    say(f"API: {api.url}")
    return api


def _is_clean(counts: Mapping[str, Any]) -> bool:
    return bool(counts["status"] == RunStatus.COMPLETED and counts["passed"] == counts["total"])


def _report_of_run(api: ApiClient, counts: Mapping[str, Any]) -> Report:
    run_id = str(counts["test_run_id"])
    columns = ("run", "status", "total", "passed", "failed", "errors")
    values = (run_id, *(counts[name] for name in columns[1:]))
    exported = _report_of_results(api, run_id, raw=False)
    return Report(lambda: Table(columns, [values]), lambda: counts, exported.junit, exported.csv)


def _report_of_results(api: ApiClient, run_id: str, *, raw: bool) -> Report:
    path = f"/test_runs/{run_id}/results"
    return Report(
        table=lambda: Table(_RESULT_COLUMNS, [_table_row(row) for row in result_rows(api, run_id)]),
        json=lambda: api.items(path),
        junit=lambda: api.stream(path, format="junit"),
        csv=lambda: api.stream(path, format="csv", raw=str(raw).lower()),
    )


def _table_row(row: Mapping[str, str]) -> tuple[object, ...]:
    name = row["id"] or row["test_id"]
    return (name, row["status"], float(row["execution_time_ms"]), row["prompt"], reason_of(row))


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """Yield lines with their ends as they are: a cell may hold one."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from (f"{line.decode()}\n" for line in whole)
    if rest:
        yield rest.decode()
