"""What a chord and its members are, in one set of words for the command line, the web page, JSON and metrics.

Pure: no I/O and no clock. A time is always passed in and always knows its time zone. `None` means *not known*; it is
never a polite zero, because "no failed members" and "failed members could not be read" lead to opposite decisions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from math import sqrt
from typing import NewType, Self

from chordkeeper.errors import InvalidValue

ChordId = NewType("ChordId", str)
TaskId = NewType("TaskId", str)


class _Word(StrEnum):
    """A word with the one sentence that explains it wherever it is shown."""

    _value_: str
    sentence: str

    def __new__(cls, word: str, sentence: str) -> Self:
        member = str.__new__(cls, word)
        member._value_ = word
        member.sentence = sentence
        return member


class ChordStatus(_Word):
    """Where a chord stands.

    >>> ChordStatus.LATE.value
    'late'
    >>> ChordStatus("late").sentence
    'The deadline has passed and the chord is not finished.'
    """

    BUILDING = "building", "Members are still being published; the callback cannot fire yet."
    RUNNING = "running", "Members are waiting or working and nothing is wrong."
    STUCK = "stuck", "This chord will not finish by itself; see the cause."
    LATE = "late", "The deadline has passed and the chord is not finished."
    CALLBACK_PENDING = "callback_pending", "Every member is final; the callback has not finished."
    COMPLETED = "completed", "Every member succeeded and the callback ran."
    PARTIAL = "partial", "Some members failed, within the budget, and the callback ran."
    FAILED = "failed", "Too many members failed, or the callback failed for good."
    CANCELLED = "cancelled", "Somebody cancelled it; later results are only recorded."
    UNKNOWN = "unknown", "A source could not be read; nothing is claimed."

    @property
    def is_final(self) -> bool:
        """Whether the chord has ended; a final status never changes."""
        return self in _FINAL_CHORD_STATUSES


_FINAL_CHORD_STATUSES = frozenset(
    {ChordStatus.COMPLETED, ChordStatus.PARTIAL, ChordStatus.FAILED, ChordStatus.CANCELLED}
)


class MemberStatus(_Word):
    """Where one member of a chord stands.

    `LATE` and `DUPLICATE` say what became of an extra result or run. They do not count as members.
    """

    SCHEDULED = "scheduled", "It waits for its start time or next retry."
    QUEUED = "queued", "It waits for a free worker."
    RUNNING = "running", "A live worker is executing it."
    SUCCEEDED = "succeeded", "It ended once with this outcome, which will not change."
    FAILED = "failed", "It ended once with this outcome, which will not change."
    CANCELLED = "cancelled", "It was withdrawn before it ended."
    LOST = "lost", "Its worker died or its message vanished, and nothing will retry it."
    HUNG = "hung", "It has run far longer than its p95."
    EXPIRED = "expired", "It was not started in time."
    LATE = "late", "Its result came after the callback and is kept, not counted."
    DUPLICATE = "duplicate", "It ran again; the first outcome counts."

    @property
    def is_final(self) -> bool:
        """Whether the member has ended; its first outcome is the one that counts."""
        return self not in _OPEN_MEMBER_STATUSES


_OPEN_MEMBER_STATUSES = frozenset(
    {MemberStatus.SCHEDULED, MemberStatus.QUEUED, MemberStatus.RUNNING, MemberStatus.HUNG}
)


class CallbackStatus(_Word):
    """Where a chord's callback stands."""

    WAITING = "waiting", "Not every member is final yet."
    QUEUED = "queued", "It waits for a free worker."
    RUNNING = "running", "A live worker is executing it."
    SUCCEEDED = "succeeded", "It ran once to its end."
    FAILED = "failed", "It failed for good, or will not run because too many members failed."
    CANCELLED = "cancelled", "It will not run, because the chord was cancelled."
    UNKNOWN = "unknown", "A source could not be read; nothing is claimed."


