"""Follow a run to its end and show how far it is: a bar for people, a line for every tenth of the way otherwise."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from rhesis.backend.cli.api_client import ApiBusy, ApiClient
from rhesis.backend.cli.failures import ApiUnreachable, WaitTimedOut
from rhesis.backend.cli.terminal import is_terminal, say
from rhesis.backend.domain.run_status import RunStatus

POLL_SECONDS = 0.5
# An API that is restarted meanwhile must not end the waiting.
PATIENCE_SECONDS = 15.0
# Workers look for overdue runs every 15 s. If none has closed the run by then, none lives.
LATE_SECONDS = 45.0
_STEP_PERCENT = 10


class Display(Protocol):
    """Where a run's counts are shown."""

    def show(self, counts: Mapping[str, Any]) -> None:
        """Show the newest counts."""


class Lines:
    """A line at the start and whenever another tenth is done."""

    def __init__(self) -> None:
        self._shown = -1

    def show(self, counts: Mapping[str, Any]) -> None:
        """Print a line if a tenth has passed."""
        step = int(counts["percent"]) // _STEP_PERCENT
        if step > self._shown:
            self._shown = step
            say(f"{step * _STEP_PERCENT:3d} %  {_words(counts)}")


class Bar:
    """A bar on a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("tests", total=None, words="")

    def show(self, counts: Mapping[str, Any]) -> None:
        """Redraw the bar."""
        self._progress.update(
            self._task, completed=counts["completed"], total=counts["total"], words=_words(counts), refresh=True
        )


@contextmanager
def display() -> Iterator[Display]:
    """Yield what suits stderr."""
    if not is_terminal():
        yield Lines()
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[words]}"))
    with Progress(*columns, console=Console(file=sys.stderr), auto_refresh=False) as progress:
        yield Bar(progress)


def follow(
    api: ApiClient,
    run_id: str,
    shown: Display,
    *,
    timeout_seconds: float | None = None,
    tick: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Return the counts of a run once it has ended.

    `tick` is called at each look and may raise. Raises `WaitTimedOut` after the timeout, or when the run is overdue and
    nobody closes it.
    """
    began = time.monotonic()
    late_since: float | None = None
    while True:
        tick()
        counts = _counts(api, run_id)
        shown.show(counts)
        if RunStatus(counts["status"]).is_terminal:
            return counts
        now = time.monotonic()
        if timeout_seconds is not None and now - began >= timeout_seconds:
            raise WaitTimedOut(f"run {run_id} is {counts['status']} after {timeout_seconds:g} s: {_goes_on(run_id)}")
        late_since = (late_since or now) if counts["late"] else None
        if timeout_seconds is None and late_since is not None and now - late_since >= LATE_SECONDS:
            seen = counts["last_worker_seen_at"] or "the run began"
            raise WaitTimedOut(f"run {run_id} is past its deadline and no worker has reported since {seen}: start one")
        time.sleep(POLL_SECONDS)


def _goes_on(run_id: str) -> str:
    return f"it goes on, rhesis results {run_id} shows what it has"


def say_goes_on(run_id: str) -> None:
    """Tell somebody who stops waiting what becomes of the run."""
    say(f"stopped waiting for run {run_id}: {_goes_on(run_id)}")


def _counts(api: ApiClient, run_id: str) -> dict[str, Any]:
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            counts: dict[str, Any] = api.get(f"/test_runs/{run_id}/progress")
        except (ApiUnreachable, ApiBusy):
            if time.monotonic() >= until:
                raise
            time.sleep(POLL_SECONDS)
        else:
            return counts


def _words(counts: Mapping[str, Any]) -> str:
    words = [f"{counts['passed']} passed, {counts['failed']} failed, {counts['errors']} errors", str(counts["status"])]
    if counts["rate_per_second"]:
        words.append(f"{counts['rate_per_second']:.1f}/s")
    if counts["eta_seconds"]:
        words.append(f"about {counts['eta_seconds']:.0f} s left")
    return ", ".join(words)
