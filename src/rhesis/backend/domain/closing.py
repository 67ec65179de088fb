"""Why a run is closed, and the ids a run's messages have.

A run is closed once, by whoever comes first: its callback, its errback, a cancellation, its deadline, or a dispatch
that failed. What it then is follows from its results, except for a cancellation.
"""

from dataclasses import dataclass
from uuid import UUID, uuid5


@dataclass(frozen=True)
class Closing:
    """How a run ends: `reason` is the sentence that people read, None when nothing went wrong."""

    reason: str | None
    not_run: str
    cancelled: bool = False


COLLECTED = Closing(reason=None, not_run="its task ended without a result")


def cancelled(reason: str) -> Closing:
    """Return the closing of a run that somebody cancelled."""
    return Closing(reason=reason, not_run="the run was cancelled before this test ended", cancelled=True)


def failed(reason: str) -> Closing:
    """Return the closing of a run whose execution failed as a whole."""
    return Closing(reason=reason, not_run="the run ended before this test did")


def past_deadline() -> Closing:
    """Return the closing of a run that did not end in time."""
    return Closing(
        reason="the deadline passed before the run had ended", not_run="the deadline passed before this test had ended"
    )


def member_task_id(run_id: UUID, test_id: UUID) -> str:
    """Return the Celery task id of a run's test.

    It follows from the two ids, so that a dispatch that is repeated publishes the same members again, and whoever
    closes the run can name the members that never reported.
    """
    return str(uuid5(run_id, test_id.hex))