_OPEN_COUNTS = ("scheduled", "queued", "running")
_FINAL_COUNTS = ("succeeded", "failed", "cancelled", "lost", "expired")


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many members are in each state, as far as the source can tell.

    A hung member counts as running. `late` and `duplicate` count results and runs beyond the members, so they are in
    no sum. `total` follows from the states if all of them are known.

    >>> counts = Counts.of({MemberStatus.SUCCEEDED: 7, MemberStatus.LOST: 1, MemberStatus.HUNG: 2})
    >>> counts.total, counts.done, counts.open, counts.running
    (10, 8, 2, 2)
    >>> Counts(total=10, succeeded=7).done is None
    True
    """

    total: int | None = None
    scheduled: int | None = None
    queued: int | None = None
    running: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    cancelled: int | None = None
    lost: int | None = None
    expired: int | None = None
    late: int | None = None
    duplicate: int | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            number = getattr(self, each.name)
            if number is not None and number < 0:
                raise InvalidValue(f"{each.name} is {number}: fewer than no members; read the source again")
        total = self._sum(*_OPEN_COUNTS, *_FINAL_COUNTS)
        if self.total is None:
            object.__setattr__(self, "total", total)
        elif total not in {None, self.total} or self._known() > self.total:
            raise InvalidValue(f"the states add up to {self._known()}, the total is {self.total}; read both at once")

    @classmethod
    def of(cls, numbers: Mapping[MemberStatus, int]) -> Self:
        """Return the counts of a source that knows every state; a state that is not named has no members."""
        names = {each.name for each in fields(cls)}
        known = dict.fromkeys(names - {"total"}, 0)
        for status, number in numbers.items():
            known["running" if status is MemberStatus.HUNG else status.value] += number
        return cls(**known)

    @property
    def done(self) -> int | None:
        """Members that have ended, however."""
        final = self._sum(*_FINAL_COUNTS)
        return self._rest(*_OPEN_COUNTS) if final is None else final

    @property
    def open(self) -> int | None:
        """Members that can still end."""
        unfinished = self._sum(*_OPEN_COUNTS)
        return self._rest(*_FINAL_COUNTS) if unfinished is None else unfinished

    def _rest(self, *names: str) -> int | None:
        part = self._sum(*names)
        return None if self.total is None or part is None else self.total - part

    def _sum(self, *names: str) -> int | None:
        numbers = [getattr(self, name) for name in names]
        return None if None in numbers else sum(numbers)

    def _known(self) -> int:
        return sum(getattr(self, name) or 0 for name in (*_OPEN_COUNTS, *_FINAL_COUNTS))


# A range of two standard deviations needs more finished members than it subtracts.
_DEVIATIONS = 2


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a chord is, and when it may be done: from `eta_seconds[0]` to `eta_seconds[1]` seconds after `now`."""

    done: int | None
    total: int | None
    percent: float | None
    rate_per_second: float | None
    eta_seconds: tuple[float, float] | None

    @classmethod
    def of(cls, counts: Counts, *, started_at: datetime | None, now: datetime) -> Self:
        """Return the progress at `now` of members that began at `started_at`.

        The range treats finished members as independent events: after `n` of them the rate is known to about
        `2 * sqrt(n)` of `n`. So it is wide at first, narrows with time, and is not given for the first four members.

        >>> from datetime import UTC, datetime, timedelta
        >>> start = datetime(2026, 1, 1, tzinfo=UTC)
        >>> counts = Counts.of({MemberStatus.SUCCEEDED: 100, MemberStatus.QUEUED: 60})
        >>> progress = Progress.of(counts, started_at=start, now=start + timedelta(seconds=50))
        >>> progress.percent, progress.rate_per_second, progress.eta_seconds
        (62.5, 2.0, (25.0, 37.5))
        """
        elapsed = _seconds_between(started_at, now)
        done, total = counts.done, counts.total
        rate = done / elapsed if done is not None and elapsed else None
        percent = None
        if done is not None and total is not None:
            percent = 100.0 * done / total if total else 100.0
        return cls(
            done=done,
            total=total,
            percent=percent,
            rate_per_second=rate,
            eta_seconds=_eta_seconds(done, counts.open, elapsed),
        )


def _eta_seconds(done: int | None, remaining: int | None, elapsed: float | None) -> tuple[float, float] | None:
    if remaining == 0:
        return 0.0, 0.0
    if done is None or remaining is None or not elapsed:
        return None
    spread = _DEVIATIONS * sqrt(done)
    if spread >= done:
        return None
    return remaining * elapsed / (done + spread), remaining * elapsed / (done - spread)


