"""When a call is tried again, told by a clock that nobody waits for."""

from datetime import UTC, datetime

import pytest

from rhesis.backend.outgoing.retrying import Pacing, RetryPolicy, retry_after_seconds

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


class FakeTime:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.sleeps: list[float] = []

    def clock(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.seconds += seconds


def _lowest(low: float, high: float) -> float:
    return low


def _highest(low: float, high: float) -> float:
    return high


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 120 ", 120.0),
        ("Fri, 20 Nov 2026 12:00:09 GMT", 9.0),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0.0),
        ("Fri, 20 Nov 2026 13:00:05 +0100", 5.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOW) == seconds


def test_a_very_long_number_of_seconds_is_still_a_number() -> None:
    assert retry_after_seconds("9" * 10_000, NOW) == pytest.approx(999_999_999)


def test_waits_grow_and_stay_between_one_and_thirty_seconds() -> None:
    policy = RetryPolicy()
    assert [policy.wait_seconds(attempt, None, _lowest) for attempt in (1, 2, 3, 9)] == [1, 2, 4, 30]
    assert [policy.wait_seconds(attempt, None, _highest) for attempt in (1, 2, 3, 9)] == [2, 4, 8, 30]


@pytest.mark.parametrize(("asked_for", "waited"), [(0.0, 1.0), (7.0, 7.0), (3_600.0, 30.0)])
def test_what_the_endpoint_asks_for_is_honoured_up_to_the_limit(asked_for: float, waited: float) -> None:
    assert RetryPolicy().wait_seconds(1, asked_for, _lowest) == waited


def test_a_pause_takes_exactly_its_time() -> None:
    time = FakeTime()
    assert Pacing(clock=time.clock, sleep=time.sleep).pause(3.5) is True
    assert time.seconds == 3.5


def test_a_pause_ends_within_a_second_of_being_stopped() -> None:
    time = FakeTime()
    assert Pacing(stop=lambda: time.seconds >= 2, clock=time.clock, sleep=time.sleep).pause(30) is False
    assert time.seconds == 2


def test_a_call_that_is_already_stopped_does_not_wait_at_all() -> None:
    time = FakeTime()
    assert Pacing(stop=lambda: True, clock=time.clock, sleep=time.sleep).pause(30) is False
    assert time.sleeps == []
