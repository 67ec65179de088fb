"""What the demo prints about its run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from rhesis.backend.cli.remote import reason_of
from rhesis.backend.cli.render import Table
from rhesis.backend.domain.run_status import ResultStatus

_SLOWEST = 5
_NOT_PASSED = 10

Row = Mapping[str, str]


@dataclass(frozen=True)
class Latency:
    """Milliseconds that tests took."""

    mean: float
    p95: float

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Latency":
        """Return the mean, and the time within which 95 of 100 tests were done."""
        times = sorted(_milliseconds(row) for row in rows)
        return cls(fmean(times), times[math.ceil(0.95 * len(times)) - 1]) if times else cls(0.0, 0.0)


def summary(counts: Mapping[str, Any], rows: Sequence[Row], seconds: float) -> Table:
    """Return the run in one line."""
    latency = Latency.of(rows)
    columns = ("status", "tests", "Pass", "Fail", "Error", "mean ms", "p95 ms", "wall s")
    values = (counts["status"], counts["total"], counts["passed"], counts["failed"], counts["errors"])
    return Table(columns, [(*values, latency.mean, latency.p95, seconds)])


def slowest(rows: Sequence[Row]) -> Table:
    """Return the slowest tests."""
    chosen = sorted(rows, key=_milliseconds, reverse=True)[:_SLOWEST]
    return Table(
        ("slowest ms", "status", "prompt"), [(_milliseconds(row), row["status"], row["prompt"]) for row in chosen]
    )


def not_passed(rows: Sequence[Row]) -> Table:
    """Return the first tests that did not pass, and why."""
    chosen = [row for row in rows if row["status"] != ResultStatus.PASS]
    shown = [(row["status"], row["prompt"], reason_of(row)) for row in chosen[:_NOT_PASSED]]
    return Table((f"{len(shown)} of {len(chosen)}", "not passed", "reason"), shown)


def _milliseconds(row: Row) -> float:
    return float(row["execution_time_ms"])