@dataclass(frozen=True, kw_only=True)
class Callback:
    """The task that runs once after the members; its id is fixed when the chord is published."""

    task_id: TaskId | None
    name: str | None = None
    state: CallbackStatus = CallbackStatus.WAITING
    attempts: int | None = None


@dataclass(frozen=True, kw_only=True)
class Member:
    """One task of a chord's header, as a source saw it."""

    task_id: TaskId
    state: MemberStatus
    index: int | None = None
    name: str | None = None
    queue: str | None = None
    worker: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempts: int | None = None

    def __post_init__(self) -> None:
        _require_time_zones(f"member {self.task_id}", started_at=self.started_at, finished_at=self.finished_at)

    def runtime_seconds(self, now: datetime) -> float | None:
        """Return how long it ran, or has run by `now`; None if it is not known to have started."""
        return _seconds_between(self.started_at, self.finished_at or now)


@dataclass(frozen=True, kw_only=True)
class Chord:
    """One chord, as a source saw it. `changed_at` is when a member or the callback last changed state."""

    id: ChordId
    status: ChordStatus
    counts: Counts
    callback: Callback
    name: str | None = None
    tenant: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    published_at: datetime | None = None
    changed_at: datetime | None = None
    finished_at: datetime | None = None
    deadline: datetime | None = None

    def __post_init__(self) -> None:
        _require_time_zones(
            f"chord {self.id}",
            published_at=self.published_at,
            changed_at=self.changed_at,
            finished_at=self.finished_at,
            deadline=self.deadline,
        )

    def age_seconds(self, now: datetime) -> float | None:
        """Return how long ago it was published, counted until it finished."""
        return _seconds_between(self.published_at, self.finished_at or now)

    def idle_seconds(self, now: datetime) -> float | None:
        """Return for how long nothing has changed. Stuck is a matter of this, not of age: a long chord is healthy."""
        return _seconds_between(self.changed_at, self.finished_at or now)

    def progress(self, now: datetime) -> Progress:
        """Return how far it is at `now`, measured from its publication."""
        return Progress.of(self.counts, started_at=self.published_at, now=self.finished_at or now)


def status_of(
    counts: Counts,
    callback: CallbackStatus,
    *,
    publishing: bool = False,
    stuck: bool = False,
    overdue: bool = False,
) -> ChordStatus:
    """Return the status that these facts add up to: of all claims that hold, the first in the order below.

    A callback that has ended settles the matter whatever the members say. `stuck` is the verdict of a diagnosis and
    outranks a missed deadline, because somebody must act. Without knowing the callback or the open members nothing
    is claimed.

    >>> status_of(Counts.of({MemberStatus.SUCCEEDED: 3}), CallbackStatus.QUEUED).value
    'callback_pending'
    >>> status_of(Counts(total=3), CallbackStatus.WAITING).value
    'unknown'
    """
    claims = (
        (callback is CallbackStatus.SUCCEEDED, _status_after_callback(counts)),
        (callback is CallbackStatus.FAILED, ChordStatus.FAILED),
        (callback is CallbackStatus.CANCELLED, ChordStatus.CANCELLED),
        (stuck, ChordStatus.STUCK),
        (callback is CallbackStatus.UNKNOWN, ChordStatus.UNKNOWN),
        (overdue, ChordStatus.LATE),
        (publishing, ChordStatus.BUILDING),
        (counts.open is None, ChordStatus.UNKNOWN),
        (counts.open == 0, ChordStatus.CALLBACK_PENDING),
    )
    return next((status for holds, status in claims if holds), ChordStatus.RUNNING)


def _status_after_callback(counts: Counts) -> ChordStatus:
    if counts.total is None or counts.succeeded is None:
        return ChordStatus.UNKNOWN
    return ChordStatus.COMPLETED if counts.succeeded == counts.total else ChordStatus.PARTIAL


def _seconds_between(start: datetime | None, end: datetime) -> float | None:
    """Return the seconds from `start` to `end`, at least 0: two machines' clocks may disagree by a little."""
    _require_time_zones("a duration", start=start, end=end)
    return None if start is None else max(0.0, (end - start).total_seconds())


def _require_time_zones(subject: str, **times: datetime | None) -> None:
    for name, time in times.items():
        if time is not None and time.utcoffset() is None:
            raise InvalidValue(f"{subject}: {name} {time} has no time zone; pass an aware datetime, such as one in UTC")
