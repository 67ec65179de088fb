"""Whether the service can work, in a word for strangers and in figures for superusers.

Everybody may ask, so an answer is kept for two seconds and there is one set of checks at a time: asking often costs the
database nothing. What a check says beyond ok is one of four classes; the rest is in the log.
"""

import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit

import psycopg
import structlog
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from rhesis.backend import runtime
from rhesis.backend.app.repositories import workers
from rhesis.backend.app.services.reaping import queue_transaction
from rhesis.backend.errors import DatabaseFailure, DatabaseUnavailable
from rhesis.backend.settings import get_settings

CHECK_SECONDS = 2.0
KEPT_SECONDS = 2.0
_BROKER_PORTS = {"amqp": 5672, "amqps": 5671, "pyamqp": 5672, "redis": 6379, "rediss": 6379}

_log = structlog.get_logger(__name__)


class CheckStatus(StrEnum):
    """What a check came to."""

    OK = "ok"
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """One check's outcome; `failure` is its class when it failed."""

    status: CheckStatus
    failure: DatabaseFailure | None = None


@dataclass(frozen=True)
class HealthDetails:
    """What a superuser sees besides. Times are the database's."""

    revision: str | None
    connections_used: int
    connections_allowed: int
    newest_worker_beat_at: datetime | None
    oldest_open_run_at: datetime | None


@dataclass(frozen=True)
class Health:
    """All checks, by name."""

    checks: Mapping[str, Check]

    @property
    def status(self) -> CheckStatus:
        """`ok` when every check is."""
        good = all(check.status is CheckStatus.OK for check in self.checks.values())
        return CheckStatus.OK if good else CheckStatus.FAILED


class HealthChecker:
    """Runs the checks, each within `CHECK_SECONDS`, and keeps what they said for `KEPT_SECONDS`."""

    def __init__(self, expected_revision: Callable[[], str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._checks: Mapping[str, Callable[[], None]] = {
            "database": lambda: _check_database(expected_revision()),
            "queue": _check_queue,
        }
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: tuple[float, Health] | None = None
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="health")

    def check(self) -> Health:
        """Return how the service is."""
        with self._lock:
            if self._kept is None or self._clock() - self._kept[0] >= KEPT_SECONDS:
                health = self._run()
                self._kept = (self._clock(), health)
            return self._kept[1]

    def details(self) -> HealthDetails | None:
        """Return the figures, or None when they cannot be had in time."""
        future = self._threads.submit(_read_details)
        try:
            return future.result(CHECK_SECONDS)
        except (DatabaseUnavailable, DBAPIError, FutureTimeout) as error:
            _log.warning("health details unavailable", action="health", error_type=type(error).__name__)
            return None

    def close(self) -> None:
        """Let go of the threads; one that still waits for a server ends by its own time limit."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> Health:
        deadline = time.monotonic() + CHECK_SECONDS
        futures = {name: self._threads.submit(_outcome, name, check) for name, check in self._checks.items()}
        checks = {}
        for name, future in futures.items():
            try:
                checks[name] = future.result(max(0.0, deadline - time.monotonic()))
            except FutureTimeout:
                _log.error("health check timed out", action="health", check=name)
                checks[name] = Check(CheckStatus.FAILED, "unreachable")
        return Health(checks)


def _outcome(name: str, check: Callable[[], None]) -> Check:
    try:
        check()
    except Exception as error:  # noqa: BLE001 - whatever it is, the service is not well and the log says why
        failure = _failure_of(error)
        _log.error("health check failed", action="health", check=name, failure=failure, error_type=type(error).__name__)
        return Check(CheckStatus.FAILED, failure)
    return Check(CheckStatus.OK)


def _failure_of(error: Exception) -> DatabaseFailure:
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, DatabaseUnavailable):
        return cause.kind
    if isinstance(cause, psycopg.errors.UndefinedTable | psycopg.errors.InvalidSchemaName):
        return "schema"
    if isinstance(cause, psycopg.errors.InsufficientPrivilege):
        return "role"
    if isinstance(cause, psycopg.OperationalError):
        return runtime.unavailable(cause).kind
    return "unreachable"


def _check_database(expected_revision: str) -> None:
    # A connection of its own: a full pool is load, not illness.
    with closing(runtime.connect(runtime.app_login())) as connection:
        row = connection.execute(workers.REVISION_STATEMENT).fetchone()
    if row is None or row[0] != expected_revision:
        raise DatabaseUnavailable("the schema is of another version: run rhesis migrate", kind="schema")


def _check_queue() -> None:
    given = get_settings().broker_url
    if given is None:
        with queue_transaction() as connection:
            workers.revision(connection)
        return
    url = given.get_secret_value()
    if "postgresql" in urlsplit(url).scheme:
        _connect_once(url.removeprefix("sqla+"))
        return
    first = urlsplit(url.split(";")[0])
    address = (first.hostname or "localhost", first.port or _BROKER_PORTS.get(first.scheme, 5672))
    with socket.create_connection(address, timeout=CHECK_SECONDS):
        return


def _connect_once(url: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    try:
        with engine.connect():
            return
    finally:
        engine.dispose()


def _read_details() -> HealthDetails:
    with queue_transaction() as connection:
        return HealthDetails(
            revision=workers.revision(connection),
            connections_used=workers.used_connections(connection),
            connections_allowed=workers.allowed_connections(connection),
            newest_worker_beat_at=workers.newest_beat(connection),
            oldest_open_run_at=workers.oldest_open_run(connection),
        )
