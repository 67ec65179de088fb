"""Close runs that nobody else will: past their deadline, with a dead worker or a lost message behind them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from rhesis.backend import runtime
from rhesis.backend.app.repositories import overdue, runs
from rhesis.backend.app.repositories.overdue import RunKey
from rhesis.backend.domain.closing import past_deadline

# A pass is bounded; what is left over waits for the next.
_RUNS_A_PASS = 100
# Whoever holds a run for longer, such as a session that somebody left open, must not stop the closing of all others.
_LOCK_SECONDS = 2.0


@dataclass(frozen=True)
class ReapReport:
    """What one pass did. `led` is False when another worker was at it, and then nothing was done.

    `refused` are runs that the database did not let it close, each with the type of its error: the next pass tries
    them again.
    """

    led: bool
    closed: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    swept_messages: int = 0


@contextmanager
def queue_transaction() -> Iterator[Connection]:
    """Open one short transaction as `rhesis_queue`, on a connection of its own: passes are rare, workers fork."""
    url = runtime.queue_login().sqlalchemy_url(search_path="rhesis_queue")
    engine = create_engine(
        url, poolclass=NullPool, hide_parameters=True, connect_args={"application_name": "rhesis reaper"}
    )
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def reap() -> ReapReport:
    """Close every run past its deadline, each in a transaction of its own so that one cannot hold up the others."""
    with queue_transaction() as connection:
        if not overdue.try_lock(connection):
            return ReapReport(led=False)
        closed: list[str] = []
        refused: list[tuple[str, str]] = []
        for key in overdue.overdue_runs(connection, limit=_RUNS_A_PASS):
            try:
                if _close(key):
                    closed.append(str(key.run_id))
            except DBAPIError as error:
                # Without a state the server has not answered, and the other runs would fare no better.
                if getattr(error.orig, "sqlstate", None) is None:
                    raise
                refused.append((str(key.run_id), type(error.orig).__name__))
        return ReapReport(led=True, closed=tuple(closed), refused=tuple(refused))


def _close(key: RunKey) -> bool:
    with queue_transaction() as connection:
        overdue.bound_waiting(connection, seconds=_LOCK_SECONDS)
        return runs.close(connection, key.organization_id, key.run_id, past_deadline()) is not None
