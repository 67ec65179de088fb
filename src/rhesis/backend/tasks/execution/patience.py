"""Bear a database or a broker that is away for a moment, without giving up what an endpoint has already answered."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from celery.utils.log import get_task_logger
from kombu.exceptions import OperationalError as BrokerUnavailable
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoFreeConnection

from rhesis.backend.errors import DatabaseUnavailable

logger = get_task_logger(__name__)

R = TypeVar("R")

# A restart takes seconds, a failover up to a minute; after that the task's own retries take over.
PATIENCE_SECONDS = 60.0
# While a server does not even refuse, some threads wait for it and the others for the connections of those.
AWAY = (OperationalError, NoFreeConnection, DatabaseUnavailable, BrokerUnavailable)
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 2.0


def patiently(step: Callable[[], R], *, what: str, seconds: float = PATIENCE_SECONDS) -> R:
    """Run a step that may be repeated as a whole, again and again while database or broker is out of reach.

    `what` names the step in the log. After `seconds` the last error is raised; any other error is raised at once.
    """
    until = time.monotonic() + seconds
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            return step()
        except AWAY as error:
            if time.monotonic() + pause > until:
                raise
            away = "broker" if isinstance(error, BrokerUnavailable) else "database"
            logger.warning("%s out of reach (%s), waiting to %s", away, type(error).__name__, what)
        threading.Event().wait(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
