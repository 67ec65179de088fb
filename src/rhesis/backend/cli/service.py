"""Commands that run the service: the API, a worker, or everything in one terminal."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from rhesis.backend import provision, runtime
from rhesis.backend.app.database import dispose_engine
from rhesis.backend.app.services.secrets import secret_box
from rhesis.backend.cli import api_server
from rhesis.backend.cli.api_client import ADDRESS_FILE
from rhesis.backend.cli.environment import allow_local_endpoints, choose
from rhesis.backend.cli.first_run import make_first_user
from rhesis.backend.cli.readiness import wait_for_api, wait_for_workers
from rhesis.backend.cli.supervise import Family, Interrupted, Interruptions, Program, own_command
from rhesis.backend.cli.terminal import say, say_database
from rhesis.backend.cli.worker_commands import LOG_FILE, WorkerKind, worker_command
from rhesis.backend.embedded.files import write_private
from rhesis.backend.settings import get_settings

PORT = click.IntRange(0, 65535)


@click.command()
@click.option("--host", default=api_server.LOCAL_HOST, show_default=True, help="Address to listen on.")
@click.option("--port", type=PORT, default=api_server.USUAL_PORT, show_default=True, help="0 is any free port.")
@click.option("--fd", type=click.IntRange(min=0), hidden=True, help="Serve a listening socket that was inherited.")
def api(host: str, port: int, fd: int | None) -> None:
    """Serve the HTTP API and print its address when it answers."""
    listener = api_server.listen(host, port) if fd is None else socket.socket(fileno=fd)
    with listener:
        say_database()
        provision.prepare(create=True)
        secret_box()
        api_server.serve(listener)


@click.command()
@click.option("--execution", is_flag=True, help="Execute tests only, side by side in threads.")
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    help="Tasks at a time.  [env: CELERY_WORKER_CONCURRENCY; with --execution RHESIS_EXECUTION_CONCURRENCY]",
)
@click.option("--name", help="Name of the worker; two on one machine need two.")
def worker(*, execution: bool, concurrency: int | None, name: str | None) -> None:
    """Run a worker: for everything, or with --execution for the tests alone.

    Its log also goes to celery_worker.log (CELERY_WORKER_LOGFILE), and HEALTH_PORT starts its health server.
    """
    say_database()
    provision.prepare(create=True)
    secret_box()
    _choose_log(Path(LOG_FILE))
    name = name or ("execution" if execution else None)
    command = worker_command(
        WorkerKind(queues="execution" if execution else None, threads=execution, concurrency=concurrency, name=name)
    )
    # The worker takes this process over, so that signals and the exit code are its own.
    os.execv(command[0], command)  # noqa: S606 - there is nothing for a shell to do


@click.command()
@click.option("--port", type=PORT, help="Port of the API. Default: 8000 or the next free one.")
def up(port: int | None) -> None:
    """Run database, API and two workers until Ctrl-C.

    The first run on an embedded database makes an organization, a superuser and his token in .rhesis/token.
    """
    with Interruptions() as interruptions:
        try:
            _run_everything(interruptions, port)
        except Interrupted as interrupted:
            say(f"{interrupted}: stopped")
        finally:
            interruptions.begin_stopping()
            dispose_engine()
            runtime.release()


def _run_everything(interruptions: Interruptions, port: int | None) -> None:
    allow_local_endpoints()
    _choose_log(Path(LOG_FILE))
    say_database()
    provision.prepare(create=True)
    secret_box()
    if get_settings().is_embedded:
        make_first_user()
    listener = api_server.listen_nearby() if port is None else api_server.listen(api_server.LOCAL_HOST, port)
    address = api_server.address_of(listener)
    with listener, Family(interruptions) as family:
        start_service(family, listener, WorkerKind(queues="celery"), WorkerKind(queues="execution", threads=True))
        wait_for_api(family, address)
        wait_for_workers(family, 2)
        with _published(address):
            say(f"ready at {address}, its description is {address}/docs; Ctrl-C stops everything")
            click.echo(address)
            family.wait_for_an_end()


def start_service(family: Family, listener: socket.socket, default: WorkerKind, execution: WorkerKind) -> None:
    """Start the API on a listening socket, and the two workers; the workers are stopped before the API."""
    descriptor = listener.fileno()
    serve = own_command("api", "--fd", str(descriptor))
    family.start(Program("api", serve, stage=1, inherited=(descriptor,)))
    listener.close()
    family.start(Program("worker", worker_command(replace(default, name="worker"))))
    if get_settings().health_port is not None:
        # One port cannot serve two workers.
        choose(HEALTH_PORT="0")
    family.start(Program("execution", worker_command(replace(execution, name="execution"))))


def _choose_log(path: Path) -> None:
    if get_settings().worker_log_file is None:
        choose(CELERY_WORKER_LOGFILE=str(path.resolve()))


@contextmanager
def _published(address: str) -> Iterator[None]:
    """Let the commands that speak HTTP find an API that could not have its usual port."""
    file = runtime.home() / ADDRESS_FILE
    if not get_settings().is_embedded:
        yield
        return
    write_private(file, f"{address}\n")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
