"""When a failed call is tried again, and how the waiting between attempts can be ended."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

RETRIED_STATUSES: Final = frozenset({429, 502, 503, 504})
_LONGEST_STEP_SECONDS: Final = 1.0


def _never() -> bool:
    return False


def _sleep(seconds: float) -> object:
    return threading.Event().wait(seconds)


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Pacing:
    """Time as a call sees it, so that a test can pass hours in no time.

    `stop` is asked about once a second while a call waits for its next attempt: a cancelled run ends the waiting.
    """

    stop: Callable[[], bool] = _never
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = _utc_now
    sleep: Callable[[float], object] = _sleep
    jitter: Callable[[float, float], float] = random.uniform

    def pause(self, seconds: float) -> bool:
        """Wait, and return whether the whole time passed without being stopped."""
        until = self.clock() + seconds
        while not self.stop():
            left = until - self.clock()
            if left <= 0:
                return True
            self.sleep(min(left, _LONGEST_STEP_SECONDS))
        return False


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how far apart a call is tried."""

    attempts: int = 4
    shortest_seconds: float = 1.0
    longest_seconds: float = 30.0

    def wait_seconds(self, attempt: int, retry_after: float | None, jitter: Callable[[float, float], float]) -> float:
        """Return how long to wait after the failed `attempt` (from 1).

        What the endpoint asks for is honoured between the two limits, with up to a second more, so that a whole set
        told to come back in ten seconds does not come back at once.
        """
        if retry_after is not None:
            return self._limited(retry_after + jitter(0.0, 1.0))
        base = self.shortest_seconds * 2 ** (attempt - 1)
        return self._limited(jitter(base, 2 * base))

    def _limited(self, seconds: float) -> float:
        return min(max(seconds, self.shortest_seconds), self.longest_seconds)


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, as a number or an HTTP date; None if it says nothing.

    >>> retry_after_seconds("120", datetime(2026, 1, 1, tzinfo=UTC))
    120.0
    >>> retry_after_seconds("Thu, 01 Jan 2026 00:00:09 GMT", datetime(2026, 1, 1, tzinfo=UTC))
    9.0
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())
