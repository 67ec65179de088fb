"""Commands that work on the database: schema, organizations, users, tokens, upkeep."""

from uuid import UUID

import click

from rhesis.backend import provision, runtime
from rhesis.backend.app.models import User
from rhesis.backend.app.services import identity
from rhesis.backend.app.services.secret_rotation import rotate_secrets
from rhesis.backend.cli.checks import Checked, checks
from rhesis.backend.cli.failures import CommandFailed
from rhesis.backend.cli.first_run import save_token
from rhesis.backend.cli.terminal import say, say_database
from rhesis.backend.errors import EmbeddedServerError
from rhesis.backend.settings import get_settings, project_root
from rhesis.backend.tasks.execution.liveness import reap_once


@click.command(epilog="Environment: DATABASE_URL, RHESIS_OWNER_URL")
@click.pass_context
def migrate(ctx: click.Context) -> None:
    """Create or upgrade the schema, and print its revision.

    Where the login may not create the roles, the SQL for an administrator is printed instead.
    """
    say_database()
    runtime.start(create=True)
    try:
        click.echo(provision.migrate())
    except provision.MissingRoles as error:
        click.echo(error.sql)
        say(f"rhesis: {error}")
        ctx.exit(1)


@click.group()
def organization() -> None:
    """Manage organizations, the tenants."""


@organization.command("create")
@click.argument("name")
def create_organization(name: str) -> None:
    """Create the organization NAME and print its id."""
    _open_database()
    click.echo(identity.create_organization(name).id)


@click.group()
def user() -> None:
    """Manage users."""


@user.command("create")
@click.argument("email")
@click.option("--organization", "organization_id", type=click.UUID, required=True, help="Id of his organization.")
@click.option("--superuser", is_flag=True, help="May manage organizations, users and tokens; made by no other way.")
@click.option("--name", default="", help="Name to show.")
def create_user(email: str, organization_id: UUID, *, superuser: bool, name: str) -> None:
    """Create the user EMAIL and print his id."""
    _open_database()
    click.echo(identity.create_user(organization_id, email, name=name, is_superuser=superuser).id)


@click.group()
def token() -> None:
    """Manage API tokens."""


@token.command("create")
@click.option("--user", "email_or_id", required=True, metavar="EMAIL|ID", help="Whose token it is.")
@click.option(
    "--days",
    type=click.IntRange(1, identity.MAX_TOKEN_DAYS),
    default=identity.DEFAULT_TOKEN_DAYS,
    show_default=True,
    help="Days until it expires.",
)
@click.option("--name", default="", help="What it is for.")
@click.option("--save", is_flag=True, help="Also keep it in .rhesis/token, where run, import and results look for it.")
def create_token(email_or_id: str, days: int, name: str, *, save: bool) -> None:
    """Create a token and print it; it is never shown again."""
    if save and not get_settings().is_embedded:
        raise click.UsageError("--save is for the embedded database: with DATABASE_URL, set RHESIS_TOKEN instead")
    _open_database()
    created = identity.create_token(_user(email_or_id).id, name=name, days=days)
    click.echo(created.plain)
    if save:
        say(f"saved in {save_token(created.plain)}")


@click.command()
@click.option("--once", is_flag=True, required=True, help="Do one pass; workers do it all the time.")
@click.pass_context
def reap(ctx: click.Context, *, once: bool) -> None:  # noqa: ARG001 - the word says what happens
    """Close the runs that are past their deadline, and print their ids."""
    _read_database(ctx)
    report = reap_once()
    if not report.led:
        say("a worker is at it right now: nothing to do")
    for run_id in report.closed:
        click.echo(run_id)
    for run_id, error in report.refused:
        say(f"run {run_id} could not be closed ({error}): run this again, or look into the server's log")
    say(f"{len(report.closed)} runs closed, {report.swept_messages} delivered messages removed")
    ctx.exit(1 if report.refused else 0)


@click.command()
@click.option("--only", metavar="CHECK", help="Do this check alone.")
@click.pass_context
def doctor(ctx: click.Context, only: str | None) -> None:
    """Check each connection, role, schema, key and the broker: a line each, exit code 1 if one failed."""
    known = checks()
    if only is not None and only not in known:
        raise click.UsageError(f"there is no check {only}; there are {', '.join(known)}")
    _read_database(ctx)
    outcomes = [Checked.of(name, check) for name, check in known.items() if only in {None, name}]
    for outcome in outcomes:
        click.echo(outcome.line)
    ctx.exit(0 if all(outcome.good for outcome in outcomes) else 1)


@click.command()
def down() -> None:
    """Stop the embedded database, also under those who use it; the next who needs it starts it again."""
    say_database()
    if not get_settings().is_embedded:
        raise CommandFailed("DATABASE_URL is set: there is no embedded database to stop")
    server = runtime.embedded_server()
    running = server.is_running()
    server.stop()
    say("stopped" if running else "nothing was running")


@click.group()
def secrets() -> None:
    """Manage the keys that encrypt stored credentials."""


@secrets.command("rotate", epilog="Environment: RHESIS_SECRET_KEYS")
@click.pass_context
def rotate(ctx: click.Context) -> None:
    """Encrypt every stored credential with the first key.

    Put the new key in front of the old ones, run this, then remove the old ones. Values that no key opens stay as they
    are and are named; the exit code is 1 then.
    """
    _open_database()
    report = rotate_secrets()
    for endpoint_id in report.unreadable:
        say(f"endpoint {endpoint_id}: no key opens its credentials, they stay as they are")
    click.echo(f"{report.values} credentials of {report.endpoints} endpoints")
    ctx.exit(1 if report.unreadable else 0)


def _user(email_or_id: str) -> User:
    try:
        return identity.get_user(UUID(email_or_id))
    except ValueError:
        return identity.find_user_by_email(email_or_id)


def _open_database() -> None:
    say_database()
    try:
        runtime.start(create=False)
    except EmbeddedServerError as error:
        if runtime.embedded_server().exists():
            raise
        raise CommandFailed(f"{error}; rhesis migrate makes one") from error


def _read_database(ctx: click.Context) -> None:
    """Start a database that was stopped. That there never was one is no failure in the project's own place."""
    say_database()
    try:
        runtime.start(create=False)
    except EmbeddedServerError as error:
        if runtime.embedded_server().exists():
            raise
        say(str(error))
        root = project_root()
        ctx.exit(0 if root is not None and runtime.home() == root / ".rhesis" else 1)
