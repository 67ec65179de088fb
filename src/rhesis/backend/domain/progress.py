"""How far a run is, computed from counts and times."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from rhesis.backend.domain.run_status import OPEN_STATUSES


@dataclass(frozen=True)
class RunCounts:
    """What one indexed query says about a run; `now` is the database's clock."""

    test_run_id: UUID
    status: str
    total: int
    passed: int
    failed: int
    errors: int
    started_at: datetime | None
    completed_at: datetime | None
    deadline: datetime
    now: datetime
    last_worker_seen_at: datetime | None

    @property
    def completed(self) -> int:
        """Tests that have a result, errors included."""
        return self.passed + self.failed + self.errors

    @property
    def percent(self) -> float:
        """Completed tests in percent of all."""
        return round(100 * self.completed / self.total, 1) if self.total else 100.0

    @property
    def is_open(self) -> bool:
        """Whether the run may still change."""
        return self.status in OPEN_STATUSES

    @property
    def late(self) -> bool:
        """Whether the run should have been closed by now: nobody has, so no worker lives."""
        return self.is_open and self.now > self.deadline

    @property
    def rate_per_second(self) -> float | None:
        """Completed tests for each second since the start; None before the first one."""
        if self.started_at is None or self.completed == 0:
            return None
        seconds = ((self.completed_at or self.now) - self.started_at).total_seconds()
        return round(self.completed / seconds, 3) if seconds > 0 else None

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until the rest is done at the rate so far; None when the run has ended or has no rate yet."""
        rate = self.rate_per_second
        if not self.is_open or rate is None or rate == 0:
            return None
        return round((self.total - self.completed) / rate, 1)
