"""What `rhesis doctor` looks at."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Self

from sqlalchemy.exc import DBAPIError

from rhesis.backend import provision, runtime
from rhesis.backend.app.database import engine
from rhesis.backend.app.repositories import heartbeats
from rhesis.backend.app.services.health import CheckStatus, HealthChecker
from rhesis.backend.app.services.reaping import queue_transaction
from rhesis.backend.app.services.secrets import secret_box
from rhesis.backend.cli.failures import CommandFailed
from rhesis.backend.cli.terminal import printable
from rhesis.backend.errors import RhesisError

Check = Callable[[], str]


@dataclass(frozen=True)
class Checked:
    """One check's outcome in one line."""

    good: bool
    line: str

    @classmethod
    def of(cls, name: str, check: Check) -> Self:
        """Do a check. It returns what is well, or raises what is not."""
        try:
            return cls(good=True, line=f"ok      {name:<12} {check()}")
        except RhesisError as error:
            return cls(good=False, line=printable(f"failed  {name:<12} {error}"))
        except DBAPIError as error:
            return cls(good=False, line=printable(f"failed  {name:<12} {runtime.unavailable(error.orig or error)}"))


def checks() -> Mapping[str, Check]:
    """Return the checks by name, in the order in which one makes the next one possible."""
    return {
        "application": _application,
        "queue": _queue,
        "owner": _owner,
        "schema": _schema,
        "broker": _broker,
        "keys": _keys,
        "workers": _workers,
    }


def _application() -> str:
    with engine().connect():
        return "requests and tasks log in as rhesis_app and cannot see past row-level security"


def _queue() -> str:
    with queue_transaction():
        return "broker, results and reaper log in as rhesis_queue"


def _owner() -> str:
    with closing(runtime.connect(runtime.migration_login())):
        return "rhesis migrate can log in"


def _schema() -> str:
    found, expected = provision.current_revision(), provision.head_revision()
    if found != expected:
        raise CommandFailed(f"revision {found or 'none'}, this version needs {expected}: run rhesis migrate")
    return f"revision {found}"


def _broker() -> str:
    checker = HealthChecker(provision.head_revision)
    try:
        outcome = checker.check().checks["queue"]
    finally:
        checker.close()
    if outcome.status is CheckStatus.FAILED:
        raise CommandFailed(
            f"not usable ({outcome.failure}): look at BROKER_URL, or at the database where it is not set"
        )
    return "the broker answers"


def _keys() -> str:
    secret_box()
    return "stored credentials can be encrypted"


def _workers() -> str:
    with queue_transaction() as connection:
        names = heartbeats.alive(connection)
    return f"{len(names)} alive: {', '.join(names)}" if names else "none alive: runs wait until one is started"
