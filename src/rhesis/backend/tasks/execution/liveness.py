"""A worker's sign of life and the reaper, as one step of every worker.

It runs in a thread of its own and not on the worker's event loop, which a slow database would otherwise stop; it opens
a connection for each pass, because a worker forks and a connection must not be shared with a child.
"""

import os
import socket
import threading
from typing import Any

from celery import bootsteps
from celery.utils.log import get_task_logger

from rhesis.backend.app.repositories import overdue
from rhesis.backend.app.repositories.overdue import Heartbeat
from rhesis.backend.app.services.reaping import ReapReport, queue_transaction, reap
from rhesis.backend.tasks.execution.abandoned import end_abandoned_chords
from rhesis.backend.worker import app

logger = get_task_logger(__name__)

BEAT_SECONDS = 5.0
REAP_SECONDS = 15.0
CLEANUP_SECONDS = 3600.0


class Liveness(bootsteps.StartStopStep):
    """Beat every 5 s; every 15 s close what is past its deadline, unless another worker is at it.

    Every hour results that have expired are removed.
    """

    # After the pool has forked: the fewer forks happen beside a thread, the better.
    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, parent: Any) -> None:
        """Start beating."""
        heartbeat = Heartbeat(
            parent.hostname, socket.gethostname(), os.getpid(), tuple(sorted(parent.app.amqp.queues.consume_from))
        )
        self._thread = threading.Thread(target=self._run, args=(heartbeat,), name="rhesis-liveness", daemon=True)
        self._thread.start()

    def stop(self, parent: Any) -> None:
        """Stop beating and remove the sign of life: a worker that stopped in order is not a lost one."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=BEAT_SECONDS)
        try:
            with queue_transaction() as connection:
                overdue.forget(connection, parent.hostname)
        except Exception as error:  # noqa: BLE001 - stopping must not fail
            logger.warning("the heartbeat of %s could not be removed: %s", parent.hostname, type(error).__name__)

    def terminate(self, parent: Any) -> None:
        """Stop as well when the worker is told to end at once."""
        self.stop(parent)

    def _run(self, heartbeat: Heartbeat) -> None:
        since_reap = REAP_SECONDS
        since_cleanup = 0.0
        while True:
            _guarded("beat", lambda: _beat(heartbeat))
            if since_reap >= REAP_SECONDS:
                _guarded("reap", reap_once)
                since_reap = 0.0
            if since_cleanup >= CLEANUP_SECONDS:
                # Celery leaves it to a beat process, which this service does not need otherwise.
                _guarded("cleanup", app.backend.cleanup)
                since_cleanup = 0.0
            if self._stopping.wait(BEAT_SECONDS):
                return
            since_reap += BEAT_SECONDS
            since_cleanup += BEAT_SECONDS


def reap_once() -> ReapReport:
    """Do one pass: close runs past their deadline, end what still polls for them, sweep delivered messages."""
    report = reap()
    for run_id in report.closed:
        logger.error("run closed at its deadline run=%s", run_id, extra={"action": "run_late", "test_run_id": run_id})
    for run_id, error in report.refused:
        logger.error(
            "run past its deadline could not be closed (%s) run=%s",
            error,
            run_id,
            extra={"action": "run_not_closed", "test_run_id": run_id, "error_type": error},
        )
    return end_abandoned_chords(app, report) if report.led else report


def _beat(heartbeat: Heartbeat) -> None:
    with queue_transaction() as connection:
        overdue.beat(connection, heartbeat)


def _guarded(action: str, step: Any) -> None:
    """Run a step; whatever it raises is logged by type, and the next pass tries again."""
    try:
        step()
    except Exception as error:  # noqa: BLE001 - a pass that failed is repeated
        logger.warning("%s failed (%s), it will be tried again", action, type(error).__name__)


app.steps["worker"].add(Liveness)
