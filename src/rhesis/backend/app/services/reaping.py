"""Close runs that nobody else will: past their deadline, with a dead worker or a lost message behind them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from rhesis.backend import runtime
from rhesis.backend.app.repositories import overdue, runs
from rhesis.backend.domain.closing import past_deadline

# A pass is bounded; what is left over waits for the next.
_RUNS_A_PASS = 100


@dataclass(frozen=True)
class ReapReport:
    """What one pass did. `led` is False when another worker was at it, and then nothing was done."""

    led: bool
    closed: tuple[str, ...] = ()
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
        closed = []
        for key in overdue.overdue_runs(connection, limit=_RUNS_A_PASS):
            with queue_transaction() as own:
                if runs.close(own, key.organization_id, key.run_id, past_deadline()) is not None:
                    closed.append(str(key.run_id))
        return ReapReport(led=True, closed=tuple(closed))
