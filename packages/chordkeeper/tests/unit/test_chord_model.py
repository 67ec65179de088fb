"""The vocabulary, the arithmetic of counts and progress, and the rule that chooses a chord's status."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chordkeeper import (
    Callback,
    CallbackStatus,
    Chord,
    ChordId,
    ChordkeeperError,
    ChordStatus,
    Counts,
    InvalidValue,
    Member,
    MemberStatus,
    Progress,
    TaskId,
    status_of,
)

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
OPEN_STATES = (MemberStatus.SCHEDULED, MemberStatus.QUEUED, MemberStatus.RUNNING, MemberStatus.HUNG)
EXTRA_STATES = (MemberStatus.LATE, MemberStatus.DUPLICATE)
numbers_by_state = st.dictionaries(st.sampled_from(MemberStatus), st.integers(min_value=0, max_value=10_000))


def chord(**changes) -> Chord:
    facts = {
        "id": ChordId("7f3a"),
        "status": ChordStatus.RUNNING,
        "counts": Counts(),
        "callback": Callback(task_id=None),
    }
    return Chord(**{**facts, **changes})


@pytest.mark.parametrize("words", [ChordStatus, MemberStatus, CallbackStatus])
def test_every_word_has_one_sentence_and_is_its_own_text(words) -> None:
    for word in words:
        assert word.sentence.endswith(".")
        assert f"{word}" == word.value == word.name.lower()
        assert words(word.value) is word


def test_the_final_statuses_of_a_chord_are_the_four_that_ended_it() -> None:
    assert {status.value for status in ChordStatus if status.is_final} == {
        "completed",
        "partial",
        "failed",
        "cancelled",
    }


def test_a_member_is_final_unless_it_waits_works_or_hangs() -> None:
    assert {state for state in MemberStatus if not state.is_final} == set(OPEN_STATES)


@given(numbers_by_state)
def test_members_are_done_or_open_and_extra_results_are_neither(numbers) -> None:
    counts = Counts.of(numbers)
    assert counts.open == sum(numbers.get(state, 0) for state in OPEN_STATES)
    assert counts.done == sum(number for state, number in numbers.items() if state not in (*OPEN_STATES, *EXTRA_STATES))
    assert counts.total == counts.done + counts.open
    assert (counts.late, counts.duplicate) == tuple(numbers.get(state, 0) for state in EXTRA_STATES)


def test_what_a_source_does_not_know_is_not_zero() -> None:
    unknown = Counts(total=3, succeeded=2)
    assert (unknown.done, unknown.open, unknown.failed) == (None, None, None)


def test_one_half_of_the_members_follows_from_the_total_and_the_other() -> None:
    assert Counts(total=10, scheduled=0, queued=3, running=1).done == 6
    assert Counts(total=10, succeeded=6, failed=1, cancelled=0, lost=0, expired=0).open == 3


@pytest.mark.parametrize("wrong", [{"queued": -1}, {"total": -1}, {"total": 2, "succeeded": 3}])
def test_counts_that_cannot_be_true_are_refused(wrong) -> None:
    with pytest.raises(InvalidValue):
        Counts(**wrong)


def test_a_total_that_differs_from_all_its_states_is_refused() -> None:
    states = {
        "scheduled": 0,
        "queued": 1,
        "running": 0,
        "succeeded": 1,
        "failed": 0,
        "cancelled": 0,
        "lost": 0,
        "expired": 0,
    }
    assert Counts(total=2, **states).total == 2
    with pytest.raises(InvalidValue, match="add up to 2, the total is 3"):
        Counts(total=3, **states)


@given(numbers_by_state, st.floats(min_value=0.001, max_value=1e6))
def test_progress_stays_in_bounds_and_its_range_holds_the_plain_estimate(numbers, elapsed) -> None:
    counts = Counts.of(numbers)
    progress = Progress.of(counts, started_at=START, now=START + timedelta(seconds=elapsed))
    assert 0 <= progress.percent <= 100
    assert (progress.percent == 100) == (counts.open == 0)
    if progress.eta_seconds is None:
        assert counts.done <= 4
    else:
        soonest, latest = progress.eta_seconds
        estimate = counts.open / progress.rate_per_second if counts.open else 0
        assert 0 <= soonest <= estimate <= latest


def test_the_range_narrows_as_members_finish() -> None:
    def width(done: int) -> float:
        counts = Counts.of({MemberStatus.SUCCEEDED: done, MemberStatus.QUEUED: 1000})
        soonest, latest = Progress.of(counts, started_at=START, now=START + timedelta(seconds=done)).eta_seconds
        return latest - soonest

    assert width(10) > width(100) > width(1000)


def test_no_rate_and_no_range_are_claimed_before_there_is_a_time_to_divide_by() -> None:
    counts = Counts.of({MemberStatus.SUCCEEDED: 10, MemberStatus.QUEUED: 10})
    for started_at in (None, START, START + timedelta(seconds=1)):  # unknown, just now, another machine's clock
        progress = Progress.of(counts, started_at=started_at, now=START)
        assert (progress.percent, progress.rate_per_second, progress.eta_seconds) == (50, None, None)


def test_a_chord_without_members_is_done() -> None:
    progress = Progress.of(Counts.of({}), started_at=START, now=START)
    assert (progress.done, progress.total, progress.percent, progress.eta_seconds) == (0, 0, 100, (0, 0))


def test_progress_of_unknown_counts_claims_nothing() -> None:
    progress = Progress.of(Counts(), started_at=START, now=START + timedelta(seconds=9))
    assert (progress.done, progress.total, progress.percent, progress.rate_per_second) == (None, None, None, None)
    assert progress.eta_seconds is None


HALF_DONE = Counts.of({MemberStatus.SUCCEEDED: 1, MemberStatus.QUEUED: 1})
ALL_SUCCEEDED = Counts.of({MemberStatus.SUCCEEDED: 2})
ONE_LOST = Counts.of({MemberStatus.SUCCEEDED: 1, MemberStatus.LOST: 1})


@pytest.mark.parametrize(
    ("counts", "callback", "facts", "expected"),
    [
        (HALF_DONE, "waiting", {"publishing": True}, "building"),
        (HALF_DONE, "waiting", {}, "running"),
        (HALF_DONE, "waiting", {"stuck": True, "overdue": True, "publishing": True}, "stuck"),
        (HALF_DONE, "waiting", {"overdue": True, "publishing": True}, "late"),
        (ALL_SUCCEEDED, "queued", {"overdue": True}, "late"),
        (ALL_SUCCEEDED, "waiting", {}, "callback_pending"),
        (ONE_LOST, "running", {}, "callback_pending"),
        (Counts.of({}), "waiting", {}, "callback_pending"),
        (ALL_SUCCEEDED, "succeeded", {"overdue": True, "stuck": True}, "completed"),
        (ONE_LOST, "succeeded", {}, "partial"),
        (Counts(total=2), "succeeded", {}, "unknown"),
        (ONE_LOST, "failed", {"stuck": True}, "failed"),
        (Counts(), "failed", {}, "failed"),
        (HALF_DONE, "cancelled", {"stuck": True}, "cancelled"),
        (HALF_DONE, "unknown", {"overdue": True}, "unknown"),
        (HALF_DONE, "unknown", {"stuck": True}, "stuck"),
        (Counts(total=2), "waiting", {}, "unknown"),
        (Counts(total=2), "waiting", {"overdue": True}, "late"),
    ],
)
def test_the_status_of_a_chord_follows_from_its_facts(counts, callback, facts, expected) -> None:
    assert status_of(counts, CallbackStatus(callback), **facts) is ChordStatus(expected)


def test_age_and_idleness_end_with_the_chord() -> None:
    running = chord(published_at=START, changed_at=START + timedelta(seconds=40))
    now = START + timedelta(seconds=60)
    assert (running.age_seconds(now), running.idle_seconds(now)) == (60, 20)
    ended = chord(
        published_at=START, changed_at=START + timedelta(seconds=50), finished_at=START + timedelta(seconds=50)
    )
    assert (ended.age_seconds(now), ended.idle_seconds(now)) == (50, 0)
    assert (chord().age_seconds(now), chord().idle_seconds(now)) == (None, None)


def test_the_rate_of_an_ended_chord_does_not_fall_any_more() -> None:
    ended = chord(counts=ALL_SUCCEEDED, published_at=START, finished_at=START + timedelta(seconds=4))
    assert ended.progress(START + timedelta(days=1)).rate_per_second == 0.5


def test_a_members_runtime_ends_with_it_and_clocks_that_disagree_give_no_negative_time() -> None:
    member = Member(task_id=TaskId("a"), state=MemberStatus.RUNNING, started_at=START)
    assert member.runtime_seconds(START + timedelta(seconds=3)) == 3
    assert member.runtime_seconds(START - timedelta(seconds=3)) == 0
    ended = Member(
        task_id=TaskId("a"), state=MemberStatus.FAILED, started_at=START, finished_at=START + timedelta(seconds=2)
    )
    assert ended.runtime_seconds(START + timedelta(days=1)) == 2
    assert Member(task_id=TaskId("a"), state=MemberStatus.QUEUED).runtime_seconds(START) is None


@pytest.mark.parametrize("name", ["published_at", "changed_at", "finished_at", "deadline"])
def test_a_time_without_a_time_zone_is_refused_by_name(name) -> None:
    with pytest.raises(InvalidValue, match=f"chord 7f3a: {name} .* has no time zone"):
        chord(**{name: START.replace(tzinfo=None)})
    with pytest.raises(InvalidValue, match="has no time zone"):
        chord(published_at=START).age_seconds(START.replace(tzinfo=None))


def test_any_time_zone_is_as_good_as_another() -> None:
    east = START.astimezone(timezone(timedelta(hours=9)))
    assert chord(published_at=east).age_seconds(START) == 0


def test_two_snapshots_with_the_same_facts_are_equal_and_hashable() -> None:
    assert hash(chord(labels={"team": "eu"})) == hash(chord(labels={"team": "us"}))
    assert chord(labels={"team": "eu"}) != chord(labels={"team": "us"})


def test_a_refused_value_is_one_of_the_librarys_errors_and_a_value_error() -> None:
    assert issubclass(InvalidValue, ChordkeeperError)
    assert issubclass(InvalidValue, ValueError)
    assert str(InvalidValue()) == "A value cannot be true; nothing was done with it."
