"""The words a run and a result may have, and the rules that choose them.

A run's status states whether execution was complete, never whether assertions held: a run in which every test failed
its metrics is `Completed`. A result's status states what the metrics said.
"""

from collections.abc import Iterable
from enum import StrEnum


class RunStatus(StrEnum):
    """Where a test run stands. `PROGRESS` is what some documents call "IN_PROGRESS"; that word is never stored."""

    QUEUED = "Queued"
    PROGRESS = "Progress"
    COMPLETED = "Completed"
    PARTIAL = "Partial"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether the status is final: it is never overwritten."""
        return self not in OPEN_STATUSES


OPEN_STATUSES = frozenset({RunStatus.QUEUED, RunStatus.PROGRESS})


class ResultStatus(StrEnum):
    """What one test came to."""

    PASS = "Pass"  # noqa: S105 - a result, not a password
    FAIL = "Fail"
    ERROR = "Error"


def status_of_run(*, total: int, errors: int) -> RunStatus:
    """Return the terminal status of a run in which `errors` of `total` tests could not be executed.

    >>> status_of_run(total=4, errors=0).value
    'Completed'
    >>> status_of_run(total=4, errors=3).value
    'Partial'
    >>> status_of_run(total=4, errors=4).value
    'Failed'
    """
    if errors == 0 and total > 0:
        return RunStatus.COMPLETED
    return RunStatus.PARTIAL if errors < total else RunStatus.FAILED


def status_of_result(*, call_failed: bool, metric_verdicts: Iterable[bool]) -> ResultStatus:
    """Return what a test came to: an error when the call failed or nothing was judged, else Pass only if all held."""
    verdicts = list(metric_verdicts)
    if call_failed or not verdicts:
        return ResultStatus.ERROR
    return ResultStatus.PASS if all(verdicts) else ResultStatus.FAIL
