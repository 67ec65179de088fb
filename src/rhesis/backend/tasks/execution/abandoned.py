"""End the pollers of chords whose run has ended: on a polling backend they would re-send themselves for ever.

Only where broker and result backend are Celery's stock PostgreSQL ones; elsewhere there is either no poller or no way
to see it from here.
"""

from dataclasses import replace
from typing import Any

from celery import Celery
from celery.utils.log import get_task_logger

from rhesis.backend.app.repositories import overdue
from rhesis.backend.app.repositories.overdue import WaitingChord
from rhesis.backend.app.services.reaping import ReapReport, queue_transaction
from rhesis.backend.domain.closing import member_task_id
from rhesis.backend.errors import RhesisError

logger = get_task_logger(__name__)

# Members that are still queued or running report by themselves once their run has ended.
GRACE_SECONDS = 60.0
_CHORDS_A_PASS = 20
_MESSAGES_A_PASS = 5000


class RunEnded(RhesisError):
    """The run ended before its chord did."""

    code = "run_ended"


def end_abandoned_chords(app: Celery, report: ReapReport) -> ReapReport:
    """Store a failure for each member that never reported, so that `chord_unlock` fails the chord and ends."""
    if not str(app.conf.broker_url).startswith("sqla+") or not str(app.conf.result_backend).startswith("db+postgresql"):
        return report
    with queue_transaction() as connection:
        if overdue.result_table(connection) != _result_table(app):
            return report
        chords = overdue.waiting_chords(connection, grace_seconds=GRACE_SECONDS, limit=_CHORDS_A_PASS)
        swept = overdue.sweep_delivered_messages(connection, limit=_MESSAGES_A_PASS)
    for waiting in chords:
        _end_and_log(app, waiting)
    return replace(report, swept_messages=swept)


def _end_and_log(app: Any, waiting: WaitingChord) -> None:
    """End one chord; one that cannot be ended must not hold up the others."""
    try:
        ended = _end_chord(app, waiting)
    except Exception as error:  # noqa: BLE001 - the next pass tries it again
        logger.warning("chord of run=%s could not be ended (%s)", waiting.run_id, type(error).__name__)
        return
    logger.error(
        "chord stuck run=%s (chord_unlock): its run has ended, %s members never reported and were failed",
        waiting.run_id,
        ended,
        extra={"action": "chord_ended", "test_run_id": str(waiting.run_id), "members": ended},
    )


def _result_table(app: Any) -> tuple[object, ...]:
    """Return which table the results are in: a URL may name another server, database or schema than the service's."""
    with app.backend.ResultSession() as session:
        return overdue.result_table(session.connection())


def _end_chord(app: Any, waiting: WaitingChord) -> int:
    app.backend.store_result(waiting.body_task_id, RunEnded(), "FAILURE")
    members = [member_task_id(waiting.run_id, test_id) for test_id in waiting.test_ids]
    with queue_transaction() as connection:
        return overdue.fail_members(connection, members, model_id=waiting.body_task_id)
